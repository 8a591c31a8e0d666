"""The manager of a pure v2 host: one cgroup, with the controllers enabled along its path.

Authority: cgroup-v2.rst ("Controlling Controllers", "Threads"). On the hot path: controllers' modules are
imported on use.
"""

from __future__ import annotations

import errno

from libcgroups.cgroup import Cgroup, read_file, write_file
from libcgroups.errors import PERMISSION_ERRNOS, CgroupError, Unsupported, from_os
from libcgroups.manager import Manager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from libcgroups.controllers import Change
    from libcgroups.resources import Resources
    from libcgroups.stats import Stats

RESOURCES = {  # resource → modules of this package, in the order of writing; unified is last: it overrides
    "blockIO": ("io",),
    "cpu": ("cpuset", "cpu"),
    "devices": ("devices",),
    "hugepageLimits": ("hugetlb",),
    "memory": ("memory",),
    "network": ("network",),
    "pids": ("pids",),
    "rdma": ("rdma",),
    "unified": ("unified",),
}
MEASURED = ("cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids", "rdma")
NOT_CONTROLLERS = ("devices",)  # limited by other means than a controller's files
THREADED_CONTROLLERS = ("cpu", "cpuset", "perf_event", "pids")  # cgroup-v2.rst, "Threads"


class V2Manager(Manager):
    """A cgroup in the unified hierarchy."""

    @property
    def cgroup(self) -> Cgroup:
        """The one cgroup; raises Unsupported when the caller has to do without."""
        if not self.cgroups:
            raise Unsupported(f"there is no cgroup ({self.reason})", remedy="run where a cgroup can be made")
        return self.cgroups[0]

    @property
    def primary(self) -> Cgroup | None:
        """The one cgroup, None when the caller has to do without."""
        return self.cgroups[0] if self.cgroups else None

    def _create(self, cgroup: Cgroup) -> None:
        cgroup.create()
        _enable_controllers(cgroup)
        # Below a populated or threaded cgroup a new one is invalid as a domain; as a threaded one it can be
        # joined.
        if _kind(cgroup) == "domain invalid":
            cgroup.write("cgroup.type", "threaded")

    def check(self, resources: Resources | None) -> None:
        """See Manager.check.

        A controller that the whole hierarchy does not have is missed here; which ones are handed down to the
        cgroup is seen when it exists, hence by `apply`.
        """
        changes = self._wanted(resources)
        if not changes:
            return
        try:
            offered = read_file(f"{self.cgroup.mount_point}/cgroup.controllers").split()
        except OSError:  # no look without a hierarchy: `create` will say what is wrong with it
            return
        for change in changes:
            for name in _controllers_of(change):
                if name not in offered:
                    raise self._refuse_disabled(name, change.first_pointer, None)

    def apply(self, resources: Resources | None) -> None:
        """See Manager.apply."""
        changes = self._wanted(resources)
        self._require(changes)
        for change in changes:
            self._limited.add(self.cgroup.directory)
            change.write(self.cgroup)

    def device_program(self, resources: Resources | None) -> bytes:
        """See Manager.device_program."""
        if not self.cgroups or not (resources or {}).get("devices"):
            return b""
        from libcgroups.devices.program import compile_rules
        from libcgroups.devices.rules import parse

        return compile_rules(parse(resources or {}))

    def _wanted(self, resources: Resources | None) -> Sequence[Change]:
        if not resources:
            return []
        from libcgroups.controllers import wanted

        found = wanted(resources, RESOURCES, "libcgroups.v2")
        if found and not self.cgroups:
            raise self._refuse_without_cgroup(found[0].first_pointer)
        return found

    def _require(self, changes: Sequence[Change]) -> None:
        """Refuse controllers that are not enabled here, or do not fit the type of the cgroup."""
        if not changes:
            return
        threaded = _kind(self.cgroup) in ("threaded", "domain threaded")
        enabled = self.cgroup.read("cgroup.controllers").split()
        for change in changes:
            for name in _controllers_of(change):
                if threaded and name not in THREADED_CONTROLLERS:
                    raise self._refuse_threaded(name, change.first_pointer)
                if name in enabled:
                    continue
                cause = _enable_again(self.cgroup, name)
                if name not in self.cgroup.read("cgroup.controllers").split():
                    raise self._refuse_disabled(name, change.first_pointer, cause)

    def _refuse_threaded(self, name: str, pointer: str) -> CgroupError:
        return CgroupError(
            f"{self.cgroup.directory} is in threaded mode, which has no {name} controller",
            path=self.cgroup.directory,
            value=name,
            errno=errno.EOPNOTSUPP,
            remedy="choose a path whose parent holds no processes, or remove the limit",
            pointer=pointer,
        )

    def _refuse_disabled(self, name: str, pointer: str, cause: CgroupError | None) -> Unsupported:
        """`cause` is what the kernel said to enabling it, None when the path does not have it at all."""
        return Unsupported(
            f"the {name} controller is not available in {self.cgroup.directory}"
            + (f": {cause.message}" if cause else ": the kernel has none, or keeps it in a v1 hierarchy"),
            path=self.cgroup.directory,
            value=name,
            errno=cause.errno if cause else errno.ENOENT,
            remedy=(cause.remedy if cause else None)
            or "remove the limit, or have the controller delegated to this path",
            pointer=pointer,
        )

    def _measure(self) -> Stats:
        return measure(self.cgroup)

    def freeze(self) -> None:
        """See Manager.freeze."""
        from libcgroups.v2 import freezer

        cgroup = self.cgroup
        self.refuse_own_cgroup("freeze")
        freezer.freeze(cgroup)

    def thaw(self) -> None:
        """See Manager.thaw."""
        from libcgroups.v2 import freezer

        freezer.thaw(self.cgroup)

    def frozen(self) -> bool:
        """See Manager.frozen."""
        if not self.cgroups:
            return False
        from libcgroups.v2 import freezer

        return freezer.frozen(self.cgroup)

    def thaw_for_kill(self) -> None:
        """See Manager.thaw_for_kill.

        Nothing to do: a frozen process of v2 dies by SIGKILL, also below a frozen ancestor, which this cgroup
        could not be thawed from (cgroup-v2.rst, "cgroup.freeze"); and there may be no cgroup at all.
        """


def measure(cgroup: Cgroup) -> Stats:
    """Return what a cgroup of the unified hierarchy uses. Raises CgroupError."""
    from libcgroups.controllers import load
    from libcgroups.stats import Stats

    found = Stats()
    for name in MEASURED:
        found |= load("libcgroups.v2", name).stats(cgroup)
    return found


def _controllers_of(change: Change) -> list[str]:
    """A module stands for one controller; `unified` names them by its files, of which cgroup.* need none."""
    if change.controller.NAME in NOT_CONTROLLERS:
        return []
    if change.controller.NAME:
        return [change.controller.NAME]
    return [name for name in (file.partition(".")[0] for file, _ in change.settings) if name != "cgroup"]


def _kind(cgroup: Cgroup) -> str:
    """Return the text of cgroup.type; "domain" where the file is missing (before Linux 4.14)."""
    try:
        return cgroup.read("cgroup.type").strip()
    except CgroupError as error:
        if error.errno == errno.ENOENT:
            return "domain"
        raise


def _enable_controllers(cgroup: Cgroup) -> None:
    """Hand every controller of the hierarchy down the path, as far as the kernel lets us.

    A controller that cannot be had is no error here: whoever asks for a limit of it gets the reason from
    `apply`.
    """
    available = _words(cgroup.mount_point, "cgroup.controllers")
    if set(available) <= set(_words(cgroup.directory, "cgroup.controllers")):
        return
    for level in range(cgroup.path.count("/"), 0, -1):
        directory = cgroup.ancestor(level)
        offered = _words(directory, "cgroup.controllers")
        enabled = _words(directory, "cgroup.subtree_control")
        missing = [name for name in offered if name not in enabled]
        if missing and _enable(directory, missing) not in (0, *PERMISSION_ERRNOS):
            for name in missing:
                _enable(directory, [name])


def _enable(directory: str, names: list[str]) -> int:
    """Hand `names` to the children of `directory`; return 0 or the errno."""
    try:
        write_file(f"{directory}/cgroup.subtree_control", " ".join(f"+{name}" for name in names))
    except OSError as error:  # not swallowed: `apply` repeats it for a controller that somebody asked for
        return error.errno or errno.EIO
    return 0


def _enable_again(cgroup: Cgroup, name: str) -> CgroupError | None:
    """Enable `name` down the path, and return what the kernel says where that fails."""
    for level in range(cgroup.path.count("/"), 0, -1):
        directory = cgroup.ancestor(level)
        if name in _words(directory, "cgroup.subtree_control"):
            continue
        if name not in _words(directory, "cgroup.controllers"):
            return None
        path = f"{directory}/cgroup.subtree_control"
        try:
            write_file(path, f"+{name}")
        except OSError as error:
            return from_os(error, "write", path, f"+{name}")
    return None


def _words(directory: str, file: str) -> list[str]:
    path = f"{directory}/{file}"
    try:
        return read_file(path).split()
    except OSError as error:
        raise from_os(error, "read", path) from error
