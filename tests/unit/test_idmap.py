"""idmap.py: who may write an id mapping, what the kernel then says, and what subordinate ids a user has."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcontainer import idmap
from libcontainer.errors import InvalidArgument, SetupError, Unsupported

if TYPE_CHECKING:
    from libcontainer.idmap import Mapping


def ids(container: int, host: int, size: int = 1) -> Mapping:
    return {"containerID": container, "hostID": host, "size": size}


MANY = [ids(0, 1000), ids(1, 100000, 65536)]


class Child:
    """A process in a new user namespace without mappings; `status` shows what the kernel made of them."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["unshare", "--user", "sh", "-c", "echo ready; read go"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            _, words = self._process.communicate()
            pytest.skip(f"no user namespaces here: {words.decode().strip()}")
        self.pid = self._process.pid

    def read(self, name: str) -> list[str]:
        return Path(f"/proc/{self.pid}/{name}").read_text().split()

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.end()


def program(path: Path, script: str) -> str:
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return str(path)


def own_ids() -> tuple[list[Mapping], list[Mapping]]:
    return [ids(0, os.geteuid())], [ids(0, os.getegid())]


@pytest.mark.parametrize(
    ("mappings", "privileged", "expected"),
    [
        ([ids(0, 1000)], False, idmap.DIRECT),
        ([ids(5, 1000)], False, idmap.DIRECT),
        ([ids(0, 1001)], False, idmap.HELPER),
        ([ids(0, 1000, 2)], False, idmap.HELPER),
        (MANY, False, idmap.HELPER),
        (MANY, True, idmap.DIRECT),
        ([ids(0, 1001)], True, idmap.DIRECT),
    ],
)
def test_only_ones_own_id_is_written_directly_without_privileges(
    mappings: list[Mapping], privileged: bool, expected: str
) -> None:
    """user_namespaces(7): anything but one's own id, once, needs CAP_SETUID or a program that has it."""
    assert idmap.writer(mappings, privileged=privileged, own_id=1000) == expected


@pytest.mark.parametrize(
    ("mappings", "privileged", "expected"),
    [([ids(0, 1000)], False, True), (MANY, False, False), ([ids(0, 1000)], True, False), (MANY, True, False)],
)
def test_setgroups_is_denied_exactly_where_the_kernel_asks_for_it(
    mappings: list[Mapping], privileged: bool, expected: bool
) -> None:
    """Denying too often takes supplementary groups from containers; too seldom fails (CVE-2014-8989)."""
    assert idmap.must_deny_setgroups(mappings, privileged=privileged, own_gid=1000) is expected


def test_an_unprivileged_single_mapping_is_written_with_setgroups_denied(child: Child) -> None:
    """Rootless without subordinate ids: the kernel accepts gid_map only after setgroups has been denied."""
    uids, gids = own_ids()
    allowed = idmap.write_maps(child.pid, uids, gids, privileged=False)

    assert allowed is False
    assert child.read("setgroups") == ["deny"]
    assert child.read("uid_map") == ["0", str(os.geteuid()), "1"]
    assert child.read("gid_map") == ["0", str(os.getegid()), "1"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: writes a mapping of many ids")
def test_a_privileged_mapping_of_many_ids_leaves_setgroups_allowed(child: Child) -> None:
    """With privileges any ids are mapped directly, and the container may set its supplementary groups."""
    assert idmap.write_maps(child.pid, MANY, MANY, privileged=True) is True
    assert child.read("uid_map") == ["0", "1000", "1", "1", "100000", "65536"]
    assert child.read("gid_map") == ["0", "1000", "1", "1", "100000", "65536"]


def test_a_mapping_that_the_kernel_refuses_is_an_error_with_its_place(child: Child) -> None:
    """A range that overlaps is refused with EINVAL by the kernel; file, call and remedy are told."""
    overlapping = [ids(0, 1000, 10), ids(5, 2000, 10)]
    with pytest.raises(SetupError) as caught:
        idmap.write_maps(child.pid, overlapping, overlapping, privileged=True)

    assert caught.value.errno in (errno.EINVAL, errno.EPERM)
    assert caught.value.syscall == "write"
    assert caught.value.path == f"/proc/{child.pid}/gid_map"
    assert caught.value.pointer == "/linux/gidMappings"
    assert caught.value.remedy


def test_a_second_mapping_of_the_same_namespace_is_an_error(child: Child) -> None:
    """The kernel takes each mapping once; a second write must not pass as if it had changed something."""
    uids, gids = own_ids()
    idmap.write_maps(child.pid, uids, gids, privileged=False)
    with pytest.raises(SetupError, match=r"EPERM"):
        idmap.write_maps(child.pid, uids, gids, privileged=False)


def test_a_process_that_has_ended_is_an_error() -> None:
    """When the container's first process died meanwhile, that is what the message suggests."""
    with pytest.raises(SetupError, match="the process has ended"):
        idmap.write_maps(2**22 + 1, [ids(0, 0)], [ids(0, 0)], privileged=True)


def test_the_helpers_get_the_mapping_and_a_clean_environment(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """newuidmap is set-user-ID root: it is called with exactly its arguments and without our environment."""
    monkeypatch.setenv("LD_PRELOAD_X", "evil")
    script = f'echo "$0 $@" >> {tmp_path}/log; cat /proc/self/environ >> {tmp_path}/environ\n'
    newuidmap = program(tmp_path / "newuidmap", script)
    newgidmap = program(tmp_path / "newgidmap", script)
    idmap.write_maps(child.pid, MANY, MANY, privileged=False, newuidmap=newuidmap, newgidmap=newgidmap)

    assert (tmp_path / "log").read_text().splitlines() == [
        f"{newgidmap} {child.pid} 0 1000 1 1 100000 65536",
        f"{newuidmap} {child.pid} 0 1000 1 1 100000 65536",
    ]
    assert b"evil" not in (tmp_path / "environ").read_bytes()


def test_a_failing_helper_is_an_error_and_nothing_smaller_is_mapped(child: Child, tmp_path: Path) -> None:
    """A refused mapping must not silently become one of a single id; its reason and a remedy are shown."""
    failing = program(tmp_path / "newgidmap", "echo gid range not allowed >&2; exit 1\n")
    with pytest.raises(SetupError) as caught:
        idmap.write_maps(child.pid, MANY, MANY, privileged=False, newuidmap=failing, newgidmap=failing)

    assert "exit status 1: gid range not allowed" in str(caught.value)
    assert ":100000:65536 to /etc/subgid" in str(caught.value)
    assert "usermod --add-subgids" in str(caught.value)
    assert child.read("uid_map") == child.read("gid_map") == []


@pytest.mark.skipif(not os.access("/usr/bin/newgidmap", os.X_OK), reason="needs newgidmap (package uidmap)")
def test_the_real_newgidmap_refuses_ids_that_nobody_granted(child: Child) -> None:
    """The program of this host is found without $PATH, and its refusal arrives as our error."""
    foreign = [ids(0, 3_000_000_000, 3)]
    with pytest.raises(SetupError) as caught:
        idmap.write_maps(child.pid, foreign, foreign, privileged=False)

    assert caught.value.path == "/usr/bin/newgidmap"
    assert "3000000000:3 to /etc/subgid" in str(caught.value)


def test_a_helper_that_is_not_there_is_an_error(child: Child, tmp_path: Path) -> None:
    """A wrong path of newuidmap names the package to install."""
    with pytest.raises(SetupError, match="package uidmap"):
        idmap.write_maps(child.pid, MANY, MANY, privileged=False, newgidmap=str(tmp_path / "none"))


def test_helpers_are_not_searched_on_the_path(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """$PATH belongs to the caller; a newuidmap found there could be anything."""
    program(tmp_path / "newgidmap", f"touch {tmp_path}/ran\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(idmap, "_DIRECTORIES", ("/nonexistent",))
    with pytest.raises(Unsupported, match="newgidmap"):
        idmap.write_maps(child.pid, MANY, MANY, privileged=False)

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "mappings", [[], [ids(i, i) for i in range(341)], [ids(10**9 + i, 10**9 + i) for i in range(200)]],
    ids=["empty", "341 ranges", "more than a page"],
)  # fmt: skip
def test_mappings_that_the_kernel_cannot_take_are_refused_before_anything_is_written(
    child: Child, mappings: list[Mapping]
) -> None:
    """One write of less than a page with at most 340 lines is all the kernel accepts (user_namespaces(7))."""
    with pytest.raises(InvalidArgument):
        idmap.write_maps(child.pid, [ids(0, 0)], mappings, privileged=True)
    with pytest.raises(InvalidArgument):
        idmap.write_maps(child.pid, mappings, [ids(0, 0)], privileged=True)
    assert child.read("setgroups") == ["allow"]


def test_the_end_of_a_range_is_not_mapped() -> None:
    """A range of 10 ids from 5 ends at 14; taking 15 for mapped would let an unmapped user through."""
    assert [idmap.is_mapped([ids(5, 100, 10)], number) for number in (4, 5, 14, 15)] == [
        False,
        True,
        True,
        False,
    ]


@given(
    st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 2**31)), min_size=1, max_size=5),
    st.integers(0, 6000),
)
def test_an_id_is_translated_exactly_when_it_is_mapped(ranges: list[tuple[int, int]], number: int) -> None:
    """to_host and is_mapped agree for all mappings, and neighbours in a range stay neighbours."""
    mappings, first = [], 0
    for size, host in ranges:
        mappings.append(ids(first, host, size))
        first += size + 1  # a hole of one id after each range
    if not idmap.is_mapped(mappings, number):
        with pytest.raises(InvalidArgument):
            idmap.to_host(mappings, number)
        return
    inside = next(m for m in mappings if m["containerID"] <= number < m["containerID"] + m["size"])
    assert idmap.to_host(mappings, number) - inside["hostID"] == number - inside["containerID"]


def subordinate(tmp_path: Path, text: str, user: str | int) -> Any:
    (tmp_path / "subuid").write_text(text)
    return idmap.subordinate_ids(user, subuid=str(tmp_path / "subuid"), subgid=str(tmp_path / "none"))


def test_subordinate_ids_are_found_by_name_and_by_uid(tmp_path: Path) -> None:
    """subuid(5) lets a line name its user either way, and a user may have several ranges."""
    text = "# comment\n\nroot:100000:65536\nnobody:200000:10\n0:300000:5\n"

    assert subordinate(tmp_path, text, "root") == (((100000, 65536), (300000, 5)), ())
    assert subordinate(tmp_path, text, 0) == (((100000, 65536), (300000, 5)), ())
    assert subordinate(tmp_path, text, "no-such-user") == ((), ())


def test_a_missing_file_gives_no_subordinate_ids(tmp_path: Path) -> None:
    """Hosts without subordinate ids have no such files; that is a fact, not a fault."""
    missing = str(tmp_path / "none")
    assert idmap.subordinate_ids("root", subuid=missing, subgid=missing) == ((), ())


@pytest.mark.parametrize(
    "line",
    ["root:1", "root:1:2:3", "root::5", "root:a:5", "root:1:0", "root:-1:5", "root: 1:5", "root:1:5 ",
     "root:٣:5",      "root:4294967290:10", "root:99999999999999999999:1", "root:0x10:5", "root:1_0:5"],
)  # fmt: skip
def test_a_line_of_this_user_that_is_no_range_is_an_error(tmp_path: Path, line: str) -> None:
    """A misread range would give a container another user's ids; file, line and right form are told."""
    with pytest.raises(InvalidArgument, match=r"line 2: .*is not a range of subordinate ids"):
        subordinate(tmp_path, f"nobody:broken\n{line}\n", "root")


@given(st.text(alphabet="root:0123456789-x \n#", max_size=60))
def test_any_subuid_file_gives_ranges_of_ids_that_exist_or_our_error(text: str) -> None:
    """Whatever an administrator wrote: either valid ranges or InvalidArgument, nothing in between."""
    import tempfile

    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        try:
            uids, gids = idmap.subordinate_ids("root", subuid=file.name, subgid=file.name)
        except InvalidArgument:
            return
    assert uids == gids
    assert all(first >= 0 and count > 0 and first + count <= 0xFFFFFFFF for first, count in uids)
