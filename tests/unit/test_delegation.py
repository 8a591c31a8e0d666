"""Whose the container's cgroup is: the conditions of the specification, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from libcontainer.delegation import on_host, owner

MOUNT = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid"]}


def spec(mount: dict[str, Any] | None = None, **namespace: str) -> dict[str, Any]:
    """A configuration that hands the cgroup over, but for what is changed."""
    return {
        "process": {"user": {"uid": 7, "gid": 8}},
        "mounts": [{"destination": "/proc", "type": "proc"}, {**MOUNT, **(mount or {})}],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "cgroup", **namespace}]},
    }


def test_a_writable_mount_in_an_own_namespace_hands_the_cgroup_to_the_user() -> None:
    """The user of the process, whatever its group."""
    assert owner(spec()) == 7
    assert owner(spec({"destination": "/sys//fs/cgroup/"})) == 7
    assert owner(spec({"options": ["ro", "rw"]})) == 7
    assert owner({**spec(), "process": {}}) == 0


@pytest.mark.parametrize(
    "unmet",
    [
        spec({"options": ["nosuid", "ro"]}),
        spec({"destination": "/cgroup"}),
        spec({"type": "bind"}),
        spec(path="/proc/1/ns/cgroup"),
        {**spec(), "mounts": []},
        {**spec(), "linux": {"namespaces": [{"type": "mount"}]}},
        {},
    ],
)
def test_otherwise_it_stays_the_runtimes(unmet: dict[str, Any]) -> None:
    """A container that sees others' cgroups, or its own read-only, has no business in them."""
    assert owner(unmet) is None


def test_the_owner_is_named_as_the_host_knows_him() -> None:
    """The table of the container's user namespace; a user that it lacks owns nothing."""
    table = "         0     100000      65536\n     70000       1000          1\n"

    assert on_host(table, 0) == 100000
    assert on_host(table, 65535) == 165535
    assert on_host(table, 70000) == 1000
    assert on_host(table, 65536) is None
    assert on_host("0 0 4294967295\n", 7) == 7
