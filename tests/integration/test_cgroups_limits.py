"""Limits on the host's real hierarchies, proved by their effect; and v2 controllers on the real one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from libcgroups import CgroupError, Hierarchy, Manager, NotPermitted, Setup, Unsupported, detect, new

from .groups import made, needs, needs_v1, offered, run_inside

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes cgroups"),
]

NAME = f"libcontainer-test-limits-{os.getpid()}"
SOURCE = str(Path(__file__).parents[2] / "src")
MIB = 1 << 20
HOARDER = """
import sys
sys.stdin.read(1)
hoard = bytearray(64 << 20)
print(1, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def manager() -> Iterator[Manager]:
    """A created cgroup on the host's hierarchies."""
    with made("limits") as found:
        yield found


def value(manager: Manager, controller: str, file: str) -> str:
    """The text of a file of the cgroup."""
    return Path(manager.paths[controller], file).read_text().strip()


@needs("pids")
def test_a_fork_bomb_stops_at_the_pids_limit(manager: Manager) -> None:
    """The bomb sees EAGAIN, and the host keeps its process ids."""
    manager.apply({"pids": {"limit": 8}})

    done = run_inside(
        manager,
        "import os, signal\n"
        "children = []\n"
        "try:\n"
        "    while len(children) < 50:\n"
        "        pid = os.fork()\n"
        "        if pid == 0: signal.pause()\n"
        "        children.append(pid)\n"
        "except BlockingIOError: print(len(children))\n"
        "for pid in children: os.kill(pid, 9)",
    )

    assert done.stdout == "7\n"


@needs("memory")
def test_a_process_over_its_memory_limit_is_killed(manager: Manager) -> None:
    """The kernel ends the process that takes more than its cgroup may have, and nobody else."""
    manager.apply({"memory": {"limit": 32 * MIB, "swap": 32 * MIB}})

    done = run_inside(manager, "hoard = bytearray(96 << 20)\nprint(len(hoard))")

    assert done.returncode == -signal.SIGKILL
    assert done.stdout == ""


@needs("cpu")
def test_a_busy_loop_gets_the_share_of_time_that_its_quota_says(manager: Manager) -> None:
    """A tenth of a processor, measured by the kernel's own clock of the process."""
    manager.apply({"cpu": {"quota": 10_000, "period": 100_000}})

    done = run_inside(
        manager,
        "import time\n"
        "start, busy = time.monotonic(), time.process_time()\n"
        "while time.process_time() - busy < 0.05: pass\n"
        "print(time.monotonic() - start)",
    )

    # 0.05 s of work need four refills after the first 10 ms.
    assert float(done.stdout) > 0.3


@needs("cpu")
def test_a_busy_loop_at_a_fifth_of_a_processor_gets_no_more(manager: Manager) -> None:
    """By the cgroup's own account: in each period the kernel hands out the quota once, and no more."""
    quota_us = 20_000
    manager.apply({"cpu": {"quota": quota_us, "period": 100_000}})

    run_inside(manager, "import time\nend = time.monotonic() + 1\nwhile time.monotonic() < end: pass")

    cpu = manager.stats().cpu
    assert cpu.usage_ns is not None
    assert cpu.periods is not None
    assert cpu.throttled_periods is not None
    # One refill at each end, and room for a virtual processor that its host takes away: that counts as used.
    assert 0 < cpu.usage_ns / 1000 < quota_us * (cpu.periods + 6)
    assert cpu.throttled_periods > 2


@needs("cpu")
@needs("cpuset")
def test_the_larger_share_gets_more_of_a_processor() -> None:
    """Two loops on one processor: the shares decide, on v2 as weights."""
    used = []
    with made("few") as few, made("many") as many:
        loops = []
        for manager, shares in ((few, 64), (many, 2048)):
            manager.apply({"cpu": {"shares": shares, "cpus": "0", "mems": "0"}})
            program = "print(flush=True)\nwhile True: pass"
            loop = subprocess.Popen([sys.executable, "-I", "-S", "-c", program], stdout=subprocess.PIPE)
            manager.add_process(loop.pid)
            loops.append(loop)
        for loop in loops:
            assert loop.stdout is not None
            loop.stdout.readline()  # while one still starts, the other has the processor for itself
        before = [usage_ns(manager) for manager in (few, many)]
        wait_until(lambda: usage_ns(many) > before[1] + 1_500_000_000)
        used = [usage_ns(manager) - start for manager, start in zip((few, many), before, strict=True)]
        for loop in loops:
            loop.kill()
            loop.communicate()

    assert used[1] > 2 * used[0]


def usage_ns(manager: Manager) -> int:
    """The CPU time that the cgroup has used."""
    return manager.stats().cpu.usage_ns or 0


@needs_v1("cpu")
def test_a_real_time_process_needs_a_budget(manager: Manager) -> None:
    """Without one the kernel refuses the scheduler itself; with one it is used."""
    if not Path(manager.paths["cpu"], "cpu.rt_runtime_us").exists():
        pytest.skip("this kernel has no CONFIG_RT_GROUP_SCHED")
    program = (
        "import os\n"
        "try: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)); print('real-time')\n"
        "except PermissionError: print('refused')"
    )

    assert run_inside(manager, program).stdout == "refused\n"
    manager.apply({"cpu": {"realtimePeriod": 1_000_000, "realtimeRuntime": 10_000}})
    assert run_inside(manager, program).stdout == "real-time\n"


@needs_v1("memory")
def test_without_the_oom_killer_a_process_over_its_limit_waits(manager: Manager) -> None:
    """It is not killed, somebody is told, and it can be ended."""
    manager.apply({"memory": {"limit": 32 * MIB, "swap": 32 * MIB, "disableOOMKiller": True}})
    with (
        manager.oom_events() as events,
        subprocess.Popen([sys.executable, "-I", "-S", "-c", HOARDER], stdin=subprocess.PIPE) as process,
    ):
        assert process.stdin is not None
        manager.add_process(process.pid)
        process.stdin.write(b"x")
        process.stdin.flush()

        event = next(events)

        assert event.oom_kills == 0
        assert "under_oom 1" in value(manager, "memory", "memory.oom_control")
        assert process.poll() is None
        manager.kill_all()
        assert process.wait() == -signal.SIGKILL


WRITE_THROUGH = """
import mmap, os, sys, time
page = mmap.mmap(-1, 1 << 16)  # aligned, as O_DIRECT wants it
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o600)
begin = time.monotonic()
for _ in range(24): os.write(fd, page)
print(time.monotonic() - begin)
"""


def test_a_throttled_device_is_slow(manager: Manager, tmp_path: Path) -> None:
    """One and a half MiB at one MiB a second; whoever is not throttled writes them at once."""
    if not {"blkio", "io"} & {*manager.paths, *offered(detect().unified_hierarchy)}:
        pytest.skip("this host has no controller of block devices")
    disk = disk_of(tmp_path)
    rate = {"major": os.major(disk), "minor": os.minor(disk), "rate": MIB}
    manager.apply({"blockIO": {"throttleWriteBpsDevice": [rate]}})
    program = WRITE_THROUGH.replace("sys.argv[1]", repr(str(tmp_path / "file")))

    done = run_inside(manager, program)

    assert float(done.stdout) > 0.4
    written = manager.stats().io.written_bytes
    assert written is None or written >= 1.5 * MIB


def disk_of(path: Path) -> int:
    """The number of the whole disk that `path` lies on."""
    number = os.stat(path).st_dev
    place = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    if not place.exists():
        pytest.skip(f"{path} is on no block device")
    if (place / "partition").exists():
        place = place.parent
    major, minor = (place / "dev").read_text().split(":")
    return os.makedev(int(major), int(minor))


def wait_until(done: Callable[[], bool]) -> None:
    """Look again and again; a minute is for ever."""
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


@needs("cpuset")
def test_a_process_runs_only_on_the_cpus_of_its_cpuset(manager: Manager) -> None:
    """The scheduler's own answer, not the file's."""
    manager.apply({"cpu": {"cpus": "0", "mems": "0"}})

    done = run_inside(manager, "import os; print(os.sched_getaffinity(0))")

    assert done.stdout == "{0}\n"


@needs("devices")
def test_a_denied_device_cannot_be_opened_and_an_allowed_one_can(manager: Manager) -> None:
    """Deny all, allow null: the usual shape of a container's rules."""
    manager.apply(
        {
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
            ]
        }
    )

    done = run_inside(
        manager, "import os\nos.open('/dev/null', os.O_RDWR)\nos.open('/dev/zero', os.O_RDONLY)"
    )

    assert done.returncode == 1
    if manager.mode != "v2":
        assert value(manager, "devices", "devices.list") == "c 1:3 rw"


@needs_v1("devices")
def test_an_update_of_device_rules_changes_only_what_differs(manager: Manager) -> None:
    """A running program keeps its devices; one that lost them cannot open them again."""
    base: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    null = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}
    zero = {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"}
    manager.apply({"devices": [*base, null]})

    manager.apply({"devices": [*base, null, zero]})
    assert value(manager, "devices", "devices.list").splitlines() == ["c 1:3 rw", "c 1:5 r"]
    manager.apply({"devices": [*base, zero]})

    assert value(manager, "devices", "devices.list") == "c 1:5 r"


@needs_v1("memory")
def test_memory_limits_can_be_raised_and_lowered_in_any_combination(manager: Manager) -> None:
    """The kernel never takes a limit above memory+swap, so the order of writing depends on the old values."""
    for limit, swap in ((64, 64), (128, 256), (32, 48), (256, 256), (16, 512), (16, 16)):
        manager.apply({"memory": {"limit": limit * MIB, "swap": swap * MIB}})

        assert value(manager, "memory", "memory.limit_in_bytes") == str(limit * MIB)
        assert value(manager, "memory", "memory.memsw.limit_in_bytes") == str(swap * MIB)
    manager.apply({"memory": {"limit": -1}})
    assert int(value(manager, "memory", "memory.limit_in_bytes")) > 1 << 60


@needs_v1("cpu")
def test_cpu_quota_period_and_burst_can_be_changed_in_any_combination(manager: Manager) -> None:
    """Likewise for a burst above the old quota, and for periods that the old quota does not fit."""
    for quota, period, burst in (
        (50_000, 100_000, 50_000),
        (5_000, 10_000, 0),
        (900_000, 1_000_000, 900_000),
    ):
        manager.apply({"cpu": {"quota": quota, "period": period, "burst": burst}})

        assert value(manager, "cpu", "cpu.cfs_quota_us") == str(quota)
        assert value(manager, "cpu", "cpu.cfs_period_us") == str(period)
        assert value(manager, "cpu", "cpu.cfs_burst_us") == str(burst)
    manager.apply({"cpu": {"idle": 1, "shares": 512}})
    manager.apply({"cpu": {"idle": 0, "shares": 512}})
    assert value(manager, "cpu", "cpu.shares") == "512"


@needs_v1("memory")
def test_a_limit_below_the_usage_names_the_usage(manager: Manager) -> None:
    """EBUSY alone would send a person to look for a process that holds a file."""
    with subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            HOARDER,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        manager.apply({"memory": {"limit": 128 * MIB, "swap": 128 * MIB}})
        manager.add_process(process.pid)
        process.stdin.write("xx")
        process.stdin.flush()
        assert process.stdout.readline() == "1\n"

        with pytest.raises(CgroupError) as caught:
            manager.apply({"memory": {"limit": 8 * MIB}})
        with pytest.raises(CgroupError, match="rejecting memory limit 8388608 <= usage"):
            manager.apply({"memory": {"limit": 8 * MIB, "checkBeforeUpdate": True}})
        process.kill()

    assert caught.value.pointer == "/memory/limit"
    assert "bytes are in use" in (caught.value.remedy or "")


@needs_v1("memory")
def test_memory_in_use_must_fit_into_the_limit_with_swap_too(manager: Manager) -> None:
    """A limit of both that is below what is in use would kill at once."""
    run_inside(manager, "pass")
    manager.apply({"memory": {"limit": 64 * MIB, "swap": 64 * MIB, "checkBeforeUpdate": True}})
    with pytest.raises(CgroupError, match=r"rejecting memory\+swap limit 1 <= usage") as caught:
        manager.apply({"memory": {"limit": 1, "swap": 1, "checkBeforeUpdate": True}})

    assert caught.value.pointer == "/memory/swap"


@needs_v1("memory")
def test_a_limit_of_kernel_memory_is_kept_or_refused(manager: Manager) -> None:
    """Since Linux 5.16 the kernel takes the value and does nothing, which must not pass for a limit."""
    try:
        manager.apply({"memory": {"kernel": 16 * MIB}})
    except Unsupported as error:
        assert error.pointer == "/memory/kernel"  # noqa: PT017  # either is right
    else:
        assert value(manager, "memory", "memory.kmem.limit_in_bytes") == str(16 * MIB)


@needs_v1("cpu")
def test_a_real_time_budget_is_given_to_the_ancestors_too() -> None:
    """Ones that were made for this cgroup have none, and the kernel wants a child's to fit into its parent's."""
    manager = new(f"/{NAME}-rt/a/b", container_id="b")
    manager.create()
    try:
        if not Path(manager.paths["cpu"], "cpu.rt_runtime_us").exists():
            pytest.skip("this kernel has no CONFIG_RT_GROUP_SCHED")
        manager.apply({"cpu": {"realtimePeriod": 500_000, "realtimeRuntime": 5_000}})
        directory = Path(manager.paths["cpu"])
        for path in (directory, directory.parent, directory.parent.parent):
            assert (path / "cpu.rt_runtime_us").read_text() == "5000\n"
            assert (path / "cpu.rt_period_us").read_text() == "500000\n"

        with pytest.raises(CgroupError) as caught:
            manager.apply({"cpu": {"realtimeRuntime": 9_000}})
        assert caught.value.pointer == "/cpu/realtimeRuntime"
        assert "budgets" in (caught.value.remedy or "")
    finally:
        manager.remove()
    assert not manager.exists()


@needs_v1("blkio")
def test_block_weights_go_to_the_scheduler_that_the_kernel_has(manager: Manager) -> None:
    """With BFQ the files have other names."""
    manager.apply({"blockIO": {"weight": 300}})

    texts = [path.read_text() for path in Path(manager.paths["blkio"]).glob("blkio*.weight")]
    assert any("300" in text for text in texts)


@needs("cpuset")
def test_a_value_that_the_kernel_refuses_is_an_error_with_pointer_path_and_value(manager: Manager) -> None:
    """No limit is lost on the way."""
    with pytest.raises(CgroupError) as caught:
        manager.apply({"cpu": {"cpus": "4000"}})

    assert (caught.value.pointer, caught.value.value) == ("/cpu/cpus", "4000")
    directory = manager.paths["" if manager.mode == "v2" else "cpuset"]
    assert caught.value.path == f"{directory}/cpuset.cpus"


@pytest.fixture
def unified() -> Hierarchy:
    """The host's unified hierarchy; one that offers a controller."""
    hierarchy = detect().unified_hierarchy
    if hierarchy is None or not Path(hierarchy.mount_point, "cgroup.controllers").read_text().strip():
        pytest.skip("the unified hierarchy offers no controller")
    return hierarchy


def test_v2_controllers_are_enabled_along_the_path(unified: Hierarchy) -> None:
    """A limit three levels deep needs every level above it to hand its controller down."""
    root = Path(unified.mount_point)
    names = offered(unified)
    before = set((root / "cgroup.subtree_control").read_text().split())
    manager = new(f"/{NAME}-v2/a/b", container_id="b", setup=Setup("v2", (), unified))
    try:
        manager.create()
        assert set(Path(manager.paths[""], "cgroup.controllers").read_text().split()) == set(names)
    finally:
        manager.remove()
        for name in set(names) - before:
            (root / "cgroup.subtree_control").write_text(f"-{name}")
    assert not (root / f"{NAME}-v2").exists()


def test_v2_refuses_a_controller_that_is_not_there_and_says_so(unified: Hierarchy) -> None:
    """On this kind of host the memory controller belongs to v1; asking v2 for it cannot work."""
    root = Path(unified.mount_point)
    if "memory" in offered(unified):
        pytest.skip("the unified hierarchy has the memory controller")
    (root / f"{NAME}-part").mkdir()
    part = Hierarchy(str(root / f"{NAME}-part"))
    manager = new("/job", container_id="job", setup=Setup("v2", (), part))
    try:
        manager.create()
        with pytest.raises(Unsupported, match="memory controller is not available") as caught:
            manager.apply({"memory": {"limit": MIB}})
        assert caught.value.pointer == "/memory/limit"
    finally:
        manager.remove()
        (root / f"{NAME}-part").rmdir()


def test_v2_joins_below_a_threaded_cgroup_by_becoming_threaded(unified: Hierarchy) -> None:
    """Below a threaded cgroup a new one is invalid as a domain, and joining it would fail with EOPNOTSUPP."""
    top = Path(unified.mount_point, f"{NAME}-threaded")
    middle = top / "middle"
    middle.mkdir(parents=True)
    (middle / "cgroup.type").write_text("threaded")
    manager = new("/middle/job", container_id="job", setup=Setup("v2", (), Hierarchy(str(top))))
    try:
        manager.create()
        assert Path(manager.paths[""], "cgroup.type").read_text() == "threaded\n"
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            # A thread may move only within its threaded subtree, so the process enters that first.
            (top / "cgroup.procs").write_text(str(process.pid))
            manager.add_process(process.pid)
            assert manager.processes() == [process.pid]
            manager.kill_all()  # cgroup.kill refuses threaded cgroups
            assert process.wait() == -signal.SIGKILL
        with pytest.raises((CgroupError, Unsupported)):
            manager.apply({"memory": {"limit": MIB}})
    finally:
        manager.remove()
        for path in (middle, top):
            remove_when_empty(path)


def remove_when_empty(path: Path) -> None:
    """A dying process may hold a cgroup for a moment."""
    end = time.monotonic() + 10
    while path.exists():
        with contextlib.suppress(OSError):
            path.rmdir()
        assert time.monotonic() < end


UNPRIVILEGED = f"""
import os, sys
sys.path.insert(0, {SOURCE!r})
import libcgroups, libcgroups.v1.manager, libcgroups.controllers, libcgroups.v1.pids
os.setgroups([]); os.setgid(65534); os.setuid(65534)
manager = libcgroups.new(PATH, container_id="{NAME}-nobody")
try:
    manager.create()
    manager.check_empty_and_thawed()
    manager.add_process(os.getpid())
    print(manager.paths, bool(manager.reason), manager.processes(), manager.exists())
    print(libcgroups.Manager.from_state(manager.to_state()).reason == manager.reason)
    manager.apply({{"pids": {{"limit": 5}}}})
except libcgroups.Error as error:
    print(type(error).__name__, error.pointer)
manager.remove()
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("None", ["{} True [] False", "True", "Unsupported /pids/limit"]),
        (f"'/{NAME}-nobody'", ["NotPermitted None"]),
    ],
)
def test_an_unprivileged_caller_does_without_unless_it_asked(path: str, expected: list[str]) -> None:
    """Rootless containers run without cgroup; a limit or a path that was asked for is still an error."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"PATH = {path}\n{UNPRIVILEGED}"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == expected
    assert list(Path("/sys/fs/cgroup").glob(f"*/{NAME}-nobody")) == []


def test_a_named_path_without_permission_is_the_callers_error() -> None:
    """NotPermitted carries what was tried, so that a caller need not parse the text."""
    nowhere = Setup("v1", (Hierarchy("/sys/kernel", ("name=none",)),))
    manager = new("/libcontainer-test", container_id="x", setup=nowhere)

    with pytest.raises(NotPermitted) as caught:
        manager.create()

    assert (caught.value.syscall, caught.value.path) == ("mkdir", "/sys/kernel/libcontainer-test")
