"""The v2 cpu controller: a weight for CPU time and a ceiling to it.

Files: cpu.weight, cpu.idle, cpu.max, cpu.max.burst (cgroup-v2.rst, "CPU"; times in µs). Spec:
config-linux.md, `cpu`.
"""

from __future__ import annotations

from libcgroups import cpubandwidth
from libcgroups import resources as fields_of
from libcgroups.cpubandwidth import CPU_FIELDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.cgroup import Cgroup
    from libcgroups.resources import Resources
    from libcgroups.stats import Stats

NAME = "cpu"
POINTERS = {
    "cpu.idle": "/cpu/idle",
    "cpu.weight": "/cpu/shares",
    "cpu.max.burst": "/cpu/burst",
    "cpu.max": "/cpu/quota",
}
DEFAULT_PERIOD_US = 100_000


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return what to write, [(file, value)]; empty when nothing was asked for. Raises InvalidArgument.

    0 means unset, except for idle and burst. With idle 1 a weight has no effect, and the kernel refuses it.
    """
    cpu = fields_of.group(resources, "cpu", CPU_FIELDS)
    _refuse_realtime(cpu)
    idle = fields_of.integer(cpu, "idle", "/cpu", 0, 1)
    shares = fields_of.integer(cpu, "shares", "/cpu", 0, fields_of.UINT64_MAX)
    values = {
        "cpu.idle": idle,
        "cpu.weight": weight(shares) if shares and idle != 1 else None,
        "cpu.max.burst": cpubandwidth.burst(cpu),
        "cpu.max": maximum(cpubandwidth.quota(cpu), cpubandwidth.period(cpu)),
    }
    return [(file, str(value)) for file, value in values.items() if value is not None]


def weight(shares: int) -> int:
    """Return the cpu.weight for `shares`: a curve through 2→1, 1024→100 and 262144→10000.

    The same as runc's, crun's and youki's, so that a container gets the same weight from each.
    """
    if shares <= 2:
        return 1
    if shares >= 1 << 18:
        return 10_000
    import math  # only here: few containers have another weight than the usual one

    exponent = math.log2(shares)
    return math.ceil(10 ** ((exponent * exponent + 125 * exponent) / 612 - 7 / 34))


def maximum(quota: int | None, period: int | None) -> str | None:
    """Return the text for cpu.max, None when neither is set; a quota below 0 is none ("max")."""
    if not quota and not period:
        return None
    if quota is not None and quota > 0:
        return f"{quota} {period or DEFAULT_PERIOD_US}"
    return f"max {period}" if period else "max"


def _refuse_realtime(cpu: dict[str, object]) -> None:
    for field in ("realtimePeriod", "realtimeRuntime"):
        if fields_of.integer(cpu, field, "/cpu", -1, fields_of.INT64_MAX) not in (None, 0):
            raise fields_of.not_in_v2(f"/cpu/{field}")


def stats(cgroup: Cgroup) -> Stats:
    """Return the CPU time used and what the quota took away. Raises CgroupError.

    The time is counted in every cgroup, also without the controller.
    """
    from libcgroups import formats
    from libcgroups.stats import CpuStats, Stats

    found = formats.flat(cgroup, "cpu.stat") or {}

    def nanoseconds(key: str) -> int | None:
        return formats.scaled(found.get(key), formats.NS_PER_US)

    return Stats(
        cpu=CpuStats(
            usage_ns=nanoseconds("usage_usec"),
            user_ns=nanoseconds("user_usec"),
            system_ns=nanoseconds("system_usec"),
            periods=found.get("nr_periods"),
            throttled_periods=found.get("nr_throttled"),
            throttled_ns=nanoseconds("throttled_usec"),
            bursts=found.get("nr_bursts"),
            burst_ns=nanoseconds("burst_usec"),
            pressure=formats.pressure(cgroup, "cpu.pressure"),
        )
    )
