"""The v1 cpu controller: a share of the CPU time, a ceiling to it, and real-time budgets.

Files: cpu.shares, cpu.idle, cpu.cfs_*, cpu.rt_* (scheduler/sched-bwc.rst, sched-rt-group.rst; times in µs).
Spec: config-linux.md, `cpu`. Which order the kernel accepts depends on the old values: see
controllers.write_all.
"""

from __future__ import annotations

from libcgroups import resources as fields_of
from libcgroups.cpulist import CPU_FIELDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.cgroup import Cgroup
    from libcgroups.resources import Resources
    from libcgroups.stats import Stats

NAME = "cpu"
POINTERS = {
    "cpu.idle": "/cpu/idle",
    "cpu.shares": "/cpu/shares",
    "cpu.cfs_burst_us": "/cpu/burst",
    "cpu.cfs_period_us": "/cpu/period",
    "cpu.cfs_quota_us": "/cpu/quota",
    "cpu.rt_period_us": "/cpu/realtimePeriod",
    "cpu.rt_runtime_us": "/cpu/realtimeRuntime",
}
SHARES_MIN, SHARES_MAX = 2, 1 << 18  # the kernel silently clamps to these


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return what to write, [(file, value)]; empty when nothing was asked for. Raises InvalidArgument.

    0 means unset, except for idle, burst and realtimeRuntime; a quota below 0 is none. With idle 1 shares
    have no effect, and the kernel refuses them (cpu.idle keeps the lowest weight), so they are not written.
    """
    cpu = fields_of.group(resources, "cpu", CPU_FIELDS)
    top, bottom = fields_of.INT64_MAX, fields_of.INT64_MIN
    idle = fields_of.integer(cpu, "idle", "/cpu", 0, 1)
    shares = _shares(cpu)
    quota = fields_of.integer(cpu, "quota", "/cpu", bottom, top)
    values = {
        "cpu.idle": idle,
        "cpu.shares": None if idle == 1 else shares,
        "cpu.cfs_burst_us": fields_of.integer(cpu, "burst", "/cpu", 0, top),
        "cpu.cfs_period_us": fields_of.integer(cpu, "period", "/cpu", 0, top) or None,
        "cpu.cfs_quota_us": -1 if quota is not None and quota < 0 else quota or None,
        "cpu.rt_period_us": fields_of.integer(cpu, "realtimePeriod", "/cpu", 0, top) or None,
        "cpu.rt_runtime_us": fields_of.integer(cpu, "realtimeRuntime", "/cpu", -1, top),
    }
    return [(file, str(value)) for file, value in values.items() if value is not None]


def _shares(cpu: dict[str, object]) -> int | None:
    shares = fields_of.integer(cpu, "shares", "/cpu", 0, fields_of.UINT64_MAX)
    if not shares:
        return None
    if not SHARES_MIN <= shares <= SHARES_MAX:
        raise fields_of.invalid("/cpu/shares", shares, f"a whole number from {SHARES_MIN} to {SHARES_MAX}")
    return shares


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
