"""spec/check.py: every problem at once, at its place; and the rules outside of process and linux."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import json_values, patched, specs

from libcontainer.errors import Problem
from libcontainer.spec.check import check, check_process, check_resources, warnings
from libcontainer.spec.defaults import default_spec
from libcontainer.spec.rules import LONGEST_LIST, MOST_PROBLEMS, describe

ONE = [{"containerID": 0, "hostID": 1000, "size": 1}]
WITHOUT_MOUNT = {
    "/linux/namespaces": [{"type": "uts"}],
    "/mounts": ...,
    "/root/readonly": ...,
    "/linux/maskedPaths": ...,
    "/linux/readonlyPaths": ...,
}
BIND = {"destination": "/x", "source": "/usr", "options": ["bind"]}

# What is changed in the default configuration, and the pointers of the problems that follow.
ROWS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"/someFutureMember": {"a": [None]}, "/linux/unknown": 1, "/process/unknown": None}, []),
    # ociVersion
    ({"/ociVersion": ...}, ["/ociVersion"]),
    ({"/ociVersion": None}, ["/ociVersion"]),
    *[
        ({"/ociVersion": version}, ["/ociVersion"])
        for version in (
            "",
            "1",
            "1.0",
            "v1.0.0",
            "2.0.0",
            "0.9.0",
            "1.0.0-",
            "1.0.0+",
            "1.00.0",
            "1.0.0-01",
            "1.0.0-ä",
            "1.٣.0",
            1,
        )
    ],
    *[
        ({"/ociVersion": version}, [])
        for version in ("1.0.0", "1.9.12", "1.0.2-dev", "1.0.0-rc.1+b.01", "1.0.0-a-b")
    ],
    # root
    ({"/root": ...}, ["/root"]),
    ({"/root": "rootfs"}, ["/root"]),
    ({"/root": {}}, ["/root/path"]),
    ({"/root/path": ""}, ["/root/path"]),
    ({"/root/path": "/" + "a" * 4095}, ["/root/path"]),
    ({"/root/path": "a\0b"}, ["/root/path"]),
    ({"/root/readonly": "yes"}, ["/root/readonly"]),
    ({"/root/readonly": None}, ["/root/readonly"]),
    ({"/root/readonly": False, "/root/path": "/srv/root"}, []),
    # mounts
    ({"/mounts": {}}, ["/mounts"]),
    ({"/mounts": ...}, []),
    ({"/mounts": None}, []),
    ({"/mounts": [{}, None]}, ["/mounts/0/destination", "/mounts/1"]),
    ({"/mounts": [{"destination": ""}]}, ["/mounts/0/destination"]),
    ({"/mounts": [{"destination": "data", "type": "tmpfs"}]}, []),
    ({"/mounts": [{"destination": "/a\0b", "type": "tmpfs"}]}, ["/mounts/0/destination"]),
    ({"/mounts/0/type": "a\0"}, ["/mounts/0/type"]),
    ({"/mounts/0/source": "\ud800"}, ["/mounts/0/source"]),
    ({"/mounts/0/options": "ro"}, ["/mounts/0/options"]),
    ({"/mounts/0/options": ["ro", 1, None]}, ["/mounts/0/options/1", "/mounts/0/options/2"]),
    ({"/mounts/0/options": None}, ["/mounts/0/options"]),
    ({"/mounts/0": BIND}, []),
    ({"/mounts/0": {"destination": "/x", "type": "bind"}}, ["/mounts/0/source"]),
    ({"/mounts/0": {"destination": "/x", "options": ["rbind"]}}, ["/mounts/0/source"]),
    ({"/mounts/0": {"destination": "/x", "options": ["bind", "remount", "ro"]}}, []),
    ({"/mounts/0": BIND | {"uidMappings": ONE, "gidMappings": ONE}}, []),
    ({"/mounts/0": BIND | {"uidMappings": ONE}}, ["/mounts/0/gidMappings"]),
    ({"/mounts/0": BIND | {"gidMappings": ONE}}, ["/mounts/0/uidMappings"]),
    ({"/mounts/0": BIND | {"uidMappings": [], "gidMappings": ONE}}, ["/mounts/0/uidMappings"] * 2),
    ({"/mounts/0/uidMappings": ONE, "/mounts/0/gidMappings": ONE}, ["/mounts/0/uidMappings"]),
    ({"/mounts/0/options": ["idmap"]}, ["/mounts/0/options"] * 2),
    ({"/mounts/0": BIND | {"options": ["bind", "ridmap"]}}, ["/mounts/0/options"]),
    ({"/mounts/0": BIND | {"options": ["bind", "idmap"], "uidMappings": ONE, "gidMappings": ONE}}, []),
    (
        {
            "/mounts/0": BIND | {"options": ["bind", "idmap"]},
            "/linux/namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "user"}],
            "/linux/uidMappings": ONE,
            "/linux/gidMappings": ONE,
        },
        [],
    ),
    # names
    ({"/hostname": "a" * 64, "/domainname": "ä" * 32}, []),
    ({"/hostname": "a" * 65}, ["/hostname"]),
    ({"/domainname": "ä" * 33}, ["/domainname"]),
    ({"/hostname": 1}, ["/hostname"]),
    ({"/hostname": "", "/linux/namespaces": [{"type": "mount"}]}, []),
    ({"/domainname": "x", "/linux/namespaces": [{"type": "mount"}]}, ["/hostname", "/domainname"]),
    # what needs a mount namespace
    (WITHOUT_MOUNT, []),
    (WITHOUT_MOUNT | {"/mounts": [], "/root/readonly": False, "/linux/maskedPaths": []}, []),
    (WITHOUT_MOUNT | {"/mounts": [{"destination": "/x", "type": "tmpfs"}]}, ["/mounts"]),
    (WITHOUT_MOUNT | {"/root/readonly": True}, ["/root/readonly"]),
    (WITHOUT_MOUNT | {"/linux/maskedPaths": ["/proc/keys"]}, ["/linux/maskedPaths"]),
    (WITHOUT_MOUNT | {"/linux/readonlyPaths": ["/proc/sys"]}, ["/linux/readonlyPaths"]),
    (WITHOUT_MOUNT | {"/linux/rootfsPropagation": "slave"}, ["/linux/rootfsPropagation"]),
    (WITHOUT_MOUNT | {"/linux/devices": [{"type": "p", "path": "/p"}]}, ["/linux/devices"]),
    # linux may be missing, but then there are no namespaces
    ({"/linux": ...}, ["/hostname", "/mounts", "/root/readonly"]),
    ({"/linux": None}, ["/linux", "/hostname", "/mounts", "/root/readonly"]),
    ({"/linux": ..., "/hostname": ..., "/mounts": ..., "/root/readonly": ..., "/process": ...}, []),
    # hooks
    ({"/hooks": {}}, []),
    ({"/hooks": {"prestart": [], "poststop": [{"path": "/bin/x", "env": ["A="], "timeout": 1}]}}, []),
    ({"/hooks": []}, ["/hooks"]),
    ({"/hooks/poststart": [{}]}, ["/hooks/poststart/0/path"]),
    ({"/hooks/prestart": [{"path": "bin/x"}]}, ["/hooks/prestart/0/path"]),
    ({"/hooks/createRuntime": [{"path": "/x", "timeout": 0}]}, ["/hooks/createRuntime/0/timeout"]),
    ({"/hooks/createRuntime": [{"path": "/x", "timeout": None}]}, ["/hooks/createRuntime/0/timeout"]),
    ({"/hooks/createRuntime": [{"path": "/x", "timeout": 1.5}]}, ["/hooks/createRuntime/0/timeout"]),
    ({"/hooks/createContainer": [{"path": "/x", "args": [1]}]}, ["/hooks/createContainer/0/args/0"]),
    ({"/hooks/startContainer": [{"path": "/x", "env": ["A"]}]}, ["/hooks/startContainer/0/env/0"]),
    # annotations
    ({"/annotations": {"a.b/c~d": "", "ä": "1\n2"}}, []),
    ({"/annotations": {"": "x"}}, ["/annotations/"]),
    ({"/annotations": {"a.b/c~d": None, "x": 1}}, ["/annotations/a.b~1c~0d", "/annotations/x"]),
    ({"/annotations": []}, ["/annotations"]),
]


@pytest.mark.parametrize(("changes", "pointers"), ROWS, ids=[str(row[0])[:80] for row in ROWS])
def test_each_rule_accepts_what_is_valid_and_names_the_place_of_what_is_not(
    changes: dict[str, Any], pointers: list[str]
) -> None:
    """A rule that accepts everything protects nobody, and one that points elsewhere helps nobody."""
    assert [problem.pointer for problem in check(patched(changes))] == pointers


def test_all_problems_are_found_at_once_with_what_was_found_and_what_is_expected() -> None:
    """Whoever corrects a configuration wants one round, not one for each mistake."""
    spec = patched(
        {
            "/ociVersion": "2.0.0",
            "/process/cwd": "relative",
            "/process/user/uid": True,
            "/mounts/1/destination": ...,
            "/linux/namespaces/0/type": "pids",
            "/linux/sysctl": {"kernel.panic": "1"},
        }
    )
    assert check(spec) == [
        Problem("/ociVersion", '"2.0.0"', "a version by SemVer with the major version 1, such as 1.3.0"),
        Problem("/process/user/uid", "true", "an integer from 0 to 4294967294"),
        Problem("/process/cwd", '"relative"', "an absolute path of at most 4095 bytes"),
        Problem("/mounts/1/destination", "nothing", "a value: this member is required"),
        Problem(
            "/linux/namespaces/0/type",
            '"pids"',
            "one of cgroup, ipc, mount, network, pid, time, user, uts",
        ),
        Problem(
            "/linux/sysctl/kernel.panic",
            '"kernel.panic"',
            "a parameter that a namespace has for itself: this one is the host's",
        ),
    ]


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "x", [], [1]])
def test_what_is_no_object_is_one_problem_at_the_root(value: object) -> None:
    """A file that holds something else than an object is told so, not crashed on."""
    assert check(value) == [Problem("", describe(value), "an object")]


def test_an_empty_object_lacks_exactly_the_two_required_members() -> None:
    """Everything but ociVersion and root may be absent: a container may be created without a process."""
    assert [problem.pointer for problem in check({})] == ["/ociVersion", "/root"]


def test_a_problem_shows_hostile_strings_short_and_in_ascii() -> None:
    """The message goes to terminals and logs, which a configuration must not be able to write escapes to."""
    (problem,) = check(patched({"/process/cwd": "\x1b[2J\n" + "é" * 1000}))
    assert problem.found.isascii()
    assert problem.found.isprintable()
    assert len(problem.found) < 500


def test_the_number_of_problems_is_bounded() -> None:
    """A hostile configuration must not turn into gigabytes of messages."""
    spec = patched({"/annotations": {str(number): number for number in range(3 * MOST_PROBLEMS)}})
    problems = check(spec)
    assert len(problems) == MOST_PROBLEMS + 1
    assert problems[-1].found == f"more than {MOST_PROBLEMS} problems"


def test_lists_and_maps_beyond_the_bound_are_one_problem() -> None:
    """What is made of a configuration stays bounded, so the lists in it are."""
    spec = patched(
        {
            "/process/env": ["A=1"] * (LONGEST_LIST + 1),
            "/annotations": dict.fromkeys(map(str, range(70000)), ""),
        }
    )
    assert [problem.pointer for problem in check(spec)] == ["/process/env", "/annotations"]


def test_a_process_alone_has_pointers_from_its_own_root() -> None:
    """process.json of exec is judged by the same rules as `process`."""
    process = copy.deepcopy(default_spec()["process"])
    assert check_process(process) == []
    broken = check_process({**process, "cwd": "x", "args": []})
    assert {problem.pointer for problem in broken} == {"/args", "/cwd"}
    assert [problem.pointer for problem in check_process([])] == [""]


def test_resources_alone_have_pointers_from_their_own_root() -> None:
    """The resources of `update` are judged by the same rules as `linux.resources`."""
    assert check_resources({"cpu": {"idle": 1}}) == []
    assert [problem.pointer for problem in check_resources({"cpu": {"idle": 2}})] == ["/cpu/idle"]


@given(specs(joined=True, lsm=True, rdt=True))
def test_generated_configurations_are_valid(spec: dict[str, Any]) -> None:
    """What other property tests start from is what this check accepts."""
    assert check(spec) == []
    assert check(json.loads(json.dumps(spec))) == []


@given(json_values())
def test_any_json_value_is_judged_without_an_exception(value: object) -> None:
    """The check takes what an attacker writes."""
    for judge in (check, check_process, check_resources):
        assert all(isinstance(problem, Problem) for problem in judge(value))
    assert all(isinstance(sentence, str) for sentence in warnings(value))


def places(value: Any, pointer: str = "") -> list[str]:
    """The pointer of every value below `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for name, item in items:
        here = f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}"
        found += [here, *places(item, here)]
    return found


@settings(max_examples=200)
@given(specs(joined=True, lsm=True, rdt=True), st.data())
def test_any_value_anywhere_is_judged_without_an_exception(spec: dict[str, Any], data: st.DataObject) -> None:
    """Rules about several members meet members of the wrong type, which other rules have refused."""
    for _ in range(3):
        places_now = places(spec)
        spec = patched({data.draw(st.sampled_from(places_now)): data.draw(json_values(5))}, spec)
    assert all(isinstance(problem, Problem) for problem in check(spec))
    assert all(isinstance(sentence, str) for sentence in warnings(spec))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"/process/capabilities/bounding": ["CAP_FLY"]},
            '/process/capabilities/bounding: "CAP_FLY" is not known and is ignored',
        ),
        (
            {"/process/capabilities/ambient": ["CAP_KILL"]},
            "/process/capabilities/ambient: CAP_KILL is ignored, because inheritable lacks it",
        ),
        (
            {"/process/capabilities/permitted": ["CAP_KILL", "CAP_AUDIT_WRITE"]},
            "/process/capabilities/effective: CAP_NET_BIND_SERVICE is ignored, because permitted lacks it",
        ),
        ({"/mounts/0/destination": "proc"}, '/mounts/0/destination: "proc" is relative and is taken below /'),
        ({"/process/user": {"uid": 1000}}, "/process/user/gid: nothing is set, so it is 0, that of root"),
    ],
)
def test_what_is_valid_but_odd_is_a_warning_and_no_problem(changes: dict[str, Any], sentence: str) -> None:
    """config.md wants unknown capabilities to be warnings; the others are accepted by every runtime."""
    spec = patched(changes)
    assert check(spec) == []
    assert warnings(spec) == [sentence]


def test_the_default_configuration_has_no_warnings() -> None:
    """A warning that everybody gets is read by nobody; capability names may be in lower case."""
    assert warnings(default_spec()) == []
    assert warnings(patched({"/process/capabilities": {"bounding": ["cap_kill"]}})) == []
