"""Mounts of type cgroup on this host: what a container sees of its control groups, and what it may change.

config-linux.md "Control groups", cgroup_namespaces(7). The plans for other hosts: tests/unit/test_cgroup_mounts.py.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from libcgroups import detect, new

from .boxes import MODES, Box, host_mounts

if TYPE_CHECKING:
    from .conftest import Bundle

OPTIONS = ("nosuid", "noexec", "nodev")


@pytest.fixture(params=MODES)
def box(bundle: Bundle, request: pytest.FixtureRequest) -> Box:
    """A container, made with the newer mount calls or with the classic ones."""
    return Box(bundle, request.param)


@pytest.fixture
def hierarchies() -> list[str]:
    """The names of the host's v1 hierarchies and of the unified one beside them."""
    found = new(None, container_id="test-names")
    if found.mode == "v2":
        pytest.skip("this host has cgroup v2 only")
    return [cgroup.mount_point.rpartition("/")[2] for cgroup in found.cgroups]


@pytest.mark.parametrize("namespace", [True, False], ids=["cgroupns", "host"])
def test_each_hierarchy_is_mounted(box: Box, hierarchies: list[str], namespace: bool) -> None:
    """On a small tmpfs, each at its usual name, never to be executed from."""
    if not namespace:
        box.bundle.remove_namespace("cgroup")
    box.mount("/sys/fs/cgroup", "cgroup", "cgroup", *OPTIONS)

    mounts = box.mounts()

    assert mounts["/sys/fs/cgroup"].fstype == "tmpfs"
    for name in hierarchies:
        mount = mounts[f"/sys/fs/cgroup/{name}"]
        assert mount.fstype == ("cgroup2" if name == "unified" else "cgroup")
        assert {*OPTIONS, "rw"} <= mount.options


@pytest.mark.parametrize("namespace", [True, False], ids=["cgroupns", "host"])
def test_root_of_each_hierarchy_is_the_containers_cgroup(
    box: Box, hierarchies: list[str], namespace: bool
) -> None:
    """The container finds itself there, and none of its neighbours."""
    if not namespace:
        box.bundle.remove_namespace("cgroup")
    box.mount("/sys/fs/cgroup", "cgroup", "cgroup", *OPTIONS)

    run = box.sh("cd /sys/fs/cgroup; for i in *; do echo $i $(cat $i/cgroup.procs | tr '\\n' ' '); done")

    assert [line.split()[0] for line in run.lines] == sorted(hierarchies)
    assert all(" 1" in line for line in run.lines), run.lines


@pytest.mark.parametrize("namespace", [True, False], ids=["cgroupns", "host"])
def test_readonly_cgroups_cannot_be_changed(box: Box, hierarchies: list[str], namespace: bool) -> None:
    """Nor can the tmpfs that holds them; the host's mounts stay as they are."""
    if not namespace:
        box.bundle.remove_namespace("cgroup")
    box.mount("/sys/fs/cgroup", "cgroup", "cgroup", *OPTIONS, "ro")
    before = host_mounts(box.bundle)

    run = box.sh("cd /sys/fs/cgroup; mkdir a; for i in *; do mkdir $i/a; done; ls -d */a")

    assert run.stdout == ""
    assert run.stderr.count("Read-only file system") == len(hierarchies) + 1
    assert host_mounts(box.bundle) == before


def test_writable_cgroups_may_be_divided(box: Box, hierarchies: list[str]) -> None:
    """The negative of the above: without `ro` an init system in the container makes its own below."""
    box.mount("/sys/fs/cgroup", "cgroup", "cgroup", *OPTIONS)

    run = box.sh("mkdir /sys/fs/cgroup/pids/a && rmdir /sys/fs/cgroup/pids/a && echo done")

    assert run.stdout == "done\n"


def test_co_mounted_controllers_are_found_by_each_name(box: Box) -> None:
    """Programs look for /sys/fs/cgroup/cpu, whether it is mounted alone or as cpu,cpuacct."""
    box.mount("/sys/fs/cgroup", "cgroup", "cgroup", *OPTIONS)
    found = new(None, container_id="test-names")
    links = {link for cgroup in found.cgroups for link in cgroup.links}
    if not links:
        assert all(len(cgroup.controllers) <= 1 for cgroup in found.cgroups)

    run = box.sh("cd /sys/fs/cgroup; for i in *; do test -L $i && echo $i; done; true")

    assert set(run.lines) == links


def test_cgroups_on_a_symlink_are_refused(box: Box) -> None:
    """As for proc and sysfs (CVE-2019-19921): a link of the image must not choose the place."""
    (box.rootfs / "elsewhere").mkdir()
    (box.rootfs / "cgroup").symlink_to("elsewhere")
    box.mount("/cgroup", "cgroup", "cgroup")

    assert "Too many levels of symbolic links" in box.refusal()
    assert os.listdir(box.rootfs / "elsewhere") == []


def test_a_user_may_divide_the_containers_cgroup_only_on_v2(box: Box) -> None:
    """config-linux.md "Cgroup ownership": on v1 the owner of a cgroup could lift its limits."""
    box.mount("/sys/fs/cgroup", "cgroup", "cgroup", *OPTIONS)
    box.bundle.process["user"] = {"uid": 1234, "gid": 1234}
    box.bundle.process["capabilities"] = {}

    run = box.sh("cd /sys/fs/cgroup; for i in . *; do mkdir $i/mine 2>/dev/null && echo $i; done; true")

    assert run.lines == (["."] if detect().mode == "v2" else [])


def test_a_readonly_cgroup_stays_the_runtimes(box: Box) -> None:
    """Whoever only looks at cgroups gets no right to change them, not even through another mount."""
    box.mount("/sys/fs/cgroup", "cgroup", "cgroup", *OPTIONS, "ro")
    box.bundle.process["user"] = {"uid": 1234, "gid": 1234}

    run = box.sh("find /sys/fs/cgroup -user 1234")

    assert run.stdout == ""
