"""What a cgroup is said to have used is what its processes really did."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from libcgroups import CgroupError, Manager
from libcgroups.stats import UNLIMITED

from .groups import made, needs, run_inside

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes cgroups"),
]

MIB = 1 << 20
MS = 1_000_000


@pytest.fixture
def manager() -> Iterator[Manager]:
    """A created cgroup on the host's hierarchies."""
    with made("stats") as found:
        yield found


@needs("cpu")
def test_cpu_time_is_what_the_process_used(manager: Manager) -> None:
    """In nanoseconds on every arrangement: a factor of 1000 would be seen at once."""
    done = run_inside(
        manager,
        "import time\n"
        "joined = time.process_time_ns()\n"
        "while time.process_time_ns() < joined + 300_000_000: pass\n"
        "print(time.process_time_ns() - joined)",
    )
    used_ns = int(done.stdout)
    cpu = manager.stats().cpu

    assert cpu.usage_ns is not None
    assert used_ns <= cpu.usage_ns < 100 * used_ns  # the end of the interpreter counts, too
    assert cpu.user_ns is not None
    assert cpu.system_ns is not None
    assert abs(cpu.user_ns + cpu.system_ns - cpu.usage_ns) < 100 * MS
    if manager.mode != "v2":
        assert cpu.per_cpu_ns is not None
        assert sum(cpu.per_cpu_ns) == cpu.usage_ns


@needs("cpu")
def test_throttling_is_counted(manager: Manager) -> None:
    """A quota that is used up shows in the periods, and in the time that was lost."""
    assert manager.stats().cpu.throttled_periods == 0
    manager.apply({"cpu": {"quota": 10_000, "period": 100_000}})

    run_inside(
        manager, "import time\nbusy = time.process_time()\nwhile time.process_time() - busy < 0.05: pass"
    )

    cpu = manager.stats().cpu
    assert cpu.periods is not None
    assert cpu.throttled_periods is not None
    assert cpu.throttled_ns is not None
    assert cpu.periods >= cpu.throttled_periods >= 3
    assert cpu.throttled_ns > 100 * MS


@needs("memory")
def test_memory_in_use_its_peak_and_its_limit(manager: Manager) -> None:
    """The peak stays when the memory is given back."""
    assert manager.stats().memory.limit_bytes == UNLIMITED
    manager.apply({"memory": {"limit": 256 * MIB}})
    program = (
        "import sys\n"
        "sys.stdin.read(1)\nhoard = bytearray(48 << 20)\nprint(1, flush=True)\n"
        "sys.stdin.read(1)\ndel hoard\nprint(2, flush=True)\nsys.stdin.read(1)"
    )
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        manager.add_process(process.pid)
        process.stdin.write(b"x")
        process.stdout.readline()
        held = manager.stats().memory
        process.stdin.write(b"x")
        process.stdout.readline()
        returned = manager.stats().memory
        process.stdin.write(b"x")

    assert held.usage_bytes is not None
    assert held.rss_bytes is not None
    assert returned.usage_bytes is not None
    assert 48 * MIB <= held.usage_bytes < 80 * MIB
    assert 47 * MIB <= held.rss_bytes < 80 * MIB
    assert returned.usage_bytes < held.usage_bytes - 40 * MIB
    assert held.limit_bytes == 256 * MIB
    assert held.stat
    if returned.peak_bytes is not None:  # v2 tells it since Linux 5.19
        assert returned.peak_bytes >= held.usage_bytes


@needs("memory")
def test_an_oom_kill_is_counted(manager: Manager) -> None:
    """Whoever finds a container dead asks for this number."""
    before = manager.stats().memory
    # Linux 6.18 counts no failures of a v1 limit of memory and swap, so the one of memory must be hit first.
    manager.apply({"memory": {"limit": 32 * MIB, "swap": 48 * MIB}})

    run_inside(manager, "bytearray(96 << 20)")

    after = manager.stats().memory
    assert (before.oom_kills, after.oom_kills) == (0, 1)
    assert before.failures == 0
    assert after.failures is not None
    assert after.failures > 0
    if after.ooms is not None:
        assert after.ooms >= 1


@needs("pids")
def test_tasks_and_their_limit(manager: Manager) -> None:
    """Counted at the moment; a fork that was refused is counted for ever."""
    manager.apply({"pids": {"limit": 2}})
    done = run_inside(
        manager,
        "import os, signal\n"
        "pid = os.fork()\n"
        "if pid == 0: signal.pause()\n"
        "try: os.fork()\n"
        "except BlockingIOError: print(open('/proc/sys/kernel/osrelease').read())\n"
        "os.kill(pid, 9)\n"
        "os.waitpid(pid, 0)",
    )
    pids = manager.stats().pids

    assert done.stdout
    assert (pids.current, pids.limit) == (0, 2)
    if pids.peak is not None:
        assert pids.peak == 2
    assert pids.failures == 1


@needs("cpuset")
def test_cpuset_says_where_tasks_may_run(manager: Manager) -> None:
    """Effective, so that an empty v2 cpuset tells what it has from its ancestors."""
    assert manager.stats().cpuset.cpus
    manager.apply({"cpu": {"cpus": "0", "mems": "0"}})

    cpuset = manager.stats().cpuset
    assert (cpuset.cpus, cpuset.mems) == ((0,), (0,))


def test_pressure_is_told_where_the_kernel_measures_it(manager: Manager) -> None:
    """On a hybrid host too: its unified hierarchy has no controllers, but the cgroup's pressure."""
    if manager.unified is None or not manager.unified.has("memory.pressure"):
        pytest.skip("this kernel measures no pressure of cgroups")
    run_inside(manager, "import time\nwhile time.process_time() < 0.05: pass")

    stats = manager.stats()
    for pressure in (stats.cpu.pressure, stats.memory.pressure, stats.io.pressure):
        assert pressure.some.avg10 is not None
        assert pressure.some.total_ns is not None


def test_nested_cgroups_count_too(manager: Manager) -> None:
    """A payload that makes cgroups of its own does not hide what it uses."""
    for cgroup in manager.cgroups:
        if "cpuset" not in cgroup.controllers:  # an empty v1 cpuset takes no process
            os.mkdir(f"{cgroup.directory}/below")
    directories = [f"{cgroup.directory}/below/cgroup.procs" for cgroup in manager.cgroups]
    move = (
        "import os, time\n"
        f"for path in {directories!r}:\n"
        "    if os.path.exists(path):\n"
        "        with open(path, 'w') as file: file.write(str(os.getpid()))\n"
    )
    run_inside(manager, move + "busy = time.process_time()\nwhile time.process_time() - busy < 0.2: pass")

    cpu = manager.stats().cpu
    assert cpu.usage_ns is not None
    assert cpu.usage_ns > 190 * MS


def test_a_removed_cgroup_has_no_stats(manager: Manager) -> None:
    """Its numbers are gone with it; the error says so."""
    manager.remove()
    with pytest.raises(CgroupError, match="no cgroup") as caught:
        manager.stats()
    manager.create()  # for the fixture

    assert caught.value.errno == 2
