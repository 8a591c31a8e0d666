"""pause and resume: what stands still, what may be done meanwhile, and how it goes on."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from libcontainer import Container, ExitStatus, StateError, aio

from .rootless import borrowed_user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Bundle

COUNTER = "n=0; while :; do n=$((n+1)); echo $n; done"


@contextmanager
def counting(bundle: Bundle) -> Iterator[tuple[Container, int]]:
    """A running container that counts into a pipe, and our end of the pipe."""
    reader, writer = os.pipe()
    try:
        with bundle.build("sh", "-c", COUNTER, stdout=writer) as container:
            os.close(writer)
            container.start()
            assert os.read(reader, 1) == b"1"
            yield container, reader
    finally:
        os.close(reader)


def drain(reader: int) -> int:
    """Read what the pipe holds now; return how many bytes."""
    os.set_blocking(reader, False)
    count = 0
    try:
        while chunk := os.read(reader, 1 << 16):
            count += len(chunk)
    except BlockingIOError:
        pass
    return count


def cpu_ticks(pid: int) -> int:
    """The CPU time that a process has used, in clock ticks. proc_pid_stat(5), fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def await_sleep(pid: int) -> None:
    """Wait until a process is off the CPU: the kernel counts one as frozen a moment before it schedules it out."""
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "R":
        assert time.monotonic() < deadline


def test_a_paused_container_makes_no_progress_until_it_is_resumed(bundle: Bundle) -> None:
    """Frozen is not slow: not one more byte comes, and no CPU time is used, however often one looks."""
    with counting(bundle) as (container, reader):
        container.pause()
        pid = container.pid
        assert pid
        drain(reader)
        await_sleep(pid)
        used = cpu_ticks(pid)
        assert [drain(reader) for _ in range(1000)] == [0] * 1000
        assert cpu_ticks(pid) == used
        assert container.status == "paused"

        container.resume()
        os.set_blocking(reader, True)
        assert os.read(reader, 1)
        assert container.status == "running"


def test_every_process_is_paused_also_in_cgroups_below(bundle: Bundle) -> None:
    """What the container put into a cgroup of its own stands still with it."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        container.pause()
        manager = container._manager()
        assert manager.primary is not None
        below = Path(manager.primary.directory, "below")
        below.mkdir()
        try:
            state = "freezer.state" if (below / "freezer.state").exists() else "cgroup.events"
            assert ("FROZEN" if state == "freezer.state" else "frozen 1") in (below / state).read_text()
        finally:
            below.rmdir()


def test_a_created_container_can_be_paused_and_started_after_resume(bundle: Bundle) -> None:
    """As with runc, status and all; a start meanwhile says what it waits for."""
    with bundle.build("sh", "-c", "exit 3") as container:
        container.pause()
        assert container.status == "paused"
        container.resume()
        assert container.status == "created"
        container.start()
        assert container.wait(10).code == 3


def test_a_start_of_a_paused_container_takes_effect_when_it_is_resumed(bundle: Bundle) -> None:
    """The error says so, and it is true."""
    with bundle.build("sh", "-c", "exit 4") as container:
        container.pause()
        with pytest.raises(StateError, match="it starts when it is resumed"):
            container.start()
        container.resume()
        assert container.wait(10).code == 4


def test_a_paused_container_dies_of_kill_all_and_is_deleted(bundle: Bundle) -> None:
    """Whoever paused it may be gone; SIGKILL needs no resume."""
    container = bundle.build("sh", "-c", "sleep 1000 & sleep 1000; true")
    container.start()
    container.pause()
    container.kill("KILL", all=True)
    assert container.wait(10) == ExitStatus(None, 9)
    container.delete()


def test_a_paused_created_container_is_deleted_by_force_only(bundle: Bundle) -> None:
    """As runc: paused is not stopped."""
    container = bundle.build("true")
    container.pause()
    with pytest.raises(StateError, match="not stopped: paused"):
        container.delete()
    container.delete(force=True)
    assert Container.list(bundle.root) == []


@pytest.mark.parametrize(
    ("verb", "state", "words"),
    [
        ("pause", "paused", "the container is paused"),
        ("pause", "stopped", "container not running"),
        ("resume", "created", "the container is created"),
        ("resume", "running", "the container is running"),
        ("resume", "stopped", "container not running"),
        ("update", "stopped", "container not running"),
    ],
)
def test_a_verb_in_the_wrong_state_is_refused(bundle: Bundle, verb: str, state: str, words: str) -> None:
    """The error names the verb, the container and its state, and changes nothing."""
    with bundle.build("sleep", "1000") as container:
        if state != "created":
            container.start()
        if state == "paused":
            container.pause()
        elif state == "stopped":
            container.kill("KILL")
            container.wait(10)
        with pytest.raises(StateError, match=f"cannot {verb} {bundle.id}: {words}"):
            getattr(container, verb)()
        assert container.status == state


def test_the_commands_pause_and_resume_from_outside(bundle: Bundle) -> None:
    """Another process has only the id."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        assert bundle.youki("pause", bundle.id).stdout == ""
        assert '"status": "paused"' in bundle.youki("state", bundle.id).stdout
        again = bundle.youki("pause", bundle.id, check=False)
        assert (again.returncode, "the container is paused" in again.stderr) == (1, True)
        bundle.youki("resume", bundle.id)
        assert container.status == "running"


@pytest.mark.parametrize("verb", ["pause", "resume", "ps", "update", "events"])
@pytest.mark.parametrize("words", [("absent",), (), ("../x",), ("a", "--no-such-option")])
def test_a_wrong_command_line_is_one_clear_error(bundle: Bundle, verb: str, words: tuple[str, ...]) -> None:
    """Never a traceback, never success."""
    result = bundle.youki(verb, *words, check=False)

    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "internal error" not in result.stderr


def test_pause_and_resume_do_not_block_the_loop(bundle: Bundle) -> None:
    """The asyncio twins do the same."""
    bundle.process["args"] = ["sleep", "1000"]
    bundle.save()

    async def work() -> None:
        build = aio.ContainerBuilder(bundle.id).with_root_path(bundle.root).as_init(bundle.path).build
        async with await build() as container:
            await container.start()
            await container.pause()
            assert container.status == "paused"
            assert await container.processes() == [container.pid]
            await container.resume()
            await container.update({"pids": {"limit": 9}})
            assert container.status == "running"

    asyncio.run(work())


def test_without_a_cgroup_pausing_is_an_error_that_says_why() -> None:
    """An unprivileged user without a delegated cgroup: nothing is claimed that does not happen."""
    with borrowed_user() as user:
        user.make_spec()
        user.create("test-pause", "sleep", "1000")
        user.youki("start", "test-pause")
        try:
            for verb in ("pause", "ps", "update --pids-limit 5", "kill --all"):
                name, *options = verb.split()
                words = [name, *options, "test-pause"] + (["TERM"] if name == "kill" else [])
                result = user.youki(*words, check=False)
                assert result.returncode == 1, (verb, result)
                assert "cgroup" in result.stderr
        finally:
            user.youki("delete", "--force", "test-pause")
