"""Where CRIU restores: a mount namespace of its own, in which the root file system is a mount, and what is to be
mounted in it has its place. No mount of it is in the host's table, so that none can be left over.

unshare(2) of one thread: Python runs in it, and CRIU is its child. The namespace ends with CRIU.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import threading

from libcontainer.errors import CheckpointError, in_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    T = TypeVar("T")

_LIBRARY = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_REMOUNT = 0x1, 0x20
MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE = 0x1000, 0x4000, 1 << 18, 1 << 19
ST_RELATIME, MS_RELATIME = 0x1000, 1 << 21
SAME_FLAGS = 0xC0F  # read-only, nosuid, nodev, noexec, noatime, nodiratime: alike in statvfs(3) and mount(2)
KEYCTL_JOIN_SESSION_KEYRING = 1
# The number of keyctl(2); where none is given it is that of the newer architectures, asm-generic/unistd.h.
KEYCTL = {"x86_64": 250, "i686": 288, "ppc64le": 271, "s390x": 280, "armv7l": 311}
KEYCTL_GENERIC = 219


def apart(work: Callable[[], T]) -> T:
    """Return what `work` returns, called by a thread that has a mount namespace of its own.

    What is mounted on the host is mounted there, too, but not the other way round. Raises what `work` raises.
    """
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            if _LIBRARY.unshare(CLONE_NEWNS) < 0:
                raise _failed("unshare", "the mount namespace")
            _mount(None, "/", MS_REC | MS_SLAVE)
            results.append(work())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="criu")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def join_keyring(name: str) -> None:
    """Join a new session keyring, which is this thread's and its children's: CRIU would leave the restored processes
    with the keys of whoever calls it (keyrings(7)). Only `apart`.
    """
    number = KEYCTL.get(os.uname().machine, KEYCTL_GENERIC)
    join = ctypes.c_long(KEYCTL_JOIN_SESSION_KEYRING)
    joined = _LIBRARY.syscall(ctypes.c_long(number), join, ctypes.c_char_p(name.encode()), 0, 0, 0)
    if joined < 0 and ctypes.get_errno() != errno.ENOSYS:  # a kernel without keys has none to protect
        raise _failed("keyctl", name)


def mount_root(rootfs: str, target: str) -> None:
    """Bind the root file system on `target`: CRIU wants a mount, below one that is not shared. Only `apart`."""
    _mount(rootfs, target, MS_BIND | MS_REC)
    _mount(None, target, MS_REC | MS_PRIVATE)


def make_readonly(target: str) -> None:
    """Make the mount at `target` read-only: CRIU takes the flags of the root as it finds them. Only `apart`."""
    found = os.statvfs(target).f_flag
    flags = found & SAME_FLAGS | (MS_RELATIME if found & ST_RELATIME else 0)
    _mount(None, target, MS_REMOUNT | MS_BIND | MS_RDONLY | flags)


def make_points(root: str, points: Iterable[tuple[str, bool]]) -> None:
    """Make what is missing of the mount points below `root`: directories, or files where the second item says so.

    The points are as `spec.resolve` gives them, without links; whoever puts one there meanwhile gets an error, and
    nothing outside is touched.
    """
    for point, is_file in points:
        try:
            _make_point(root, [part for part in point.split("/") if part], is_file)
        except OSError as error:
            raise CheckpointError(
                f"cannot make the mount point {point} in the root file system: {in_words(error.errno or 0)}",
                step="restore",
                path=point,
                errno=error.errno,
                remedy="restore with the root file system that the container had",
            ) from error


def _make_point(root: str, parts: list[str], is_file: bool) -> None:
    last = parts.pop() if is_file else None
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            _make(os.mkdir, part, 0o755, dir_fd=fd)
            lower = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = lower
        if last is not None:
            _make(os.mknod, last, 0o644 | stat.S_IFREG, dir_fd=fd)
    finally:
        os.close(fd)


def _make(call: Callable[..., None], name: str, mode: int, *, dir_fd: int) -> None:
    try:
        call(name, mode, dir_fd=dir_fd)
    except FileExistsError:
        pass


def _mount(source: str | None, target: str, flags: int) -> None:
    raw = None if source is None else os.fsencode(source)
    if _LIBRARY.mount(raw, os.fsencode(target), None, ctypes.c_ulong(flags), None) < 0:
        raise _failed("mount", target)


def _failed(call: str, what: str) -> CheckpointError:
    number = ctypes.get_errno()
    return CheckpointError(
        f"cannot prepare the restore: {call}: {what}: {in_words(number)}",
        step="restore",
        syscall=call,
        errno=number,
        path=what,
        remedy="restore as root, with CAP_SYS_ADMIN",
    )
