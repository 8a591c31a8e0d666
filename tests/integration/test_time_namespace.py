"""Time namespaces and their offsets: config-linux.md "Offset for Time Namespace", time_namespaces(7)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from libcontainer import Container, InvalidConfig, SetupError

from .holders import holder, identity, namespace_path, show

if TYPE_CHECKING:
    from .conftest import Bundle

DAY_S = 86400
# What a container sees of its clocks: the offsets, and the boot time clock itself.
CLOCKS = "cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime"


def offsets(lines: list[str]) -> dict[str, tuple[int, int]]:
    """Return the lines of timens_offsets as clock → (seconds, nanoseconds)."""
    found = {}
    for line in lines:
        clock, seconds, nanoseconds = line.split()
        found[clock] = (int(seconds), int(nanoseconds))
    return found


@pytest.mark.parametrize("userns", [False, True], ids=["root", "userns"])
def test_offsets_are_what_the_payload_sees(bundle: Bundle, userns: bool) -> None:
    """A migrated workload must not see its clocks jump, also as root of a user namespace."""
    bundle.set_namespace("time")
    bundle.linux["timeOffsets"] = {
        "boottime": {"secs": 10 * DAY_S, "nanosecs": 3141519},
        "monotonic": {"secs": 7881, "nanosecs": 2718281},
    }
    if userns:
        bundle.add_userns()
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    result = bundle.sh(CLOCKS)

    assert offsets(result.lines[:2]) == {
        "boottime": (10 * DAY_S, 3141519),
        "monotonic": (7881, 2718281),
    }
    assert int(result.lines[2]) >= int(before + 10 * DAY_S)


def test_clock_may_be_set_back_until_boot(bundle: Bundle) -> None:
    """time_namespaces(7): offsets may be negative as long as the clock itself does not become so."""
    bundle.set_namespace("time")
    back = -int(time.clock_gettime(time.CLOCK_BOOTTIME)) + 1
    bundle.linux["timeOffsets"] = {"boottime": {"secs": back}}
    lines = bundle.sh(CLOCKS).lines

    assert offsets(lines[:2])["boottime"] == (back, 0)
    assert int(lines[2]) < time.clock_gettime(time.CLOCK_BOOTTIME)


def test_offset_before_boot_is_refused_with_the_kernels_reason(bundle: Bundle) -> None:
    """A clock cannot show a time before zero; the error says which offset was asked for."""
    bundle.set_namespace("time")
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": -(2**40)}}
    with pytest.raises(SetupError, match="ERANGE") as caught:
        bundle.build("true")

    assert caught.value.pointer == "/linux/timeOffsets"
    assert Container.list(bundle.root) == []


def test_new_time_namespace_without_offsets_shows_the_hosts_clocks(bundle: Bundle) -> None:
    """Offsets are optional; the namespace is new all the same."""
    bundle.set_namespace("time")
    lines = bundle.sh(f"{show('time')}; {CLOCKS}").lines

    assert lines[0] != identity("time")
    assert set(offsets(lines[1:3]).values()) == {(0, 0)}


@pytest.mark.parametrize("clock", ["boottime", "monotonic"])
def test_one_clock_alone_may_be_set(bundle: Bundle, clock: str) -> None:
    """A clock that is not mentioned keeps the host's time."""
    bundle.set_namespace("time")
    bundle.linux["timeOffsets"] = {clock: {"nanosecs": 5}}
    found = offsets(bundle.sh(CLOCKS).lines[:2])
    other = {"boottime": "monotonic", "monotonic": "boottime"}[clock]

    assert (found[clock], found[other]) == ((0, 5), (0, 0))


def test_offsets_without_a_time_namespace_are_refused(bundle: Bundle) -> None:
    """Nobody can set the host's clocks by it; leaving the offsets out silently would be a lie."""
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": 1}}
    with pytest.raises(InvalidConfig) as caught:
        bundle.build("true")

    assert caught.value.pointer == "/linux/timeOffsets"


def test_offsets_of_a_joined_time_namespace_are_refused(bundle: Bundle) -> None:
    """time_namespaces(7): the offsets are fixed once a process is inside."""
    with holder("time") as pid:
        bundle.set_namespace("time", namespace_path("time", pid))
        bundle.linux["timeOffsets"] = {"monotonic": {"secs": 1}}
        with pytest.raises(InvalidConfig, match="/linux/timeOffsets"):
            bundle.build("true")


def test_joined_time_namespace_keeps_its_offsets(bundle: Bundle) -> None:
    """A second container of a pod sees the same clocks as the first."""
    with holder("time", options=("--monotonic", "1234")) as pid:
        bundle.set_namespace("time", namespace_path("time", pid))
        lines = bundle.sh(f"{show('time')}; {CLOCKS}").lines

        assert lines[0] == identity("time", pid)
        assert offsets(lines[1:3])["monotonic"] == (1234, 0)


def test_caller_keeps_its_clocks(bundle: Bundle) -> None:
    """What the container sees must not reach the program that made it, nor its later children."""
    bundle.set_namespace("time")
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": 1000000}}
    before = time.monotonic()
    bundle.run("true")

    assert time.monotonic() - before < 1000
    assert identity("time") == _children_identity()


def _children_identity() -> str:
    import os

    return os.readlink("/proc/self/ns/time_for_children")
