"""What each controller writes for the OCI resources: the tables of v1 and v2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcgroups import Error, Hierarchy, InvalidArgument, Manager, Setup, Unsupported, controllers, new
from libcgroups.controllers import wanted
from libcgroups.hugepages import page_sizes
from libcgroups.v1 import hugetlb as v1_hugetlb
from libcgroups.v1.manager import RESOURCES
from libcgroups.v2 import hugetlb as v2_hugetlb
from libcgroups.v2 import io
from libcgroups.v2.cpu import weight
from libcgroups.v2.manager import RESOURCES as V2_RESOURCES
from libcgroups.v2.memory import swap_only

GIB = 1 << 30
Writes = list[tuple[str, str]]


def written(version: str, module: str, resources: dict[str, Any]) -> Writes:
    """The settings of one controller."""
    found: Writes = __import__(f"libcgroups.{version}.{module}", fromlist=("settings",)).settings(resources)
    return found


V1_TABLE: list[tuple[str, dict[str, Any], Writes]] = [
    ("pids", {"pids": {"limit": 32}}, [("pids.max", "32")]),
    ("pids", {"pids": {"limit": 0}}, [("pids.max", "0")]),
    ("pids", {"pids": {"limit": -1}}, [("pids.max", "max")]),
    ("pids", {"pids": {"limit": None}}, []),
    ("pids", {}, []),
    ("cpu", {"cpu": {"shares": 512}}, [("cpu.shares", "512")]),
    ("cpu", {"cpu": {"shares": 0, "quota": 0, "period": 0}}, []),
    ("cpu", {"cpu": {"shares": 512, "idle": 0}}, [("cpu.idle", "0"), ("cpu.shares", "512")]),
    ("cpu", {"cpu": {"shares": 512, "idle": 1}}, [("cpu.idle", "1")]),
    (
        "cpu",
        {"cpu": {"quota": 20000, "period": 100000, "burst": 0}},
        [("cpu.cfs_burst_us", "0"), ("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "20000")],
    ),
    ("cpu", {"cpu": {"quota": -5}}, [("cpu.cfs_quota_us", "-1")]),
    (
        "cpu",
        {"cpu": {"realtimeRuntime": 0, "realtimePeriod": 1000000}},
        [("cpu.rt_period_us", "1000000"), ("cpu.rt_runtime_us", "0")],
    ),
    ("cpuset", {"cpu": {"cpus": "0-3,5", "mems": "0"}}, [("cpuset.cpus", "0-3,5"), ("cpuset.mems", "0")]),
    ("cpuset", {"cpu": {"cpus": ""}}, []),
    ("memory", {"memory": {"limit": GIB}}, [("memory.limit_in_bytes", str(GIB))]),
    (
        "memory",
        {"memory": {"limit": -1}},
        [("memory.limit_in_bytes", "-1"), ("memory.memsw.limit_in_bytes", "-1")],
    ),
    (
        "memory",
        {"memory": {"limit": GIB, "swap": 2 * GIB, "reservation": 5, "kernel": 6, "kernelTCP": 7}},
        [
            ("memory.limit_in_bytes", str(GIB)),
            ("memory.memsw.limit_in_bytes", str(2 * GIB)),
            ("memory.soft_limit_in_bytes", "5"),
            ("memory.kmem.limit_in_bytes", "6"),
            ("memory.kmem.tcp.limit_in_bytes", "7"),
        ],
    ),
    (
        "memory",
        {"memory": {"swappiness": 10, "disableOOMKiller": True, "useHierarchy": True}},
        [("memory.use_hierarchy", "1"), ("memory.swappiness", "10"), ("memory.oom_control", "1")],
    ),
    ("memory", {"memory": {"swappiness": (1 << 64) - 1, "limit": 0, "useHierarchy": False}}, []),
    ("memory", {"memory": {"swappiness": -1}}, []),
    (
        "memory",
        {"memory": {"limit": 5, "swap": 6, "checkBeforeUpdate": True}},
        [
            ("checkBeforeUpdate/swap", "6"),
            ("checkBeforeUpdate/limit", "5"),
            ("memory.limit_in_bytes", "5"),
            ("memory.memsw.limit_in_bytes", "6"),
        ],
    ),
    (
        "blkio",
        {
            "blockIO": {
                "weight": 300,
                "leafWeight": 10,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 20}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}],
            }
        },
        [
            ("blkio.weight", "300"),
            ("blkio.leaf_weight", "10"),
            ("blkio.weight_device", "8:0 500"),
            ("blkio.leaf_weight_device", "8:0 20"),
            ("blkio.throttle.read_bps_device", "8:0 1000"),
            ("blkio.throttle.write_iops_device", "8:16 0"),
        ],
    ),
    ("net_cls", {"network": {"classID": 1048577}}, [("net_cls.classid", "1048577")]),
    (
        "net_prio",
        {"network": {"priorities": [{"name": "lo", "priority": 5}]}},
        [("net_prio.ifpriomap", "lo 5")],
    ),
    (
        "rdma",
        {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "idle0": {}}},
        [("rdma.max", "mlx5_1 hca_handle=3 hca_object=10000")],
    ),
]

NO_MEMORY_LIMIT: Writes = [("memory.swap.max", "max"), ("memory.max", "max")]
V2_TABLE: list[tuple[str, dict[str, Any], Writes]] = [
    ("pids", {"pids": {"limit": 32}}, [("pids.max", "32")]),
    ("pids", {"pids": {"limit": -1}}, [("pids.max", "max")]),
    ("cpu", {"cpu": {"shares": 1024}}, [("cpu.weight", "100")]),
    ("cpu", {"cpu": {"shares": 0}}, []),
    ("cpu", {"cpu": {"shares": 1024, "idle": 1}}, [("cpu.idle", "1")]),
    ("cpu", {"cpu": {"quota": 20000}}, [("cpu.max", "20000 100000")]),
    ("cpu", {"cpu": {"quota": 20000, "period": 50000}}, [("cpu.max", "20000 50000")]),
    ("cpu", {"cpu": {"period": 50000}}, [("cpu.max", "max 50000")]),
    ("cpu", {"cpu": {"quota": -1}}, [("cpu.max", "max")]),
    ("cpu", {"cpu": {"quota": 5000, "burst": 10}}, [("cpu.max.burst", "10"), ("cpu.max", "5000 100000")]),
    ("cpu", {"cpu": {"realtimeRuntime": 0}}, []),
    ("cpuset", {"cpu": {"cpus": "0-7:2/4"}}, [("cpuset.cpus", "0-7:2/4")]),
    ("memory", {"memory": {"limit": GIB}}, [("memory.max", str(GIB))]),
    ("memory", {"memory": {"limit": -1}}, [("memory.swap.max", "max"), ("memory.max", "max")]),
    (
        "memory",
        {"memory": {"limit": GIB, "swap": GIB, "reservation": -1}},
        [("memory.swap.max", "0"), ("memory.max", str(GIB)), ("memory.low", "max")],
    ),
    (
        "memory",
        {"memory": {"limit": GIB, "swap": 3 * GIB}},
        [("memory.swap.max", str(2 * GIB)), ("memory.max", str(GIB))],
    ),
    ("memory", {"memory": {"swap": -1}}, [("memory.swap.max", "max")]),
    (
        "memory",
        {"memory": {"limit": -1, "swap": 5}},
        [("memory.swap.max", "5"), ("memory.max", "max")],
    ),
    ("memory", {"memory": {"kernel": -1, "kernelTCP": 0, "useHierarchy": True}}, []),
    (
        "io",
        {
            "blockIO": {
                "weight": 10,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 500}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}],
            }
        },
        [
            ("io.bfq.weight", "10"),
            ("io.bfq.weight", "8:0 500"),
            ("io.max", "8:0 rbps=1"),
            ("io.max", "8:0 wbps=2"),
            ("io.max", "8:0 riops=3"),
            ("io.max", "8:0 wiops=max"),
        ],
    ),
    (
        "unified",
        {"unified": {"io.max": "8:0 rbps=1\n8:16 wbps=2\n", "memory.high": "1G"}},
        [("io.max", "8:0 rbps=1"), ("io.max", "8:16 wbps=2"), ("memory.high", "1G")],
    ),
    ("network", {"network": {"priorities": []}}, []),
    ("memory", {"memory": {"limit": -1, "checkBeforeUpdate": True}}, [*NO_MEMORY_LIMIT]),
    ("cpu", {"cpu": {"quota": 0, "period": 20000}}, [("cpu.max", "max 20000")]),
    (
        "cpu",
        {"cpu": {"quota": -1, "period": 20000, "burst": 7}},
        [("cpu.max.burst", "7"), ("cpu.max", "max 20000")],
    ),
    ("cpu", {"cpu": {"idle": 0, "shares": 2}}, [("cpu.idle", "0"), ("cpu.weight", "1")]),
    ("cpuset", {"cpu": {"mems": "0-1"}}, [("cpuset.mems", "0-1")]),
    ("rdma", {"rdma": {"mlx5_1": {"hcaObjects": 7}}}, [("rdma.max", "mlx5_1 hca_object=7")]),
    ("unified", {"unified": {"misc.max": "sev 5"}}, [("misc.max", "sev 5")]),
]


@pytest.mark.parametrize(("module", "resources", "expected"), V1_TABLE)
def test_v1_settings_follow_the_table(module: str, resources: dict[str, Any], expected: Writes) -> None:
    """Field, file and value for cgroup v1, in the order of writing."""
    assert written("v1", module, resources) == expected


@pytest.mark.parametrize(("module", "resources", "expected"), V2_TABLE)
def test_v2_settings_follow_the_table(module: str, resources: dict[str, Any], expected: Writes) -> None:
    """Field, file and converted value for cgroup v2, in the order of writing."""
    assert written("v2", module, resources) == expected


@pytest.mark.parametrize(
    ("shares", "expected"), [(2, 1), (1, 1), (1024, 100), (262144, 10000), (300000, 10000), (512, 59)]
)
def test_shares_become_weights_by_the_common_curve(shares: int, expected: int) -> None:
    """A container keeps its share of the CPU when it moves between runtimes and hosts."""
    assert weight(shares) == expected


@given(st.integers(2, 1 << 18), st.integers(2, 1 << 18))
def test_more_shares_never_mean_less_weight(one: int, two: int) -> None:
    """And every weight is one that the kernel takes."""
    low, high = sorted((one, two))

    assert 1 <= weight(low) <= weight(high) <= 10_000


@pytest.mark.parametrize(("blkio", "expected"), [(10, 1), (1000, 10000), (100, 910)])
def test_blkio_weights_become_io_weights_on_their_scale(blkio: int, expected: int) -> None:
    """The ends of the two scales fall on each other."""
    assert io.io_weight(blkio) == expected


def test_huge_pages_are_limited_in_use_and_in_reservation() -> None:
    """Without the second a process could reserve all pages and fault none in."""
    resources = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}

    assert v1_hugetlb.settings(resources, ["1GB", "2MB"]) == [
        ("hugetlb.2MB.limit_in_bytes", "4194304"),
        ("hugetlb.2MB.rsvd.limit_in_bytes", "4194304"),
    ]
    assert v2_hugetlb.settings(resources, ["2MB"]) == [
        ("hugetlb.2MB.max", "4194304"),
        ("hugetlb.2MB.rsvd.max", "4194304"),
    ]


def test_page_sizes_are_written_as_the_controller_writes_them(tmp_path: Path) -> None:
    """The kernel lists them in kB and names its files in the largest unit."""
    for kib in (64, 2048, 32768, 1048576):
        (tmp_path / f"hugepages-{kib}kB").mkdir()

    assert sorted(page_sizes(str(tmp_path))) == ["1GB", "2MB", "32MB", "64KB"]
    assert page_sizes(str(tmp_path / "absent")) == []


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"pid": {"limit": 1}}, "/pid"),
    ({"pids": {"limits": 1}}, "/pids/limits"),
    ({"pids": [1]}, "/pids"),
    ({"pids": {"limit": "1"}}, "/pids/limit"),
    ({"pids": {"limit": True}}, "/pids/limit"),
    ({"pids": {"limit": 1 << 63}}, "/pids/limit"),
    ({"pids": {"a/b~c": 1}}, "/pids/a~1b~0c"),
    ({"cpu": {"period": -1}}, "/cpu/period"),
    ({"cpu": {"period": 999}}, "/cpu/period"),
    ({"cpu": {"period": 1_000_001}}, "/cpu/period"),
    ({"cpu": {"quota": 999}}, "/cpu/quota"),
    ({"cpu": {"quota": 1 << 44}}, "/cpu/quota"),
    ({"cpu": {"quota": 10_000, "burst": 10_001}}, "/cpu/burst"),
    ({"cpu": {"burst": -1}}, "/cpu/burst"),
    ({"cpu": {"shares": -1}}, "/cpu/shares"),
    ({"cpu": {"shares": 1 << 64}}, "/cpu/shares"),
    ({"cpu": {"idle": 2}}, "/cpu/idle"),
    ({"cpu": {"cpus": "3-1"}}, "/cpu/cpus"),
    ({"cpu": {"cpus": "0-8192"}}, "/cpu/cpus"),
    ({"cpu": {"mems": 0}}, "/cpu/mems"),
    ({"cpu": {"cpus": "0\n1"}}, "/cpu/cpus"),
    ({"cpu": {"mems": "all"}}, "/cpu/mems"),
    ({"memory": {"limit": -2}}, "/memory/limit"),
    ({"memory": {"limit": 1.5}}, "/memory/limit"),
    ({"memory": {"limit": 100, "swap": 50}}, "/memory/swap"),
    ({"memory": {"swappiness": 101}}, "/memory/swappiness"),
    ({"memory": {"checkBeforeUpdate": 1}}, "/memory/checkBeforeUpdate"),
    ({"blockIO": {"weight": 9}}, "/blockIO/weight"),
    ({"blockIO": {"weight": 1001}}, "/blockIO/weight"),
    (
        {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "rate": 1}]}},
        "/blockIO/throttleReadBpsDevice/0/minor",
    ),
    ({"blockIO": {"throttleReadBpsDevice": {}}}, "/blockIO/throttleReadBpsDevice"),
    ({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}, "/hugepageLimits/0/pageSize"),
    ({"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]}, "/hugepageLimits/0/pageSize"),
    ({"rdma": {"mlx 5": {"hcaHandles": 1}}}, "/rdma/mlx 5"),
    ({"hugepageLimits": [{"pageSize": "2MB", "limit": -1}]}, "/hugepageLimits/0/limit"),
    ({"hugepageLimits": [{"pageSize": "2MB"}]}, "/hugepageLimits/0/limit"),
    ({"rdma": {"mlx5": {"handles": 1}}}, "/rdma/mlx5"),
    ({"rdma": {"mlx5": {"hcaHandles": 1 << 32}}}, "/rdma/mlx5/hcaHandles"),
    ({"rdma": {"a/b ": {}}}, "/rdma/a~1b "),
]
V1_INVALID: list[tuple[dict[str, Any], str]] = [
    ({"cpu": {"shares": 1}}, "/cpu/shares"),
    ({"cpu": {"shares": 262145}}, "/cpu/shares"),
    ({"cpu": {"realtimePeriod": 1000, "realtimeRuntime": 1001}}, "/cpu/realtimeRuntime"),
    ({"cpu": {"realtimeRuntime": -2}}, "/cpu/realtimeRuntime"),
    ({"network": {"classID": -1}}, "/network/classID"),
    ({"network": {"priorities": [{"name": "a b", "priority": 1}]}}, "/network/priorities/0/name"),
    ({"network": {"priorities": [{"name": "lo"}]}}, "/network/priorities/0/priority"),
    ({"unified": {"memory.high": "1"}}, "/unified"),
    ({"devices": [{"allow": 1}]}, "/devices/0/allow"),
    ({"devices": [{"allow": True, "type": "x"}]}, "/devices/0/type"),
    ({"devices": [{"allow": True, "access": "rwx"}]}, "/devices/0/access"),
]
V2_INVALID: list[tuple[dict[str, Any], str]] = [
    ({"memory": {"swap": 50}}, "/memory/swap"),
    ({"memory": {"kernel": 1}}, "/memory/kernel"),
    ({"memory": {"swappiness": 50}}, "/memory/swappiness"),
    ({"memory": {"disableOOMKiller": True}}, "/memory/disableOOMKiller"),
    ({"cpu": {"realtimeRuntime": 1}}, "/cpu/realtimeRuntime"),
    ({"blockIO": {"leafWeight": 10}}, "/blockIO/leafWeight"),
    ({"network": {"classID": 1}}, "/network/classID"),
    ({"devices": [{"allow": 1}]}, "/devices/0/allow"),
    ({"unified": {"memory/high": "1"}}, "/unified/memory~1high"),
    ({"unified": {"memory": "1"}}, "/unified/memory"),
    ({"unified": {"memory.high": ""}}, "/unified/memory.high"),
    ({"unified": {"io.max": "\n\n"}}, "/unified/io.max"),
    ({"unified": {"memory.high": "1\0"}}, "/unified/memory.high"),
    ({"unified": {"..": "1"}}, "/unified/.."),
    ({"unified": {"cgroup.procs": "1"}}, "/unified/cgroup.procs"),
    ({"unified": {"memory.high": 1}}, "/unified/memory.high"),
]
CONTROLLERS = (
    "blkio",
    "cpu",
    "cpuset",
    "devices",
    "hugetlb",
    "memory",
    "net_cls",
    "net_prio",
    "pids",
    "rdma",
)


def v1_manager() -> Manager:
    """A manager of a tree that does not exist: nothing may be touched."""
    hierarchies = tuple(Hierarchy(f"/nowhere/{name}", (name,)) for name in CONTROLLERS)
    return new("/x", container_id="x", setup=Setup("v1", hierarchies))


def v2_manager() -> Manager:
    """A manager of a tree that does not exist: nothing may be touched."""
    return new("/x", container_id="x", setup=Setup("v2", (), Hierarchy("/nowhere")))


@pytest.mark.parametrize(("resources", "pointer"), INVALID + V1_INVALID)
def test_v1_refuses_bad_resources_before_it_touches_anything(resources: dict[str, Any], pointer: str) -> None:
    """One error that points at the field; a limit is never half applied because of a typing mistake."""
    with pytest.raises((InvalidArgument, Unsupported)) as caught:
        v1_manager().check(resources)

    assert caught.value.pointer == pointer


@pytest.mark.parametrize(("resources", "pointer"), INVALID + V2_INVALID)
def test_v2_refuses_bad_resources_before_it_touches_anything(resources: dict[str, Any], pointer: str) -> None:
    """Also what v2 has no counterpart of: never a silent skip."""
    with pytest.raises((InvalidArgument, Unsupported)) as caught:
        v2_manager().check(resources)

    assert caught.value.pointer == pointer


# limit, memory+swap, swap alone: the conversion that runc, crun and youki agree on
SWAP_TABLE = [
    (-1, 0, -1),
    (0, 0, None),
    (GIB, 0, None),
    (GIB, -1, -1),
    (0, -1, -1),
    (-1, -1, -1),
    (-1, 3 * GIB, 3 * GIB),
    (GIB, GIB, 0),
    (GIB, 3 * GIB, 2 * GIB),
]


@pytest.mark.parametrize(("limit", "swap", "expected"), SWAP_TABLE)
def test_memory_and_swap_become_swap_alone(limit: int, swap: int, expected: int | None) -> None:
    """0 is unset, -1 no limit; equal values leave no swap at all."""
    assert swap_only(limit, swap) == expected


def test_v2_misses_a_controller_before_anything_is_made(tmp_path: Path) -> None:
    """What the whole hierarchy does not have, no cgroup of it will; `unified` names controllers, too."""
    (tmp_path / "cgroup.controllers").write_text("cpu pids\n")
    manager = new("/x", container_id="x", setup=Setup("v2", (), Hierarchy(str(tmp_path))))

    manager.check({"pids": {"limit": 1}, "unified": {"cpu.weight": "5"}, "devices": [{"allow": False}]})
    for resources, pointer in (
        ({"memory": {"limit": 1 << 20}}, "/memory/limit"),
        ({"unified": {"misc.max": "sev 1"}}, "/unified/misc.max"),
        ({"rdma": {"mlx5_0": {"hcaHandles": 1}}}, "/rdma"),
    ):
        with pytest.raises(Unsupported, match="controller is not available") as caught:
            manager.check(resources)
        assert caught.value.pointer == pointer
    assert [path.name for path in tmp_path.iterdir()] == ["cgroup.controllers"]


def test_a_missing_controller_is_an_error_only_for_who_asks() -> None:
    """A host without hugetlb runs containers that set no hugetlb limit."""
    manager = new("/x", container_id="x", setup=Setup("v1", (Hierarchy("/nowhere/cpu", ("cpu",)),)))

    manager.check({"cpu": {"shares": 2}, "pids": {"limit": None}, "devices": []})
    with pytest.raises(Unsupported, match="pids controller") as caught:
        manager.check({"pids": {"limit": 1}})
    assert caught.value.pointer == "/pids/limit"


@pytest.mark.parametrize("manager", [v1_manager, v2_manager])
def test_no_resources_are_no_work(manager: Any) -> None:
    """None, an empty object and nulls change nothing, even where no cgroup exists."""
    nothing: list[Any] = [None, {}, {"memory": None, "pids": {}}, {"memory": {"limit": None}}]
    for resources in nothing:
        manager().apply(resources)


@given(
    st.dictionaries(
        st.sampled_from(["pids", "cpu", "memory", "blockIO", "network", "rdma", "unified", "devices", "odd"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["limit", "swap", "quota", "shares", "cpus", "weight", "allow", "classID", "x.y"]
                    ),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=6,
        ),
        max_size=3,
    )
)
def test_any_json_is_either_accepted_or_refused_with_a_pointer(resources: dict[str, Any]) -> None:
    """No input makes the library fail in a way that a caller cannot explain."""
    for manager in (v1_manager(), v2_manager()):
        pointer = "/"
        try:
            manager.check(resources)
        except Error as error:
            pointer = error.pointer or ""
        assert pointer.startswith("/")


def test_what_resources_mean_follows_from_what_they_are_now() -> None:
    """A caller may change its object between two calls; what was found before is for equal resources only."""
    resources: dict[str, Any] = {"pids": {"limit": 7}}
    first = [change.settings for change in wanted(resources, RESOURCES, "libcgroups.v1")]
    assert [change.settings for change in wanted(resources, RESOURCES, "libcgroups.v1")] == first
    resources["pids"]["limit"] = 8

    assert first == [[("pids.max", "7")]]
    assert [change.settings for change in wanted(resources, RESOURCES, "libcgroups.v1")] == [
        [("pids.max", "8")]
    ]


def test_refused_resources_are_refused_again() -> None:
    """Nothing is known of what was not accepted."""
    for _ in range(2):
        with pytest.raises(InvalidArgument):
            wanted({"pids": {"limit": "many"}}, RESOURCES, "libcgroups.v1")


def test_the_two_versions_of_cgroups_do_not_answer_for_each_other() -> None:
    """Equal resources, other files."""
    resources = {"cpu": {"shares": 2048}}
    v1, v2 = (
        [change.settings for change in wanted(resources, table, package)]
        for table, package in ((RESOURCES, "libcgroups.v1"), (V2_RESOURCES, "libcgroups.v2"))
    )
    assert v1 != v2


def test_not_every_meaning_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program with ever new limits does not grow by them."""
    known: dict[Any, Any] = {}
    monkeypatch.setattr(controllers, "_known", known)
    for limit in range(1, 3 * controllers.MOST_KNOWN):
        wanted({"pids": {"limit": limit}}, RESOURCES, "libcgroups.v1")
        assert 0 < len(known) <= controllers.MOST_KNOWN
