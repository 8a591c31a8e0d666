# ruff: noqa: N818 – the names say what happened; "Error" at the end of each would say nothing more.
"""The errors that this library raises.

    Error
    ├── InvalidArgument        a path, unit name or resource value that is not acceptable; nothing was done
    ├── CgroupError            a cgroup cannot be made, joined, limited, frozen, read or removed
    │   ├── InUse              it holds processes, or is frozen, or holds the caller itself
    │   └── NotPermitted       the caller may not do that (EACCES, EPERM, EROFS)
    ├── Unsupported            this host (kernel, mounted hierarchies) cannot do what was requested
    └── Timeout                the kernel did not do it in time (the work may go on)

An error is data first: `path` and `value` say what was to be written where, `syscall` and `errno` what the
kernel answered, `pointer` (RFC 6901, from the top of the resources that were passed) which resource asked for
it, and `remedy` what to do about it. Nobody needs to parse the text.
"""

from __future__ import annotations

import errno as _errno
from os import strerror


class Error(Exception):
    """The base of every error of this library.

    One sentence, and the data behind it (None where it does not apply).
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        value: str | None = None,
        errno: int | None = None,
        syscall: str | None = None,
        remedy: str | None = None,
        pointer: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.value = value
        self.errno = errno
        self.syscall = syscall
        self.remedy = remedy
        self.pointer = pointer

    def __str__(self) -> str:
        return self.message if self.remedy is None else f"{self.message} – {self.remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments are not in `args`; without this an error could not cross a process boundary.
        return (_restore, (type(self), self.args, self.__dict__))


def _restore(kind: type[Error], args: tuple[object, ...], state: dict[str, object]) -> Error:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidArgument(Error, ValueError):
    """A path, a unit name or a resource value is not acceptable; nothing was done."""


class CgroupError(Error):
    """A cgroup cannot be made, joined, limited, frozen, read or removed."""


class InUse(CgroupError):
    """The cgroup holds processes, or is frozen, or holds the caller itself, where it must not."""


class NotPermitted(CgroupError):
    """The caller may not do that to this cgroup."""


class Unsupported(Error):
    """This host cannot do what was requested."""


class Timeout(Error, TimeoutError):
    """The kernel did not do what was asked in time. The work may go on."""


PERMISSION_ERRNOS = (_errno.EACCES, _errno.EPERM, _errno.EROFS)

# What an errno means depends on the call and the file: cgroup-v2.rst, cgroup-v1/cpusets.rst, cgroups(7).
_REMEDIES = {
    (
        "write",
        "cgroup.procs",
        _errno.EBUSY,
    ): "in cgroup v2 a cgroup that hands controllers to children holds no "
    "processes itself: choose a cgroup without children, or one below it",
    ("write", "cgroup.procs", _errno.ENOSPC): "the cpuset of this cgroup has no CPU or no memory node",
    ("write", "cgroup.procs", _errno.ESRCH): "the process has ended",
    (
        "write",
        "cgroup.procs",
        _errno.EOPNOTSUPP,
    ): "the cgroup or its parent is threaded: choose a domain cgroup",
    (
        "write",
        "cgroup.procs",
        _errno.EINVAL,
    ): "a real-time process may need cpu.rt_runtime_us above 0 in this cgroup",
    ("write", "cgroup.procs", _errno.EAGAIN): "the cgroup's pids.max is reached",
    ("write", "cgroup.subtree_control", _errno.EBUSY): "the cgroup holds processes, so it cannot hand this "
    "controller to its children: choose a path whose parent holds none",
    (
        "write",
        "cpu.rt_runtime_us",
        _errno.EINVAL,
    ): "the budgets of all children must fit into that of their parent: raise cpu.rt_runtime_us there",
    ("write", "cpuset.cpus", _errno.ERANGE): "this host has no CPU of such a number: "
    "/sys/devices/system/cpu/possible tells which there are",
    ("write", "cpuset.mems", _errno.ERANGE): "this host has no memory node of such a number: "
    "/sys/devices/system/node/possible tells which there are",
    (
        "write",
        "cpuset.cpus",
        _errno.EINVAL,
    ): "a CPU of the list is not online, or of another isolated partition",
    ("write", "cpuset.mems", _errno.EINVAL): "a memory node of the list has no memory",
    (
        "write",
        "cpuset.cpus",
        _errno.EACCES,
    ): "the cpuset above has not all of these CPUs, or is not this user's",
    (
        "write",
        "cpuset.mems",
        _errno.EACCES,
    ): "the cpuset above has not all of these nodes, or is not this user's",
    (
        "write",
        "*",
        _errno.ENOENT,
    ): "the cgroup does not exist, or this kernel or scheduler does not offer that file",
    ("inotify_init1", "", _errno.EMFILE): "raise fs.inotify.max_user_instances, or close files",
    ("inotify_add_watch", "", _errno.ENOSPC): "raise fs.inotify.max_user_watches",
    ("mkdir", "", _errno.EAGAIN): "cgroup.max.depth or cgroup.max.descendants of an ancestor is reached",
    ("mkdir", "", _errno.ENOSPC): "the kernel has no more cgroup ids: remove unused cgroups",
}
_NOT_PERMITTED = {
    _errno.EROFS: "the cgroup filesystem is mounted read-only here",
    _errno.EACCES: "run as root, or in a cgroup that was delegated to this user (systemd-run --user --scope)",
    _errno.EPERM: "run as root, or in a cgroup that was delegated to this user (systemd-run --user --scope)",
}


def from_os(
    error: OSError, syscall: str, path: str, value: str | None = None, pointer: str | None = None
) -> CgroupError:
    """Return the error that says which call on which file failed, with which value, and why.

    Raises nothing.
    """
    number = error.errno or 0
    file = path[path.rfind("/") + 1 :] if syscall == "write" else ""
    what = f"{syscall} {path}" if value is None else f"{syscall} {value!r} to {path}"
    name = _errno.errorcode.get(number, str(number))
    kind = NotPermitted if number in PERMISSION_ERRNOS else CgroupError
    return kind(
        f"cannot {what}: {strerror(number)} ({name})",
        path=path,
        value=value,
        errno=number,
        syscall=syscall,
        remedy=_REMEDIES.get((syscall, file, number))
        or _REMEDIES.get((syscall, "*", number))
        or _NOT_PERMITTED.get(number),
        pointer=pointer,
    )
