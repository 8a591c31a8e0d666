"""The life of a cgroup on real hierarchies: make, join, list, freeze, kill, remove, find again.

Each behaviour is tested on every arrangement that this kernel can show: the host's own one, and a v2 manager
inside a part of the unified hierarchy.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from libcgroups import CgroupError, Hierarchy, InUse, Manager, Setup, detect, new
from libcgroups.host import own_cgroups

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes cgroups"),
    pytest.mark.skipif(detect().mode == "none", reason="no cgroup hierarchy is mounted"),
]

NAME = f"libcontainer-test-{os.getpid()}"
Spawn = Callable[..., "subprocess.Popen[str]"]

# Forks for ever, in bounded number (`limit` counts down the generations), and ignores what can be ignored.
BOMB = """
import os, signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
end = time.monotonic() + 20
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while time.monotonic() < end:
    if len(os.listdir("/proc")) < 400 and os.fork() == 0:
        continue
    time.sleep(0.002)
"""

COUNTER = """
import sys
count = 0
print("ready", flush=True)
while True:
    count += 1
    if count % 20000 == 0:
        sys.stdout.write(".")
        sys.stdout.flush()
"""


def host_setup() -> Setup:
    """The host as it is."""
    return detect()


def v2_setup() -> Setup:
    """The unified hierarchy alone, as on a pure v2 host."""
    unified = detect().unified_hierarchy
    if unified is None:
        pytest.skip("no unified hierarchy is mounted")
    return Setup("v2", (), unified)


def v1_setup() -> Setup:
    """The v1 hierarchies alone, as on a host without a unified one."""
    hierarchies = detect().hierarchies
    if not hierarchies:
        pytest.skip("no v1 hierarchy is mounted")
    return Setup("v1", hierarchies)


@pytest.fixture(scope="module", autouse=True)
def subtree_control_as_before() -> Iterator[None]:
    """A v2 manager hands controllers down from the root; afterwards the host is as it was."""
    unified = detect().unified
    file = Path(unified or "/", "cgroup.subtree_control")
    before = file.read_text().split() if unified else []
    yield
    for name in set(file.read_text().split()) - set(before) if unified else set():
        file.write_text(f"-{name}")


@pytest.fixture(params=[host_setup, v1_setup, v2_setup], ids=["host", "v1", "v2"])
def setup(request: pytest.FixtureRequest) -> Setup:
    """Every arrangement that this kernel can show."""
    chosen: Setup = request.param()
    return chosen


@pytest.fixture
def manager(setup: Setup) -> Iterator[Manager]:
    """A manager of a cgroup two levels deep, removed afterwards with everything in it."""
    found = new(f"/{NAME}/job", container_id="job", setup=setup)
    yield found
    found.kill_all()
    found.remove()
    left = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{NAME}*")]
    assert left == []


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start Python programs; those that live are killed and reaped afterwards."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, **options: Any) -> subprocess.Popen[str]:
        process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", program], text=True, **options
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def sleeper(spawn: Spawn) -> subprocess.Popen[str]:
    """A process that waits."""
    return spawn("import time; time.sleep(60)")


def children(process: subprocess.Popen[str]) -> list[int]:
    """The direct children of a process."""
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in text.split()]


def until(condition: Callable[[], object]) -> None:
    """Wait for a state of the system, not for a time; ten seconds is the limit of patience."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "the awaited state did not come"
        time.sleep(0.005)


def test_create_makes_one_directory_per_hierarchy(manager: Manager) -> None:
    """A container that misses one hierarchy would run with the caller's limits there."""
    manager.create()

    assert manager.exists()
    assert manager.paths
    for directory in manager.paths.values():
        assert os.path.isdir(directory)


def test_a_process_joins_every_hierarchy(manager: Manager, spawn: Spawn) -> None:
    """The kernel's own view of the process names our cgroup for every controller that is managed."""
    manager.create()
    process = sleeper(spawn)

    manager.add_process(process.pid)

    lines = Path(f"/proc/{process.pid}/cgroup").read_text().splitlines()
    found = {name: line.split(":", 2)[2] for line in lines for name in line.split(":", 2)[1].split(",")}
    assert {name: found[name] for name in manager.paths} == dict.fromkeys(manager.paths, f"/{NAME}/job")
    assert manager.processes() == [process.pid]


def test_processes_lists_nested_cgroups_only_on_request(manager: Manager, spawn: Spawn) -> None:
    """A payload that makes cgroups of its own must not hide processes from `ps` and `kill --all`."""
    manager.create()
    process = sleeper(spawn)
    for directory in manager.paths.values():
        nested = Path(directory, "inner", "deeper")
        nested.mkdir(parents=True)
        for level in (nested.parent, nested):
            fill_cpuset(level)
        (nested / "cgroup.procs").write_text(str(process.pid))

    assert manager.processes() == [process.pid]
    assert manager.processes(descendants=False) == []


def fill_cpuset(directory: Path) -> None:
    """A v1 cpuset takes no process before it has CPUs and memory nodes."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if (directory / file).exists():
            (directory / file).write_text((directory.parent / file).read_text())


def test_a_populated_cgroup_of_somebody_else_is_refused(manager: Manager, setup: Setup, spawn: Spawn) -> None:
    """Otherwise `kill --all` and `delete` of the new container would hit the old one's processes."""
    manager.create()
    process = sleeper(spawn)
    manager.add_process(process.pid)
    second = new(f"/{NAME}/job", container_id="job", setup=setup)
    second.create()

    with pytest.raises(InUse, match=r"container's cgroup is not empty: 1 process\(es\) found"):
        second.check_empty_and_thawed()

    # What a failed create does next, and what `delete --force` does with the intent of a killed one.
    for cleaner in (second, Manager.from_state(second.plan_state())):
        cleaner.kill_all()
        cleaner.remove()
    assert process.poll() is None
    assert manager.processes() == [process.pid]


def test_an_empty_cgroup_of_somebody_else_is_accepted_and_left(manager: Manager, setup: Setup) -> None:
    """Who prepared the cgroup (a pod's manager) keeps it when the container goes."""
    manager.create()
    second = new(f"/{NAME}/job", container_id="job", setup=setup)
    second.create()
    second.check_empty_and_thawed()

    second.remove()

    assert all(os.path.isdir(directory) for directory in manager.paths.values())


def test_a_frozen_parent_is_refused(manager: Manager, setup: Setup) -> None:
    """A process that joins a frozen cgroup hangs, and the runtime with it."""
    manager.create()
    child = new(f"/{NAME}/job/child", container_id="child", setup=setup)
    manager.freeze()
    try:
        child.create()
        with pytest.raises(InUse, match="container's cgroup unexpectedly frozen"):
            child.check_empty_and_thawed()
    finally:
        manager.thaw()
        child.remove()


def test_frozen_means_no_progress_and_thawed_means_progress(manager: Manager, spawn: Spawn) -> None:
    """`pause` that only says so would corrupt every snapshot taken of a paused container."""
    manager.create()
    process = spawn(COUNTER, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    manager.add_process(process.pid)

    manager.freeze()
    assert manager.frozen()
    os.set_blocking(process.stdout.fileno(), False)
    drain(process.stdout.fileno())
    before = cpu_ticks(process.pid)
    assert select.select([process.stdout], [], [], 0.2)[0] == []
    assert cpu_ticks(process.pid) == before

    manager.thaw()
    assert not manager.frozen()
    assert select.select([process.stdout], [], [], 10)[0] != []


def drain(fd: int) -> None:
    """Read what is there."""
    try:
        while os.read(fd, 65536):
            pass
    except BlockingIOError:
        return


def cpu_ticks(pid: int) -> list[str]:
    """User and system time of a process, in clock ticks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]


def test_freeze_refuses_the_caller_itself(setup: Setup) -> None:
    """A runtime that froze itself would never thaw again."""
    own = own_cgroups()
    if setup.mode == "v1":
        pytest.skip("the v2 case stands for all: it moves a process in one hierarchy only")
    unified = detect().unified_hierarchy
    assert unified is not None
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from libcgroups import Hierarchy, InUse, Setup, new\n"
        f"setup = Setup('v2', (), Hierarchy({unified.mount_point!r}))\n"
        f"m = new('/{NAME}/self', container_id='x', setup=setup)\n"
        "m.create(); m.add_process(os.getpid())\n"
        "for act in (m.freeze, m.kill_all):\n"
        "    try: act()\n"
        "    except InUse as error: print(error.path)\n"
        f"with open({unified.mount_point + own['']!r} + '/cgroup.procs', 'w') as procs:\n"
        "    procs.write(str(os.getpid()))\n"
        "m.remove()\n"
    )
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, source], capture_output=True, text=True, timeout=30, check=True
    )

    assert done.stdout.split() == [f"{unified.mount_point}/{NAME}/self"] * 2


def test_kill_all_ends_a_fork_bomb(manager: Manager, spawn: Spawn) -> None:
    """Signalling a list of ids never catches up with a program that forks; freezing or cgroup.kill does."""
    manager.create()
    process = spawn(f"import sys; sys.stdin.read(1)\n{BOMB}", stdin=subprocess.PIPE)
    manager.add_process(process.pid)
    assert process.stdin is not None
    process.stdin.close()
    until(lambda: len(manager.processes()) > 20)

    manager.kill_all()

    assert not manager.populated()
    assert manager.processes() == []
    assert process.wait() == -signal.SIGKILL


def test_kill_all_ends_a_frozen_cgroup(manager: Manager, spawn: Spawn) -> None:
    """`delete --force` of a paused container must not hang: the v1 freezer keeps even SIGKILL waiting."""
    manager.create()
    process = sleeper(spawn)
    manager.add_process(process.pid)
    manager.freeze()

    manager.kill_all()

    assert process.wait() == -signal.SIGKILL
    assert not manager.populated()


def test_another_signal_leaves_a_frozen_cgroup_frozen(manager: Manager, spawn: Spawn) -> None:
    """`kill --all TERM` of a paused container is delivered at resume, and does not resume it.

    The process handles the signal: one that ends a process ends it in a frozen v2 cgroup, too
    (cgroup-v2.rst, "cgroup.freeze").
    """
    manager.create()
    handler = "import signal, os; signal.signal(signal.SIGTERM, lambda *_: os._exit(3))"
    process = spawn(f"{handler}; print('ready', flush=True); signal.pause()", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    manager.add_process(process.pid)
    manager.freeze()

    manager.kill_all(signal.SIGTERM)

    assert manager.frozen()
    assert process.poll() is None
    manager.thaw()
    assert process.wait(timeout=10) == 3


def test_kill_all_signals_each_process_once(manager: Manager, spawn: Spawn) -> None:
    """A signal other than SIGKILL reaches every process and leaves the cgroup running."""
    manager.create()
    both = [sleeper(spawn), sleeper(spawn)]
    for process in both:
        manager.add_process(process.pid)

    manager.kill_all(signal.SIGTERM)

    assert [process.wait(timeout=10) for process in both] == [-signal.SIGTERM] * 2
    assert not manager.frozen()


def test_remove_takes_nested_cgroups_with_it(manager: Manager) -> None:
    """A payload with a writable cgroup mount (systemd, another runtime) leaves cgroups of its own behind."""
    manager.create()
    for directory in manager.paths.values():
        for inner in ("a/b/c", "a/d", "e"):
            Path(directory, inner).mkdir(parents=True)

    manager.remove()

    assert not manager.exists()
    assert not any(os.path.exists(os.path.dirname(directory)) for directory in manager.paths.values())


def test_remove_copes_with_a_tree_deeper_than_a_path_may_be(setup: Setup) -> None:
    """A payload must not be able to make its cgroup irremovable by nesting it beyond PATH_MAX."""
    manager = new(f"/{NAME}-deep", container_id="deep", setup=setup)
    manager.create()
    cgroup = manager.cgroups[-1]
    fd = cgroup.open_fd()
    for _ in range(30):
        os.mkdir("n" * 200, dir_fd=fd)
        below = os.open("n" * 200, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)

    assert manager.processes() == []
    manager.remove()

    assert not manager.exists()


def test_remove_names_the_processes_that_hold_it(manager: Manager, spawn: Spawn) -> None:
    """Who deletes too early learns which process is in the way, not only EBUSY."""
    manager.create()
    process = sleeper(spawn)
    manager.add_process(process.pid)

    with pytest.raises(InUse, match=f"holds the processes {process.pid}") as caught:
        manager.remove(timeout_s=0.05)

    assert caught.value.path in manager.paths.values()
    assert caught.value.syscall == "rmdir"


def test_remove_waits_for_a_process_that_is_about_to_end(manager: Manager, spawn: Spawn) -> None:
    """Between a process's death and its leaving the cgroup lies a moment in which rmdir says EBUSY."""
    manager.create()
    process = spawn("import sys; sys.stdin.read(1)", stdin=subprocess.PIPE)
    manager.add_process(process.pid)
    assert process.stdin is not None
    process.stdin.close()

    manager.remove()

    assert not manager.exists()


def test_remove_twice_and_of_what_is_gone_is_no_error(manager: Manager) -> None:
    """`delete` may be repeated, and may meet somebody who cleans up at the same time."""
    manager.create()
    for directory in manager.paths.values():
        os.rmdir(directory)

    manager.remove()
    manager.remove()

    assert not manager.exists()


def test_an_intent_lets_another_process_remove_exactly_what_was_made(setup: Setup) -> None:
    """The runtime may be killed at any moment after writing the intent.

    `delete --force` then leaves nothing behind.
    """
    parent = new(f"/{NAME}-kept", container_id="kept", setup=setup)
    parent.create()
    try:
        manager = new(f"/{NAME}-kept/a/b", container_id="b", setup=setup)
        intent = manager.plan_state()
        manager.create()
        assert manager.to_state()["cgroups"] == intent["cgroups"]

        Manager.from_state(intent).remove()

        assert not manager.exists()
        assert not any(os.path.exists(os.path.dirname(directory)) for directory in manager.paths.values())
        assert parent.exists()
    finally:
        parent.remove()


def test_an_intent_that_was_never_carried_out_removes_nothing(manager: Manager, setup: Setup) -> None:
    """A create that died before its first mkdir must not take an older cgroup of that name with it."""
    manager.create()
    intent = new(f"/{NAME}/job", container_id="job", setup=setup).plan_state()

    Manager.from_state(intent).remove()

    assert manager.exists()


def test_two_containers_below_one_parent_do_not_disturb_each_other(setup: Setup) -> None:
    """The first one to go leaves the shared parent to the other."""
    first = new(f"/{NAME}-shared/first", container_id="first", setup=setup)
    second = new(f"/{NAME}-shared/second", container_id="second", setup=setup)
    first.create()
    second.create()

    first.remove()
    assert second.exists()
    second.remove()
    first.remove()

    for directory in first.paths.values():
        parent = os.path.dirname(directory)
        if os.path.isdir(parent):
            os.rmdir(parent)


def test_a_failing_hierarchy_leaves_nothing_behind(setup: Setup) -> None:
    """All or nothing: a create that fails in the last hierarchy has removed what it made in the others."""
    broken = Hierarchy("/proc/libcontainer-test", ("name=broken",))
    half = Setup("v1", (*setup.hierarchies, broken), setup.unified_hierarchy)
    manager = new(f"/{NAME}-half/job", container_id="job", setup=half)

    with pytest.raises(CgroupError):
        manager.create()

    assert not manager.exists()
    assert not any(os.path.exists(os.path.dirname(path)) for path in manager.paths.values())


def test_the_unified_cgroup_can_be_handed_to_clone(manager: Manager) -> None:
    """CLONE_INTO_CGROUP wants a descriptor of the directory, and it must not leak into the payload."""
    manager.create()

    fd = manager.open_fd()

    if manager.unified is None:
        assert fd is None
        return
    assert fd is not None
    try:
        assert os.path.sameopenfile(fd, fd)
        assert os.readlink(f"/proc/self/fd/{fd}") == manager.unified.directory
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_a_relative_path_lies_by_the_callers_own_cgroup(setup: Setup) -> None:
    """On this host, too, where the caller is in different cgroups in different hierarchies."""
    own = own_cgroups()
    manager = new(f"{NAME}-own", container_id="own", setup=setup)
    for name, directory in manager.paths.items():
        base = os.path.dirname(own[name]) if setup.mode == "v2" else own[name]
        assert directory.endswith(f"{base.rstrip('/')}/{NAME}-own")

    manager.create()
    assert manager.exists()
    manager.remove()

    assert not manager.exists()
