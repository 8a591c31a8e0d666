"""Compiled filters on disk: `<root>/.seccomp/<key>`, private to whoever runs the containers below that root.

The key is a digest of what decides about the program: the profile, the machine, the kernel and our own version. The
library that built it is named in the entry with its inode, size and time: a newer one builds anew, a missing one does
no harm. An entry that others could have written, or that is not whole, counts as none. Nothing fails for want of the
cache. Imports nothing heavy: on the way of every container with a filter.
"""

from __future__ import annotations

import os
from _blake2 import blake2b  # what hashlib is made of

from libcontainer import state
from libcontainer.errors import InvalidArgument
from libcontainer.seccomp.profile import MEMBERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DIRECTORY = ".seccomp"  # no container's id begins with a dot
VERSION = 2  # raise it when the same profile compiles to another program
MOST = 128  # entries; a program takes up to 32 KiB

_DIGEST_SIZE = 32


class Cache:
    """Programs for seccomp objects; kept below the directory `root`, or nowhere (None).

    All are equal: where a program is kept has no part in what it is.
    """

    def __init__(self, root: str | None = None) -> None:
        self.root = root

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cache)

    def __hash__(self) -> int:
        return hash(Cache)

    def program(self, seccomp: dict[str, Any]) -> bytes:
        """Return the program for a checked seccomp object, as `libseccomp.build` does, and raise what it raises."""
        directory = -1 if self.root is None else _open(self.root)
        try:
            name = key(seccomp)
            found = None if directory < 0 else _read(directory, name)
            if found is None:
                from libcontainer.seccomp import libseccomp

                found = libseccomp.build(seccomp)
                if directory >= 0:
                    _write(directory, name, libseccomp.path(), found)
            return found
        finally:
            if directory >= 0:
                os.close(directory)


def key(seccomp: dict[str, Any]) -> str:
    """Return the name of an entry. What means the same in other words is another entry, and no harm done."""
    machine = os.uname()
    members = [seccomp.get(name) for name in MEMBERS]
    facts = repr((VERSION, machine.machine, machine.release, members))
    return blake2b(facts.encode(), digest_size=_DIGEST_SIZE).hexdigest()


def _open(root: str) -> int:
    """Return a descriptor of the directory, made where it is missing; -1 where it is not ours alone."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        root_fd = state.open_root(root, create=True)
        try:
            _make(root_fd)
            directory = os.open(DIRECTORY, flags, dir_fd=root_fd)
        finally:
            os.close(root_fd)
    except (InvalidArgument, OSError):
        return (
            -1
        )  # where it is the root that cannot be used, whoever makes the container's directory will say so
    if _is_ours(directory):
        return directory
    os.close(directory)
    return -1


def _make(root_fd: int) -> None:
    try:
        os.mkdir(DIRECTORY, 0o700, dir_fd=root_fd)
    except FileExistsError:
        pass


def _is_ours(fd: int) -> bool:
    status = os.fstat(fd)
    return status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _read(directory: int, name: str) -> bytes | None:
    """Return the program of an entry; None for one that is missing, foreign, broken or of another library."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except OSError:
        return None
    try:
        data = state.read_all(fd) if _is_ours(fd) else b""
    except OSError:
        return None
    finally:
        os.close(fd)
    content = data[_DIGEST_SIZE:]
    identity, _, program = content.partition(b"\n")
    if data[:_DIGEST_SIZE] != _digest(name, content) or not _is_current(identity):
        return None
    return program


def _write(directory: int, name: str, library: str, program: bytes) -> None:
    """Keep an entry; one that cannot be kept is built again the next time."""
    temporary = f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        content = _identity(library) + b"\n" + program
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(temporary, flags, 0o600, dir_fd=directory)
        try:
            state.write_all(fd, _digest(name, content) + content)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        _discard_oldest(directory)
    except OSError:
        pass


def _discard_oldest(directory: int) -> None:
    names = os.listdir(directory)
    if len(names) > MOST:
        names.sort(key=lambda name: os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime_ns)
        for name in names[:-MOST]:
            os.unlink(name, dir_fd=directory)


def _digest(name: str, content: bytes) -> bytes:
    return blake2b(content, digest_size=_DIGEST_SIZE, key=name[:_DIGEST_SIZE].encode()).digest()


def _identity(library: str) -> bytes:
    """Return what tells the file of a library from a newer one of the same path."""
    status = os.stat(library)
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {library}".encode()


def _is_current(identity: bytes) -> bool:
    library = identity.decode().split(" ", 3)[3]
    try:
        return identity == _identity(library)
    except FileNotFoundError:
        return True  # there is nothing newer to build with
