"""The v1 cpu controller: a share of the CPU time, a ceiling to it, and real-time budgets.

Files: cpu.shares, cpu.idle, cpu.cfs_*, cpu.rt_* (scheduler/sched-bwc.rst, sched-rt-group.rst; times in µs).
Spec: config-linux.md, `cpu`. Which order the kernel accepts depends on the old values: see
controllers.write_all.
"""

from __future__ import annotations

from libcgroups import cpubandwidth
from libcgroups import resources as fields_of
from libcgroups.cgroup import Cgroup
from libcgroups.controllers import write_all
from libcgroups.cpubandwidth import CPU_FIELDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcgroups.resources import Resources
    from libcgroups.stats import Stats

NAME = "cpu"
_RT_PERIOD, _RT_RUNTIME = "cpu.rt_period_us", "cpu.rt_runtime_us"
POINTERS = {
    "cpu.idle": "/cpu/idle",
    "cpu.shares": "/cpu/shares",
    "cpu.cfs_burst_us": "/cpu/burst",
    "cpu.cfs_period_us": "/cpu/period",
    "cpu.cfs_quota_us": "/cpu/quota",
    _RT_PERIOD: "/cpu/realtimePeriod",
    _RT_RUNTIME: "/cpu/realtimeRuntime",
}
SHARES_MIN, SHARES_MAX = 2, 1 << 18  # the kernel silently clamps to these


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return what to write, [(file, value)]; empty when nothing was asked for. Raises InvalidArgument.

    0 means unset, except for idle, burst and realtimeRuntime; a quota below 0 is none. With idle 1 shares
    have no effect, and the kernel refuses them (cpu.idle keeps the lowest weight), so they are not written.
    """
    cpu = fields_of.group(resources, "cpu", CPU_FIELDS)
    idle = fields_of.integer(cpu, "idle", "/cpu", 0, 1)
    shares = _shares(cpu)
    period, runtime = _realtime(cpu)
    values = {
        "cpu.idle": idle,
        "cpu.shares": None if idle == 1 else shares,
        "cpu.cfs_burst_us": cpubandwidth.burst(cpu),
        "cpu.cfs_period_us": cpubandwidth.period(cpu),
        "cpu.cfs_quota_us": cpubandwidth.quota(cpu),
        _RT_PERIOD: period,
        _RT_RUNTIME: runtime,
    }
    return [(file, str(value)) for file, value in values.items() if value is not None]


def write(cgroup: Cgroup, settings: list[tuple[str, str]], pointers: Mapping[str, str]) -> None:
    """Write the settings; ancestors without a real-time budget get the same one first, from the top down.

    A cgroup is made without one, and its children's must fit into it. Raises CgroupError.
    """
    budget = [(file, value) for file, value in settings if file in (_RT_PERIOD, _RT_RUNTIME)]
    if any(file == _RT_RUNTIME and value != "0" for file, value in budget):
        names = cgroup.path.split("/")
        for depth in range(2, len(names)):
            ancestor = Cgroup(cgroup.hierarchy, "/".join(names[:depth]))
            if ancestor.read(_RT_RUNTIME).strip() == "0":
                write_all(ancestor, budget, pointers)
    write_all(cgroup, settings, pointers)


def _shares(cpu: dict[str, object]) -> int | None:
    shares = fields_of.integer(cpu, "shares", "/cpu", 0, fields_of.UINT64_MAX)
    if not shares:
        return None
    if not SHARES_MIN <= shares <= SHARES_MAX:
        raise fields_of.invalid("/cpu/shares", shares, f"a whole number from {SHARES_MIN} to {SHARES_MAX}")
    return shares


def _realtime(cpu: dict[str, object]) -> tuple[int | None, int | None]:
    """Return (period, runtime): the runtime may be -1, no ceiling, or 0, none at all."""
    period = fields_of.integer(cpu, "realtimePeriod", "/cpu", 0, fields_of.INT64_MAX) or None
    runtime = fields_of.integer(cpu, "realtimeRuntime", "/cpu", -1, fields_of.INT64_MAX)
    if period is not None and runtime is not None and runtime > period:
        raise fields_of.invalid("/cpu/realtimeRuntime", runtime, f"at most the period, {period}")
    return period, runtime


def stats(cgroup: Cgroup) -> Stats:
    """Return what the quota took away; how much was used is the cpuacct controller's. Raises CgroupError."""
    from libcgroups import formats
    from libcgroups.stats import CpuStats, Stats

    found = formats.flat(cgroup, "cpu.stat") or {}
    return Stats(
        cpu=CpuStats(
            periods=found.get("nr_periods"),
            throttled_periods=found.get("nr_throttled"),
            throttled_ns=found.get("throttled_time"),
            bursts=found.get("nr_bursts"),
            burst_ns=found.get("burst_time"),
        )
    )
