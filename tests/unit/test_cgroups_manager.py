"""The manager on a plain directory tree: names, states, permissions, and what is written where."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libcgroups import (
    CgroupError,
    Hierarchy,
    InvalidArgument,
    Manager,
    NotPermitted,
    Setup,
    Unsupported,
    new,
)


@pytest.fixture
def v1(tmp_path: Path) -> Setup:
    """Two hierarchies, one of two controllers and one named."""
    names = {"cpu,cpuacct": ("cpu", "cpuacct"), "systemd": ("name=systemd",)}
    for name in names:
        (tmp_path / name).mkdir()
    return Setup("v1", tuple(Hierarchy(str(tmp_path / name), names[name]) for name in names))


@pytest.fixture
def v2(tmp_path: Path) -> Setup:
    """A unified hierarchy with the files that the kernel would make for /a/b."""
    directories = (tmp_path, tmp_path / "a", tmp_path / "a" / "b")
    for directory in directories:
        directory.mkdir(exist_ok=True)
        (directory / "cgroup.controllers").write_text("cpu memory pids\n" if directory == tmp_path else "\n")
        (directory / "cgroup.subtree_control").write_text("\n")
        (directory / "cgroup.type").write_text("domain\n")
        (directory / "cgroup.procs").write_text("")
        (directory / "cgroup.events").write_text("populated 0\nfrozen 0\n")
        (directory / "cgroup.freeze").write_text("0\n")
    return Setup("v2", (), Hierarchy(str(tmp_path)))


def test_paths_name_every_controller(v1: Setup, tmp_path: Path) -> None:
    """Controllers that are mounted together share a directory; a named hierarchy has its own key."""
    manager = new("/jobs/one", container_id="one", setup=v1)

    assert manager.paths == {
        "cpu": f"{tmp_path}/cpu,cpuacct/jobs/one",
        "cpuacct": f"{tmp_path}/cpu,cpuacct/jobs/one",
        "name=systemd": f"{tmp_path}/systemd/jobs/one",
    }
    assert [cgroup.mount_data for cgroup in manager.cgroups] == ["cpu,cpuacct", "name=systemd"]
    assert [cgroup.path for cgroup in manager.cgroups] == ["/jobs/one"] * 2
    assert manager.open_fd() is None


def test_the_v2_path_has_an_empty_key(v2: Setup, tmp_path: Path) -> None:
    """As in runc's state and in /proc/self/cgroup."""
    assert new("/a/b", container_id="b", setup=v2).paths == {"": f"{tmp_path}/a/b"}


def test_create_and_remove_leave_no_trace(v1: Setup, tmp_path: Path) -> None:
    """Parents that were made go too, the mount points stay."""
    manager = new("/deep/er/one", container_id="one", setup=v1)

    manager.create()
    assert [cgroup.made for cgroup in manager.cgroups] == [3, 3]
    manager.remove()

    assert [list(path.iterdir()) for path in tmp_path.iterdir()] == [[], []]


def test_what_was_there_before_is_used_and_kept(v1: Setup, tmp_path: Path) -> None:
    """Only what this library made may be removed by it."""
    for name in ("cpu,cpuacct", "systemd"):
        (tmp_path / name / "pod").mkdir()
    (tmp_path / "systemd" / "pod" / "one").mkdir()
    manager = new("/pod/one", container_id="one", setup=v1)

    manager.create()
    assert [cgroup.made for cgroup in manager.cgroups] == [1, 0]
    manager.remove()

    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("**/*")) == [
        "cpu,cpuacct",
        "cpu,cpuacct/pod",
        "systemd",
        "systemd/pod",
        "systemd/pod/one",
    ]


def test_a_parent_that_somebody_else_uses_now_stays(v1: Setup, tmp_path: Path) -> None:
    """We made the parent, another moved in: it is not ours to take away."""
    manager = new("/pod/one", container_id="one", setup=v1)
    manager.create()
    (tmp_path / "systemd" / "pod" / "two").mkdir()

    manager.remove()

    assert not (tmp_path / "cpu,cpuacct" / "pod").exists()
    assert (tmp_path / "systemd" / "pod" / "two").exists()


def test_remove_follows_no_symbolic_link(v1: Setup, tmp_path: Path) -> None:
    """Names below the cgroup come from the payload; a link must not lead the removal elsewhere."""
    victim = tmp_path / "victim"
    (victim / "inner").mkdir(parents=True)
    manager = new("/one", container_id="one", setup=v1)
    manager.create()
    (tmp_path / "systemd" / "one" / "link").symlink_to(victim)

    with pytest.raises(CgroupError):
        manager.remove(timeout_s=0)

    assert (victim / "inner").exists()


def test_state_is_plain_json_and_describes_the_same_manager(v1: Setup) -> None:
    """`delete` runs in another process, perhaps days later."""
    manager = new("/pod/one", container_id="one", setup=v1)
    plan = manager.plan_state()
    assert [entry["made"] for entry in plan["cgroups"]] == [2, 2]
    assert [entry["made"] for entry in manager.to_state()["cgroups"]] == [0, 0]

    manager.create()
    state = manager.to_state()
    copy = Manager.from_state(json.loads(json.dumps(state)))

    assert state == {**plan, "planned": False}
    assert type(copy) is type(manager)
    assert copy.to_state() == state
    assert copy.paths == manager.paths


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"driver": "systemd"},
        {"mode": "v3"},
        {"cgroups": None},
        {"cgroups": [{}]},
        {"cgroups": [{"mountPoint": "/c", "root": "/", "controllers": [], "path": "/../etc", "made": 1}]},
        {"cgroups": [{"mountPoint": "/c", "root": "/", "controllers": [], "path": "/", "made": 0}]},
        {"cgroups": [{"mountPoint": "/c", "root": "/", "controllers": [], "path": "/a", "made": 2}]},
    ],
)
def test_a_damaged_state_is_refused(v1: Setup, change: dict[str, Any]) -> None:
    """A state file that was cut short or edited must not make `delete` remove something else."""
    state = new("/a", container_id="a", setup=v1).to_state()

    with pytest.raises(InvalidArgument):
        Manager.from_state({**state, **change})


def test_a_create_without_permission_is_an_error_only_where_a_path_was_named() -> None:
    """Without a path the caller goes on without, and is told why. /sys takes no directory from anybody."""
    nowhere = Hierarchy("/sys/kernel", ("freezer",))
    with pytest.raises(NotPermitted):
        new("/x", container_id="x", setup=Setup("v1", (nowhere,))).create()

    state = new("/x", container_id="x", setup=Setup("v1", (nowhere,))).to_state()
    manager = Manager.from_state({**state, "optional": True})
    manager.create()

    assert manager.paths == {}
    assert manager.reason is not None
    assert "/sys/kernel/x is not used" in manager.reason
    assert manager.processes() == []
    assert not manager.frozen()
    for act in (manager.kill_all, manager.freeze, lambda: manager.apply({"pids": {"limit": 1}})):
        with pytest.raises(Unsupported):
            act()
    manager.check_empty_and_thawed()
    manager.add_process(1)
    manager.remove()


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Act as nobody, so that file modes count."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("case", ["nothing asked", "limited", "joined later"])
def test_a_join_without_permission_is_tolerated_only_where_nothing_was_asked(case: str) -> None:
    """A process that escapes the limits of its container because of EACCES would be a hole."""
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        directory = Path(root, "one")
        directory.mkdir()
        for file, mode in (("cgroup.procs", 0o444), ("pids.max", 0o666)):
            (directory / file).write_text("")
            (directory / file).chmod(mode)
        state = new("/one", container_id="one", setup=Setup("v1", (Hierarchy(root, ("pids",)),))).to_state()
        manager = Manager.from_state({**state, "optional": True})
        with unprivileged():
            if case != "joined later":
                manager.create()
            if case == "limited":
                manager.apply({"pids": {"limit": 5}})
            if case == "nothing asked":
                manager.add_process(1)
                assert (manager.paths, bool(manager.reason)) == ({}, True)
                return
            with pytest.raises(NotPermitted):
                manager.add_process(1)


def test_a_host_without_hierarchies_serves_who_asks_for_nothing() -> None:
    """In a chroot without /sys a container without cgroup is possible, one with a cgroup path is not."""
    manager = new(None, container_id="x", setup=Setup("none"))
    manager.create()

    assert manager.paths == {}
    assert "no cgroup hierarchy is mounted" in (manager.reason or "")
    with pytest.raises(Unsupported):
        manager.apply({"memory": {"limit": 1}})
    with pytest.raises(Unsupported):
        new("/x", container_id="x", setup=Setup("none"))


@pytest.mark.parametrize("mode", ["v1", "hybrid", "v2"])
def test_a_container_that_does_without_cgroups_can_be_ended(mode: str) -> None:
    """Rootless on v2 there is none: `delete --force` thaws before it waits, and must not fail at that."""
    state = {"version": 1, "driver": "cgroupfs", "mode": mode, "planned": False, "optional": True}
    manager = Manager.from_state({**state, "reason": "not permitted", "cgroups": []})

    manager.thaw_for_kill()
    manager.remove()

    assert not manager.frozen()
    assert not manager.exists()


def test_an_unknown_driver_is_refused(v1: Setup) -> None:
    """A misspelt option must not choose a default."""
    with pytest.raises(InvalidArgument):
        new(None, container_id="x", driver="cgroupsfs", setup=v1)  # type: ignore[arg-type]


def test_a_write_never_creates_a_file(v1: Setup) -> None:
    """A missing file is a missing controller; making one would hide that."""
    manager = new("/one", container_id="one", setup=v1)
    manager.create()

    with pytest.raises(CgroupError) as caught:
        manager.add_process(1)

    assert caught.value.path == f"{manager.paths['cpu']}/cgroup.procs"
    assert (caught.value.value, caught.value.syscall) == ("1", "write")
    assert not os.path.exists(caught.value.path)


def test_a_process_joins_the_freezer_first(tmp_path: Path) -> None:
    """A runtime that dies between two joins leaves a process that `kill_all` can still find."""
    names = ("cpu", "freezer", "memory")
    for name in names:
        (tmp_path / name).mkdir()
    setup = Setup("v1", tuple(Hierarchy(str(tmp_path / name), (name,)) for name in names))
    manager = new("/one", container_id="one", setup=setup)
    manager.create()

    with pytest.raises(CgroupError) as caught:
        manager.add_process(1)

    assert caught.value.path == f"{tmp_path}/freezer/one/cgroup.procs"


def test_v2_hands_every_controller_down_the_path_in_one_write(v2: Setup, tmp_path: Path) -> None:
    """One write per level enables all of them; the tree here takes anything."""
    new("/a/b", container_id="b", setup=v2).create()

    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert (tmp_path / "a" / "b" / "cgroup.subtree_control").read_text() == "\n"


def test_v2_refuses_a_limit_whose_controller_is_not_enabled(v2: Setup) -> None:
    """The file would not exist, or would not be ours to write."""
    manager = new("/a/b", container_id="b", setup=v2)

    with pytest.raises(Unsupported, match="pids controller is not available") as caught:
        manager.apply({"pids": {"limit": 1}})

    assert caught.value.pointer == "/pids/limit"


def test_v2_settings_reach_their_files_and_unified_comes_last(v2: Setup, tmp_path: Path) -> None:
    """`unified` overrides what the other fields say."""
    leaf = tmp_path / "a" / "b"
    (leaf / "cgroup.controllers").write_text("cpu memory pids\n")
    for file in ("memory.max", "memory.swap.max", "cpu.weight", "pids.max"):
        (leaf / file).write_text("")
    manager = new("/a/b", container_id="b", setup=v2)

    manager.apply(
        {
            "memory": {"limit": 4096, "swap": 4096},
            "cpu": {"shares": 1024},
            "pids": {"limit": 5},
            "unified": {"pids.max": "7"},
        }
    )

    written = {
        file: (leaf / file).read_text()
        for file in ("memory.max", "memory.swap.max", "cpu.weight", "pids.max")
    }
    assert written == {"memory.max": "4096", "memory.swap.max": "0", "cpu.weight": "100", "pids.max": "7"}


@pytest.mark.parametrize("swap", ["equal", "unlimited"])
def test_v2_without_swap_accounting_needs_no_swap_file(v2: Setup, tmp_path: Path, swap: str) -> None:
    """No limit and no swap are what such a kernel does anyway; anything between is an error."""
    leaf = tmp_path / "a" / "b"
    (leaf / "cgroup.controllers").write_text("memory\n")
    (leaf / "memory.max").write_text("")
    manager = new("/a/b", container_id="b", setup=v2)

    manager.apply({"memory": {"limit": 4096, "swap": 4096} if swap == "equal" else {"limit": -1}})
    with pytest.raises(CgroupError) as caught:
        manager.apply({"memory": {"limit": 4096, "swap": 8192}})

    assert caught.value.pointer == "/memory/swap"


def test_v2_weights_are_converted_where_bfq_is_absent(v2: Setup, tmp_path: Path) -> None:
    """io.weight has another scale than the specification's weights."""
    leaf = tmp_path / "a" / "b"
    (leaf / "cgroup.controllers").write_text("io\n")
    (leaf / "io.weight").write_text("")

    new("/a/b", container_id="b", setup=v2).apply({"blockIO": {"weight": 1000}})

    assert (leaf / "io.weight").read_text() == "10000"


def test_processes_of_other_pid_namespaces_count_as_populated_only(v2: Setup, tmp_path: Path) -> None:
    """The kernel shows them as 0, and signalling process 0 would hit the caller's own group."""
    (tmp_path / "a" / "b" / "cgroup.procs").write_text("0\n12\n12\n7\n")
    manager = new("/a/b", container_id="b", setup=v2)

    assert manager.processes() == [7, 12]
    (tmp_path / "a" / "b" / "cgroup.procs").write_text("0\n")
    assert manager.processes() == []
    assert manager.populated()
    with pytest.raises(CgroupError, match=r"not empty: 1 process\(es\) found"):
        manager.check_empty_and_thawed()
