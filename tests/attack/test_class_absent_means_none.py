"""Fields that are absent mean the safer value: youki#3434 (bounding set), runc (all capabilities kept)."""

from __future__ import annotations

import os

import pytest

from ..integration.conftest import Bundle
from .hostile import grant_all
from .test_cve_2022_29162_inheritable_capabilities import status_of

NONE = dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0)


@pytest.mark.parametrize("capabilities", [None, {}])
@pytest.mark.parametrize("uid", [0, 1000])
def test_without_capabilities_there_are_none(bundle: Bundle, capabilities: object, uid: int) -> None:
    """Not even for uid 0, and not even in the bounding set, through which a program could give them back."""
    bundle.process.pop("capabilities")
    if capabilities is not None:
        bundle.process["capabilities"] = capabilities
    bundle.process["noNewPrivileges"] = False
    bundle.process["user"] = {"uid": uid, "gid": uid}
    assert status_of(bundle.sh("cat /proc/self/status").stdout) == NONE


def test_bounding_set_that_is_absent_is_empty(bundle: Bundle) -> None:
    """Effective and permitted alone do not bring it along: what the payload executes has nothing."""
    grant_all(bundle)
    del bundle.process["capabilities"]["bounding"]
    assert status_of(bundle.sh("cat /proc/self/status").stdout) == NONE


def test_program_that_is_set_user_id_gains_the_user_and_nothing_else(attacker: Bundle) -> None:
    """Root without a bounding set is a user with a number."""
    (attacker.rootfs / "attacker").chmod(0o4755)
    attacker.process.pop("capabilities")
    attacker.process["noNewPrivileges"] = False
    attacker.process["user"] = {"uid": 1000, "gid": 1000}
    result = attacker.run("/attacker", "status")
    uids = next(line.split() for line in result.lines if line.startswith("Uid:"))
    assert uids[1:3] == ["1000", "0"], "the program is not what this test needs"
    assert status_of(result.stdout) == NONE


def test_environment_that_is_absent_is_empty(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's environment reaches the payload."""
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "1")
    bundle.process.pop("env")
    result = bundle.run("/bin/env")
    assert {line.partition("=")[0] for line in result.lines} <= {"HOME"}


def test_supplementary_groups_that_are_absent_are_none(bundle: Bundle) -> None:
    """CVE-2022-2995 and its kin: the caller's groups, and a group 0 in which nobody asked to be."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    before = os.getgroups()
    os.setgroups([0, 6, 42])
    try:
        lines = bundle.sh("grep Groups /proc/self/status; id -g").stdout.split()
    finally:
        os.setgroups(before)
    assert lines == ["Groups:", "1000"]
