"""features.py and info.py through `youki`: what this runtime and this host can do, told truthfully."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import youki
from libcontainer import capabilities, mount_options
from libcontainer.features import features, implemented
from libcontainer.info import info

MAIN = Path(youki.__file__).with_name("__main__.py")
SCHEMA = "features-schema.json"


def printed(*words: str) -> Any:
    return json.loads(subprocess.check_output([sys.executable, "-I", "-S", MAIN, *words]))


def test_features_follow_the_schema_of_the_specification() -> None:
    """Engines decode it strictly."""
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    home = next((path.parent for path in Path(__file__).parents[1].rglob(SCHEMA)), None)
    if home is None:
        pytest.skip("needs the schemas of the runtime specification below tests/")
    schemas = {path.name: json.loads(path.read_text()) for path in home.glob("*.json")}
    draft = referencing.jsonschema.DRAFT4
    registry = referencing.Registry().with_resources(
        (name, draft.create_resource(schema)) for name, schema in schemas.items()
    )

    jsonschema.Draft4Validator(schemas[SCHEMA], registry=registry).validate(printed("features"))


def test_features_come_from_the_tables_that_the_runtime_works_by() -> None:
    """A mount option or capability that the runtime learns is announced without anybody thinking of it."""
    printed_features = printed("features")

    assert printed_features == features()
    assert printed_features["mountOptions"] == sorted(mount_options.OPTIONS)
    assert printed_features["linux"]["capabilities"] == list(capabilities.NAMES)


def test_every_namespace_of_the_kernel_is_announced() -> None:
    """Engines use a namespace only if it is listed; the kernel names them in /proc, two of them shorter."""
    short = {"mnt": "mount", "net": "network"}
    kernel = {short.get(name, name) for name in os.listdir("/proc/self/ns") if "_for_" not in name}

    assert kernel <= set(features()["linux"]["namespaces"])


def test_what_is_not_written_is_not_announced() -> None:
    """An engine that believes in a filter that does not exist runs a container without it."""
    seccomp = features()["linux"]["seccomp"]

    assert seccomp["enabled"] is implemented("libcontainer.seccomp")
    assert seccomp["enabled"] is bool(seccomp.get("actions"))


def test_an_absent_module_is_not_implemented() -> None:
    """Neither in a package that exists nor in one that does not."""
    assert implemented("libcontainer.errors")
    assert not implemented("libcontainer.absent")
    assert not implemented("absent.absent")


def test_info_tells_the_facts_of_this_host() -> None:
    """What a person reads agrees with what the kernel says."""
    facts = info()

    assert facts["kernelRelease"] == os.uname().release
    assert facts["namespaces"]["mount"] is True
    assert set(facts["namespaces"]) == set(features()["linux"]["namespaces"])
    assert printed("info", "-f", "json") == facts


def test_info_reads_the_bounding_set() -> None:
    """A capability outside the caller's bounding set cannot be given to a container: capabilities(7)."""
    status = Path("/proc/self/status").read_text()
    bounding = int(status.split("CapBnd:")[1].split()[0], 16)
    facts = info()["capabilities"]

    assert [facts[name] for name in capabilities.NAMES] == [
        bool(bounding >> number & 1) for number in range(len(capabilities.NAMES))
    ]


def test_info_as_text_has_a_line_for_each_fact() -> None:
    """The text is for people: headings, and what is there or not."""
    text = subprocess.check_output([sys.executable, "-I", "-S", MAIN, "info"], text=True)

    assert ["Kernel", "release", os.uname().release] in [line.split() for line in text.splitlines()]
    assert "\nCgroup setup" in text
    assert "\n  CAP_CHOWN " in text
