"""What the host offers: which cgroup hierarchies are mounted where, and in which cgroups the caller is.

Authority: cgroups(7), proc(5) on /proc/self/mountinfo and /proc/self/cgroup, cgroup-v2.rst ("Mounting").
On the hot path: two small reads; a mount table is parsed again only when it has changed.
"""

from __future__ import annotations

import os

from libcgroups.errors import CgroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    Mode = Literal["v1", "hybrid", "v2", "none"]

DEFAULT_ROOT = "/sys/fs/cgroup"

# cgroup v1 is frozen: no controller will be added. Other words among the mount options are flags (xattr,
# noprefix, …).
V1_CONTROLLERS = frozenset(
    (
        *("blkio", "cpu", "cpuacct", "cpuset", "debug", "devices", "freezer", "hugetlb", "memory", "misc"),
        *("net_cls", "net_prio", "perf_event", "pids", "rdma"),
    )
)


class Hierarchy:
    """One mounted hierarchy.

    `mount_point` is where, `root` which of its cgroups is visible there ("/" but in a container),
    `controllers` the controllers of a v1 hierarchy in the kernel's order, a named one as "name=systemd"; none
    for the unified hierarchy.
    """

    __slots__ = ("controllers", "mount_point", "root")

    def __init__(self, mount_point: str, controllers: tuple[str, ...] = (), root: str = "/") -> None:
        self.mount_point = mount_point
        self.controllers = controllers
        self.root = root

    @property
    def mount_data(self) -> str:
        """The data for mount(2) that mounts this v1 hierarchy again: "cpu,cpuacct" or "name=systemd"."""
        return ",".join(self.controllers)

    @property
    def links(self) -> tuple[str, ...]:
        """The names by which people look for controllers that are mounted together: `cpu` → `cpu,cpuacct`."""
        if len(self.controllers) < 2:
            return ()
        name = os.path.basename(self.mount_point)
        return tuple(controller for controller in self.controllers if controller != name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hierarchy) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Hierarchy({self.mount_point!r}, {self.controllers!r}, root={self.root!r})"

    def _key(self) -> tuple[str, tuple[str, ...], str]:
        return self.mount_point, self.controllers, self.root


class Setup:
    """The host's cgroup arrangement.

    `mode` is "v1", "hybrid" (v1 controllers with an empty unified hierarchy beside them), "v2" or "none";
    `hierarchies` the v1 ones by mount point; `unified_hierarchy` the v2 one or None, `unified` its mount
    point.
    """

    __slots__ = ("hierarchies", "mode", "unified_hierarchy")

    def __init__(
        self, mode: Mode, hierarchies: tuple[Hierarchy, ...] = (), unified: Hierarchy | None = None
    ) -> None:
        self.mode: Mode = mode
        self.hierarchies = hierarchies
        self.unified_hierarchy = unified

    @property
    def unified(self) -> str | None:
        """The mount point of the unified hierarchy, or None."""
        return None if self.unified_hierarchy is None else self.unified_hierarchy.mount_point

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Setup) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"Setup({self.mode!r}, {self.hierarchies!r}, {self.unified_hierarchy!r})"


_last: tuple[str, str, Setup] | None = None  # mount table, root, and what they say


def detect(root: str = DEFAULT_ROOT) -> Setup:
    """Tell which hierarchies are mounted at and below `root`; "none" when no cgroup filesystem is there.

    Raises CgroupError when /proc cannot be read.
    """
    global _last
    table = _read("/proc/self/mountinfo")
    root = root.rstrip("/") or "/"
    if _last is not None and _last[:2] == (table, root):
        return _last[2]
    setup = parse_mountinfo(table, root)
    if setup.mode != "none":
        _last = table, root, setup
        return setup
    real = os.path.realpath(root)  # mountinfo knows real paths only
    return setup if real == root else parse_mountinfo(table, real)


def parse_mountinfo(table: str, root: str = DEFAULT_ROOT) -> Setup:
    """Return the Setup that the text of a mountinfo file describes. Pure.

    A later mount on the same place, or on `root` itself, hides what was there before. Of one hierarchy that
    is mounted twice (`cpu` and `cpuacct` instead of a symbolic link) the first by name counts.
    """
    visible: dict[str, Hierarchy | None] = {}
    unified: Hierarchy | None = None
    for mount_point, filesystem, inside, options in _mounts(table, root):
        if mount_point == root:
            visible.clear()
            unified = None
        visible[mount_point] = None
        if unified is not None and unified.mount_point == mount_point:
            unified = None
        if filesystem == "cgroup2" and (unified is None or mount_point.endswith("/unified")):
            unified = Hierarchy(mount_point, (), inside)
        elif filesystem == "cgroup":
            visible[mount_point] = Hierarchy(mount_point, _controllers(options), inside)
    if unified is not None and unified.mount_point == root:
        return Setup("v2", (), unified)
    hierarchies = _distinct(visible)
    if not hierarchies:
        # A lone cgroup2 below the root (and nothing else) is an unusual but complete v2 arrangement.
        return Setup("none") if unified is None else Setup("v2", (), unified)
    return Setup("v1" if unified is None else "hybrid", hierarchies, unified)


def own_cgroups() -> dict[str, str]:
    """Return the caller's cgroups: controller ("name=…" named hierarchy, "" the unified one) → path.

    Raises CgroupError when /proc cannot be read.
    """
    return parse_proc_cgroup(_read("/proc/self/cgroup"))


def parse_proc_cgroup(table: str) -> dict[str, str]:
    """Return controller → path of the text of a /proc/PID/cgroup file. Pure."""
    own: dict[str, str] = {}
    for line in table.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            own[controller] = path
    return own


def _mounts(table: str, root: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield (mount point, filesystem type, root within it, super options) of mounts at and below `root`."""
    below = root if root.endswith("/") else root + "/"
    for line in table.split("\n"):
        if root not in line and "\\" not in line:  # cheap: hosts of containers have thousands of mounts
            continue
        fields, _, tail = line.partition(" - ")
        head = fields.split(" ")
        if len(head) < 6:
            continue
        mount_point = _unescape(head[4])
        if mount_point != root and not mount_point.startswith(below):
            continue
        filesystem, _, rest = tail.partition(" ")
        yield mount_point, filesystem, _unescape(head[3]), rest.rpartition(" ")[2]


def _controllers(options: str) -> tuple[str, ...]:
    return tuple(word for word in options.split(",") if word in V1_CONTROLLERS or word.startswith("name="))


def _distinct(visible: dict[str, Hierarchy | None]) -> tuple[Hierarchy, ...]:
    found: dict[tuple[str, ...], Hierarchy] = {}
    for _, hierarchy in sorted(visible.items()):
        if hierarchy is not None and hierarchy.controllers:
            found.setdefault(hierarchy.controllers, hierarchy)
    return tuple(found.values())


def _unescape(field: str) -> str:
    r"""Undo the octal escapes of mountinfo: \040 space, \011 tab, \012 newline, \134 backslash."""
    if "\\" not in field:
        return field
    first, *rest = field.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def _read(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise CgroupError(
            f"cannot read {path}: {os.strerror(error.errno or 0)}",
            path=path,
            errno=error.errno,
            syscall="open",
            remedy="mount /proc",
        ) from error
    try:
        chunks = []
        while chunk := os.read(fd, 1 << 16):
            chunks.append(chunk)
    finally:
        os.close(fd)
    return os.fsdecode(b"".join(chunks))
