"""What a tenant's process is made of. Mirrors libcontainer/spec/overlay.py."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcontainer import InvalidConfig
from libcontainer.capabilities import NAMES
from libcontainer.spec.check import check_process
from libcontainer.spec.overlay import overlay

STORED: dict[str, Any] = {
    "args": ["sleep", "1000"],
    "cwd": "/srv",
    "env": ["PATH=/bin", "A=1"],
    "terminal": True,
    "consoleSize": {"height": 24, "width": 80},
    "user": {"uid": 5, "gid": 6, "umask": 0o27, "additionalGids": [7]},
    "capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"]},
    "noNewPrivileges": True,
    "apparmorProfile": "stored",
    "selinuxLabel": "stored",
    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}],
    "oomScoreAdj": 100,
    "scheduler": {"policy": "SCHED_BATCH"},
    "ioPriority": {"class": "IOPRIO_CLASS_IDLE"},
    "execCPUAffinity": {"initial": "0", "final": "0"},
}


def laid(**asked: Any) -> dict[str, Any]:
    """Lay what is asked for over the stored process, with arguments unless they are asked for."""
    return overlay(STORED, {"args": ["id"], **asked})


def test_what_is_not_asked_for_is_the_containers() -> None:
    """Limits and labels of the first process hold for a tenant, too."""
    expected = {name: value for name, value in STORED.items() if name != "consoleSize"}

    assert laid() == {**expected, "args": ["id"], "terminal": False}


def test_terminal_is_never_the_containers() -> None:
    """`exec` without a terminal is the rule, whatever the first process has; its size was the first one's."""
    assert laid(terminal=True)["terminal"] is True
    assert "consoleSize" not in laid(terminal=True)


@pytest.mark.parametrize(
    ("member", "value"),
    [("cwd", "/"), ("noNewPrivileges", False), ("apparmorProfile", "new"), ("selinuxLabel", "new")],
)
def test_asked_for_member_replaces_the_stored_one(member: str, value: object) -> None:
    """The caller's word counts."""
    assert laid(**{member: value})[member] == value


def test_environment_is_added_to() -> None:
    """Of duplicates the last wins (environment.py), so the caller's stand after the container's."""
    assert laid(env=["A=2"])["env"] == ["PATH=/bin", "A=1", "A=2"]


def test_user_is_laid_over_member_by_member() -> None:
    """The group, the umask and the other groups stay as they are, as with runc."""
    user = laid(user={"uid": 1000, "additionalGids": [8]})["user"]

    assert user == {"uid": 1000, "gid": 6, "umask": 0o27, "additionalGids": [7, 8]}


def test_capabilities_never_become_inheritable() -> None:
    """CVE-2022-29162: a program with file capabilities would gain them; ambient only what is inheritable already."""
    sets = laid(capabilities=["CAP_NET_RAW", "CAP_CHOWN"])["capabilities"]

    for kind in ("bounding", "effective", "permitted"):
        assert set(sets[kind]) >= {"CAP_NET_RAW", "CAP_CHOWN"}
    assert sets["inheritable"] == ["CAP_CHOWN"]
    assert sets["ambient"] == ["CAP_CHOWN"]
    assert "CAP_KILL" in sets["bounding"]


def test_every_problem_is_told_with_its_pointer() -> None:
    """One error for all faults, with pointers that begin in the process object."""
    with pytest.raises(InvalidConfig) as caught:
        overlay(
            STORED, {"cwd": "x", "env": ["=1"], "user": {"uid": -1}, "capabilities": ["CAP_KILL", "KILL"]}
        )

    found = [problem.pointer for problem in caught.value.problems]
    assert sorted(found) == ["/args", "/capabilities/1", "/cwd", "/env/0", "/user/uid"]
    assert caught.value.source == "process"


@given(
    env=st.lists(st.just("A=b")),
    uid=st.integers(0, 2**32 - 2),
    names=st.lists(st.sampled_from(NAMES)),
    terminal=st.booleans(),
)
def test_result_is_a_valid_process_and_nothing_is_changed(
    env: list[str], uid: int, names: list[str], terminal: bool
) -> None:
    """What passes here passes the check of a process.json, and the stored one can be used again."""
    stored = copy.deepcopy(STORED)
    asked = {"args": ["id"], "env": env, "user": {"uid": uid}, "capabilities": names, "terminal": terminal}
    before = copy.deepcopy(asked)

    assert check_process(overlay(stored, asked)) == []
    assert stored == STORED
    assert asked == before
