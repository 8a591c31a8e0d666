"""Where a cgroup path leads, and which paths are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcgroups import CgroupError, Hierarchy, InvalidArgument
from libcgroups.path import normalise, resolve

HOST = Hierarchy("/sys/fs/cgroup/cpu", ("cpu",))
INSIDE = Hierarchy("/sys/fs/cgroup/cpu", ("cpu",), "/docker/abc")
OWN = {"cpu": "/user.slice/session-1.scope"}


@pytest.mark.parametrize(
    ("path", "sibling", "expected"),
    [
        ("/jobs/one", False, "/jobs/one"),
        ("//jobs/./one/", True, "/jobs/one"),
        ("jobs/one", False, "/user.slice/session-1.scope/jobs/one"),
        ("jobs/one", True, "/user.slice/jobs/one"),
        (None, False, "/user.slice/session-1.scope/id"),
        (None, True, "/user.slice/id"),
    ],
)
def test_a_path_counts_from_the_mount_point_or_from_the_callers_cgroup(
    path: str | None, sibling: bool, expected: str
) -> None:
    """runc's rules: in v2 beside the caller, since a cgroup with processes cannot hand controllers down."""
    assert resolve(path, "id", HOST, OWN, sibling=sibling) == expected


@pytest.mark.parametrize("sibling", [False, True])
def test_a_caller_in_the_root_cgroup_needs_no_special_case(sibling: bool) -> None:
    """In the root there is no parent to be beside."""
    assert resolve(None, "id", HOST, {"cpu": "/"}, sibling=sibling) == "/id"


@pytest.mark.parametrize(("own", "expected"), [("/docker/abc", "/id"), ("/docker/abc/inner", "/inner/id")])
def test_a_relative_path_works_where_only_a_part_of_the_hierarchy_is_visible(own: str, expected: str) -> None:
    """In a container /proc/self/cgroup counts from the top, the mount from the container's own cgroup."""
    assert resolve(None, "id", INSIDE, {"cpu": own}, sibling=False) == expected


@pytest.mark.parametrize("own", [{"cpu": "/docker/abcdef"}, {"cpu": "/other"}, {"cpu": "/../x"}, {}])
def test_a_callers_cgroup_outside_the_visible_part_is_an_error(own: dict[str, str]) -> None:
    """Guessing would make the cgroup at a place that nobody asked for."""
    with pytest.raises(CgroupError, match="is not visible") as caught:
        resolve(None, "id", INSIDE, own, sibling=False)

    assert caught.value.remedy == "give an absolute cgroup path"


@pytest.mark.parametrize("path", ["/a/../b", "..", "/..", "a/..", "/a\0b", "/a\nb"])
def test_paths_that_mean_something_else_than_they_say_are_refused(path: str) -> None:
    """`..` could leave the tree, a newline forges a line of /proc/PID/cgroup, NUL cuts the name short."""
    with pytest.raises(InvalidArgument):
        resolve(path, "id", HOST, OWN, sibling=False)


@pytest.mark.parametrize("path", ["/", "//", "/./", ""])
def test_the_root_cgroup_is_refused(path: str) -> None:
    """`kill --all` in the root would end every process of the host."""
    with pytest.raises(InvalidArgument, match="root cgroup"):
        resolve(path, "id", HOST, {"cpu": "/"}, sibling=False)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0", "a\n"])
def test_an_id_is_one_name(name: str) -> None:
    """An id with a slash would make the cgroup of one container a part of another's."""
    with pytest.raises(InvalidArgument):
        resolve(None, name, HOST, OWN, sibling=False)


@given(st.text(alphabet="ab./\n\0 é", max_size=20))
def test_whatever_is_accepted_is_absolute_and_below_the_root(path: str) -> None:
    """No input leads out of the hierarchy."""
    try:
        found = resolve(path, "id", HOST, OWN, sibling=True)
    except InvalidArgument:
        return
    names = found.split("/")
    assert names[0] == ""
    assert not {"", ".", ".."} & set(names[1:])
    assert normalise(found) == found
