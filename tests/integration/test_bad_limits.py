"""A configuration that asks for an impossible limit or place makes nothing: no record, no cgroup, no process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcgroups import detect
from libcontainer import CgroupError, Error, InvalidConfig

if TYPE_CHECKING:
    from .conftest import Bundle

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes containers"),
]

RESOURCES: list[tuple[dict[str, Any], str]] = [
    # negative
    ({"memory": {"limit": -2}}, "/memory/limit"),
    ({"memory": {"reservation": -7}}, "/memory/reservation"),
    ({"cpu": {"period": -1}}, "/cpu/period"),
    ({"cpu": {"burst": -1}}, "/cpu/burst"),
    (
        {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": -1, "rate": 1}]}},
        "/blockIO/throttleReadBpsDevice/0/minor",
    ),
    # overflowing
    ({"memory": {"limit": 1 << 63}}, "/memory/limit"),
    ({"pids": {"limit": 1 << 63}}, "/pids/limit"),
    ({"cpu": {"shares": 1 << 64}}, "/cpu/shares"),
    ({"cpu": {"quota": 1 << 62}}, "/cpu/quota"),
    ({"blockIO": {"weight": 1 << 16}}, "/blockIO/weight"),
    ({"network": {"classID": 1 << 32}}, "/network/classID"),
    ({"rdma": {"mlx5_0": {"hcaHandles": 1 << 32}}}, "/rdma/mlx5_0/hcaHandles"),
    # contradictory
    ({"memory": {"limit": 1 << 20, "swap": 1 << 19}}, "/memory/swap"),
    ({"cpu": {"quota": 10_000, "burst": 20_000}}, "/cpu/burst"),
    ({"cpu": {"period": 1000, "quota": 1}}, "/cpu/quota"),
    ({"cpu": {"cpus": "3-1"}}, "/cpu/cpus"),
    # unknown
    ({"cpu": {"idle": 2}}, "/cpu/idle"),
    ({"cpu": {"cpus": "all"}}, "/cpu/cpus"),
    ({"memory": {"swappiness": 101}}, "/memory/swappiness"),
    ({"devices": [{"allow": True, "type": "x"}]}, "/devices/0/type"),
    ({"devices": [{"allow": True, "access": "rwx"}]}, "/devices/0/access"),
    # page sizes that do not exist, or name a file
    ({"hugepageLimits": [{"pageSize": "3MB", "limit": 0}]}, "/hugepageLimits/0/pageSize"),
    ({"hugepageLimits": [{"pageSize": "../../2MB", "limit": 0}]}, "/hugepageLimits/0/pageSize"),
    # not the name of a limit
    ({"unified": {"../memory.max": "1"}}, "/unified/..~1memory.max"),
    ({"unified": {"cgroup.procs": "1"}}, "/unified/cgroup.procs"),
    ({"unified": {"memory.high": ""}}, "/unified/memory.high"),
]
PLACES = ["/a/../b", "../b", "/a\n/b", "/a\0b", "/", "."]
TRIPLES = ["a:b", "a:b:c:d", "a.scope:b:c", "a--b.slice:b:c", ":b:", ":b:c/d", ":b:c\n", ":b:" + "c" * 255]


def cgroups(bundle: Bundle) -> list[str]:
    """The cgroups of this container, in every hierarchy. Others come and go meanwhile."""
    return [
        os.path.join(parent, name)
        for parent, names, _ in os.walk("/sys/fs/cgroup")
        for name in names
        if bundle.id in name
    ]


def refused(bundle: Bundle, *, systemd: bool = False) -> Error:
    """The error of a creation that must leave no trace."""
    bundle.save()
    builder = bundle.builder().as_init(bundle.path).with_systemd(systemd)
    with pytest.raises(Error) as caught:
        builder.build()
    assert cgroups(bundle) == []
    assert not (bundle.root / bundle.id).exists()
    return caught.value


def places(error: Error) -> list[str | None]:
    """Where in the configuration the error points to."""
    if isinstance(error, InvalidConfig):
        return [problem.pointer for problem in error.problems]
    return [error.pointer]


@pytest.mark.parametrize(("resources", "pointer"), RESOURCES, ids=[pointer for _, pointer in RESOURCES])
def test_a_limit_that_cannot_be_is_refused_with_its_place(
    bundle: Bundle, resources: dict[str, Any], pointer: str
) -> None:
    """Before anything is made; on v1 the whole of `unified` is one thing that cannot be."""
    bundle.linux["resources"] = resources

    found = places(refused(bundle))

    whole = "unified" in resources and detect().mode != "v2"
    assert f"/linux/resources{pointer}" in found or (whole and found == ["/linux/resources/unified"])


@pytest.mark.parametrize(
    ("field", "remedy"),
    [("cpus", "/sys/devices/system/cpu/possible"), ("mems", "memory node of the list has no memory")],
)
def test_a_cpu_or_memory_node_that_this_host_lacks_is_told_as_that(
    bundle: Bundle, field: str, remedy: str
) -> None:
    """The kernel has but a number for it: "Numerical result out of range" helps nobody."""
    if detect().mode == "v2":
        pytest.skip("the cpuset of cgroup v2 takes any number, and uses those that are there")
    # A node beyond MAX_NUMNODES would be out of range; one that merely is not there is invalid.
    bundle.linux["resources"] = {"cpu": {field: "8191" if field == "cpus" else "7"}}

    error = refused(bundle)

    assert error.pointer == f"/linux/resources/cpu/{field}"
    assert error.remedy is not None
    assert remedy in error.remedy


@pytest.mark.parametrize("path", PLACES)
def test_a_place_that_means_something_else_is_refused(bundle: Bundle, path: str) -> None:
    """`..` and the root of the hierarchy are somebody else's; a newline would forge a line of a kernel file."""
    bundle.linux["cgroupsPath"] = path

    assert places(refused(bundle)) == ["/linux/cgroupsPath"]


@pytest.mark.parametrize("path", TRIPLES)
def test_a_unit_that_systemd_cannot_name_is_refused(bundle: Bundle, path: str) -> None:
    """Also on a host without systemd: the name is looked at first."""
    bundle.linux["cgroupsPath"] = path

    assert places(refused(bundle, systemd=True)) == ["/linux/cgroupsPath"]


def test_an_annotation_that_is_no_property_is_refused_as_one(bundle: Bundle) -> None:
    """The error points at the annotation, not at a limit."""
    key = "org.systemd.property.TimeoutStopUSec"
    bundle.spec["annotations"] = {key: "'not a number"}
    bundle.linux["cgroupsPath"] = ":b:c"

    assert places(refused(bundle, systemd=True)) == [f"/annotations/{key}"]


def test_a_controller_that_is_not_here_is_refused(bundle: Bundle) -> None:
    """rdma is on hosts with such devices only; who asks for it without must hear of it."""
    setup = detect()
    mounted = {name for hierarchy in setup.hierarchies for name in hierarchy.controllers}
    if setup.unified_hierarchy is not None and setup.mode == "v2":
        mounted |= set(Path(setup.unified_hierarchy.mount_point, "cgroup.controllers").read_text().split())
    if "rdma" in mounted:
        pytest.skip("this host has the rdma controller")
    bundle.linux["resources"] = {"rdma": {"mlx5_0": {"hcaHandles": 1}}}

    error = refused(bundle)

    assert isinstance(error, CgroupError)
    assert places(error) == ["/linux/resources/rdma"]
    assert str(error).count("/rdma") == 1
