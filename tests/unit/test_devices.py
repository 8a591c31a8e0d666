"""libcontainer.devices: which nodes and links are made. The effects: tests/integration/test_devices.py."""

from __future__ import annotations

import os
import stat
from typing import Any

import pytest

from libcontainer import devices
from libcontainer.host import Host
from libcontainer.plan import operations as do
from libcontainer.plan.context import Context, Options

ALL = 2**41 - 1


def plan(
    *listed: dict[str, Any], userns: bool = False, mounts: list[dict[str, Any]] | None = None, **facts: Any
) -> list[do.Op]:
    """Return the operations for these devices."""
    kinds = ["mount", *(["user"] if userns else [])]
    spec = {
        "mounts": mounts or [],
        "linux": {"namespaces": [{"type": kind} for kind in kinds], "devices": list(listed)},
    }
    known = {"in_user_namespace": False, "new_mount_api": True, "selinux": False, "kcore": True}
    host = Host(**{"capabilities": ALL, **known, **facts})
    return list(devices.compile_devices(Context(spec, host, Options())))


def nodes(ops: list[do.Op]) -> dict[bytes, do.MakeDevice]:
    """Return the nodes that are made, by path."""
    return {op.path: op for op in ops if isinstance(op, do.MakeDevice)}


def bound(ops: list[do.Op]) -> list[bytes]:
    """Return the host's nodes that are bound."""
    return [op.source for op in ops if isinstance(op, (do.OpenTree, do.Mount))]


def test_default_devices_come_before_listed_ones_and_links() -> None:
    """A listed device may lie where a default one makes the directory."""
    ops = plan({"path": "/dev/x", "type": "c", "major": 1, "minor": 3})

    assert [type(op).__name__ for op in ops] == ["MakeDevice"] * 7 + ["MakeSymlink"] * 6
    assert ops[6].pointer == "/linux/devices/0"


@pytest.mark.parametrize(
    ("kind", "format_", "number"),
    [
        ("c", stat.S_IFCHR, (240, 70000)),
        ("u", stat.S_IFCHR, (4095, 1)),
        ("b", stat.S_IFBLK, (8, 0)),
        ("p", stat.S_IFIFO, (0, 0)),
    ],
)
def test_type_and_number_are_those_of_the_spec(kind: str, format_: int, number: tuple[int, int]) -> None:
    """Large numbers, too, which do not fit the old eight bits."""
    op = nodes(plan({"path": "/dev/x", "type": kind, "major": number[0], "minor": number[1]}))[b"/dev/x"]

    assert stat.S_IFMT(op.mode) == format_
    assert (os.major(op.device), os.minor(op.device)) == number


def test_mode_and_owner_have_defaults_and_nought_is_not_one() -> None:
    """fileMode 0 closes a device; it is not the same as absent."""
    entry = {"type": "c", "major": 1, "minor": 3}
    found = nodes(plan({**entry, "path": "/a"}, {**entry, "path": "/b", "fileMode": 0, "uid": 7, "gid": 8}))

    assert [(stat.S_IMODE(found[p].mode), found[p].uid, found[p].gid) for p in (b"/a", b"/b")] == [
        (0o666, 0, 0),
        (0, 7, 8),
    ]


def test_listed_device_takes_the_place_of_a_default_one() -> None:
    """Whatever its spelling."""
    found = nodes(plan({"path": "/dev/./null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600}))

    assert len(found) == len(devices.DEFAULT_DEVICES)
    assert stat.S_IMODE(found[b"/dev/null"].mode) == 0o600


@pytest.mark.parametrize(
    "facts", [{"userns": True}, {"in_user_namespace": True}, {"capabilities": 0}], ids=str
)
@pytest.mark.parametrize("new", [True, False], ids=["new", "classic"])
def test_host_nodes_are_bound_where_mknod_makes_no_usable_ones(facts: dict[str, Any], new: bool) -> None:
    """A fifo is no device and is made everywhere."""
    listed = ({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}, {"path": "/dev/p", "type": "p"})
    ops = plan(*listed, new_mount_api=new, **facts)

    assert bound(ops) == [*(path.encode() for path, _, _ in devices.DEFAULT_DEVICES), b"/dev/fuse"]
    assert set(nodes(ops)) == {b"/dev/p"}


def test_only_ptmx_replaces_what_the_image_has() -> None:
    """The other links of an image are its own affair; its ptmx would be the host's multiplexor."""
    ops = [op for op in plan() if isinstance(op, do.MakeSymlink)]

    assert [op.path for op in ops if op.replace] == [b"/dev/ptmx"]


@pytest.mark.parametrize("destination", ["/dev", "/dev/", "//dev/."])
def test_dev_of_the_host_is_left_alone(destination: str) -> None:
    """What is made in a bound /dev is made on the host."""
    assert (
        plan(mounts=[{"destination": destination, "type": "bind", "source": "/dev", "options": ["rbind"]}])
        == []
    )


def test_dev_that_is_a_fresh_file_system_is_filled() -> None:
    """The negative of the above."""
    assert plan(mounts=[{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}]) != []


def test_container_without_a_mount_namespace_gets_no_nodes() -> None:
    """They would be made in a directory of the host that outlives the container."""
    spec = {"linux": {"namespaces": [{"type": "pid"}]}}

    assert list(devices.compile_devices(Context(spec, Host(capabilities=ALL), Options()))) == []
