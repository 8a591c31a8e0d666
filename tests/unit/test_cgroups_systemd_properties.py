"""From OCI resources and annotations to properties of a unit: names, D-Bus types, values, versions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcgroups import InvalidArgument
from libcgroups.systemd.annotations import PREFIX, parse
from libcgroups.systemd.annotations import properties as annotation_properties
from libcgroups.systemd.name import UnitName
from libcgroups.systemd.properties import (
    cpu_mask,
    parse_proc_devices,
    settled,
    start_properties,
    unit_properties,
    v1_properties,
    v2_properties,
)

NEW = 256
NONE = (1 << 64) - 1
MAJORS = parse_proc_devices("Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n259 blkext\n")
DENY_ALL = {"allow": False, "access": "rwm"}

V2_TABLE: list[tuple[dict[str, Any], dict[str, tuple[str, Any]]]] = [
    ({"memory": {"limit": 1 << 20}}, {"MemoryMax": ("t", 1 << 20)}),
    ({"memory": {"limit": -1}}, {"MemoryMax": ("t", NONE), "MemorySwapMax": ("t", NONE)}),
    ({"memory": {"reservation": 4096}}, {"MemoryLow": ("t", 4096)}),
    ({"memory": {"limit": 100, "swap": 150}}, {"MemoryMax": ("t", 100), "MemorySwapMax": ("t", 50)}),
    ({"memory": {"limit": 100, "swap": 100}}, {"MemoryMax": ("t", 100), "MemorySwapMax": ("t", 0)}),
    ({"cpu": {"shares": 1024}}, {"CPUWeight": ("t", 100)}),
    ({"cpu": {"shares": 1024, "idle": 1}}, {"CPUWeight": ("t", 0)}),
    (
        {"cpu": {"quota": 50_000, "period": 100_000}},
        {"CPUQuotaPeriodUSec": ("t", 100_000), "CPUQuotaPerSecUSec": ("t", 500_000)},
    ),
    ({"cpu": {"quota": 12_345}}, {"CPUQuotaPerSecUSec": ("t", 130_000)}),
    ({"cpu": {"quota": -1}}, {"CPUQuotaPerSecUSec": ("t", NONE)}),
    (
        {"cpu": {"period": 50_000}},
        {"CPUQuotaPeriodUSec": ("t", 50_000), "CPUQuotaPerSecUSec": ("t", NONE)},
    ),
    (
        {"cpu": {"cpus": "0-1,9", "mems": "0"}},
        {"AllowedCPUs": ("ay", b"\x03\x02"), "AllowedMemoryNodes": ("ay", b"\x01")},
    ),
    ({"pids": {"limit": 10}}, {"TasksMax": ("t", 10)}),
    ({"pids": {"limit": 0}}, {"TasksMax": ("t", 1)}),
    ({"pids": {"limit": -1}}, {"TasksMax": ("t", NONE)}),
    ({"blockIO": {"weight": 10}}, {"IOWeight": ("t", 1)}),
    (
        {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 1000}]}},
        {"IODeviceWeight": ("a(st)", [("/dev/block/8:0", 10_000)])},
    ),
    (
        {
            "blockIO": {
                "throttleReadBpsDevice": [
                    {"major": 8, "minor": 0, "rate": 5},
                    {"major": 8, "minor": 16, "rate": 0},
                ],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 7}],
            }
        },
        {
            "IOReadBandwidthMax": ("a(st)", [("/dev/block/8:0", 5), ("/dev/block/8:16", NONE)]),
            "IOWriteIOPSMax": ("a(st)", [("/dev/block/8:0", 7)]),
        },
    ),
    (
        {"unified": {"memory.max": "max", "memory.high": "1M"}},
        {"MemoryMax": ("t", NONE), "MemoryHigh": ("t", 1 << 20)},
    ),
    ({"unified": {"memory.min": "1", "memory.low": "2"}}, {"MemoryMin": ("t", 1), "MemoryLow": ("t", 2)}),
    ({"unified": {"memory.swap.max": "0"}}, {"MemorySwapMax": ("t", 0)}),
    ({"unified": {"memory.zswap.max": "3"}}, {"MemoryZSwapMax": ("t", 3)}),
    ({"unified": {"cpu.weight": "200"}}, {"CPUWeight": ("t", 200)}),
    ({"unified": {"cpu.idle": "1"}}, {"CPUWeight": ("t", 0)}),
    (
        {"unified": {"cpu.max": "20000 50000"}},
        {"CPUQuotaPeriodUSec": ("t", 50_000), "CPUQuotaPerSecUSec": ("t", 400_000)},
    ),
    (
        {"unified": {"cpu.max": "max"}},
        {"CPUQuotaPeriodUSec": ("t", 100_000), "CPUQuotaPerSecUSec": ("t", NONE)},
    ),
    (
        {"unified": {"cpuset.cpus": "8", "cpuset.mems": "1"}},
        {"AllowedCPUs": ("ay", b"\0\x01"), "AllowedMemoryNodes": ("ay", b"\x02")},
    ),
    ({"unified": {"pids.max": "5"}}, {"TasksMax": ("t", 5)}),
    ({"pids": {"limit": 10}, "unified": {"pids.max": "5"}}, {"TasksMax": ("t", 5)}),
    ({"unified": {"memory.max": "much", "hugetlb.2MB.max": "1", "cpu.max": "a b"}}, {}),
    ({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}, {}),
    ({}, {}),
]


@pytest.mark.parametrize(("resources", "expected"), V2_TABLE)
def test_each_resource_becomes_its_property(
    resources: dict[str, Any], expected: dict[str, tuple[str, Any]]
) -> None:
    """systemd refuses a value of another D-Bus type, and the whole call with it."""
    assert dict(v2_properties(resources, NEW, {})) == expected


@pytest.mark.parametrize(
    ("resources", "version"),
    [
        ({"cpu": {"cpus": "0", "mems": "0"}}, 243),
        ({"unified": {"memory.zswap.max": "3"}}, 252),
        ({"cpu": {"idle": 1}}, 251),
        ({"unified": {"cpu.idle": "1"}}, 251),
    ],
)
def test_what_this_version_of_systemd_does_not_know_is_left_to_the_files(
    resources: dict[str, Any], version: int
) -> None:
    """One unknown property would make the call fail."""
    assert v2_properties(resources, version, {}) == []
    assert v2_properties(resources, NEW, {}) != []


def test_an_old_systemd_gets_the_quota_without_the_period() -> None:
    """CPUQuotaPeriodUSec= came with systemd 242; the share of a CPU is the same without it."""
    resources = {"cpu": {"quota": 10_000, "period": 50_000}}

    assert v2_properties(resources, 241, {}) == [("CPUQuotaPerSecUSec", ("t", 200_000))]


def test_v1_has_properties_of_its_own() -> None:
    """systemd keeps the v1 names for v1 controllers."""
    resources = {
        "memory": {"limit": 4096, "swap": 8192},
        "cpu": {"shares": 512, "quota": 10_000, "period": 100_000},
        "blockIO": {"weight": 500},
        "pids": {"limit": 3},
    }

    assert dict(v1_properties(resources, NEW, {})) == {
        "MemoryLimit": ("t", 4096),
        "CPUShares": ("t", 512),
        "CPUQuotaPeriodUSec": ("t", 100_000),
        "CPUQuotaPerSecUSec": ("t", 100_000),
        "BlockIOWeight": ("t", 500),
        "TasksMax": ("t", 3),
    }


@given(st.integers(1_000, 10_000_000), st.integers(1_000, 1_000_000))
def test_the_quota_in_the_files_is_what_systemd_keeps(quota: int, period: int) -> None:
    """systemd keeps whole percents: a file that said otherwise would change at the next daemon-reload."""
    resources = {"cpu": {"quota": quota, "period": period}}
    told = dict(v2_properties(resources, NEW, {}))["CPUQuotaPerSecUSec"][1]
    written = settled(resources)["cpu"]["quota"]

    assert told % 10_000 == 0
    assert told * period >= quota * 1_000_000 > (told - 10_000) * period
    assert written == told * period // 1_000_000
    assert (
        settled({"unified": {"cpu.max": f"{quota} {period}"}})["unified"]["cpu.max"] == f"{written} {period}"
    )


def test_without_a_quota_nothing_is_rounded() -> None:
    """No limit stays no limit, and what does not concern the CPU is handed on as it is."""
    resources = {"cpu": {"quota": -1, "shares": 3}, "unified": {"cpu.max": "max 5000", "pids.max": "3"}}

    assert settled(resources) == resources


@given(st.sets(st.integers(0, 300), min_size=1))
def test_a_mask_holds_exactly_the_cpus_of_the_list(cpus: set[int]) -> None:
    """Bit N of byte N/8, lowest byte first, is CPU N."""
    mask = cpu_mask(",".join(str(cpu) for cpu in cpus), "/cpu/cpus")

    assert {bit for bit in range(len(mask) * 8) if mask[bit // 8] >> bit % 8 & 1} == cpus


def test_a_list_with_steps_and_an_absurd_number() -> None:
    """The kernel's list format has groups (used/size), and a huge number must not make a huge mask."""
    assert cpu_mask("0-7:2/4", "/cpu/cpus") == b"\x33"
    with pytest.raises(InvalidArgument) as caught:
        cpu_mask("0-99999", "/cpu/cpus")
    assert caught.value.pointer == "/cpu/cpus"


def test_devices_become_a_strict_list_of_what_is_allowed() -> None:
    """systemd denies the rest with a program of its own, beside ours; it knows drivers, not majors."""
    devices = [
        {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rwm"},
        DENY_ALL,
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
        {"allow": True, "major": 8, "minor": 1, "access": "r"},
        {"allow": True, "type": "c", "major": 136, "access": "rwm"},
        {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"},
    ]

    assert v2_properties({"devices": devices}, NEW, MAJORS) == [
        ("DevicePolicy", ("s", "strict")),
        ("DeviceAllow", ("a(ss)", [])),
        (
            "DeviceAllow",
            (
                "a(ss)",
                [
                    ("char-*", "m"),
                    ("/dev/char/1:3", "rw"),
                    ("/dev/block/8:1", "r"),
                    ("/dev/char/8:1", "r"),
                    ("char-pts", "rwm"),
                ],
            ),
        ),
    ]


@pytest.mark.parametrize(
    "rule",
    [
        {"allow": True, "access": "rwm"},
        {"allow": True, "type": "c", "major": 77, "access": "rwm"},
        {"allow": True, "type": "c", "minor": 7, "access": "rwm"},
    ],
)
def test_rules_that_systemd_has_no_words_for_are_left_to_our_own_program(rule: dict[str, Any]) -> None:
    """A list without them would forbid what the rules allow, as both programs must agree."""
    assert v2_properties({"devices": [DENY_ALL, rule]}, NEW, MAJORS) == [
        ("DevicePolicy", ("s", "auto")),
        ("DeviceAllow", ("a(ss)", [])),
    ]


def test_denied_devices_are_told_to_systemd_as_an_empty_strict_list() -> None:
    """An empty list with the policy "auto" would be no restriction."""
    assert v2_properties({"devices": [DENY_ALL]}, NEW, {}) == [
        ("DevicePolicy", ("s", "strict")),
        ("DeviceAllow", ("a(ss)", [])),
    ]


def test_a_scope_is_started_with_its_slice_its_processes_and_delegation() -> None:
    """Without Delegate= systemd would take the cgroup's files and children for its own."""
    found = dict(unit_properties(UnitName("a.slice", "p-x.scope"), "text", [7], NEW, v2=True))

    assert found == {
        "Description": ("s", "text"),
        "Slice": ("s", "a.slice"),
        "Delegate": ("b", True),
        "PIDs": ("au", [7]),
        "MemoryAccounting": ("b", True),
        "CPUAccounting": ("b", True),
        "IOAccounting": ("b", True),
        "TasksAccounting": ("b", True),
        "DefaultDependencies": ("b", False),
        "CollectMode": ("s", "inactive-or-failed"),
    }


def test_a_slice_is_started_without_processes_and_delegation() -> None:
    """systemd refuses both for a slice; its place is in its name, so the parent is only wanted."""
    found = dict(unit_properties(UnitName("a.slice", "a-b.slice"), "text", [], 235, v2=False))

    assert found["Wants"] == ("as", ["a.slice"])
    assert found["BlockIOAccounting"] == ("b", True)
    assert not {"Slice", "Delegate", "PIDs", "IOAccounting", "CollectMode"} & set(found)


def test_the_oom_policy_follows_the_unified_file_and_is_for_the_start_only() -> None:
    """systemd would otherwise stop the whole scope after an OOM kill that the kernel meant for one process."""
    resources = {"unified": {"memory.oom.group": "0"}}

    assert start_properties(resources, 253) == [("OOMPolicy", ("s", "continue"))]
    assert start_properties({"unified": {"memory.oom.group": "1"}}, 253) == [("OOMPolicy", ("s", "kill"))]
    assert start_properties(resources, 252) == start_properties(None, 253) == []
    assert v2_properties(resources, NEW, {}) == []


# Annotations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", ("b", True)),
        ("'inactive-or-failed'", ("s", "inactive-or-failed")),
        ('"it\'s \\"so\\""', ("s", 'it\'s "so"')),
        ("5", ("i", 5)),
        ("-5", ("i", -5)),
        ("1.5", ("d", 1.5)),
        ("uint64 123456789", ("t", 123_456_789)),
        ("byte 0xff", ("y", 255)),
        ("['a', 'b']", ("as", ["a", "b"])),
        ("[uint64 1, 2]", ("at", [1, 2])),
        ("@as []", ("as", [])),
        ("@ay [1, 2]", ("ay", b"\x01\x02")),
        ("[('/dev/null', 'rw')]", ("a(ss)", [("/dev/null", "rw")])),
        ("@a(st) [('/dev/sda', 5)]", ("a(st)", [("/dev/sda", 5)])),
        ("('a', true)", ("(sb)", ("a", True))),
    ],
)
def test_a_value_is_read_with_its_type(text: str, expected: tuple[str, Any]) -> None:
    """GVariant's text form says the type by the value or by a word before it."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "[1, 'a']", "(1", "uint16 70000", "word", "1 2", "'x", "@as [1]", "[" * 9 + "1"),
        *("@zz 1", "@so 'x'", "[1 2]"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused_before_anything_is_started(text: str) -> None:
    """The error names the annotation."""
    with pytest.raises(InvalidArgument) as caught:
        annotation_properties({f"{PREFIX}Documentation": text})

    assert caught.value.pointer == f"/{PREFIX}Documentation"


@given(st.text(alphabet="@[]()',\"abistu 0123456789.-\\x", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever an annotation holds, the answer is a value or one kind of error."""
    try:
        signature, _ = parse(text)
    except ValueError:
        return
    assert signature


def test_names_in_seconds_become_those_in_microseconds() -> None:
    """People know TimeoutStopSec= from unit files; D-Bus only has TimeoutStopUSec."""
    annotations = {
        "io.other": "x",
        f"{PREFIX}TimeoutStopSec": "1.5",
        f"{PREFIX}RuntimeMaxUSec": "uint64 7",
        f"{PREFIX}CollectMode": "'inactive'",
    }

    assert annotation_properties(annotations) == [
        ("TimeoutStopUSec", ("t", 1_500_000)),
        ("RuntimeMaxUSec", ("t", 7)),
        ("CollectMode", ("s", "inactive")),
    ]
    assert annotation_properties(None) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("timeout", "1"),
        ("Ab", "1"),
        ("A-b-c", "1"),
        ("", "1"),
        ("PIDs", "[uint32 1]"),
        ("Slice", "'a.slice'"),
        ("TimeoutStopSec", "'long'"),
        ("TimeoutStopSec", "-1"),
    ],
)
def test_a_name_that_is_no_property_or_is_ours_is_refused(name: str, text: str) -> None:
    """An annotation must not move the container elsewhere or other processes into it."""
    with pytest.raises(InvalidArgument):
        annotation_properties({f"{PREFIX}{name}": text})
