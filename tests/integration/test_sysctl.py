"""Kernel parameters of the container's namespaces: config-linux.md "Sysctl", on the real kernel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from libcontainer import InvalidConfig, SetupError

if TYPE_CHECKING:
    from .conftest import Bundle

VALUES = {  # two of each, as the host may have the first
    "net.ipv4.ip_forward": ("1", "0"),
    "net.ipv4.ping_group_range": ("0 42", "0 43"),
    "kernel.msgmax": ("4242", "4243"),
    "kernel.msgmnb": ("4243", "4244"),
    "kernel.sem": ("111 222 33 44", "112 222 33 44"),
    "kernel.shmmax": ("123456", "123457"),
    "kernel.shm_rmid_forced": ("1", "0"),
    "fs.mqueue.msg_max": ("7", "8"),
}


@pytest.mark.parametrize("name", sorted(VALUES))
def test_a_parameter_is_set_in_the_container_and_the_host_keeps_its_own(bundle: Bundle, name: str) -> None:
    """Also where /proc/sys is read-only in the container: it is written before."""
    path = Path("/proc/sys") / name.replace(".", "/")
    if not path.exists():
        pytest.skip(f"this kernel has no {name}")
    host = path.read_text()
    value = next(value for value in VALUES[name] if value.split() != host.split())
    bundle.linux["sysctl"] = {name: value}

    seen = bundle.run("cat", str(path)).stdout

    assert seen.split() == value.split()
    assert path.read_text() == host


def test_slashes_and_dots_both_separate(bundle: Bundle) -> None:
    """sysctl(8): the first separator decides, so a device with a dot in its name can be written."""
    bundle.linux["sysctl"] = {"net/ipv4/conf/lo/forwarding": "1", "net.ipv6.conf.lo.hop_limit": "33"}

    result = bundle.sh("cat /proc/sys/net/ipv4/conf/lo/forwarding /proc/sys/net/ipv6/conf/lo/hop_limit")

    assert result.lines == ["1", "33"]


@pytest.mark.parametrize("name", ["kernel.hostname", "kernel.panic", "vm.overcommit_memory", "fs.file-max"])
def test_parameters_of_the_host_are_refused(bundle: Bundle, name: str) -> None:
    """They belong to no namespace: writing one would change the host."""
    bundle.linux["sysctl"] = {name: "1"}

    with pytest.raises(InvalidConfig, match=f"/linux/sysctl/{name}"):
        bundle.build("true")


@pytest.mark.parametrize(("kind", "name"), [("network", "net.ipv4.ip_forward"), ("ipc", "kernel.msgmax")])
def test_a_parameter_of_a_namespace_that_is_shared_with_the_host_is_refused(
    bundle: Bundle, kind: str, name: str
) -> None:
    """Without the namespace it would be the host's."""
    bundle.remove_namespace(kind)
    bundle.linux["sysctl"] = {name: "1"}

    with pytest.raises(InvalidConfig, match=f"/linux/sysctl/{name}"):
        bundle.build("true")


def test_an_unknown_parameter_and_a_bad_value_say_what_was_wrong(bundle: Bundle) -> None:
    """Each with its pointer; an error, as the payload would run with other settings than it was promised."""
    bundle.linux["sysctl"] = {"net.ipv4.no_such_thing": "1"}
    with pytest.raises(SetupError, match="No such file or directory") as unknown:
        bundle.build("true")
    bundle.linux["sysctl"] = {"kernel.msgmax": "many"}
    with pytest.raises(SetupError, match="Invalid argument") as bad:
        bundle.build("true")

    assert unknown.value.pointer == "/linux/sysctl/net.ipv4.no_such_thing"
    assert "no such parameter" in (unknown.value.remedy or "")
    assert bad.value.pointer == "/linux/sysctl/kernel.msgmax"


def test_a_proc_of_the_image_does_not_catch_the_write(bundle: Bundle) -> None:
    """CVE-2025-52881: what lies on the container's /proc is not trusted; the write goes to the real one."""
    bundle.spec["mounts"] = [item for item in bundle.spec["mounts"] if item["destination"] != "/proc"]
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    fake = bundle.rootfs / "proc/sys/kernel/msgmax"
    fake.parent.mkdir(parents=True)
    fake.write_text("untouched")
    bundle.linux["sysctl"] = {"kernel.msgmax": "4242"}

    with bundle.build("sleep", "1000") as container:
        reader = f"nsenter --ipc=/proc/{container.pid}/ns/ipc cat /proc/sys/kernel/msgmax"
        with os.popen(reader) as pipe:
            assert pipe.read().strip() == "4242"
    assert fake.read_text() == "untouched"
