"""Container.stats, Container.events and `youki events`: what comes, when, and when it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import Container, InvalidArgument, StateError, aio

from .conftest import YOUKI
from .groups import HOARD
from .rootless import borrowed_user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Bundle

MIB = 1 << 20


@contextmanager
def running(bundle: Bundle, script: str = "sleep 1000", **resources: Any) -> Iterator[Container]:
    """A running container with these limits."""
    bundle.linux["resources"] = resources
    with bundle.build("sh", "-c", script) as container:
        container.start()
        yield container


@contextmanager
def watching(bundle: Bundle, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`youki events` at work, its lines readable; ended afterwards."""
    command = [str(YOUKI), "--root", str(bundle.root), "events", *words, bundle.id]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_stats_tell_what_the_container_uses(bundle: Bundle) -> None:
    """The limits that were set, the processes that are there, CPU time that grows."""
    script = "sleep 1000 & sleep 1000 & while :; do :; done"
    with running(bundle, script, memory={"limit": 64 * MIB}, pids={"limit": 50}) as container:
        one = container.stats()
        assert (one.memory.limit_bytes, one.pids.limit) == (64 * MIB, 50)
        assert one.memory.usage_bytes
        assert 0 < one.memory.usage_bytes <= 64 * MIB
        while True:
            other = container.stats()
            assert one.cpu.usage_ns is not None
            assert other.cpu.usage_ns is not None
            if other.cpu.usage_ns > one.cpu.usage_ns and other.pids.current == 3:
                break  # or the test runs into its time limit


def test_what_an_ended_container_has_used_is_still_told(bundle: Bundle) -> None:
    """Until it is deleted; its events are over."""
    with running(bundle, "exit 0") as container:
        container.wait(10)
        stats = container.stats()
        assert stats.cpu.usage_ns
        assert stats.pids.current == 0
        with pytest.raises(StateError, match="container not running"):
            container.events()
        result = bundle.youki("events", "--stats", bundle.id, check=False)
        assert (result.returncode, result.stdout) == (1, "")
        assert "container not running" in result.stderr


def test_stats_come_at_intervals_until_the_container_ends(bundle: Bundle) -> None:
    """The iteration ends by itself, and has closed what it held."""
    with running(bundle) as container:
        before = len(os.listdir("/proc/self/fd"))
        events = container.events(interval=0.01)
        for number, event in enumerate(events):
            assert (event.type, event.id) == ("stats", bundle.id)
            assert event.stats is not None
            if number == 3:
                container.kill("KILL")
        assert container.status == "stopped"
        assert list(events) == []
        container.wait(10)
        assert len(os.listdir("/proc/self/fd")) == before


def test_nothing_comes_before_the_first_interval_is_over(bundle: Bundle) -> None:
    """Then the end of the container is all that there is."""
    with running(bundle) as container, container.events(interval=1000) as events:
        container.kill("KILL")
        assert list(events) == []


def test_an_out_of_memory_kill_is_told_and_the_watching_goes_on(bundle: Bundle) -> None:
    """The container's shell survives; the stats after it count the kill."""
    script = f"read _; {HOARD} >/dev/null; echo over; sleep 1000"
    reader, writer = os.pipe()
    bundle.linux["resources"] = {"memory": {"limit": 32 * MIB, "swap": 32 * MIB}}
    with bundle.build("sh", "-c", script, stdin=reader) as container:
        container.start()
        with container.events(interval=1000) as events:
            os.write(writer, b"\n")
            event = next(events)
            assert (event.type, event.to_dict()) == ("oom", {"type": "oom", "id": bundle.id})
            assert container.status == "running"
        while not container.stats().memory.oom_kills:
            time.sleep(0.01)
    os.close(reader)
    os.close(writer)


def test_the_out_of_memory_kill_of_the_first_process_is_the_last_event(bundle: Bundle) -> None:
    """Whoever wonders why a container ended finds it here."""
    reader, writer = os.pipe()
    bundle.linux["resources"] = {"memory": {"limit": 32 * MIB, "swap": 32 * MIB}}
    script = "read _; a=x; while :; do a=$a$a; done"
    with bundle.build("sh", "-c", script, stdin=reader) as container:
        container.start()
        with container.events(interval=1000) as events:
            os.write(writer, b"\n")
            types = [event.type for event in events]
        assert set(types) == {"oom"}
        assert container.wait(10).signal == signal.SIGKILL
    os.close(reader)
    os.close(writer)


def test_a_paused_and_a_created_container_are_watched(bundle: Bundle) -> None:
    """Both use memory."""
    with bundle.build("sleep", "1000") as container, container.events(interval=0.01) as events:
        assert next(events).type == "stats"
        container.start()
        container.pause()
        assert next(events).type == "stats"
        assert container.status == "paused"


@pytest.mark.parametrize("interval", [0, -1, 1e-9, float("inf"), float("nan"), 1e9])
def test_an_interval_is_a_number_of_seconds_above_zero(bundle: Bundle, interval: float) -> None:
    """Anything else would never look, or never stop looking."""
    with running(bundle) as container, pytest.raises(InvalidArgument, match="interval"):
        container.events(interval)


def test_several_watch_at_once_and_the_handle_may_be_closed(bundle: Bundle) -> None:
    """The events hold descriptors of their own."""
    with running(bundle) as container:
        other = Container.load(bundle.root, bundle.id)
        with container.events(0.01) as one, other.events(0.01) as two:
            other.close()
            assert (next(one).type, next(two).type) == ("stats", "stats")
            container.kill("KILL")
            assert {event.type for event in [*one, *two]} <= {"stats"}


def test_events_come_to_a_loop_without_blocking_it(bundle: Bundle) -> None:
    """Another task works while nothing happens; the iteration ends with the container."""

    async def work() -> None:
        bundle.process["args"] = ["sleep", "1000"]
        bundle.save()
        build = aio.ContainerBuilder(bundle.id).with_root_path(bundle.root).as_init(bundle.path).build
        async with await build() as container:
            await container.start()
            assert (await container.stats()).pids.current == 1
            seen = []

            async def watch() -> None:
                async for event in container.events(0.01):
                    seen.append(event.type)
                    if len(seen) == 3:
                        await container.kill("KILL")

            await asyncio.wait_for(watch(), 30)
            assert seen[:3] == ["stats"] * 3

            with pytest.raises(StateError):
                container.events()

    asyncio.run(work())


def test_a_cancelled_watch_leaves_the_events_usable(bundle: Bundle) -> None:
    """A task may wait for an event or for something else."""

    async def work() -> None:
        bundle.process["args"] = ["sleep", "1000"]
        bundle.save()
        build = aio.ContainerBuilder(bundle.id).with_root_path(bundle.root).as_init(bundle.path).build
        async with await build() as container:
            await container.start()
            with container.events(1000) as events:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(events), 0.05)
                await container.kill("KILL")
                assert [event async for event in events] == []

    asyncio.run(work())


def test_the_command_prints_lines_of_json_and_ends_with_the_container(bundle: Bundle) -> None:
    """In runc's form, exit code 0."""
    with running(bundle) as container, watching(bundle, "--interval", "20ms") as process:
        assert process.stdout
        line = json.loads(process.stdout.readline())
        assert (line["type"], line["id"]) == ("stats", bundle.id)
        assert line["data"]["pids"]["current"] == 1
        assert line["data"]["memory"]["usage"]["usage"] > 0
        container.kill("KILL")
        rest, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")
        assert {json.loads(text)["type"] for text in rest.splitlines()} <= {"stats"}


def test_the_command_tells_out_of_memory(bundle: Bundle) -> None:
    """At once, not at the next interval."""
    reader, writer = os.pipe()
    bundle.linux["resources"] = {"memory": {"limit": 32 * MIB, "swap": 32 * MIB}}
    with bundle.build("sh", "-c", f"read _; {HOARD} >/dev/null; sleep 1000", stdin=reader) as container:
        container.start()
        with watching(bundle, "--interval=1h") as process:
            assert process.stdout
            while not watches_memory(process.pid):
                assert process.poll() is None
                time.sleep(0.05)
            os.write(writer, b"\n")
            assert json.loads(process.stdout.readline()) == {"type": "oom", "id": bundle.id}
    os.close(reader)
    os.close(writer)


def watches_memory(pid: int) -> bool:
    """Whether a process has registered all it watches: two epolls of two descriptors. proc_pid_fdinfo(5)."""
    try:
        watched = [path.read_text().count("tfd:") for path in Path(f"/proc/{pid}/fdinfo").iterdir()]
    except FileNotFoundError:  # it has just closed one: it is not that far yet
        return False
    return watched.count(2) == 2


def test_stats_once(bundle: Bundle) -> None:
    """One line, at once."""
    with running(bundle, pids={"limit": 33}):
        lines = bundle.youki("events", "--stats", bundle.id).stdout.splitlines()
        assert [json.loads(line)["data"]["pids"]["limit"] for line in lines] == [33]


@pytest.mark.parametrize("interval", ["0s", "-5s", "5", "soon", "", "1d", "5s 5s", "nan", "1e3s", "٣s"])
def test_a_wrong_interval_is_one_clear_error(bundle: Bundle, interval: str) -> None:
    """The option is named, and what it takes."""
    with running(bundle):
        result = bundle.youki("events", f"--interval={interval}", bundle.id, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert "--interval" in result.stderr
    assert "expected a duration" in result.stderr


def test_without_a_cgroup_there_is_nothing_to_measure() -> None:
    """An unprivileged user without a delegated cgroup is told so."""
    with borrowed_user() as user:
        user.make_spec()
        user.create("test-events", "sleep", "1000")
        try:
            for words in (("events", "--stats"), ("events", "--interval=10ms")):
                result = user.youki(*words, "test-events", check=False)
                assert result.returncode == 1
                assert "cgroup" in result.stderr
        finally:
            user.youki("delete", "--force", "test-events")
