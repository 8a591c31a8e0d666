"""The v2 cpuset controller: on which CPUs and memory nodes a cgroup may run.

Files: cpuset.cpus, cpuset.mems (cgroup-v2.rst, "Cpuset"). Spec: config-linux.md, `cpu.cpus`, `cpu.mems`.
"""

from __future__ import annotations

from libcgroups import resources as fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.cgroup import Cgroup
    from libcgroups.resources import Resources
    from libcgroups.stats import Stats

NAME = "cpuset"
POINTERS = {"cpuset.cpus": "/cpu/cpus", "cpuset.mems": "/cpu/mems"}


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return what to write, [(file, value)]; empty when nothing was asked for. Raises InvalidArgument."""
    if not fields_of.any_of(resources, "cpu", ("cpus", "mems")):
        return []
    from libcgroups import cpulist

    return cpulist.settings(resources)


def stats(cgroup: Cgroup) -> Stats:
    """Return where tasks may run. Raises CgroupError."""
    from libcgroups import cpulist
    from libcgroups.stats import CpusetStats, Stats

    return Stats(
        cpuset=CpusetStats(
            cpus=cpulist.read(cgroup, "cpuset.cpus.effective"),
            mems=cpulist.read(cgroup, "cpuset.mems.effective"),
        )
    )
