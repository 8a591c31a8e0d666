"""scheduler.py and personality.py: the kernel's numbers for the names of the specification."""

from __future__ import annotations

import os
from typing import Any

import pytest

from libcontainer.host import Host
from libcontainer.personality import compile_personality
from libcontainer.plan import operations as do
from libcontainer.plan.context import Context, Options
from libcontainer.scheduler import POLICIES, compile_scheduler


def plan(**process: Any) -> list[do.Op]:
    return list(compile_scheduler(Context({"process": process}, Host(), Options())))


@pytest.mark.parametrize("name", ["SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_IDLE"])
def test_policies_have_the_numbers_of_this_system(name: str) -> None:
    """sched(7), as the C library has them."""
    assert POLICIES[name] == getattr(os, name)


def test_absent_fields_are_zero_and_flags_are_combined() -> None:
    """A flag that comes twice counts once."""
    flags = ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_KEEP_PARAMS", "SCHED_FLAG_RESET_ON_FORK"]
    (op,) = plan(scheduler={"policy": "SCHED_BATCH", "nice": -3, "flags": flags})

    wanted = {"policy": 3, "flags": 0x11, "nice": -3, "priority": 0, "runtime": 0, "deadline": 0, "period": 0}
    assert op == do.SetScheduler(pointer="/process/scheduler", **wanted)


def test_a_real_time_budget_is_there_before_the_policy_that_needs_it() -> None:
    """The cgroup refuses a real-time process without one; other policies need no such detour."""
    for policy, points in (("SCHED_FIFO", [do.SYNC_LIMITS]), ("SCHED_OTHER", [])):
        spec = {
            "process": {"scheduler": {"policy": policy, "priority": 1}},
            "linux": {"resources": {"cpu": {"realtimeRuntime": 10000}}},
        }
        ops = list(compile_scheduler(Context(spec, Host(), Options())))
        assert [op.point for op in ops[:-1] if isinstance(op, do.Sync)] == points
        assert isinstance(ops[-1], do.SetScheduler)


def test_deadlines_are_nanoseconds_as_given() -> None:
    """sched_setattr(2) takes 64 bits."""
    big = 2**62
    (op,) = plan(scheduler={"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": big, "period": big})

    assert op.operands == (6, 0, 0, 0, 1024, big, big)


@pytest.mark.parametrize(
    ("priority", "value"),
    [
        ({"class": "IOPRIO_CLASS_RT", "priority": 7}, 1 << 13 | 7),
        ({"class": "IOPRIO_CLASS_BE"}, 2 << 13),
        ({"class": "IOPRIO_CLASS_IDLE", "priority": 0}, 3 << 13),
    ],
)
def test_io_priority_is_class_and_level_in_one_number(priority: dict[str, Any], value: int) -> None:
    """ioprio_set(2)."""
    assert plan(ioPriority=priority) == [do.SetIoPriority(pointer="/process/ioPriority", value=value)]


def test_nothing_asked_is_nothing_done() -> None:
    """The caller's scheduling is inherited."""
    assert plan() == []


@pytest.mark.parametrize(("domain", "number"), [("LINUX", 0), ("LINUX32", 8)])
def test_personalities_are_those_of_the_kernel(domain: str, number: int) -> None:
    """personality(2), PER_LINUX32."""
    spec = {"linux": {"personality": {"domain": domain}}}
    (op,) = compile_personality(Context(spec, Host(), Options()))

    assert op == do.SetPersonality(pointer="/linux/personality", domain=number)
