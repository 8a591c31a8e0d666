"""spec/check_process.py: the rules of `process`, each with what it accepts and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from tests.strategies import patched

from libcontainer.spec.check import check

FIFO = {"policy": "SCHED_FIFO", "priority": 1}
DEADLINE = {"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 2000, "period": 3000}
NOFILE = {"type": "RLIMIT_NOFILE", "soft": 0, "hard": 2**64 - 1}
HIGH = 2**63

# What is changed below /process, and the pointers of the problems below /process.
ROWS: list[tuple[dict[str, Any], list[str]]] = [
    ({"": []}, [""]),
    ({"": None}, []),
    ({"": ...}, []),
    ({"": {}}, ["/args", "/cwd"]),
    ({"": {"args": ["x"], "cwd": "/"}}, []),
    ({"/terminal": 0}, ["/terminal"]),
    ({"/terminal": False}, []),
    ({"/consoleSize": {"height": 0, "width": 65535}}, []),
    ({"/consoleSize": {"height": 65536}}, ["/consoleSize/height", "/consoleSize/width"]),
    ({"/consoleSize": 1}, ["/consoleSize"]),
    ({"/cwd": ...}, ["/cwd"]),
    ({"/cwd": ""}, ["/cwd"]),
    ({"/cwd": "tmp"}, ["/cwd"]),
    ({"/cwd": "/a\0"}, ["/cwd"]),
    ({"/cwd": "/a b/ä"}, []),
    ({"/args": ...}, ["/args"]),
    ({"/args": []}, ["/args"]),
    ({"/args": "sh"}, ["/args"]),
    ({"/args": ["sh", "", "\n"]}, []),
    ({"/args": [""]}, ["/args/0"]),
    ({"/args": ["sh", 1, "a\0", None]}, ["/args/1", "/args/2", "/args/3"]),
    ({"/args": ["sh", "x" * 131071]}, []),
    ({"/args": ["sh", "x" * 131072]}, ["/args/1"]),
    ({"/args": ["sh", *["x" * 131071] * 48]}, ["/args"]),
    ({"/env": []}, []),
    ({"/env": None}, []),
    ({"/env": ["A=1", "A=", "B=a=b\n"]}, []),
    ({"/env": ["A", "=1", "", "A=\0", 1]}, [f"/env/{index}" for index in range(5)]),
    ({"/user": {}}, []),
    ({"/user": None}, ["/user"]),
    ({"/user": {"uid": 2**32 - 2, "gid": 0, "additionalGids": [], "umask": 0o7777, "username": "x"}}, []),
    (
        {"/user": {"uid": -1, "gid": 2**32 - 1, "additionalGids": [0, 2**32 - 1], "umask": 0o10000}},
        ["/user/uid", "/user/gid", "/user/additionalGids/1", "/user/umask"],
    ),
    ({"/user": {"uid": True, "gid": "0", "umask": 18.0}}, ["/user/uid", "/user/gid", "/user/umask"]),
    ({"/capabilities": None}, []),
    ({"/capabilities": {}}, []),
    ({"/capabilities": {"bounding": ["CAP_NO_SUCH"], "ambient": []}}, []),
    ({"/capabilities": ["CAP_KILL"]}, ["/capabilities"]),
    (
        {"/capabilities": {"bounding": "CAP_KILL", "effective": [1], "inheritable": [None]}},
        ["/capabilities/bounding", "/capabilities/effective/0", "/capabilities/inheritable/0"],
    ),
    (
        {"/capabilities": {"permitted": {}, "ambient": 0}},
        ["/capabilities/permitted", "/capabilities/ambient"],
    ),
    ({"/rlimits": [NOFILE]}, []),
    ({"/rlimits": None}, ["/rlimits"]),
    ({"/rlimits": [{}]}, ["/rlimits/0/type", "/rlimits/0/soft", "/rlimits/0/hard"]),
    ({"/rlimits": [NOFILE | {"type": "RLIMIT_X"}]}, ["/rlimits/0/type"]),
    ({"/rlimits": [NOFILE | {"hard": 2**64}]}, ["/rlimits/0/hard"]),
    ({"/rlimits": [NOFILE | {"soft": -1}]}, ["/rlimits/0/soft"]),
    ({"/rlimits": [NOFILE | {"soft": 2, "hard": 1}]}, ["/rlimits/0/soft"]),
    ({"/rlimits": [NOFILE, NOFILE | {"type": "RLIMIT_AS"}, NOFILE]}, ["/rlimits/2/type"]),
    ({"/noNewPrivileges": 1}, ["/noNewPrivileges"]),
    ({"/noNewPrivileges": None}, ["/noNewPrivileges"]),
    ({"/noNewPrivileges": False}, []),
    ({"/apparmorProfile": "", "/selinuxLabel": ""}, []),
    ({"/apparmorProfile": "p//&q", "/selinuxLabel": "u:r:t:s0:c1,c2"}, []),
    ({"/apparmorProfile": None, "/selinuxLabel": None}, ["/apparmorProfile", "/selinuxLabel"]),
    ({"/apparmorProfile": "a\nb", "/selinuxLabel": 1}, ["/apparmorProfile", "/selinuxLabel"]),
    ({"/oomScoreAdj": -1000}, []),
    ({"/oomScoreAdj": 1000}, []),
    ({"/oomScoreAdj": -1001}, ["/oomScoreAdj"]),
    ({"/oomScoreAdj": 1001}, ["/oomScoreAdj"]),
    ({"/ioPriority": {"class": "IOPRIO_CLASS_IDLE"}}, []),
    ({"/ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 7}}, []),
    ({"/ioPriority": {"priority": 8}}, ["/ioPriority/priority", "/ioPriority/class"]),
    (
        {"/ioPriority": {"class": "IOPRIO_CLASS_NONE", "priority": -1}},
        ["/ioPriority/class", "/ioPriority/priority"],
    ),
    ({"/scheduler": {}}, ["/scheduler/policy"]),
    ({"/scheduler": {"policy": "SCHED_FAIR"}}, ["/scheduler/policy"]),
    ({"/scheduler": {"policy": "SCHED_OTHER", "nice": 19, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}}, []),
    ({"/scheduler": {"policy": "SCHED_BATCH", "nice": -20, "priority": 0, "runtime": 0}}, []),
    ({"/scheduler": {"policy": "SCHED_OTHER", "nice": 20}}, ["/scheduler/nice"]),
    ({"/scheduler": {"policy": "SCHED_OTHER", "nice": -21}}, ["/scheduler/nice"]),
    ({"/scheduler": {"policy": "SCHED_OTHER", "flags": ["X"]}}, ["/scheduler/flags/0"]),
    ({"/scheduler": {"policy": "SCHED_IDLE", "priority": 1}}, ["/scheduler/priority"]),
    ({"/scheduler": FIFO}, []),
    ({"/scheduler": FIFO | {"policy": "SCHED_RR", "priority": 99}}, []),
    ({"/scheduler": FIFO | {"priority": 100}}, ["/scheduler/priority"]),
    ({"/scheduler": {"policy": "SCHED_RR"}}, ["/scheduler/priority"]),
    (
        {"/scheduler": FIFO | {"runtime": 1, "deadline": 1, "period": 1}},
        [f"/scheduler/{n}" for n in ("runtime", "deadline", "period")],
    ),
    ({"/scheduler": DEADLINE}, []),
    ({"/scheduler": DEADLINE | {"period": 0}}, []),
    ({"/scheduler": DEADLINE | {"priority": 1}}, ["/scheduler/priority"]),
    ({"/scheduler": DEADLINE | {"runtime": 1023}}, ["/scheduler/runtime"]),
    ({"/scheduler": DEADLINE | {"runtime": 2001}}, ["/scheduler/runtime"]),
    ({"/scheduler": DEADLINE | {"deadline": 3001}}, ["/scheduler/deadline"]),
    ({"/scheduler": {"policy": "SCHED_DEADLINE"}}, ["/scheduler/runtime", "/scheduler/deadline"]),
    ({"/scheduler": DEADLINE | {"period": HIGH}}, ["/scheduler/period"]),
    ({"/scheduler": DEADLINE | {"deadline": HIGH, "period": HIGH}}, ["/scheduler/deadline"]),
    ({"/execCPUAffinity": {"initial": "0-3,7", "final": ""}}, []),
    ({"/execCPUAffinity": {"initial": " 0 , 8191,", "final": "5-5"}}, []),
    (
        {"/execCPUAffinity": {"initial": "3-1", "final": "8192"}},
        ["/execCPUAffinity/initial", "/execCPUAffinity/final"],
    ),
    (
        {"/execCPUAffinity": {"initial": "-1", "final": "1-"}},
        ["/execCPUAffinity/initial", "/execCPUAffinity/final"],
    ),
    (
        {"/execCPUAffinity": {"initial": "a", "final": "٣"}},
        ["/execCPUAffinity/initial", "/execCPUAffinity/final"],
    ),
]


@pytest.mark.parametrize(("changes", "pointers"), ROWS, ids=[str(row[0])[:80] for row in ROWS])
def test_each_rule_of_process_accepts_what_is_valid_and_names_the_place_of_what_is_not(
    changes: dict[str, Any], pointers: list[str]
) -> None:
    """What reaches prlimit, sched_setattr and execve has been judged before anything was made."""
    spec = patched({f"/process{pointer}": value for pointer, value in changes.items()})
    assert [problem.pointer for problem in check(spec)] == [f"/process{pointer}" for pointer in pointers]
