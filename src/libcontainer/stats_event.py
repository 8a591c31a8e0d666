"""The data of a `stats` event: what a container uses, in the JSON form of runc's `events --stats`.

Authority: runc's types/events.go, which containerd and others parse. Its form knows no null: what the kernel
does not offer is left out, or is 0 under the keys that runc always writes. Units are runc's: nanoseconds,
bytes, and microseconds for pressure. Pure.
"""

from __future__ import annotations

from libcgroups.stats import UNLIMITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from libcgroups.stats import (
        Count,
        CpusetStats,
        CpuStats,
        IoEntry,
        IoStats,
        MemoryStats,
        Pressure,
        Stats,
        Usage,
    )

    Json = dict[str, Any]

_NO_LIMIT_OF_BYTES = (1 << 64) - 1  # runc's for memory.max "max"
_NO_LIMIT_OF_PIDS = 0
_NS_PER_US = 1000
_CPUSET_FLAGS = (
    *("cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page"),
    *("memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level"),
)
_NS_PER_MS = 1_000_000
_IO = {  # key → (field of IoStats, its units in one of runc's, which hands blkio.time on in milliseconds)
    "ioServiceBytesRecursive": ("service_bytes", 1),
    "ioServicedRecursive": ("serviced", 1),
    "ioQueueRecursive": ("queued", 1),
    "ioServiceTimeRecursive": ("service_time_ns", 1),
    "ioWaitTimeRecursive": ("wait_time_ns", 1),
    "ioMergedRecursive": ("merged", 1),
    "ioTimeRecursive": ("time_ns", _NS_PER_MS),
    "sectorsRecursive": ("sectors", 1),
}


def stats_data(
    stats: Stats,
    *,
    intel_rdt: Mapping[str, Any] | None = None,
    network_interfaces: Sequence[Mapping[str, Any]] | None = None,
) -> Json:
    """Return the `data` of the event; `intel_rdt` and `network_interfaces` are put in as they are."""
    return {
        "cpu": _cpu(stats.cpu),
        "cpuset": _cpuset(stats.cpuset),
        "memory": _memory(stats.memory),
        "pids": _pids(stats.pids),
        "blkio": _blkio(stats.io),
        "hugetlb": {
            size: _known(usage=pages.usage_bytes, max=pages.peak_bytes, failcnt=pages.failures or 0)
            for size, pages in (stats.hugetlb or {}).items()
        },
        "intel_rdt": dict(intel_rdt or {}),
        "network_interfaces": list(network_interfaces or ()),
    }


def _cpu(cpu: CpuStats) -> Json:
    usage = _known(
        total=cpu.usage_ns,
        percpu=_list(cpu.per_cpu_ns),
        percpu_kernel=_list(cpu.per_cpu_system_ns),
        percpu_user=_list(cpu.per_cpu_user_ns),
        kernel=cpu.system_ns or 0,
        user=cpu.user_ns or 0,
    )
    throttling = _known(
        periods=cpu.periods, throttledPeriods=cpu.throttled_periods, throttledTime=cpu.throttled_ns
    )
    return _known(usage=usage, throttling=throttling, psi=_psi(cpu.pressure))


def _cpuset(cpuset: CpusetStats) -> Json:
    flags = {name: int(getattr(cpuset, name) or 0) for name in _CPUSET_FLAGS}
    return _known(cpus=_list(cpuset.cpus), mems=_list(cpuset.mems), **flags)


def _memory(memory: MemoryStats) -> Json:
    return _known(
        cache=memory.cache_bytes,
        usage=_usage(memory),
        swap=_usage(memory.with_swap),
        kernel=_usage(memory.kernel),
        kernelTCP=_usage(memory.kernel_tcp),
        raw=memory.stat,
        psi=_psi(memory.pressure),
    )


def _usage(usage: Usage) -> Json:
    limit = _NO_LIMIT_OF_BYTES if usage.limit_bytes == UNLIMITED else usage.limit_bytes or 0
    return _known(limit=limit, usage=usage.usage_bytes, max=usage.peak_bytes, failcnt=usage.failures or 0)


def _pids(pids: Count) -> Json:
    limit = _NO_LIMIT_OF_PIDS if pids.limit == UNLIMITED else pids.limit
    return _known(current=pids.current, limit=limit)


def _blkio(io: IoStats) -> Json:
    entries = {key: _entries(getattr(io, field), unit) for key, (field, unit) in _IO.items()}
    return _known(**entries, psi=_psi(io.pressure))


def _entries(entries: tuple[IoEntry, ...] | None, unit: int) -> list[Json] | None:
    if entries is None:
        return None
    return [
        _known(major=entry.major, minor=entry.minor, op=entry.operation or None, value=entry.value // unit)
        for entry in entries
    ]


def _psi(pressure: Pressure) -> Json | None:
    found = {
        kind: {
            "avg10": stall.avg10,
            "avg60": stall.avg60,
            "avg300": stall.avg300,
            "total": stall.total_ns // _NS_PER_US,
        }
        for kind, stall in (("some", pressure.some), ("full", pressure.full))
        if stall.total_ns is not None
    }
    return found or None


def _list(values: tuple[int, ...] | None) -> list[int] | None:
    return None if values is None else list(values)


def _known(**values: Any) -> Json:
    return {key: value for key, value in values.items() if value is not None}
