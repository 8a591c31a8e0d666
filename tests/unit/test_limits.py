"""limits.py: what an update asks for, joined with what was asked for before."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcontainer.limits import joined, wanted

SAVED: dict[str, Any] = {
    "cpu": {"shares": 512, "quota": 50000, "period": 100000},
    "memory": {"limit": 1000, "swap": 2000, "checkBeforeUpdate": True},
    "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}]},
    "hugepageLimits": [{"pageSize": "2MB", "limit": 0}, {"pageSize": "1GB", "limit": 0}],
    "network": {"priorities": [{"name": "lo", "priority": 1}]},
    "rdma": {"mlx5_0": {"hcaHandles": 3}},
    "unified": {"memory.high": "5"},
    "devices": [{"allow": False}],
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"cpu": {"quota": -1}}, {"shares": 512, "quota": -1, "period": 100000}),
        ({"cpu": {"period": 50000}}, {"shares": 512, "quota": 50000, "period": 50000}),
        ({"cpu": {"shares": 0, "quota": 0, "idle": 0}}, {**SAVED["cpu"], "idle": 0}),
        ({"cpu": {"shares": None, "cpus": "", "burst": 0}}, {**SAVED["cpu"], "burst": 0}),
        ({"memory": {"limit": 1500}}, {"limit": 1500, "swap": 2000, "checkBeforeUpdate": False}),
        ({"memory": {"limit": -1}}, {"limit": -1, "swap": -1, "checkBeforeUpdate": False}),
        ({"memory": {"limit": -1, "swap": 9}}, {"limit": -1, "swap": 9, "checkBeforeUpdate": False}),
        ({"memory": {"swap": 3000, "limit": 0}}, {"limit": 1000, "swap": 3000, "checkBeforeUpdate": False}),
        (
            {"memory": {"reservation": 5, "checkBeforeUpdate": True}},
            {"limit": 1000, "swap": 2000, "reservation": 5, "checkBeforeUpdate": True},
        ),
        ({"pids": {"limit": 0}}, {"limit": 0}),
        ({"unified": {"memory.low": "1"}}, {"memory.high": "5", "memory.low": "1"}),
        (
            {"rdma": {"mlx5_0": {"hcaObjects": 4}, "mlx5_1": {"hcaHandles": 1}}},
            {"mlx5_0": {"hcaHandles": 3, "hcaObjects": 4}, "mlx5_1": {"hcaHandles": 1}},
        ),
        (
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 7}]},
            [{"pageSize": "2MB", "limit": 7}, {"pageSize": "1GB", "limit": 0}],
        ),
        (
            {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": 9}], "weight": 0}},
            {"throttleReadBpsDevice": [{"major": 8, "minor": m, "rate": r} for m, r in ((0, 5), (16, 9))]},
        ),
        (
            {"network": {"priorities": [{"name": "lo", "priority": 2}], "classID": 0}},
            {"priorities": [{"name": "lo", "priority": 2}], "classID": 0},
        ),
    ],
)
def test_a_change_goes_into_what_was_there(change: dict[str, Any], expected: Any) -> None:
    """0 and the empty text leave alone what they mean "unset" for; everything else counts; lists go by name."""
    result = joined(SAVED, wanted(change))

    (group,) = change
    assert result[group] == expected
    assert {name: value for name, value in result.items() if name not in (group, "memory")} == {
        name: value for name, value in SAVED.items() if name not in (group, "memory")
    }


@pytest.mark.parametrize(
    "nothing", [{}, {"cpu": None}, {"cpu": {}}, {"memory": {"limit": 0}}, {"devices": [{"allow": True}]}]
)
def test_nothing_asked_for_is_nothing_to_change(nothing: dict[str, Any]) -> None:
    """Device rules are never changed by an update."""
    assert wanted(nothing) == {}


NUMBERS = st.integers(-1, 1 << 40)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.dictionaries(st.sampled_from(["shares", "quota", "period", "idle"]), NUMBERS),
        "memory": st.dictionaries(st.sampled_from(["limit", "swap", "reservation"]), NUMBERS),
        "pids": st.fixed_dictionaries({"limit": NUMBERS}),
        "unified": st.dictionaries(st.sampled_from(["memory.high", "cpu.max"]), st.text("01", min_size=1)),
    },
)


@given(CHANGES, CHANGES)
def test_a_change_made_twice_is_made_once(first: dict[str, Any], second: dict[str, Any]) -> None:
    """What is saved does not drift, however often a caller repeats itself; the caller's data is left alone."""
    before = copy.deepcopy((first, second))
    saved = joined(wanted(first), wanted(second))

    assert joined(saved, wanted(second)) == saved
    assert (first, second) == before
