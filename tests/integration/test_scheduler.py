"""How the payload is scheduled and placed: config.md "scheduler", "ioPriority", "oomScoreAdj", config-linux.md
"personality", "memoryPolicy"; on the real kernel.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import Container, InvalidConfig, SetupError
from libcontainer.capabilities import mask
from libcontainer.host import Host

if TYPE_CHECKING:
    from .conftest import Bundle

SCHED_BATCH, SCHED_IDLE, SCHED_FIFO = 3, 5, 1
IOPRIO_GET = {"x86_64": 252, "aarch64": 31}


def stat_fields(text: str) -> list[str]:
    """The fields of /proc/PID/stat from the third on: index 0 is the state."""
    return text.rpartition(")")[2].split()


def scheduling(bundle: Bundle) -> tuple[int, int, int]:
    """The policy, nice value and real-time priority that the payload finds."""
    fields = stat_fields(bundle.run("cat", "/proc/self/stat").stdout)
    return int(fields[38]), int(fields[16]), int(fields[37])


@pytest.mark.parametrize(
    ("scheduler", "seen"),
    [
        ({"policy": "SCHED_OTHER", "nice": 7}, (0, 7, 0)),
        ({"policy": "SCHED_BATCH", "nice": 3}, (SCHED_BATCH, 3, 0)),
        ({"policy": "SCHED_IDLE"}, (SCHED_IDLE, 0, 0)),
        ({"policy": "SCHED_OTHER", "nice": -5}, (0, -5, 0)),
    ],
)
def test_policy_and_nice_value_are_the_requested_ones(
    bundle: Bundle, scheduler: dict[str, Any], seen: tuple[int, int, int]
) -> None:
    """Of the policies that need no real-time budget."""
    bundle.process["scheduler"] = scheduler

    assert scheduling(bundle) == seen


def test_real_time_priority_is_set_or_its_refusal_has_a_remedy(bundle: Bundle) -> None:
    """A cpu cgroup of v1 without real-time budget cannot hold real-time processes: sched(7)."""
    bundle.process["scheduler"] = {"policy": "SCHED_FIFO", "priority": 5}
    refusal: SetupError | None = None
    try:
        seen = scheduling(bundle)
    except SetupError as error:
        refusal = error

    if refusal is None:
        assert seen == (SCHED_FIFO, 0, 5)
    else:
        assert (refusal.pointer, refusal.syscall) == ("/process/scheduler", "sched_setattr")
        assert "real-time budget" in (refusal.remedy or "")


def test_real_time_scheduling_works_within_the_budget_of_the_configuration(bundle: Bundle) -> None:
    """The limits of the cgroup are there before the policy is set, or it would be refused."""
    budget = Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us")
    if not budget.exists():
        pytest.skip("this host has no real-time budgets of cgroup v1")
    bundle.linux["resources"] = {"cpu": {"realtimeRuntime": 10000, "realtimePeriod": 1000000}}
    bundle.process["scheduler"] = {"policy": "SCHED_FIFO", "priority": 5}

    assert scheduling(bundle) == (SCHED_FIFO, 0, 5)


def test_reset_on_fork_reaches_the_kernel(bundle: Bundle) -> None:
    """A flag: the payload's children have an ordinary nice value again (sched(7))."""
    bundle.process["scheduler"] = {
        "policy": "SCHED_OTHER",
        "nice": -3,
        "flags": ["SCHED_FLAG_RESET_ON_FORK"],
    }

    fields = stat_fields(bundle.sh("cat /proc/self/stat & wait").stdout)

    assert (int(fields[38]), int(fields[16])) == (0, 0)


@pytest.mark.parametrize(
    ("scheduler", "place"),
    [
        ({"policy": "SCHED_OTHER", "priority": 5}, "priority"),
        ({"policy": "SCHED_FIFO"}, "priority"),
        ({"policy": "SCHED_OTHER", "runtime": 5}, "runtime"),
        ({"policy": "SCHED_OTHER", "nice": 20}, "nice"),
        ({"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 4000}, "runtime"),
        ({"policy": "SCHED_FAIR"}, "policy"),
    ],
)
def test_what_does_not_fit_the_policy_is_refused_with_its_place(
    bundle: Bundle, scheduler: dict[str, Any], place: str
) -> None:
    """Before anything is made."""
    bundle.process["scheduler"] = scheduler

    with pytest.raises(InvalidConfig, match=f"/process/scheduler/{place}"):
        bundle.build("true")


@pytest.mark.parametrize(
    ("priority", "seen"),
    [
        ({"class": "IOPRIO_CLASS_BE", "priority": 6}, "best-effort: prio 6"),
        ({"class": "IOPRIO_CLASS_IDLE"}, "idle"),
        ({"class": "IOPRIO_CLASS_RT", "priority": 2}, "realtime: prio 2"),
    ],
)
def test_io_priority_is_that_of_the_whole_process_group(
    bundle: Bundle, priority: dict[str, Any], seen: str
) -> None:
    """A child inherits it, and the group is asked for by ioprio_set(2) IOPRIO_WHO_PGRP."""
    bundle.process["ioPriority"] = priority

    assert bundle.sh("ionice -p 1; ionice -p $$").lines == [seen] * 2


def test_oom_score_adj_can_be_raised(bundle: Bundle) -> None:
    """The kernel takes such a payload first."""
    bundle.process["oomScoreAdj"] = 321

    assert bundle.run("cat", "/proc/self/oom_score_adj").stdout == "321\n"


def test_oom_score_adj_is_the_callers_when_absent(bundle: Bundle) -> None:
    """config.md: not set, not touched."""
    with open("/proc/self/oom_score_adj") as file:
        own = file.read()

    assert bundle.run("cat", "/proc/self/oom_score_adj").stdout == own


def test_lowering_oom_score_adj_works_or_says_what_is_missing(bundle: Bundle) -> None:
    """Below the caller's it takes CAP_SYS_RESOURCE; going on without would be a surprise in the worst moment."""
    bundle.process["oomScoreAdj"] = -500
    if Host().capabilities & mask(["CAP_SYS_RESOURCE"]):
        assert bundle.run("cat", "/proc/self/oom_score_adj").stdout == "-500\n"
        return
    with pytest.raises(SetupError, match="setting oom_score_adj to -500 failed: Permission denied") as caught:
        bundle.build("true")

    assert caught.value.pointer == "/process/oomScoreAdj"
    assert "CAP_SYS_RESOURCE" in (caught.value.remedy or "")
    assert Container.list(bundle.root) == []


def test_the_personality_of_a_32_bit_machine(bundle: Bundle) -> None:
    """What uname shows to programs that build for the machine they run on."""
    machine = os.uname().machine
    assert bundle.run("uname", "-m").stdout.strip() == machine
    bundle.linux["personality"] = {"domain": "LINUX32"}

    expected = {"x86_64": "i686", "aarch64": "armv8l"}.get(machine)
    if expected is None:
        pytest.skip(f"what LINUX32 means on {machine} is not known here")
    assert bundle.run("uname", "-m").stdout.strip() == expected


@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0"}, "interleave:0"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "bind=static:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}, "prefer=relative:0"),
        ({"mode": "MPOL_LOCAL"}, "local"),
        ({"mode": "MPOL_DEFAULT"}, "default"),
    ],
)
def test_the_memory_policy_is_the_requested_one(bundle: Bundle, policy: dict[str, Any], seen: str) -> None:
    """As the kernel shows it for each mapping of the payload."""
    if not os.path.exists("/proc/self/numa_maps"):
        pytest.skip("this kernel has no NUMA")
    bundle.linux["memoryPolicy"] = policy

    assert bundle.run("cat", "/proc/self/numa_maps").lines[0].split()[1] == seen


def test_a_node_that_does_not_exist_is_an_error_with_its_place(bundle: Bundle) -> None:
    """The kernel judges; the payload never runs with another policy."""
    bundle.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "63"}

    with pytest.raises(SetupError, match="setting the memory policy failed: Invalid argument") as caught:
        bundle.build("true")

    assert caught.value.pointer == "/linux/memoryPolicy"


def test_cpu_affinity_for_exec_is_accepted_and_means_nothing_to_create(bundle: Bundle) -> None:
    """config.md "execCPUAffinity" is for processes that join later."""
    bundle.process["execCPUAffinity"] = {"initial": "0", "final": "0"}
    with open("/proc/self/status") as file:
        own = next(line for line in file if line.startswith("Cpus_allowed_list"))

    assert own in bundle.run("cat", "/proc/self/status").stdout
