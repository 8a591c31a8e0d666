"""Names of the systemd driver: triples, units, slices."""

from __future__ import annotations

import pytest

from libcgroups import InvalidArgument, Unsupported, new
from libcgroups.systemd.name import UnitName, expand_slice, parse


@pytest.mark.parametrize(
    ("triple", "unit", "path"),
    [
        ("a-b.slice:crio:x", UnitName("a-b.slice", "crio-x.scope"), "/a.slice/a-b.slice/crio-x.scope"),
        (":youki:x", UnitName("system.slice", "youki-x.scope"), "/system.slice/youki-x.scope"),
        ("system.slice::x", UnitName("system.slice", "x.scope"), "/system.slice/x.scope"),
        ("-.slice:p:x", UnitName("-.slice", "p-x.scope"), "/p-x.scope"),
        ("a.slice:p:b-c.slice", UnitName("a.slice", "b-c.slice"), "/b.slice/b-c.slice"),
        (None, UnitName("system.slice", "youki-id.scope"), "/system.slice/youki-id.scope"),
    ],
)
def test_a_triple_names_a_unit_and_its_cgroup(triple: str | None, unit: UnitName, path: str) -> None:
    """podman, CRI-O and the kubelet compute the same names and look for the cgroup there."""
    found = parse(triple, "id")

    assert found == unit
    assert found.path == path
    assert found.is_slice == unit.unit.endswith(".slice")


def test_a_rootless_triple_without_slice_lies_in_the_users_slice() -> None:
    """The user's manager has no system.slice."""
    assert parse("::x", "id", rootless=True).slice == "user.slice"


@pytest.mark.parametrize(
    "triple",
    [
        *("/a/b", "a", "a:b", "a:b:c:d", "system.slice:p:", "s.scope:p:x", "system.slice:p:a/b"),
        *("system.slice:p:a b", "system.slice:p:a\nb", "system.slice:p:" + "x" * 250, "..slice:p:x"),
        "a.slice:p:-b.slice",
    ],
)
def test_what_is_no_triple_or_no_unit_name_is_refused(triple: str) -> None:
    """systemd would refuse it later with less to say, or make a unit of another name."""
    with pytest.raises(InvalidArgument) as caught:
        parse(triple, "id")

    assert caught.value.remedy


@pytest.mark.parametrize(
    "name", ["", ".slice", "a", "a.scope", "a/b.slice", "-a.slice", "a-.slice", "a--b.slice", "--.slice"]
)
def test_what_is_no_slice_is_refused(name: str) -> None:
    """systemd.slice(5): dashes separate the parents, so none may be empty."""
    with pytest.raises(InvalidArgument):
        expand_slice(name)


def test_the_systemd_driver_is_refused_and_says_why() -> None:
    """Falling back to cgroupfs silently would leave a cgroup that systemd feels free to remove."""
    with pytest.raises(Unsupported, match=r"youki-id\.scope") as caught:
        new(None, container_id="id", driver="systemd")

    assert "cgroupfs" in (caught.value.remedy or "")
