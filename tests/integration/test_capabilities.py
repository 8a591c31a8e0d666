"""The five capability sets and no_new_privs: config-linux.md, config.md "capabilities"; capabilities(7)."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from libcontainer import SetupError
from libcontainer.capabilities import SETS, mask

from .test_user import status_of

if TYPE_CHECKING:
    from .conftest import Bundle

FIELDS = {
    "bounding": "CapBnd",
    "effective": "CapEff",
    "permitted": "CapPrm",
    "inheritable": "CapInh",
    "ambient": "CapAmb",
}
SOME = ["CAP_NET_RAW", "CAP_KILL", "CAP_CHECKPOINT_RESTORE"]


def seen_sets(bundle: Bundle) -> dict[str, int]:
    """Run the container and return the masks that its payload finds."""
    status = status_of(bundle.run("cat", "/proc/self/status").stdout)
    return {name: int(status[field], 16) for name, field in FIELDS.items()}


def test_root_gets_exactly_the_requested_sets(bundle: Bundle) -> None:
    """Of root's payload permitted and effective are what the kernel makes of the bounding set."""
    bundle.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), SOME)

    wanted = mask(SOME)
    assert seen_sets(bundle) == {
        "bounding": wanted,
        "effective": wanted,
        "permitted": wanted,
        "inheritable": 0,
        "ambient": 0,
    }


def test_an_ordinary_user_keeps_its_ambient_set(bundle: Bundle) -> None:
    """Ambient capabilities are how a user that is not root keeps some over an execve."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["capabilities"] = {name: ["CAP_NET_BIND_SERVICE"] for name in SETS}

    assert seen_sets(bundle) == dict.fromkeys(SETS, mask(["CAP_NET_BIND_SERVICE"]))


def test_an_ordinary_user_without_ambient_set_has_none_after_execve(bundle: Bundle) -> None:
    """CVE-2016-8867: ambient capabilities only where they were asked for."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), SOME)

    seen = seen_sets(bundle)

    assert (seen["effective"], seen["permitted"], seen["ambient"]) == (0, 0, 0)
    assert seen["bounding"] == mask(SOME)


@pytest.mark.parametrize("capabilities", [None, {}, {"effective": [], "permitted": []}])
def test_absent_means_none(bundle: Bundle, capabilities: dict[str, list[str]] | None) -> None:
    """Also of the bounding set (youki 3434), and for root."""
    del bundle.process["capabilities"]
    if capabilities is not None:
        bundle.process["capabilities"] = capabilities

    assert seen_sets(bundle) == dict.fromkeys(SETS, 0)


def test_unknown_and_ungrantable_names_are_told_and_left_out(bundle: Bundle) -> None:
    """config.md: a warning, and not a failure. This host's own bounding set lacks CAP_SYS_RESOURCE."""
    names = ["CAP_KILL", "CAP_FLY", "CAP_SYS_RESOURCE"]
    bundle.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), names)
    if mask(["CAP_SYS_RESOURCE"]) & own_bounding_set():
        pytest.skip("this host can grant all capabilities")

    with bundle.build("true") as container:
        text = "\n".join(container.warnings)

    assert "CAP_FLY is not known" in text
    assert "/process/capabilities/bounding: CAP_SYS_RESOURCE cannot be granted" in text
    assert "CAP_KILL" not in text
    assert seen_sets(bundle)["bounding"] == mask(["CAP_KILL"])


def own_bounding_set() -> int:
    with open("/proc/self/status") as file:
        return int(status_of(file.read())["CapBnd"], 16)


def test_inheritable_outside_the_bounding_set_is_refused_as_by_the_kernel(bundle: Bundle) -> None:
    """The configuration contradicts itself; runc and youki fail too, with EPERM."""
    bundle.process["capabilities"] = {name: ["CAP_SYS_ADMIN"] for name in SETS[1:4]}

    with pytest.raises(SetupError, match="Operation not permitted") as caught:
        bundle.build("true")

    assert caught.value.pointer == "/process/capabilities"
    assert "bounding" in (caught.value.remedy or "")


@pytest.mark.parametrize("value", [True, False, None])
def test_no_new_privileges_is_what_was_asked_for(bundle: Bundle, value: bool | None) -> None:
    """Absent is false (config.md)."""
    del bundle.process["noNewPrivileges"]
    if value is not None:
        bundle.process["noNewPrivileges"] = value

    status = status_of(bundle.run("cat", "/proc/self/status").stdout)

    assert status["NoNewPrivs"] == str(int(bool(value)))


PROBE = """
#include <stdio.h>
#include <unistd.h>
int main(void) { printf("%d %d", getuid(), geteuid()); return 0; }
"""


def test_a_set_user_id_program_gains_nothing_with_no_new_privileges(bundle: Bundle) -> None:
    """That is what the flag is for; without it the same program does become root."""
    compiler = shutil.which("musl-gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    program = bundle.rootfs / "bin/probe"
    subprocess.run([compiler, "-static", "-x", "c", "-o", program, "-"], input=PROBE.encode(), check=True)
    program.chmod(0o4755)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}

    guarded = bundle.run("probe").stdout
    bundle.process["noNewPrivileges"] = False
    free = bundle.run("probe").stdout

    assert (guarded, free) == ("1000 1000", "1000 0")
