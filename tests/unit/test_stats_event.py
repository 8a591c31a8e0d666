"""A `stats` event has the form that runc's readers parse."""

from __future__ import annotations

from libcgroups.stats import (
    UNLIMITED,
    Count,
    CpusetStats,
    CpuStats,
    HugetlbStats,
    IoEntry,
    IoStats,
    MemoryStats,
    Pressure,
    Stall,
    Stats,
    Usage,
)
from libcontainer.stats_event import stats_data

PRESSURE = Pressure(
    some=Stall(avg10=1.0, avg60=0.5, avg300=0.25, total_ns=2_000_000),
    full=Stall(avg10=0.0, avg60=0.0, avg300=0.0, total_ns=0),
)
PSI = {
    "some": {"avg10": 1.0, "avg60": 0.5, "avg300": 0.25, "total": 2000},
    "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 0},
}


def test_nothing_known_has_the_keys_that_runc_always_writes() -> None:
    """What the kernel does not offer is left out elsewhere: the form has no null."""
    usage = {"limit": 0, "failcnt": 0}

    assert stats_data(Stats()) == {
        "cpu": {"usage": {"kernel": 0, "user": 0}, "throttling": {}},
        "cpuset": {
            "cpu_exclusive": 0,
            "mem_hardwall": 0,
            "mem_exclusive": 0,
            "memory_migrate": 0,
            "memory_spread_page": 0,
            "memory_spread_slab": 0,
            "memory_pressure": 0,
            "sched_load_balance": 0,
            "sched_relax_domain_level": 0,
        },
        "memory": {"usage": usage, "swap": usage, "kernel": usage, "kernelTCP": usage},
        "pids": {},
        "blkio": {},
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": [],
    }


def test_cpu() -> None:
    """Times stay nanoseconds; pressure is in microseconds, as the kernel and runc have it."""
    cpu = CpuStats(
        usage_ns=30,
        user_ns=20,
        system_ns=10,
        per_cpu_ns=(10, 20),
        per_cpu_user_ns=(1, 2),
        per_cpu_system_ns=(3, 4),
        periods=5,
        throttled_periods=2,
        throttled_ns=7,
        pressure=PRESSURE,
    )

    assert stats_data(Stats(cpu=cpu))["cpu"] == {
        "usage": {
            "total": 30,
            "percpu": [10, 20],
            "percpu_kernel": [3, 4],
            "percpu_user": [1, 2],
            "kernel": 10,
            "user": 20,
        },
        "throttling": {"periods": 5, "throttledPeriods": 2, "throttledTime": 7},
        "psi": PSI,
    }


def test_memory_without_a_limit_is_the_largest_number() -> None:
    """runc writes 2⁶⁴-1 for "max"; swap counts memory too."""
    memory = MemoryStats(
        usage_bytes=1,
        limit_bytes=UNLIMITED,
        peak_bytes=2,
        failures=3,
        with_swap=Usage(usage_bytes=4, limit_bytes=5),
        cache_bytes=6,
        stat={"anon": 7},
        pressure=PRESSURE,
    )
    found = stats_data(Stats(memory=memory))["memory"]

    assert found["usage"] == {"limit": (1 << 64) - 1, "usage": 1, "max": 2, "failcnt": 3}
    assert found["swap"] == {"limit": 5, "usage": 4, "failcnt": 0}
    assert (found["cache"], found["raw"], found["psi"]) == (6, {"anon": 7}, PSI)


def test_pids_without_a_limit_are_0() -> None:
    """So runc tells it."""
    assert stats_data(Stats(pids=Count(current=3, limit=UNLIMITED)))["pids"] == {"current": 3, "limit": 0}
    assert stats_data(Stats(pids=Count(current=3, limit=9)))["pids"] == {"current": 3, "limit": 9}


def test_block_devices() -> None:
    """One entry for each device and operation; a time in milliseconds, as blkio.time has it."""
    io = IoStats(
        service_bytes=(IoEntry(major=8, minor=0, operation="Read", value=4096),),
        time_ns=(IoEntry(major=8, minor=16, value=3_000_000),),
    )

    assert stats_data(Stats(io=io))["blkio"] == {
        "ioServiceBytesRecursive": [{"major": 8, "minor": 0, "op": "Read", "value": 4096}],
        "ioTimeRecursive": [{"major": 8, "minor": 16, "value": 3}],
    }


def test_cpuset_and_huge_pages() -> None:
    """Lists of numbers, flags as numbers, pages by size."""
    found = stats_data(
        Stats(
            cpuset=CpusetStats(cpus=(0, 1), mems=(0,), cpu_exclusive=True, sched_relax_domain_level=-1),
            hugetlb={"2MB": HugetlbStats(usage_bytes=1, peak_bytes=2)},
        )
    )

    assert (found["cpuset"]["cpus"], found["cpuset"]["mems"]) == ([0, 1], [0])
    assert (found["cpuset"]["cpu_exclusive"], found["cpuset"]["sched_relax_domain_level"]) == (1, -1)
    assert found["hugetlb"] == {"2MB": {"usage": 1, "max": 2, "failcnt": 0}}


def test_what_is_not_of_cgroups_is_put_in() -> None:
    """Cache monitoring and interfaces are measured elsewhere."""
    found = stats_data(Stats(), intel_rdt={"schemata": "L3:0=f"}, network_interfaces=[{"Name": "eth0"}])

    assert found["intel_rdt"] == {"schemata": "L3:0=f"}
    assert found["network_interfaces"] == [{"Name": "eth0"}]
