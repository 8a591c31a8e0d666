"""What the compiler needs to know about the host, gathered when asked for and only once.

A `Host` is the only way in which `plan` learns of the outside; tests hand it other facts. On the hot path.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from libcontainer.seccomp.cache import Cache

CAP_SYS_ADMIN, CAP_MKNOD = 21, 27
STATUS_FIELDS = ("CapPrm", "CapBnd", "Seccomp")

# fsopen(2), open_tree(2), move_mount(2) came with 5.2, mount_setattr(2) with 5.12.
NEW_MOUNT_API = (5, 12)
SETNS_OF_PIDFD = (5, 8)
# open_tree, move_mount, fsopen, fsconfig, fsmount, mount_setattr: the same numbers on every architecture.
NEW_MOUNT_CALLS = (428, 429, 430, 431, 432, 442)


class MountEntry:
    """One line of /proc/self/mountinfo (proc_pid_mountinfo(5))."""

    __slots__ = ("fstype", "mount_point", "options", "propagation", "root", "super_options")

    def __init__(self, line: str) -> None:
        fields, _, after = line.partition(" - ")
        parts = fields.split(" ")
        kind = after.split(" ")
        self.root = unescape(parts[3])
        self.mount_point = unescape(parts[4])
        self.options = parts[5].split(",")
        self.propagation = parts[6:]
        self.fstype = kind[0]
        self.super_options = kind[-1].strip().split(",")


def unescape(text: str) -> str:
    """Undo the octal escapes of mountinfo: space, tab, newline and backslash."""
    if "\\" not in text:
        return text
    for escape, character in ("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"):
        text = text.replace(escape, character)
    return text


class Host:
    """Facts about this host and this process. Keyword arguments replace what would be gathered.

    `euid`, `egid`: the effective ids. `capabilities`, `bounding`: masks of the permitted and bounding sets.
    `in_user_namespace`: not the initial one. `privileged`: may mount and make namespaces without a new user
    namespace. `new_mount_api`: the mount calls of Linux 5.2 and 5.12 are there. `joins_by_pidfd`: setns(2) takes a
    pidfd. `mounts`: the mount table. `apparmor`, `selinux`: the security module is active. `kcore`: there is a
    /proc/kcore. `status`: fields of /proc/self/status. `filters`: what compiles system call filters
    (seccomp.cache.Cache).
    """

    if TYPE_CHECKING:
        status: dict[str, str]
        euid: int
        egid: int
        capabilities: int
        bounding: int
        in_user_namespace: bool
        new_mount_api: bool
        joins_by_pidfd: bool
        mounts: list[MountEntry]
        apparmor: bool
        selinux: bool
        kcore: bool
        filters: Cache

    def __init__(self, **facts: Any) -> None:
        self.__dict__.update(facts)

    def __getattr__(self, name: str) -> object:
        gather = _GATHER.get(name)
        if gather is None:
            raise AttributeError(name)
        value = self.__dict__[name] = gather(self)
        return value

    @property
    def privileged(self) -> bool:
        """Whether mounts and namespaces can be made without a new user namespace."""
        return bool(self.capabilities >> CAP_SYS_ADMIN & 1)

    @property
    def may_make_devices(self) -> bool:
        """Whether mknod(2) makes usable device nodes: only in the initial user namespace."""
        return not self.in_user_namespace and bool(self.capabilities >> CAP_MKNOD & 1)


def _status() -> dict[str, str]:
    """Return the fields of /proc/self/status that somebody asks for (proc_pid_status(5))."""
    text = _read("/proc/self/status")
    found = {name: text.partition(f"\n{name}:\t")[2].partition("\n")[0] for name in STATUS_FIELDS}
    return {name: value for name, value in found.items() if value}


def _in_user_namespace() -> bool:
    return _read("/proc/self/uid_map").split() != ["0", "0", "4294967295"]


def _read(path: str) -> str:
    """Return the text of a small file of /proc. What `open` does for any file takes longer than the kernel."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 1 << 16).decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)


def kernel_version() -> tuple[int, int]:
    """Return the version of the kernel (uname(2))."""
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join([c for c in minor if c.isdigit()]) or 0)


def _new_mount_api(host: Host) -> bool:
    if kernel_version() < NEW_MOUNT_API:
        return False
    # Only a filter around us can hide calls that the kernel has.
    return host.status.get("Seccomp", "0") == "0" or _answers(NEW_MOUNT_CALLS)


def _answers(calls: tuple[int, ...]) -> bool:
    """Tell whether none of these system calls is missing. Arguments that no call takes make it fail otherwise."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    for call in calls:
        if libc.syscall(call, -1, None, -1, None, -1) < 0 and ctypes.get_errno() == errno.ENOSYS:
            return False
    return True


def _mounts() -> list[MountEntry]:
    with open("/proc/self/mountinfo") as file:
        return [MountEntry(line) for line in file]


def _apparmor() -> bool:
    try:
        with open("/sys/module/apparmor/parameters/enabled") as file:
            return file.read(1) == "Y"
    except OSError:
        return False


def _filters() -> Cache:
    from libcontainer.seccomp.cache import Cache

    return Cache()


_GATHER: dict[str, Callable[[Host], object]] = {
    "euid": lambda _: os.geteuid(),
    "egid": lambda _: os.getegid(),
    "status": lambda _: _status(),
    "capabilities": lambda host: int(host.status["CapPrm"], 16),
    "bounding": lambda host: int(host.status["CapBnd"], 16),
    "in_user_namespace": lambda _: _in_user_namespace(),
    "new_mount_api": _new_mount_api,
    "joins_by_pidfd": lambda _: kernel_version() >= SETNS_OF_PIDFD,
    "mounts": lambda _: _mounts(),
    "apparmor": lambda _: _apparmor(),
    "selinux": lambda _: os.path.exists("/sys/fs/selinux/enforce"),
    "kcore": lambda _: os.path.exists("/proc/kcore"),
    "filters": lambda _: _filters(),
}
