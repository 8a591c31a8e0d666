"""The v2 cpuset controller: on which CPUs and memory nodes a cgroup may run.

Files: cpuset.cpus, cpuset.mems (cgroup-v2.rst, "Cpuset"). Spec: config-linux.md, `cpu.cpus`, `cpu.mems`.
"""

from __future__ import annotations

from libcgroups import cpulist

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.cgroup import Cgroup
    from libcgroups.stats import Stats

NAME = "cpuset"
POINTERS = cpulist.POINTERS
settings = cpulist.settings


def stats(cgroup: Cgroup) -> Stats:
    """Return where tasks may run. Raises CgroupError."""
    from libcgroups.stats import CpusetStats, Stats

    return Stats(
        cpuset=CpusetStats(
            cpus=cpulist.read(cgroup, "cpuset.cpus.effective"),
            mems=cpulist.read(cgroup, "cpuset.mems.effective"),
        )
    )
