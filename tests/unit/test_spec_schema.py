"""spec/check.py against the official JSON schema of the runtime-spec: where they differ, and why.

The schema files are looked for in tests/oci/runtime-spec, in the directory that OCI_RUNTIME_SPEC_SCHEMA
names, and beside the source tree.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.jsonschema import DRAFT4
from tests.strategies import json_values, patched, specs

from libcontainer.spec.check import check
from libcontainer.spec.defaults import default_spec, rootless_spec

ROOT = Path(__file__).parents[2]
PLACES = [
    ROOT / "tests/oci/runtime-spec",
    Path(os.environ.get("OCI_RUNTIME_SPEC_SCHEMA", "/nonexistent")),
    ROOT.parent / "shared/oci/runtime-spec",
]
SCHEMAS = next((place for place in PLACES if (place / "config-schema.json").is_file()), None)
pytestmark = pytest.mark.skipif(SCHEMAS is None, reason="the schemas of the runtime-spec are not here")

# What the schema refuses and this check accepts: (a part of) the schema's place, and the reason.
LOOSER = {
    "null": "null in an optional member is the same as absent, as in every runtime written in Go",
    "/linux/devices/*/fileMode": "set-id and sticky bits are modes that mknod(2) and chmod(2) take",
    "/linux/rootfsPropagation": "the recursive forms (rslave, …) are what the kernel is asked for anyway",
    "other platforms": "solaris, windows, vm, zos, freebsd and commandLine mean nothing here",
}
IGNORED = ("/solaris", "/windows", "/vm", "/zos", "/freebsd", "/process/commandLine")


@cache
def validator() -> Draft4Validator:
    """The official schema with its parts."""
    assert SCHEMAS is not None
    registry: Registry[Any] = Registry()
    for path in SCHEMAS.glob("*.json"):
        resource = DRAFT4.create_resource(json.loads(path.read_text()))
        registry = registry.with_resource(path.name, resource)
    return Draft4Validator(registry["config-schema.json"].contents, registry=registry)


def refusals(spec: object) -> Iterator[ValidationError]:
    """What the schema refuses and this check has no reason to accept."""
    for error in validator().iter_errors(spec):
        parts = ["*" if isinstance(part, int) else str(part) for part in error.absolute_path]
        pointer = "".join(f"/{part}" for part in parts)
        if error.instance is None or pointer.startswith(IGNORED):
            continue
        if (
            pointer == "/linux/devices/*/fileMode"
            and type(error.instance) is int
            and error.instance <= 0o7777
        ):
            continue
        if pointer == "/linux/rootfsPropagation" and error.instance in (
            "rprivate",
            "rshared",
            "rslave",
            "runbindable",
        ):
            continue
        yield error


def test_the_default_configurations_are_valid_by_the_schema() -> None:
    """What `youki spec` writes is accepted by other tools."""
    for spec in (default_spec(), rootless_spec(1000, 1000)):
        assert list(validator().iter_errors(spec)) == []


@given(specs(joined=True, lsm=True, rdt=True))
def test_generated_configurations_are_valid_by_the_schema(spec: dict[str, Any]) -> None:
    """Property tests that start from them test real configurations."""
    assert list(validator().iter_errors(spec)) == []


def places(value: Any, pointer: str = "") -> list[str]:
    """The pointer of every value below `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for name, item in items:
        here = f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}"
        found += [here, *places(item, here)]
    return found


@settings(max_examples=300)
@given(specs(joined=True, lsm=True, rdt=True), st.data())
def test_what_the_schema_refuses_is_refused_here_except_for_the_listed_reasons(
    spec: dict[str, Any], data: st.DataObject
) -> None:
    """A configuration that other tools call invalid must not start here by mistake."""
    for _ in range(2):
        place = data.draw(st.sampled_from(places(spec)))
        spec = patched({place: data.draw(st.just(...) | json_values(3))}, spec)
    if not check(spec):
        assert list(refusals(spec)) == []


NODE = {"type": "c", "path": "/dev/x", "major": 1, "minor": 3}
BEYOND = [
    ({"/process/env": None}, "null"),
    ({"/linux/devices": [NODE | {"fileMode": 0o4755}]}, "/linux/devices/*/fileMode"),
    ({"/linux/rootfsPropagation": "rslave"}, "/linux/rootfsPropagation"),
    ({"/windows": 1, "/process/commandLine": 1}, "other platforms"),
]


@pytest.mark.parametrize(("changes", "reason"), BEYOND, ids=[reason for _, reason in BEYOND])
def test_each_listed_difference_towards_the_schema_exists(changes: dict[str, Any], reason: str) -> None:
    """A reason that no longer applies is removed."""
    assert reason in LOOSER
    spec = patched(changes)
    assert check(spec) == []
    assert list(validator().iter_errors(spec)) != []


# What the schema accepts and this check refuses, by the reason.
STRICTER = [
    ("the spec: semantic version of a known major", {"/ociVersion": "2.0.0"}),
    ("the spec: root is required on Linux", {"/root": ...}),
    ("the spec: args is required on POSIX", {"/process/args": ...}),
    ("the spec: cwd is absolute", {"/process/cwd": "tmp"}),
    ("the spec: environment as in IEEE 1003.1", {"/process/env": ["A"]}),
    ("the spec: hook paths are absolute", {"/hooks": {"poststop": [{"path": "x"}]}}),
    ("the spec: annotation names are not empty", {"/annotations": {"": "x"}}),
    ("the spec: no type of namespace twice", {"/linux/namespaces/1/type": "pid"}),
    ("the spec: no limit twice", {"/process/rlimits": default_spec()["process"]["rlimits"] * 2}),
    ("the spec: major and minor unless a pipe", {"/linux/devices": [{"type": "c", "path": "/x"}]}),
    (
        "the spec: errnoRet only where the action takes it",
        {"/linux/seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}},
    ),
    ("the kernel: 4294967295 is no id", {"/process/user/uid": 2**32 - 1}),
    ("the kernel: oom_score_adj ends at 1000", {"/process/oomScoreAdj": 1001}),
    ("the kernel: terminals have 16-bit sizes", {"/process/consoleSize": {"height": 65536, "width": 1}}),
    ("the kernel: nodename has 64 bytes", {"/hostname": "a" * 65}),
    (
        "the kernel: a system call has 6 arguments",
        {
            "/linux/seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {
                        "names": ["a"],
                        "action": "SCMP_ACT_KILL",
                        "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}],
                    }
                ],
            }
        },
    ),
    (
        "the kernel: mappings hold at least one id",
        {"/linux/uidMappings": [{"containerID": 0, "hostID": 0, "size": 0}]},
    ),
    ("the kernel: device numbers have 12 and 20 bits", {"/linux/devices": [NODE | {"major": 4096}]}),
    ("the kernel: strings end at NUL", {"/mounts/0/source": "a\0b"}),
    ("safety: the host is changed without the namespace", {"/linux/namespaces": [{"type": "mount"}]}),
    ("safety: a parameter of the host", {"/linux/sysctl": {"kernel.panic": "1"}}),
    ("safety: a cgroup outside of its parent", {"/linux/cgroupsPath": "/../x"}),
    ("safety: null where absent protects less", {"/linux/seccomp": None}),
]


@pytest.mark.parametrize(("reason", "changes"), STRICTER, ids=[reason for reason, _ in STRICTER])
def test_the_check_goes_beyond_the_schema_where_the_spec_the_kernel_or_safety_asks_for_it(
    reason: str, changes: dict[str, Any]
) -> None:
    """A schema cannot say everything: these are the kinds of rules that only this check has."""
    spec = patched(changes)
    assert check(spec) != []
    assert list(refusals(spec)) == [], reason
