"""Resource limits of the payload: config.md "rlimits", prlimit(2), on the real kernel."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from libcontainer import Container, InvalidConfig, SetupError
from libcontainer.rlimits import INFINITY, NUMBERS

if TYPE_CHECKING:
    from .conftest import Bundle

# The names of /proc/PID/limits.
TITLES = {
    "RLIMIT_AS": "Max address space",
    "RLIMIT_CORE": "Max core file size",
    "RLIMIT_CPU": "Max cpu time",
    "RLIMIT_DATA": "Max data size",
    "RLIMIT_FSIZE": "Max file size",
    "RLIMIT_LOCKS": "Max file locks",
    "RLIMIT_MEMLOCK": "Max locked memory",
    "RLIMIT_MSGQUEUE": "Max msgqueue size",
    "RLIMIT_NICE": "Max nice priority",
    "RLIMIT_NOFILE": "Max open files",
    "RLIMIT_NPROC": "Max processes",
    "RLIMIT_RSS": "Max resident set",
    "RLIMIT_RTPRIO": "Max realtime priority",
    "RLIMIT_RTTIME": "Max realtime timeout",
    "RLIMIT_SIGPENDING": "Max pending signals",
    "RLIMIT_STACK": "Max stack size",
}


def limits_of(text: str) -> dict[str, list[str]]:
    """The soft and hard limits of /proc/PID/limits, by title."""
    return {line[:26].strip(): line[26:].split()[:2] for line in text.splitlines()[1:]}


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_each_limit_reaches_the_payload(bundle: Bundle, name: str) -> None:
    """Soft and hard, of every type that the spec knows; lowering needs no privilege."""
    _, hard = resource.getrlimit(NUMBERS[name])
    top = 1 << 31 if hard < 0 else hard
    soft = max(top // 2, 0)
    bundle.process["rlimits"] = [{"type": name, "soft": soft, "hard": top}]

    limits = limits_of(bundle.run("cat", "/proc/self/limits").stdout)

    assert limits[TITLES[name]] == [str(soft), str(top)]


def test_the_largest_number_is_unlimited(bundle: Bundle) -> None:
    """RLIM_INFINITY as Go programs write it; what is larger than a signed number is a limit, not an accident."""
    bundle.process["rlimits"] = [
        {"type": "RLIMIT_CPU", "soft": INFINITY, "hard": INFINITY},
        {"type": "RLIMIT_LOCKS", "soft": 1 << 63, "hard": (1 << 64) - 2},
    ]

    limits = limits_of(bundle.run("cat", "/proc/self/limits").stdout)

    assert limits["Max cpu time"] == ["unlimited", "unlimited"]
    assert limits["Max file locks"] == [str(1 << 63), str((1 << 64) - 2)]


def test_raising_a_hard_limit_without_the_privilege_is_an_error_with_a_remedy(bundle: Bundle) -> None:
    """And nothing is left of the container."""
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    bundle.process["rlimits"] = [{"type": "RLIMIT_NPROC", "soft": 10, "hard": hard + 1}]

    with pytest.raises(SetupError, match="RLIMIT_NPROC") as caught:
        bundle.build("true")

    assert caught.value.pointer == "/process/rlimits/0"
    assert "CAP_SYS_RESOURCE" in (caught.value.remedy or "")
    assert Container.list(bundle.root) == []


def test_more_open_files_than_the_kernel_can_have_is_an_error(bundle: Bundle) -> None:
    """Unlimited open files do not exist: fs.nr_open is the end, for the most privileged too."""
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": INFINITY}]

    with pytest.raises(SetupError, match="RLIMIT_NOFILE") as caught:
        bundle.build("true")

    assert "fs.nr_open" in (caught.value.remedy or "")


def test_limits_of_a_user_that_is_not_root_are_set_without_a_privilege(bundle: Bundle) -> None:
    """A runtime in a container lacks CAP_SYS_RESOURCE, and prlimit(2) of another user's process needs it."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 111}]

    limits = limits_of(bundle.run("cat", "/proc/self/limits").stdout)

    assert limits["Max open files"] == ["99", "111"]


def test_tight_limits_meet_the_payload_and_not_its_making(bundle: Bundle) -> None:
    """Nothing of ours needs a file of a size, many descriptors, or a child once the limits are there."""
    bundle.process["rlimits"] = [
        {"type": "RLIMIT_FSIZE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_NOFILE", "soft": 8, "hard": 8},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_MEMLOCK", "soft": 0, "hard": 0},
    ]
    with bundle.build("sleep", "1000") as container:
        assert container.status == "created"
        container.start()
        assert container.status == "running"


def test_a_soft_limit_above_the_hard_one_is_refused_before_anything_is_made(bundle: Bundle) -> None:
    """With its place, by the check of the configuration."""
    bundle.process["rlimits"] = [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]

    with pytest.raises(InvalidConfig, match="/process/rlimits/0/soft"):
        bundle.build("true")
