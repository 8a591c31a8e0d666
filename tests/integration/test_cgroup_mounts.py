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

TOP = "/sys/fs/cgroup"
OPTIONS = ("nosuid", "noexec", "nodev")


@pytest.fixture(params=MODES)
def box(bundle: Bundle, request: pytest.FixtureRequest) -> Box:
    """A container, made with the newer mount calls or with the classic ones."""
    return Box(bundle, request.param)


@pytest.fixture
def places() -> dict[str, str]:
    """Where the container finds each of the host's hierarchies, and of what type: one alone is all there is."""
    found = new(None, container_id="test-names")
    if found.mode == "v2":
        return {TOP: "cgroup2"}
    return {
        f"{TOP}/{cgroup.mount_point.rpartition('/')[2]}": "cgroup" if cgroup.controllers else "cgroup2"
        for cgroup in found.cgroups
    }


@pytest.mark.parametrize("namespace", [True, False], ids=["cgroupns", "host"])
def test_each_hierarchy_is_mounted(box: Box, places: dict[str, str], namespace: bool) -> None:
    """Several on a small tmpfs, each at its usual name, never to be executed from."""
    if not namespace:
        box.bundle.remove_namespace("cgroup")
    box.mount(TOP, "cgroup", "cgroup", *OPTIONS)

    mounts = box.mounts()

    assert mounts[TOP].fstype == places.get(TOP, "tmpfs")
    for place, fstype in places.items():
        assert mounts[place].fstype == fstype
        assert {*OPTIONS, "rw"} <= mounts[place].options


@pytest.mark.parametrize("namespace", [True, False], ids=["cgroupns", "host"])
def test_root_of_each_hierarchy_is_the_containers_cgroup(
    box: Box, places: dict[str, str], namespace: bool
) -> None:
    """The container finds itself there, and none of its neighbours.

    Without a cgroup namespace v2 shows the host's tree, as /proc/self/cgroup does: that is where it finds itself.
    """
    if not namespace:
        box.bundle.remove_namespace("cgroup")
    own = "$(sed -n s/^0:://p /proc/self/cgroup)" if TOP in places and not namespace else ""
    box.mount(TOP, "cgroup", "cgroup", *OPTIONS)

    run = box.sh(
        f"for i in {' '.join(places)}; do echo $i $(tr '\\n' ' ' <$i{own}/cgroup.procs); done; ls {TOP}"
    )

    assert [line.split()[0] for line in run.lines[: len(places)]] == list(places)
    assert all(line.split()[1] == "1" for line in run.lines[: len(places)]), run.lines
    if TOP not in places:
        assert run.lines[len(places) :] == sorted(place.removeprefix(f"{TOP}/") for place in places)


@pytest.mark.parametrize("namespace", [True, False], ids=["cgroupns", "host"])
def test_readonly_cgroups_cannot_be_changed(box: Box, places: dict[str, str], namespace: bool) -> None:
    """Nor can the tmpfs that holds them; the host's mounts stay as they are."""
    if not namespace:
        box.bundle.remove_namespace("cgroup")
    box.mount(TOP, "cgroup", "cgroup", *OPTIONS, "ro")
    before = host_mounts(box.bundle)
    tried = sorted({TOP, *places})

    run = box.sh(f"for i in {' '.join(tried)}; do mkdir $i/a; ls -d $i/a; done")

    assert run.stdout == ""
    assert run.stderr.count("Read-only file system") == len(tried)
    assert host_mounts(box.bundle) == before


def test_writable_cgroups_may_be_divided(box: Box, places: dict[str, str]) -> None:
    """The negative of the above: without `ro` an init system in the container makes its own below."""
    box.mount(TOP, "cgroup", "cgroup", *OPTIONS)
    place = f"{TOP}/pids" if f"{TOP}/pids" in places else next(iter(places))

    run = box.sh(f"mkdir {place}/a && rmdir {place}/a && echo done")

    assert run.stdout == "done\n"


def test_co_mounted_controllers_are_found_by_each_name(box: Box) -> None:
    """Programs look for /sys/fs/cgroup/cpu, whether it is mounted alone or as cpu,cpuacct."""
    box.mount(TOP, "cgroup", "cgroup", *OPTIONS)
    found = new(None, container_id="test-names")
    links = {link for cgroup in found.cgroups for link in cgroup.links}
    if not links:
        assert all(len(cgroup.controllers) <= 1 for cgroup in found.cgroups)

    run = box.sh(f"cd {TOP}; for i in *; do test -L $i && echo $i; done; true")

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
