"""Devices that are moved into a container: config-linux.md "Network Devices", on the real kernel.

The "host" of these tests is a network namespace of their own; the machine's devices are never touched.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import InvalidConfig

from .conftest import YOUKI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Bundle


class Network:
    """A network namespace kept by a process, with one end of a veth pair in it, `dev0`.

    Not every kernel has devmy devices; veth is what engines need.
    """

    def __init__(self) -> None:
        self.holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE
        )
        assert self.holder.stdout is not None
        self.holder.stdout.readline()
        self.add("dev0")

    def add(self, name: str) -> None:
        """Make a device whose other end is up, so that it has a carrier."""
        self.ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-peer")
        self.ip("link", "set", f"{name}-peer", "up")

    def call(self, *command: str, cwd: object = None) -> subprocess.CompletedProcess[str]:
        inside = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *command]
        return subprocess.run(
            inside, text=True, capture_output=True, timeout=60, cwd=str(cwd) if cwd else None
        )

    def ip(self, *words: str) -> Any:
        done = self.call("ip", "-json", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def names(self) -> set[str]:
        return {link["ifname"] for link in self.ip("link")}

    def run(self, bundle: Bundle, *args: str) -> subprocess.CompletedProcess[str]:
        """Run the bundle with `youki run`, this network being its host's."""
        bundle.process["args"] = list(args)
        bundle.save()
        return self.call(str(YOUKI), "--root", str(bundle.root), "run", bundle.id, cwd=bundle.path)

    def close(self) -> None:
        self.holder.kill()
        self.holder.communicate()


@pytest.fixture
def network(bundle: Bundle) -> Iterator[Network]:
    made = Network()
    yield made
    made.close()


def test_a_device_is_in_the_container_under_its_new_name_and_up(bundle: Bundle, network: Network) -> None:
    """The container finds the device ready for use, and the host has it no more."""
    bundle.linux["netDevices"] = {"dev0": {"name": "eth7"}}

    done = network.run(bundle, "sh", "-c", "ip link show eth7; ls /sys/class/net")

    assert done.returncode == 0, done.stderr
    assert "UP" in done.stdout
    assert "dev0" not in done.stdout
    assert "dev0" not in network.names()


def test_a_device_keeps_its_name_when_no_other_is_given(bundle: Bundle, network: Network) -> None:
    """`name` is optional."""
    bundle.linux["netDevices"] = {"dev0": {}}

    assert network.run(bundle, "ip", "link", "show", "dev0").returncode == 0


def test_mtu_and_permanent_global_addresses_are_kept_and_others_are_not(
    bundle: Bundle, network: Network
) -> None:
    """The spec wants the device to work inside as it was configured outside, but for link-local addresses."""
    network.ip("link", "set", "dev0", "mtu", "1357", "up")
    network.ip("addr", "add", "192.0.2.9/24", "broadcast", "192.0.2.255", "dev", "dev0")
    network.ip("addr", "add", "192.0.2.10/24", "dev", "dev0")
    network.ip("addr", "add", "198.51.100.1", "peer", "198.51.100.2/32", "dev", "dev0")
    network.ip("addr", "add", "169.254.7.7/16", "scope", "link", "dev", "dev0")
    network.ip("addr", "add", "2001:db8::9/64", "dev", "dev0", "nodad")
    network.ip("addr", "add", "2001:db8::77/64", "dev", "dev0", "valid_lft", "1000", "preferred_lft", "1000")
    bundle.linux["netDevices"] = {"dev0": {"name": "eth0"}}

    done = network.run(bundle, "ip", "addr", "show", "dev", "eth0")

    assert done.returncode == 0, done.stderr
    assert "mtu 1357" in done.stdout
    for address in (
        "192.0.2.9/24 brd 192.0.2.255",
        "192.0.2.10/24",
        "198.51.100.1 peer 198.51.100.2/32",
        "2001:db8::9/64",
    ):
        assert address in done.stdout
    assert "169.254.7.7" not in done.stdout
    assert "2001:db8::77" not in done.stdout


def test_a_template_gets_the_first_free_number(bundle: Bundle, network: Network) -> None:
    """`%d` in the name is for the kernel's convention of numbered devices."""
    network.add("dev1")
    bundle.linux["netDevices"] = {"dev0": {"name": "net%d"}, "dev1": {"name": "net%d"}}

    done = network.run(bundle, "ls", "/sys/class/net")

    assert done.stdout.split() == ["lo", "net0", "net1"], done.stderr


def test_a_missing_device_fails_with_its_pointer_and_the_others_stay(
    bundle: Bundle, network: Network
) -> None:
    """All devices are looked up before the first one is moved, so a mistake costs the host nothing."""
    network.ip("link", "set", "dev0", "up")
    network.ip("addr", "add", "192.0.2.9/24", "dev", "dev0")
    before = network.ip("addr", "show", "dev", "dev0")
    bundle.linux["netDevices"] = {"dev0": {"name": "eth0"}, "gone0": {}}

    done = network.run(bundle, "true")

    assert done.returncode != 0
    assert "/linux/netDevices/gone0" in done.stderr
    assert "No such device (ENODEV)" in done.stderr
    assert network.ip("addr", "show", "dev", "dev0") == before


def test_a_name_that_is_taken_inside_fails_and_the_device_stays(bundle: Bundle, network: Network) -> None:
    """A device of the container is never replaced, and the host's one is left as it was, up and with addresses."""
    network.ip("link", "set", "dev0", "up")
    network.ip("addr", "add", "192.0.2.9/24", "dev", "dev0")
    before = network.ip("addr", "show", "dev", "dev0")
    bundle.linux["netDevices"] = {"dev0": {"name": "lo"}}

    done = network.run(bundle, "true")

    assert done.returncode != 0
    assert "/linux/netDevices/dev0" in done.stderr
    assert "choose another" in done.stderr
    assert network.ip("addr", "show", "dev", "dev0") == before


def test_a_device_that_cannot_be_moved_fails_with_the_kernels_reason(
    bundle: Bundle, network: Network
) -> None:
    """The loopback device belongs to its namespace for ever; the host's stays."""
    bundle.linux["netDevices"] = {"lo": {"name": "eth0"}}

    done = network.run(bundle, "true")

    assert done.returncode != 0
    assert "/linux/netDevices/lo" in done.stderr
    assert "Invalid argument (EINVAL)" in done.stderr
    assert "lo" in network.names()


def test_a_device_is_there_before_the_hooks_run(bundle: Bundle, network: Network) -> None:
    """createRuntime hooks of network plugins see the finished network namespace."""
    seen = bundle.path / "seen"
    hook = {
        "path": "/bin/sh",
        "args": [
            "sh",
            "-c",
            f'pid=$(sed "s/.*\\"pid\\": *//;s/[^0-9].*//"); nsenter -t $pid -n ip link >{seen}',
        ],
        "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
    }
    bundle.spec["hooks"] = {"createRuntime": [hook]}
    bundle.linux["netDevices"] = {"dev0": {"name": "eth7"}}

    done = network.run(bundle, "true")

    assert done.returncode == 0, done.stderr
    assert "eth7" in seen.read_text()


def test_devices_without_a_network_namespace_are_refused(bundle: Bundle) -> None:
    """A device cannot be moved into the network that it is in already (config-linux.md)."""
    bundle.remove_namespace("network")
    bundle.linux["netDevices"] = {"dev0": {}}

    with pytest.raises(InvalidConfig, match="/linux/netDevices"):
        bundle.build("true")


@pytest.mark.parametrize("name", ["a/b", "a b", "a:b", "..", ".", "sixteen-letters-", "%s", "a%db%d"])
def test_names_that_no_device_can_have_are_refused(bundle: Bundle, network: Network, name: str) -> None:
    """A bad name is told with its place, before anything is moved."""
    bundle.linux["netDevices"] = {"dev0": {"name": name}}

    done = network.run(bundle, "true")

    assert done.returncode != 0
    assert "/linux/netDevices/dev0" in done.stderr
    assert "dev0" in network.names()
