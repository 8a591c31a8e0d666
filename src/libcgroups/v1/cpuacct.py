"""The v1 cpuacct controller: how much CPU time a cgroup has used. It limits nothing.

Files: cpuacct.usage, cpuacct.stat, cpuacct.usage_percpu* (cgroup-v1/cpuacct.rst).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.cgroup import Cgroup
    from libcgroups.stats import Stats

NAME = "cpuacct"
_NS_PER_S = 1_000_000_000


def stats(cgroup: Cgroup) -> Stats:
    """Return the CPU time used. Raises CgroupError.

    User and system time come from cpuacct.stat, which the kernel fits to the time that was measured, and not
    from cpuacct.usage_user and usage_sys, which only count what was running at each tick.
    """
    from libcgroups import formats
    from libcgroups.stats import CpuStats, Stats

    ticks = formats.flat(cgroup, "cpuacct.stat") or {}
    tick_ns = _NS_PER_S // os.sysconf("SC_CLK_TCK")
    return Stats(
        cpu=CpuStats(
            usage_ns=formats.number(cgroup, "cpuacct.usage"),
            user_ns=formats.scaled(ticks.get("user"), tick_ns),
            system_ns=formats.scaled(ticks.get("system"), tick_ns),
            per_cpu_ns=formats.numbers(cgroup, "cpuacct.usage_percpu"),
            per_cpu_user_ns=formats.numbers(cgroup, "cpuacct.usage_percpu_user"),
            per_cpu_system_ns=formats.numbers(cgroup, "cpuacct.usage_percpu_sys"),
        )
    )
