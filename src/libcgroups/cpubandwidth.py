"""What v1 and v2 share of the ceilings to CPU time. Spec: config-linux.md, `cpu`; times in µs. Pure.

What the kernel refuses in any case (kernel/sched/core.c, tg_set_cfs_bandwidth) is refused here, before anything
is made.
"""

from __future__ import annotations

from libcgroups import resources as fields_of

CPU_FIELDS = (
    *("burst", "cpus", "idle", "mems", "period", "quota", "realtimePeriod", "realtimeRuntime", "shares"),
)
PERIOD_MIN_US, PERIOD_MAX_US = 1000, 1_000_000
QUOTA_MIN_US, QUOTA_MAX_US = 1000, (1 << 44) - 1


def quota(cpu: dict[str, object]) -> int | None:
    """Return the time in each period, -1 for no ceiling, None when unset or 0; raises InvalidArgument."""
    value = fields_of.integer(cpu, "quota", "/cpu", fields_of.INT64_MIN, QUOTA_MAX_US)
    if not value:
        return None
    if 0 < value < QUOTA_MIN_US:
        raise fields_of.invalid("/cpu/quota", value, f"at least {QUOTA_MIN_US} µs, or below 0 for no ceiling")
    return max(value, -1)


def period(cpu: dict[str, object]) -> int | None:
    """Return the period, None when unset or 0; raises InvalidArgument."""
    value = fields_of.integer(cpu, "period", "/cpu", 0, PERIOD_MAX_US)
    if value and value < PERIOD_MIN_US:
        raise fields_of.invalid(
            "/cpu/period", value, f"a whole number from {PERIOD_MIN_US} to {PERIOD_MAX_US}"
        )
    return value or None


def burst(cpu: dict[str, object]) -> int | None:
    """Return how much unused time may be saved up, None when unset; raises InvalidArgument."""
    value = fields_of.integer(cpu, "burst", "/cpu", 0, QUOTA_MAX_US)
    ceiling = quota(cpu)
    if value is not None and ceiling is not None and 0 < ceiling < value:
        raise fields_of.invalid("/cpu/burst", value, f"at most the quota, {ceiling}")
    return value
