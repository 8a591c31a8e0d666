"""Which cgroups a later process of a container enters. Mirrors libcgroups/entrance.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libcgroups.cgroup import Cgroup
from libcgroups.entrance import entrance, parse
from libcgroups.errors import CgroupError, InvalidArgument
from libcgroups.host import Hierarchy
from libcgroups.v1.manager import V1Manager
from libcgroups.v2.manager import V2Manager

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("below", "paths"),
    [
        ([], {}),
        (["a/b"], {"": "/a/b"}),
        (["/a//b/"], {"": "/a/b"}),
        (["."], {"": ""}),
        (["cpu,memory:a", "pids:b"], {"cpu": "/a", "memory": "/a", "pids": "/b"}),
        (["name=systemd:a"], {"name=systemd": "/a"}),
    ],
)
def test_path_for_all_or_for_some_controllers(below: list[str], paths: dict[str, str]) -> None:
    """As runc's --cgroup is written."""
    assert parse(below) == paths


@pytest.mark.parametrize(
    "below",
    [["../a"], ["a/../../b"], ["cpu:.."], [":a"], ["cpu,:a"], ["cpu:a", "cpu:b"], ["a", "b"], ["a\n"]],
)
def test_what_leads_elsewhere_or_is_ambiguous_is_refused(below: list[str]) -> None:
    """A sub-cgroup is below the container's, and said once."""
    with pytest.raises(InvalidArgument):
        parse(below)


def v1(tmp_path: Path, *existing: str) -> V1Manager:
    """A manager of two hierarchies in a temporary directory, where `existing` sub-cgroups are."""
    hierarchies = [Hierarchy(str(tmp_path / name), (name,)) for name in ("cpu", "memory")]
    for hierarchy in hierarchies:
        for name in ("", *existing):
            (tmp_path / hierarchy.controllers[0] / "box" / name).mkdir(parents=True)
    return V1Manager("v1", [Cgroup(hierarchy, "/box") for hierarchy in hierarchies])


def test_own_cgroups_are_entered_by_default(tmp_path: Path) -> None:
    """The very same objects: a caller tells by them whether a sub-cgroup was chosen."""
    manager = v1(tmp_path)

    assert entrance(manager, 1) is manager.cgroups


def test_sub_cgroup_of_one_controller(tmp_path: Path) -> None:
    """The others are entered as they are."""
    manager = v1(tmp_path, "inner")
    found = entrance(manager, 1, ["memory:inner"])

    assert [cgroup.path for cgroup in found] == ["/box", "/box/inner"]


def test_sub_cgroup_that_does_not_exist(tmp_path: Path) -> None:
    """Nobody makes it: its limits would be nobody's wish."""
    with pytest.raises(CgroupError, match="does not exist"):
        entrance(v1(tmp_path), 1, ["inner"])


def test_controller_that_the_container_does_not_have(tmp_path: Path) -> None:
    """A misspelt controller must not be left out in silence."""
    with pytest.raises(InvalidArgument, match="no cgroup of that controller"):
        entrance(v1(tmp_path, "inner"), 1, ["memroy:inner"])


def test_v2_has_one_path_for_all_controllers(tmp_path: Path) -> None:
    """There is one hierarchy."""
    (tmp_path / "box/inner").mkdir(parents=True)
    manager = V2Manager("v2", [Cgroup(Hierarchy(str(tmp_path)), "/box")])

    assert [cgroup.path for cgroup in entrance(manager, 1, ["inner"])] == ["/box/inner"]
    with pytest.raises(InvalidArgument, match="one path for all controllers"):
        entrance(manager, 1, ["cpu:inner"])
