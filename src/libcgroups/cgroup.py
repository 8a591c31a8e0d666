"""One cgroup in one hierarchy: a directory of the kernel's, with files to write and to read.

Authority: cgroups(7), cgroup-v2.rst, cgroup-v1/cgroups.rst. On the hot path: plain system calls, no stat
before an act. Files are opened without O_CREAT (a missing file means a missing controller) and without
following symbolic links; Python repeats calls that a signal interrupted (PEP 475) and opens close-on-exec
(PEP 446).
"""

from __future__ import annotations

import errno
import os

from libcgroups.errors import CgroupError, from_os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcgroups.host import Hierarchy

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_MKDIR_ATTEMPTS = 16  # others may remove a parent between our mkdir of it and of its child


class Cgroup:
    """The cgroup `path` (absolute, normalised) of `hierarchy`.

    `directory` is its absolute directory; `made` counts how many of the last components of `path` this
    library made: 0 means the cgroup was there before and is somebody else's, 2 that its parent is ours too.
    """

    __slots__ = ("directory", "hierarchy", "made", "path")

    def __init__(self, hierarchy: Hierarchy, path: str, made: int = 0) -> None:
        self.hierarchy = hierarchy
        self.path = path
        self.directory = hierarchy.mount_point + path
        self.made = made

    @property
    def mount_point(self) -> str:
        """Where the hierarchy is mounted."""
        return self.hierarchy.mount_point

    @property
    def controllers(self) -> tuple[str, ...]:
        """The v1 controllers of the hierarchy ("name=…" for a named one); none for the unified hierarchy."""
        return self.hierarchy.controllers

    @property
    def mount_data(self) -> str:
        """The data for mount(2) that mounts the same v1 hierarchy again, for example inside a container."""
        return self.hierarchy.mount_data

    @property
    def links(self) -> tuple[str, ...]:
        """The symbolic links that co-mounted controllers need beside the mount."""
        return self.hierarchy.links

    def __repr__(self) -> str:
        return f"Cgroup({self.directory!r}, made={self.made})"

    def ancestor(self, levels: int) -> str:
        """Return the directory `levels` above this one (0 is this one), never above the mount point."""
        directory = self.directory
        for _ in range(min(levels, self.path.count("/"))):
            directory = directory[: directory.rfind("/")]
        return directory

    def create(self) -> None:
        """Make the directory and the parents that are missing, and count in `made` those that were.

        Mode 0755, less the caller's umask. A directory that exists is used as it is.
        Raises NotPermitted (then nothing was made) and CgroupError.
        """
        try:
            os.mkdir(self.directory, 0o755)
        except FileExistsError:
            return
        except FileNotFoundError:
            self._create_with_parents()
        except OSError as error:
            raise from_os(error, "mkdir", self.directory) from error
        else:
            self.made = max(self.made, 1)

    def _create_with_parents(self) -> None:
        depth = self.path.count("/")
        level = made = 0
        for _ in range(_MKDIR_ATTEMPTS * (depth + 1)):
            directory = self.ancestor(level)
            try:
                os.mkdir(directory, 0o755)
                made += 1
            except FileExistsError:
                made = 0
            except FileNotFoundError:
                made = 0
                level += 1
                if level >= depth:
                    break
                continue
            except OSError as error:
                self.made = 0
                remove_empty(self.ancestor(level + 1), made)
                raise from_os(error, "mkdir", directory) from error
            if level == 0:
                self.made = made
                return
            level -= 1
        raise CgroupError(
            f"cannot make {self.directory}: its parents vanish again and again",
            path=self.directory,
            errno=errno.ENOENT,
            syscall="mkdir",
            remedy="check that the hierarchy is still mounted and that nobody removes the parent cgroup",
        )

    def missing(self) -> int:
        """Return how many of the last components of the path do not exist now: what `create` would make."""
        depth = self.path.count("/")
        for level in range(depth):
            if os.access(self.ancestor(level), os.F_OK):
                return level
        return depth

    def exists(self) -> bool:
        """Tell whether the directory exists."""
        return os.access(self.directory, os.F_OK)

    def has(self, file: str) -> bool:
        """Tell whether this kernel, with the controllers that are enabled here, offers `file`."""
        return os.access(f"{self.directory}/{file}", os.F_OK)

    def read(self, file: str) -> str:
        """Return the text of `file`; raises CgroupError."""
        path = f"{self.directory}/{file}"
        try:
            return read_file(path)
        except OSError as error:
            raise from_os(error, "read", path) from error

    def write(self, file: str, value: str, pointer: str | None = None) -> None:
        """Write `value` to `file` in one write(2); raises CgroupError with path, value and errno."""
        path = f"{self.directory}/{file}"
        try:
            write_file(path, value)
        except OSError as error:
            raise from_os(error, "write", path, value, pointer) from error

    def open_fd(self) -> int:
        """Return a new descriptor of the directory, close-on-exec; the caller closes it.

        Raises CgroupError.
        """
        try:
            return os.open(self.directory, DIRECTORY)
        except OSError as error:
            raise from_os(error, "open", self.directory) from error


def read_file(path: str, dir_fd: int | None = None) -> str:
    """Return the whole text of a kernel file (several reads: the kernel gives about a page at a time)."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=dir_fd)
    try:
        text = os.read(fd, 1 << 16)
        while chunk := text and os.read(fd, 1 << 16):
            text += chunk
    finally:
        os.close(fd)
    return text.decode("utf-8", "surrogateescape")


def write_file(path: str, value: str, dir_fd: int | None = None) -> None:
    """Write `value` in one write(2), which is how the kernel's files take a value. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW, dir_fd=dir_fd)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def walk(directory: str) -> Iterator[int]:
    """Yield a descriptor of `directory`, then of each directory below it, parents first.

    A descriptor is good until the next one is asked for. Two are open at most, and no path is put together:
    the payload may have nested its cgroups deeper than RLIMIT_NOFILE and PATH_MAX allow. What vanishes
    meanwhile is left out.
    """
    try:
        fd = os.open(directory, DIRECTORY)
    except FileNotFoundError:
        return
    try:
        yield fd
        pending = [subdirectories(fd)]
        while pending:
            if not pending[-1]:
                pending.pop()
                if pending:
                    fd = _step(fd, "..")
                continue
            try:
                fd = _step(fd, pending[-1].pop())
            except FileNotFoundError:
                continue
            yield fd
            pending.append(subdirectories(fd))
    finally:
        os.close(fd)


def _step(fd: int, name: str) -> int:
    """Open the directory `name` next to `fd`, which is closed when that succeeds."""
    new = os.open(name, DIRECTORY, dir_fd=fd)
    os.close(fd)
    return new


def subdirectories(fd: int) -> list[str]:
    """Return the names of the directories in the directory `fd`; those of a removed cgroup are none."""
    # kernfs counts subdirectories in the link count, so that the usual cgroup without any costs one fstat.
    if os.fstat(fd).st_nlink == 2:
        return []
    with os.scandir(fd) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def remove_empty(directory: str, levels: int) -> None:
    """Remove `directory` and then its parents, `levels` in all, as long as they are empty.

    The rest is somebody's.
    """
    for _ in range(levels):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            pass  # removed by somebody else: what we wanted
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
                return  # another cgroup moved in beside ours and keeps the parent
            raise from_os(error, "rmdir", directory) from error
        directory = directory[: directory.rfind("/")]
