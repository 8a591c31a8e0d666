"""The manager of a v1 or hybrid host: the same path in every hierarchy, named and unified ones included.

Authority: cgroup-v1/cgroups.rst, cgroups(7). On the hot path: the modules of controllers and of the freezer
are imported on use.
"""

from __future__ import annotations

import errno

from libcgroups.cgroup import Cgroup
from libcgroups.errors import CgroupError, Unsupported
from libcgroups.manager import Manager
from libcgroups.v1 import freezer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from libcgroups.controllers import Change
    from libcgroups.resources import Resources
    from libcgroups.stats import Stats

RESOURCES = {  # resource → modules of this package, in the order of writing
    "blockIO": ("blkio",),
    "cpu": ("cpuset", "cpu"),
    "devices": ("devices",),
    "hugepageLimits": ("hugetlb",),
    "memory": ("memory",),
    "network": ("net_cls", "net_prio"),
    "pids": ("pids",),
    "rdma": ("rdma",),
    "unified": ("unified",),
}
MEASURED = ("blkio", "cpu", "cpuacct", "cpuset", "hugetlb", "memory", "misc", "pids", "rdma")


class V1Manager(Manager):
    """A cgroup in all v1 hierarchies, and in the unified one beside them if there is one."""

    @property
    def primary(self) -> Cgroup | None:
        """The freezer's cgroup: a process that leaves it escapes freezing, so it is the one that counts."""
        return self.cgroup_of("freezer") or (self.cgroups[0] if self.cgroups else None)

    def _create(self, cgroup: Cgroup) -> None:
        cgroup.create()
        if "cpuset" in cgroup.controllers:
            from libcgroups.v1 import cpuset

            cpuset.fill(cgroup)

    def check(self, resources: Resources | None) -> None:
        """See Manager.check."""
        self._wanted(resources)

    def apply(self, resources: Resources | None) -> None:
        """See Manager.apply."""
        for cgroup, change in self._wanted(resources):
            self._limited.add(cgroup.directory)
            change.write(cgroup)

    def _wanted(self, resources: Resources | None) -> list[tuple[Cgroup, Change]]:
        if not resources:
            return []
        from libcgroups.controllers import wanted

        found = []
        for change in wanted(resources, RESOURCES, "libcgroups.v1"):
            cgroup = self.cgroup_of(change.controller.NAME)
            if cgroup is None:
                raise self._refuse(change.controller.NAME, change.first_pointer)
            found.append((cgroup, change))
        return found

    def _refuse(self, controller: str, pointer: str) -> Unsupported:
        if not self.cgroups or self.reason:
            return self._refuse_without_cgroup(pointer)
        return Unsupported(
            f"{pointer}: this needs the {controller} controller, which is not mounted as cgroup v1 here",
            value=controller,
            errno=errno.ENOENT,
            remedy=f"mount it (mount -t cgroup -o {controller} …), or remove the limit",
            pointer=pointer,
        )

    def _measure(self) -> Stats:
        from libcgroups.controllers import load
        from libcgroups.stats import Stats

        found = Stats()
        for name in MEASURED:
            cgroup = self.cgroup_of(name)
            if cgroup is not None:
                found |= load("libcgroups.v1", name).stats(cgroup)
        if self.unified is not None:  # pressure, which only it has, and whatever no v1 hierarchy has taken
            from libcgroups.v2 import manager as v2

            found |= v2.measure(self.unified)
        return found

    def freeze(self) -> None:
        """See Manager.freeze."""
        module, cgroup = self._freezer()
        self.refuse_own_cgroup("freeze")
        module.freeze(cgroup)

    def thaw(self) -> None:
        """See Manager.thaw."""
        module, cgroup = self._freezer()
        module.thaw(cgroup)

    def frozen(self) -> bool:
        """See Manager.frozen."""
        cgroup = self.cgroup_of("freezer")
        if cgroup is not None:
            return freezer.frozen(cgroup)
        if self.unified is None:
            return False
        from libcgroups.v2 import freezer as unified_freezer

        return unified_freezer.frozen(self.unified)

    def _freezer(self) -> tuple[ModuleType, Cgroup]:
        cgroup = self.cgroup_of("freezer")
        if cgroup is not None:
            return freezer, cgroup
        if self.unified is None:
            raise Unsupported(
                "freezer not supported: no freezer hierarchy is mounted"
                + (f" ({self.reason})" if self.reason else ""),
                remedy="mount the v1 freezer controller",
            )
        # The unified hierarchy of a hybrid host freezes without any controller.
        from libcgroups.v2 import freezer as unified_freezer

        return unified_freezer, self.unified

    def thaw_for_kill(self) -> None:
        """Thaw nested cgroups too: what the v1 freezer stopped dies only when thawed."""
        cgroup = self.cgroup_of("freezer")
        if cgroup is not None:
            freezer.thaw_nested(cgroup)
        if self.unified is not None:
            from libcgroups.v2 import freezer as unified_freezer

            unified_freezer.thaw(self.unified)

    def populated(self) -> bool:
        """See Manager.populated.

        Asks both the freezer's and the unified hierarchy, as a process may leave one of them.
        """
        if super().populated():
            return True
        if self.unified is None:
            return False
        try:
            return "populated 1" in self.unified.read("cgroup.events").split("\n")
        except CgroupError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                return False
            raise
