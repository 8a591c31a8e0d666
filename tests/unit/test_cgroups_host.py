"""Which hierarchies a mountinfo file describes."""

from __future__ import annotations

from pathlib import Path

import pytest

from libcgroups import Hierarchy, Setup, detect
from libcgroups.host import parse_mountinfo, parse_proc_cgroup

V1 = """\
25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw
34 25 0:29 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
39 34 0:34 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,release_agent=/lib/x,name=systemd
40 34 0:37 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct
41 34 0:38 / /sys/fs/cgroup/memory rw shared:16 - cgroup cgroup rw,memory
"""
UNIFIED_BESIDE = "35 34 0:30 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw,nsdelegate\n"
V2 = "34 25 0:29 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"

V1_HIERARCHIES = (
    Hierarchy("/sys/fs/cgroup/cpu,cpuacct", ("cpu", "cpuacct")),
    Hierarchy("/sys/fs/cgroup/memory", ("memory",)),
    Hierarchy("/sys/fs/cgroup/systemd", ("name=systemd",)),
)
UNIFIED = Hierarchy("/sys/fs/cgroup/unified")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (V1, Setup("v1", V1_HIERARCHIES)),
        (V1 + UNIFIED_BESIDE, Setup("hybrid", V1_HIERARCHIES, UNIFIED)),
        (V2, Setup("v2", (), Hierarchy("/sys/fs/cgroup"))),
        ("25 30 0:23 / /sys rw - sysfs sysfs rw\n", Setup("none")),
        ("", Setup("none")),
        (V2.replace("/sys/fs/cgroup", "/elsewhere"), Setup("none")),
    ],
    ids=["v1", "hybrid", "v2", "nothing mounted", "empty", "mounted elsewhere"],
)
def test_the_arrangement_is_read_from_mountinfo(table: str, expected: Setup) -> None:
    """A wrong guess here would put every container into the wrong cgroup."""
    assert parse_mountinfo(table) == expected


def test_the_order_of_hierarchies_does_not_depend_on_the_order_of_mounts() -> None:
    """State written before a remount must still describe the same hierarchies in the same order."""
    backwards = "\n".join(reversed(V1.strip().splitlines()[2:]))

    assert parse_mountinfo(V1.split("39 34")[0] + backwards).hierarchies == V1_HIERARCHIES


def test_a_hierarchy_that_is_mounted_twice_counts_once() -> None:
    """Some hosts bind-mount `cpu` and `cpuacct` instead of linking them; joining twice would be waste."""
    twice = V1 + "44 34 0:37 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"

    assert parse_mountinfo(twice).hierarchies == V1_HIERARCHIES


def test_a_later_mount_hides_what_was_there() -> None:
    """A container engine may mount v2 over a v1 tree, or an empty tmpfs over one controller."""
    covered = V1 + "50 41 0:50 / /sys/fs/cgroup/memory rw - tmpfs tmpfs rw\n"

    assert parse_mountinfo(V1 + UNIFIED_BESIDE + V2).mode == "v2"
    assert [found.controllers for found in parse_mountinfo(covered).hierarchies] == [
        ("cpu", "cpuacct"),
        ("name=systemd",),
    ]


def test_escapes_and_the_visible_part_are_understood() -> None:
    """In a container the mount shows only a part of the hierarchy, and its name may hold any character."""
    line = r"44 34 0:37 /a\040b /sys/fs/cgroup/my\040cpu rw - cgroup cgroup rw,cpu" + "\n"

    assert parse_mountinfo(line).hierarchies == (Hierarchy("/sys/fs/cgroup/my cpu", ("cpu",), "/a b"),)


def test_facts_for_mounting_the_same_hierarchy_again() -> None:
    """A container's own cgroup mounts need the controller list as mount data and the links beside it."""
    together, _, named = V1_HIERARCHIES

    assert (together.mount_data, together.links) == ("cpu,cpuacct", ("cpu", "cpuacct"))
    assert (named.mount_data, named.links) == ("name=systemd", ())


def test_own_cgroups_are_read_per_controller() -> None:
    """Colons are allowed in the name of a cgroup, and controllers may share a line."""
    table = "4:cpu,cpuacct:/a:b\n1:name=systemd:/user.slice\n0::/user.slice/x\n"

    assert parse_proc_cgroup(table) == {
        "cpu": "/a:b",
        "cpuacct": "/a:b",
        "name=systemd": "/user.slice",
        "": "/user.slice/x",
    }


def test_detect_follows_a_link_to_the_root(tmp_path: Path) -> None:
    """mountinfo knows real paths only, and people link /cgroup to /sys/fs/cgroup."""
    (tmp_path / "cgroup").symlink_to("/sys/fs/cgroup")

    assert detect(str(tmp_path / "cgroup")) == detect()
    assert detect(str(tmp_path)) == Setup("none")
