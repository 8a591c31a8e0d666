"""Notifications of v2, on a tree of plain files: inotify announces their changes as it does the kernel's."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from pathlib import Path

import pytest

from libcgroups import Hierarchy, InvalidArgument, Manager, Setup, Unsupported, new

EVENTS = "low 0\nhigh {high}\nmax 0\noom {oom}\noom_kill {kills}\n"


@pytest.fixture
def manager(tmp_path: Path) -> Manager:
    """A v2 cgroup with a file of memory events."""
    (tmp_path / "job").mkdir()
    found = new("/job", container_id="job", setup=Setup("v2", (), Hierarchy(str(tmp_path))))
    change(found, 0, 0)
    return found


def change(manager: Manager, oom: int, kills: int, high: int = 0) -> None:
    """Let the events file say this."""
    Path(manager.paths[""], "memory.events").write_text(EVENTS.format(high=high, oom=oom, kills=kills))


def test_an_increase_is_an_event(manager: Manager) -> None:
    """With the counts so far; several since the last look are one."""
    with manager.oom_events() as events:
        change(manager, 1, 1)
        first = next(events)
        change(manager, 2, 1)
        change(manager, 3, 2)
        second = next(events)

    assert (first.ooms, first.oom_kills) == (1, 1)
    assert (second.ooms, second.oom_kills) == (3, 2)


def test_other_events_are_passed_over(manager: Manager) -> None:
    """memory.high is meant to be hit."""
    with manager.oom_events() as events:
        change(manager, 0, 0, high=5)
        timer = threading.Timer(0.05, change, (manager, 0, 1, 6))
        timer.start()
        event = next(events)
        timer.join()

    assert event.oom_kills == 1


def test_the_removal_of_the_cgroup_is_the_end(manager: Manager) -> None:
    """Told by the kernel, not by looking again and again."""
    with manager.oom_events() as events:
        timer = threading.Timer(0.05, shutil.rmtree, (manager.paths[""],))
        timer.start()

        assert list(events) == []
        timer.join()


def test_asyncio_sees_the_same(manager: Manager) -> None:
    """`async for` over the same object."""

    async def watch() -> list[int | None]:
        found = []
        asyncio.get_running_loop().call_later(0.02, change, manager, 1, 1)
        async for event in manager.oom_events():
            found.append(event.oom_kills)
            shutil.rmtree(manager.paths[""])
        return found

    assert asyncio.run(watch()) == [1]


def test_no_descriptor_is_left_behind(manager: Manager) -> None:
    """Neither by the end, nor by closing, nor by a failure."""
    before = os.listdir("/proc/self/fd")
    with manager.oom_events():
        pass
    Path(manager.paths[""], "memory.events").unlink()
    with pytest.raises(Unsupported, match=r"memory\.events"):
        manager.oom_events()
    with pytest.raises(Unsupported, match=r"memory\.pressure"):
        manager.memory_pressure_events()
    with pytest.raises(InvalidArgument):
        manager.memory_pressure_events("none")  # type: ignore[arg-type]

    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    ("level", "trigger"),
    [("low", "some 100000 2000000"), ("medium", "some 200000 2000000"), ("critical", "full 200000 2000000")],
)
def test_a_level_is_a_trigger(manager: Manager, level: str, trigger: str) -> None:
    """What is written to memory.pressure; a plain file cannot be polled, which is where this ends."""
    file = Path(manager.paths[""], "memory.pressure")
    file.write_text("")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(PermissionError):  # EPERM of epoll_ctl(2) for a plain file
        manager.memory_pressure_events(level)  # type: ignore[arg-type]

    assert file.read_text() == trigger
    assert os.listdir("/proc/self/fd") == before
