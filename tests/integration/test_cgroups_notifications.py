"""The kernel's announcements about a real cgroup: out of memory, memory pressure, stalls, and the end of it all."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from libcgroups import CgroupError, InvalidArgument, Manager, Unsupported
from libcgroups.notifications import Notifications

from .groups import made, needs, run_inside

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes cgroups"),
]

MIB = 1 << 20
HOARD = "bytearray(96 << 20)"
# Pages of a file can be taken back, so reading more of it than the limit is pressure and no lack.
READ_A_FILE = f"""
import os, tempfile
with tempfile.TemporaryFile(dir={os.getcwd()!r}) as file:
    for _ in range(96):
        file.write(bytes(1 << 20))
        os.fsync(file.fileno())
    for _ in range(3):
        file.seek(0)
        while file.read(1 << 20): pass
"""


@pytest.fixture
def manager() -> Iterator[Manager]:
    """A created cgroup on the host's hierarchies."""
    with made("notify") as found:
        yield found


def open_descriptors() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def needs_pressure(manager: Manager) -> None:
    """Skip without PSI."""
    if manager.unified is None or not manager.unified.has("cpu.pressure"):
        pytest.skip("this kernel measures no pressure of cgroups")


class Collector(threading.Thread):
    """Takes notifications in a thread of its own until they end."""

    def __init__(self, events: Notifications[Any]) -> None:
        super().__init__()
        self.events = events
        self.found: list[Any] = []
        self.start()

    def run(self) -> None:
        self.found.extend(self.events)


@needs("memory")
def test_running_out_of_memory_is_announced(manager: Manager) -> None:
    """The one event that explains a container that vanished."""
    manager.apply({"memory": {"limit": 32 * MIB, "swap": 32 * MIB}})
    with manager.oom_events() as events:
        run_inside(manager, HOARD)

        event = next(events)

    assert event.ooms is None or event.ooms >= 1
    assert event.oom_kills is not None
    # v1 announces first and kills then
    assert event.oom_kills == 1 or manager.mode != "v2"
    assert manager.stats().memory.oom_kills == 1


@needs("memory")
def test_a_process_within_its_limit_announces_nothing(manager: Manager) -> None:
    """Notifications of what did not happen would kill the innocent."""
    manager.apply({"memory": {"limit": 256 * MIB}})
    events = manager.oom_events()
    collector = Collector(events)
    run_inside(manager, HOARD)

    events.close()
    collector.join(10)
    assert not collector.is_alive()
    assert collector.found == []


@needs("memory")
def test_memory_pressure_is_announced(manager: Manager) -> None:
    """A program that reads more than fits keeps the kernel reclaiming, long before anything is killed."""
    manager.apply({"memory": {"limit": 16 * MIB}})
    with manager.memory_pressure_events("low") as events:
        run_inside(manager, READ_A_FILE)
        if manager.mode == "v2":
            return  # stalls depend on the speed of the disk: the trigger was taken, which is all to see here
        assert next(events) is not None


@needs("memory")
@pytest.mark.parametrize("what", ["oom_events", "memory_pressure_events"])
def test_notifications_end_when_the_cgroup_is_removed(manager: Manager, what: str) -> None:
    """A watcher of a container ends with it, without being told."""
    before = open_descriptors()
    collector = Collector(getattr(manager, what)())

    manager.remove()

    collector.join(10)
    assert not collector.is_alive()
    assert collector.found == []
    assert open_descriptors() == before
    manager.create()  # for the fixture


def test_a_stall_is_announced_and_ends_with_the_cgroup(manager: Manager) -> None:
    """More busy processes than processors: some wait. Also on a hybrid host, whose v2 has no controllers."""
    needs_pressure(manager)
    before = open_descriptors()
    events = manager.stall_events("cpu", stall_us=50_000)
    busy = [
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", "import sys\nsys.stdin.read(1)\nwhile True: pass"],
            stdin=subprocess.PIPE,
            bufsize=0,
        )
        for _ in range(2 * (os.cpu_count() or 1))
    ]
    for process in busy:
        assert process.stdin is not None
        manager.add_process(process.pid)
        process.stdin.write(b"x")
        process.stdin.close()

    pressure = next(events)
    manager.kill_all()
    for process in busy:
        process.wait()
    assert pressure.some.total_ns is not None
    assert pressure.some.total_ns >= 50_000_000

    collector = Collector(events)
    manager.remove()
    collector.join(10)
    assert not collector.is_alive()
    assert open_descriptors() == before
    manager.create()


@needs("memory")
def test_closing_from_another_thread_ends_the_wait(manager: Manager) -> None:
    """And leaves no descriptor open; closing again is no error, and iterating is over."""
    before = open_descriptors()
    events = manager.oom_events()
    collector = Collector(events)
    while not events._waiting:
        time.sleep(0.001)

    events.close()
    collector.join(10)
    events.close()

    assert not collector.is_alive()
    assert list(events) == []
    assert open_descriptors() == before


@needs("memory")
def test_only_one_may_wait_at_a_time(manager: Manager) -> None:
    """Two would take each other's events; the second is told."""
    with manager.oom_events() as events:
        collector = Collector(events)
        while not events._waiting:
            time.sleep(0.001)
        with pytest.raises(ValueError, match="waited for already"):
            next(events)
    collector.join(10)


@needs("memory")
def test_asyncio_waits_without_blocking_the_loop(manager: Manager) -> None:
    """The loop does other work while nothing is announced, and the same events come."""
    manager.apply({"memory": {"limit": 32 * MIB, "swap": 32 * MIB}})
    before = open_descriptors()

    async def watch() -> tuple[list[Any], int]:
        turns = 0
        found: list[Any] = []
        seen = asyncio.Event()

        async def collect() -> None:
            async for event in events:
                found.append(event)
                seen.set()

        with manager.oom_events() as events:
            task = asyncio.create_task(collect())
            for _ in range(20):
                await asyncio.sleep(0)
                turns += 1
            assert not found
            await asyncio.to_thread(run_inside, manager, HOARD)
            await asyncio.wait_for(seen.wait(), 10)
            await asyncio.to_thread(manager.remove)
            await asyncio.wait_for(task, 10)  # ends with the cgroup
        return found, turns

    found, turns = asyncio.run(watch())
    assert found
    assert turns == 20
    assert open_descriptors() == before
    manager.create()


def test_asyncio_gets_a_stall_too(manager: Manager) -> None:
    """A trigger is ready once: asking for its state takes that away, so nobody may ask in between."""
    needs_pressure(manager)

    async def watch() -> None:
        with manager.stall_events("cpu", stall_us=10_000) as events:
            work = asyncio.create_task(
                asyncio.to_thread(
                    run_inside,
                    manager,
                    "import os, time\n"
                    "for _ in range(3): os.fork()\n"
                    "end = time.monotonic() + 3\n"
                    "while time.monotonic() < end: pass",
                )
            )
            async with asyncio.timeout(20):
                pressure = await anext(events)
            assert pressure.some.avg10 is not None
            await work

    asyncio.run(watch())


@needs("memory")
def test_cancelling_leaves_the_notifications_usable(manager: Manager) -> None:
    """A time-out around one wait must not lose the next event."""
    manager.apply({"memory": {"limit": 32 * MIB, "swap": 32 * MIB}})

    async def watch() -> None:
        with manager.oom_events() as events:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), 0.05)
            await asyncio.to_thread(run_inside, manager, HOARD)
            assert await asyncio.wait_for(anext(events), 10)

    asyncio.run(watch())


def test_what_cannot_be_watched_is_refused(manager: Manager) -> None:
    """A word or a time that the kernel does not know, before anything is opened."""
    before = open_descriptors()
    for level in ("", "high", "low,hierarchy"):
        with pytest.raises(InvalidArgument, match="use one of low, medium, critical"):
            manager.memory_pressure_events(level)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="resource"):
        manager.stall_events("irq\n", stall_us=1)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="kind"):
        manager.stall_events("cpu", kind="none", stall_us=1)  # type: ignore[arg-type]
    if manager.unified is not None and manager.unified.has("cpu.pressure"):
        for stall_us, window_us in ((0, 2_000_000), (3_000_000, 2_000_000), (1, 1), (1, 60_000_000)):
            with pytest.raises(InvalidArgument, match="cannot be watched for"):
                manager.stall_events("cpu", stall_us=stall_us, window_us=window_us)
    assert open_descriptors() == before


def test_a_missing_cgroup_cannot_be_watched(manager: Manager) -> None:
    """Whoever watches too early must hear of it, or he waits for ever."""
    manager.remove()
    before = open_descriptors()
    for watch in (manager.oom_events, manager.memory_pressure_events):
        with pytest.raises((CgroupError, Unsupported)):
            watch()
    with pytest.raises(Unsupported):
        manager.stall_events("cpu", stall_us=1)
    assert open_descriptors() == before
    manager.create()
