"""CVE-2022-29162, CVE-2022-27650: an inheritable set that nobody asked for gives files with inheritable
capabilities their effect for users who are not root.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from libcontainer import PIPE
from libcontainer.strictjson import loads

from ..integration.conftest import Bundle
from .hostile import grant_all

CAP_NET_RAW = 13
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def status_of(text: str) -> dict[str, int]:
    pairs = [line.split(":") for line in text.splitlines() if line.startswith("Cap")]
    return {name: int(value, 16) for name, value in pairs}


@pytest.fixture
def bearer(bundle: Bundle) -> str:
    """A program with CAP_NET_RAW in its inheritable file set (capabilities(7), vfs_cap_data version 2)."""
    program = bundle.rootfs / "bin/busybox-bearer"
    shutil.copy(bundle.rootfs / "bin/busybox", program)
    value = struct.pack("<5I", 0x02000001, 0, 1 << CAP_NET_RAW, 0, 0)
    os.setxattr(program, "security.capability", value)
    return "/bin/busybox-bearer"


def test_inheritable_set_is_empty_unless_asked_for(bundle: Bundle, bearer: str) -> None:
    """A user without capabilities stays without, although bounding and permitted sets were full."""
    grant_all(bundle)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["capabilities"]["permitted"] = []
    bundle.process["capabilities"]["effective"] = []
    found = status_of(bundle.run(bearer, "cat", "/proc/self/status").stdout)
    assert {name: found[name] for name in SETS if name != "CapBnd"} == dict.fromkeys(
        ("CapInh", "CapPrm", "CapEff", "CapAmb"), 0
    )
    assert found["CapBnd"]


def test_bearer_has_its_effect_where_the_set_is_asked_for(bundle: Bundle, bearer: str) -> None:
    """What the test above is measured against: with the inheritable set the same program gains the capability."""
    grant_all(bundle)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["capabilities"]["inheritable"] = ["CAP_NET_RAW"]
    found = status_of(bundle.run(bearer, "cat", "/proc/self/status").stdout)
    assert found["CapEff"] == 1 << CAP_NET_RAW


def test_generated_configuration_asks_for_none(tmp_path: Path) -> None:
    """`youki spec` is where most configurations come from."""
    subprocess.run([sys.executable, "-m", "youki", "spec"], cwd=tmp_path, check=True)
    spec = loads((tmp_path / "config.json").read_bytes(), source="config.json")
    assert isinstance(spec, dict)
    capabilities = spec["process"]["capabilities"]
    assert not capabilities.get("inheritable")
    assert not capabilities.get("ambient")


def test_capabilities_added_for_a_tenant_are_not_inheritable(bundle: Bundle, bearer: str) -> None:
    """The fault as it was found in runc, crun and youki: `exec --cap` filled the inheritable set, too."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        words = [bearer, "cat", "/proc/self/status"]
        with container.exec(
            words, user=1000, group=1000, capabilities=["CAP_NET_RAW"], stdout=PIPE
        ) as process:
            output, _ = process.communicate(timeout=20)
    assert output is not None
    found = status_of(output.decode())
    assert {found[name] for name in SETS if name != "CapBnd"} == {0}
    assert found["CapBnd"] >> CAP_NET_RAW & 1
