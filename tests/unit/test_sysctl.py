"""sysctl.py: the names of kernel parameters and their places in /proc/sys."""

from __future__ import annotations

import pytest

from libcontainer.host import Host
from libcontainer.plan.context import Context, Options
from libcontainer.spec.check_linux import sysctl_path
from libcontainer.sysctl import compile_sysctl


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("single", "single"),
    ],
)
def test_the_first_separator_decides(name: str, path: str) -> None:
    """sysctl(8): a device name may hold the other one."""
    spec = {"linux": {"sysctl": {name: "1"}}}
    (op,) = compile_sysctl(Context(spec, Host(), Options()))

    assert sysctl_path(name) == path
    assert op.operands == (path.encode(), b"1")


def test_each_write_names_its_place() -> None:
    """A slash in a key is escaped in its JSON pointer (RFC 6901)."""
    spec = {"linux": {"sysctl": {"net/core/a~b": "1", "kernel.sem": "1 2 3 4"}}}
    first, second = compile_sysctl(Context(spec, Host(), Options()))

    assert (first.pointer, second.pointer) == ("/linux/sysctl/net~1core~1a~0b", "/linux/sysctl/kernel.sem")
    assert second.operands == (b"kernel/sem", b"1 2 3 4")
