"""The init program, as a sealed copy in memory that no container can write to.

A process that enters a container shows its executable as /proc/PID/exe; whoever opens that for writing
replaces the runtime on the host (CVE-2019-5736). So init is executed from a memfd sealed against every change
(memfd_create(2), F_ADD_SEALS); where a memfd may not be executed (vm.memfd_noexec=2), from an unlinked
read-only file. One copy serves all containers of this process. On the hot path.
"""

from __future__ import annotations

import _thread
import errno
import fcntl
import os

from libcontainer.errors import Unsupported
from libcontainer.state import read_all, write_all

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_bin", "init")

_MFD_NOEXEC_SEAL, _MFD_EXEC = 0x8, 0x10  # Linux 6.3
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

_lock = _thread.allocate_lock()
_program: tuple[int, int] | None = None  # (pid of the process that made it, descriptor)


def program(opened: list[int]) -> int:
    """Return a descriptor of the program.

    A sealed one belongs to this module and serves every spawn. One that cannot be sealed is made anew each
    time and added to `opened`, which the caller closes: between two spawns somebody might open it for
    writing. Raises Unsupported when init is missing or cannot be executed here.
    """
    global _program
    with _lock:
        if _program is not None and _program[0] == os.getpid():
            return _program[1]
        data = _read()
        sealed = _seal(data)
        if sealed >= 0:
            _program = (os.getpid(), sealed)
            return sealed
    opened.append(_unlinked_copy(data))
    return opened[-1]


def sealed_bytes(name: str, data: bytes) -> int:
    """Return a descriptor of a sealed memfd holding `data`, at its beginning; the caller closes it."""
    fd = _memory_file(name, _MFD_NOEXEC_SEAL)
    _fill(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _read() -> bytes:
    try:
        fd = os.open(PROGRAM, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Unsupported(
            f"cannot open the init program {PROGRAM}: {error.strerror}",
            path=PROGRAM,
            errno=error.errno,
            remedy="install libcontainer from a wheel, or build it with `make build`",
        ) from error
    try:
        return read_all(fd)
    finally:
        os.close(fd)


def _memory_file(name: str, execution: int) -> int:
    """Make a memfd that may or may not be executed: vm.memfd_noexec=2 wants to be told (memfd_create(2))."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(name, flags | execution)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create(name, flags)  # before Linux 6.3 there was no such choice


def _seal(data: bytes) -> int:
    """Return a sealed memfd of the program; -1 where none may be executed."""
    try:
        fd = _memory_file("libcontainer-init", _MFD_EXEC)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.ENOSYS):
            raise
        return -1
    _fill(fd, data, 0o511)
    return fd


def _fill(fd: int, data: bytes, mode: int | None = None) -> None:
    """Write `data` to the memfd and seal it; close it where that fails."""
    try:
        write_all(fd, data)
        if mode is not None:
            os.fchmod(fd, mode)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise


def _unlinked_copy(data: bytes) -> int:
    """Return a read-only descriptor of a copy that has no name.

    It cannot be sealed, but nobody else holds it open for writing.
    """
    for directory in ("/run", "/dev/shm", "/tmp", "/var/tmp"):
        if not os.access(directory, os.W_OK) or os.statvfs(directory).f_flag & os.ST_NOEXEC:
            continue
        try:
            writable = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o500)
        except OSError:
            continue
        try:
            write_all(writable, data)
            # Execution is refused while anybody can write (ETXTBSY), so only a read-only descriptor may
            # remain.
            return os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(writable)
    raise Unsupported(
        "cannot execute init: this host forbids executable memory files, and no directory takes a copy",
        remedy="set vm.memfd_noexec to 0 or 1, or mount /run without noexec",
    )
