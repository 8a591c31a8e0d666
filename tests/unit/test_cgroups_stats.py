"""What a cgroup uses, read from trees with the files of the kernel."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcgroups import CgroupError, Hierarchy, Manager, Setup, new
from libcgroups.cgroup import Cgroup
from libcgroups.stats import UNLIMITED, Count, CpuStats, IoEntry, Pressure, Record, Stall, Stats
from libcgroups.v1 import hugetlb as v1_hugetlb
from libcgroups.v2 import hugetlb as v2_hugetlb

PRESSURE = (
    "some avg10=1.50 avg60=2.00 avg300=0.25 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=56\n"
)
V1_FILES = {
    "blkio": {
        "blkio.bfq.io_service_bytes_recursive": "Total 0\n",
        "blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 512\n8:16 Read 1\nTotal 4609\n",
        "blkio.bfq.io_serviced_recursive": "8:0 Read 2\nTotal 2\n",
        "blkio.throttle.io_serviced_recursive": "8:0 Read 9\nTotal 9\n",
        "blkio.time_recursive": "8:0 3\n",
        "blkio.sectors_recursive": "8:0 7\n",
    },
    "cpu": {"cpu.stat": "nr_periods 10\nnr_throttled 3\nthrottled_time 5000\nnr_bursts 1\nburst_time 70\n"},
    "cpuacct": {
        "cpuacct.usage": "3000\n",
        "cpuacct.stat": "user 2\nsystem 1\n",
        "cpuacct.usage_percpu": "1000 2000 \n",
        "cpuacct.usage_percpu_user": "600 700 \n",
        "cpuacct.usage_percpu_sys": "400 1300 \n",
    },
    "cpuset": {
        "cpuset.effective_cpus": "0-2,5\n",
        "cpuset.effective_mems": "0\n",
        "cpuset.cpu_exclusive": "1\n",
        "cpuset.memory_pressure": "4\n",
        "cpuset.sched_relax_domain_level": "-1\n",
    },
    "memory": {
        "memory.usage_in_bytes": "4096\n",
        "memory.limit_in_bytes": "9223372036854771712\n",
        "memory.max_usage_in_bytes": "8192\n",
        "memory.failcnt": "2\n",
        "memory.memsw.usage_in_bytes": "5000\n",
        "memory.memsw.limit_in_bytes": "10000\n",
        "memory.memsw.max_usage_in_bytes": "9000\n",
        "memory.memsw.failcnt": "0\n",
        "memory.kmem.usage_in_bytes": "100\n",
        "memory.kmem.tcp.usage_in_bytes": "10\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n",
        "memory.stat": "cache 1\nrss 2\ntotal_cache 11\ntotal_rss 22\ntotal_swap 33\n",
    },
    "misc": {
        "misc.current": "sev 3\nsev_es 0\n",
        "misc.max": "sev max\nsev_es 9\n",
        "misc.events": "sev.max 0\nsev_es.max 4\n",
    },
    "pids": {"pids.current": "5\n", "pids.max": "max\n", "pids.peak": "8\n", "pids.events": "max 2\n"},
    "rdma": {
        "rdma.current": "mlx5_0 hca_handle=2 hca_object=30\n",
        "rdma.max": "mlx5_0 hca_handle=4 hca_object=max\n",
    },
}
V2_FILES = {
    "cpu.stat": "usage_usec 3\nuser_usec 2\nsystem_usec 1\nnice_usec 0\n"
    "nr_periods 10\nnr_throttled 3\nthrottled_usec 5\nnr_bursts 1\nburst_usec 7\n",
    "cpu.pressure": PRESSURE,
    "cpuset.cpus.effective": "0-1\n",
    "cpuset.mems.effective": "0\n",
    "io.stat": "8:0 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=0 dios=0 cost.vrate=100.00\n",
    "io.pressure": PRESSURE,
    "memory.current": "4096\n",
    "memory.max": "8192\n",
    "memory.peak": "5000\n",
    "memory.swap.current": "100\n",
    "memory.swap.max": "1000\n",
    "memory.events": "low 0\nhigh 0\nmax 6\noom 2\noom_kill 1\n",
    "memory.stat": "anon 22\nfile 11\nkernel 5\nsock 3\n",
    "memory.pressure": PRESSURE,
    "misc.current": "sev 3\n",
    "pids.current": "5\n",
    "pids.max": "16\n",
    "rdma.current": "mlx5_0 hca_handle=2 hca_object=30\n",
}
SEEN = Pressure(
    some=Stall(avg10=1.5, avg60=2.0, avg300=0.25, total_ns=1_234_000),
    full=Stall(avg10=0.0, avg60=0.0, avg300=0.0, total_ns=56_000),
)


def fill(directory: Path, files: dict[str, str]) -> None:
    """Make a cgroup's directory with these files."""
    directory.mkdir(parents=True)
    for name, text in files.items():
        (directory / name).write_text(text)


def v1(tmp_path: Path, files: dict[str, dict[str, str]], unified: dict[str, str] | None = None) -> Manager:
    """A manager of /job on a tree of v1 hierarchies, with a unified one beside them if asked."""
    for controller, found in files.items():
        fill(tmp_path / controller / "job", found)
    hierarchies = tuple(Hierarchy(str(tmp_path / name), (name,)) for name in files)
    if unified is None:
        return new("/job", container_id="job", setup=Setup("v1", hierarchies))
    fill(tmp_path / "unified" / "job", unified)
    beside = Hierarchy(str(tmp_path / "unified"))
    return new("/job", container_id="job", setup=Setup("hybrid", hierarchies, beside))


def v2(tmp_path: Path, files: dict[str, str]) -> Manager:
    """A manager of /job on a unified tree."""
    fill(tmp_path / "job", files)
    return new("/job", container_id="job", setup=Setup("v2", (), Hierarchy(str(tmp_path))))


def test_v1_cpu_is_in_nanoseconds(tmp_path: Path) -> None:
    """Ticks of cpuacct.stat too, and per CPU where the kernel tells."""
    cpu = v1(tmp_path, V1_FILES).stats().cpu
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")

    assert cpu == CpuStats(
        usage_ns=3000,
        user_ns=2 * tick,
        system_ns=tick,
        per_cpu_ns=(1000, 2000),
        per_cpu_user_ns=(600, 700),
        per_cpu_system_ns=(400, 1300),
        periods=10,
        throttled_periods=3,
        throttled_ns=5000,
        bursts=1,
        burst_ns=70,
    )


def test_v2_cpu_is_in_nanoseconds(tmp_path: Path) -> None:
    """The kernel's microseconds are scaled, so that v1 and v2 compare."""
    assert v2(tmp_path, V2_FILES).stats().cpu == CpuStats(
        usage_ns=3000,
        user_ns=2000,
        system_ns=1000,
        periods=10,
        throttled_periods=3,
        throttled_ns=5000,
        bursts=1,
        burst_ns=7000,
        pressure=SEEN,
    )


def test_v1_memory(tmp_path: Path) -> None:
    """v1's largest number is no limit, and the parts count the cgroups below too."""
    memory = v1(tmp_path, V1_FILES).stats().memory

    assert (memory.usage_bytes, memory.limit_bytes, memory.peak_bytes, memory.failures) == (
        *(4096, UNLIMITED, 8192, 2),
    )
    assert memory.with_swap.to_dict() == {
        "usage_bytes": 5000,
        "limit_bytes": 10000,
        "peak_bytes": 9000,
        "failures": 0,
    }
    assert (memory.cache_bytes, memory.rss_bytes, memory.swap_bytes) == (11, 22, 33)
    assert (memory.kernel.usage_bytes, memory.kernel_tcp.usage_bytes) == (100, 10)
    assert (memory.kernel.limit_bytes, memory.kernel_tcp.failures) == (None, None)
    assert (memory.ooms, memory.oom_kills) == (None, 7)
    assert memory.stat is not None
    assert memory.stat["cache"] == 1


def test_v2_memory(tmp_path: Path) -> None:
    """Memory and swap are added, as v1 and config.json count them; two peaks cannot be."""
    memory = v2(tmp_path, V2_FILES).stats().memory

    assert (memory.usage_bytes, memory.limit_bytes, memory.peak_bytes, memory.failures) == (
        *(4096, 8192, 5000, 6),
    )
    assert (memory.with_swap.usage_bytes, memory.with_swap.limit_bytes) == (4196, 9192)
    assert memory.with_swap.peak_bytes is None
    assert (memory.cache_bytes, memory.rss_bytes, memory.swap_bytes) == (11, 22, 100)
    assert (memory.kernel.usage_bytes, memory.kernel_tcp.usage_bytes) == (5, 3)
    assert (memory.ooms, memory.oom_kills) == (2, 1)
    assert memory.pressure == SEEN


@pytest.mark.parametrize(
    ("memory_max", "swap_max", "expected"),
    [("max", "0", UNLIMITED), ("4096", "max", UNLIMITED), ("4096", "0", 4096)],
)
def test_v2_limit_of_memory_and_swap(tmp_path: Path, memory_max: str, swap_max: str, expected: int) -> None:
    """One that has no limit leaves both without."""
    manager = v2(tmp_path, {**V2_FILES, "memory.max": memory_max, "memory.swap.max": swap_max})

    assert manager.stats().memory.with_swap.limit_bytes == expected


def test_v1_devices_come_from_the_first_file_that_has_any(tmp_path: Path) -> None:
    """BFQ's files are there, and empty, also when another scheduler serves the device."""
    io = v1(tmp_path, V1_FILES).stats().io

    assert io.service_bytes == (
        IoEntry(major=8, minor=0, operation="Read", value=4096),
        IoEntry(major=8, minor=0, operation="Write", value=512),
        IoEntry(major=8, minor=16, operation="Read", value=1),
    )
    assert (io.read_bytes, io.written_bytes) == (4097, 512)
    assert io.serviced == (IoEntry(major=8, minor=0, operation="Read", value=2),)
    assert io.time_ns == (IoEntry(major=8, minor=0, value=3_000_000),)
    assert io.sectors == (IoEntry(major=8, minor=0, value=7),)
    assert (io.queued, io.merged, io.service_time_ns, io.wait_time_ns) == (None, None, None, None)


def test_v2_devices(tmp_path: Path) -> None:
    """The operations have v1's names; a percentage that io.cost adds is no count."""
    io = v2(tmp_path, V2_FILES).stats().io

    assert [(entry.operation, entry.value) for entry in io.service_bytes or ()] == [
        ("Read", 4096),
        ("Write", 512),
        ("Discard", 0),
    ]
    assert [(entry.operation, entry.value) for entry in io.serviced or ()] == [
        ("Read", 2),
        ("Write", 1),
        ("Discard", 0),
    ]
    assert io.pressure == SEEN


def test_what_is_counted_the_same_on_both(tmp_path: Path) -> None:
    """pids, rdma and misc have the same files in v1 and v2."""
    one, two = v1(tmp_path / "1", V1_FILES).stats(), v2(tmp_path / "2", V2_FILES).stats()

    assert one.pids == Count(current=5, limit=UNLIMITED, peak=8, failures=2)
    assert two.pids == Count(current=5, limit=16)
    assert one.rdma is not None
    assert one.rdma["mlx5_0"].to_dict() == {
        "handles": 2,
        "handle_limit": 4,
        "objects": 30,
        "object_limit": UNLIMITED,
    }
    assert two.rdma is not None
    assert two.rdma["mlx5_0"].object_limit is None
    assert one.misc == {
        "sev": Count(current=3, limit=UNLIMITED, failures=0),
        "sev_es": Count(current=0, limit=9, failures=4),
    }
    assert two.misc == {"sev": Count(current=3)}


def test_cpuset(tmp_path: Path) -> None:
    """What tasks may really use, as numbers; flags only where v1 has them."""
    one, two = v1(tmp_path / "1", V1_FILES).stats().cpuset, v2(tmp_path / "2", V2_FILES).stats().cpuset

    assert (one.cpus, one.mems) == ((0, 1, 2, 5), (0,))
    assert (one.cpu_exclusive, one.mem_hardwall) == (True, None)
    assert (one.memory_pressure, one.sched_relax_domain_level) == (4, -1)
    assert (two.cpus, two.mems, two.cpu_exclusive) == ((0, 1), (0,), None)


def test_huge_pages(tmp_path: Path) -> None:
    """By page size; a size without files is left out, and v2 has no peak."""
    fill(
        tmp_path / "job",
        {
            "hugetlb.2MB.usage_in_bytes": "2097152\n",
            "hugetlb.2MB.limit_in_bytes": "9223372036852678656\n",
            "hugetlb.2MB.max_usage_in_bytes": "4194304\n",
            "hugetlb.2MB.failcnt": "1\n",
            "hugetlb.2MB.rsvd.usage_in_bytes": "0\n",
            "hugetlb.2MB.current": "2097152\n",
            "hugetlb.2MB.max": "max\n",
            "hugetlb.2MB.events": "max 1\n",
        },
    )
    cgroup = Cgroup(Hierarchy(str(tmp_path)), "/job")
    one = v1_hugetlb.stats(cgroup, ["1GB", "2MB"]).hugetlb
    two = v2_hugetlb.stats(cgroup, ["1GB", "2MB"]).hugetlb

    assert one is not None
    assert two is not None
    assert list(one) == list(two) == ["2MB"]
    for pages, peak in ((one["2MB"], 4194304), (two["2MB"], None)):
        assert (pages.usage_bytes, pages.limit_bytes, pages.failures) == (2097152, UNLIMITED, 1)
        assert pages.peak_bytes == peak
    assert (one["2MB"].reserved.usage_bytes, two["2MB"].reserved.usage_bytes) == (0, None)


def test_a_hybrid_host_adds_the_pressure(tmp_path: Path) -> None:
    """Its unified hierarchy has no controllers, and every cgroup there has pressure files."""
    found = v1(
        tmp_path, V1_FILES, {"cpu.stat": "usage_usec 99\n", "cpu.pressure": PRESSURE, "io.pressure": PRESSURE}
    ).stats()

    assert found.cpu.usage_ns == 3000  # the controller's own answer comes first
    assert found.cpu.pressure == found.io.pressure == SEEN
    assert found.memory.pressure == Pressure()
    assert found.io.read_bytes == 4097


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_what_is_not_offered_is_none(tmp_path: Path, version: str) -> None:
    """An old kernel, or a controller that is not enabled, is never taken for "nothing used"."""
    manager = v1(tmp_path, {name: {} for name in V1_FILES}) if version == "v1" else v2(tmp_path, {})

    assert manager.stats() == Stats()
    assert "0" not in json.dumps(Stats().to_dict()).replace("avg10", "").replace("avg60", "").replace(
        "300", ""
    )


def test_a_missing_cgroup_is_an_error(tmp_path: Path) -> None:
    """All None would look like an idle cgroup of an old kernel."""
    manager = new("/gone", container_id="gone", setup=Setup("v2", (), Hierarchy(str(tmp_path))))

    with pytest.raises(CgroupError, match="no cgroup") as caught:
        manager.stats()
    assert caught.value.path == f"{tmp_path}/gone"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("memory.current", "lots\n"),
        ("cpu.stat", "usage_usec\n"),
        ("io.stat", "disk rbytes=1\n"),
        ("memory.pressure", "some avg10=0.00\n"),
        ("cpuset.cpus.effective", "none\n"),
    ],
)
def test_an_unknown_form_is_an_error(tmp_path: Path, file: str, text: str) -> None:
    """A file that cannot be understood must not be passed over as one that is not there."""
    with pytest.raises(CgroupError, match="unknown form") as caught:
        v2(tmp_path, {file: text}).stats()
    assert caught.value.path == f"{tmp_path}/job/{file}"


@given(
    st.sampled_from(sorted(V2_FILES)), st.text(st.sampled_from("01 :=\nab.,-xsomefulvg\x00²"), max_size=30)
)
def test_any_text_is_understood_or_refused(file: str, text: str) -> None:
    """A later kernel may write what it likes: it is a number, not offered, or an error that names the file."""
    with tempfile.TemporaryDirectory() as directory:
        manager = v2(Path(directory), {file: text})
        try:
            assert isinstance(manager.stats(), Stats)
        except CgroupError as error:
            assert error.path == f"{directory}/job/{file}"  # noqa: PT017  # either is right


def test_a_record_is_a_value() -> None:
    """Immutable, comparable, readable, and strict about its fields."""
    one = CpuStats(usage_ns=1)

    with pytest.raises(AttributeError, match="immutable"):
        one.usage_ns = 2  # type: ignore[misc]
    with pytest.raises(TypeError, match="CpuStats has no usage_us"):
        CpuStats(usage_us=1)  # type: ignore[call-arg]
    assert one == CpuStats(usage_ns=1)
    assert one != CpuStats(usage_ns=2)
    assert one != Record()
    assert repr(Stall(avg10=0.5)) == "Stall(avg10=0.5)"


def test_the_json_form_holds_every_field(tmp_path: Path) -> None:
    """Plain data under the names of the fields, so that a program in another language sees the same."""
    found = json.loads(json.dumps(v2(tmp_path, V2_FILES).stats().to_dict()))

    assert list(found) == list(Stats.FIELDS)
    assert found["io"]["service_bytes"][0] == {"major": 8, "minor": 0, "operation": "Read", "value": 4096}
    assert found["memory"]["with_swap"]["usage_bytes"] == 4196
    assert found["misc"] == {"sev": {"current": 3, "limit": None, "peak": None, "failures": None}}
