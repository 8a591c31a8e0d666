"""Containers from asyncio: libcontainer.aio on real containers. The loop is never blocked, nothing is left behind."""

from __future__ import annotations

import asyncio
import copy
import inspect
import os
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import libcontainer
from libcontainer import (
    DEVNULL,
    PIPE,
    AlreadyExists,
    ExecError,
    ExitStatus,
    InvalidConfig,
    NotFound,
    StateError,
    Timeout,
    aio,
    reaping,
    sealed,
)
from libcontainer.strictjson import dumps

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from .conftest import Bundle

# Of the blocking container: what takes no time, or is the same for both.
PLAIN = {"close", "events"}


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run in a loop of its own, and hold that it leaves no thread and no descriptor behind."""
    sealed.program([])  # opened once for the life of the process,
    reaping.watch()  # as this
    threads, fds = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    asyncio.run(work)
    for thread in set(threading.enumerate()) - threads:
        thread.join(10)  # its result was delivered; it is on its way out
        assert not thread.is_alive()
    assert len(os.listdir("/proc/self/fd")) == fds


def builder(bundle: Bundle, *args: str, container_id: str | None = None) -> aio.InitContainerBuilder:
    """Return the asyncio builder of this bundle."""
    bundle.process["args"] = list(args)
    bundle.save()
    common = aio.ContainerBuilder(container_id or bundle.id).with_root_path(bundle.root)
    return common.as_init(bundle.path)


def public_methods(kind: type) -> dict[str, Any]:
    return {
        name: value
        for name, value in inspect.getmembers_static(kind)
        if not name.startswith("_") and not isinstance(value, property) and callable(getattr(kind, name))
    }


def test_every_blocking_method_has_its_awaitable_twin() -> None:
    """The names and parameters of both faces stay the same, whatever is added to one of them."""
    blocking, awaitable = public_methods(libcontainer.Container), public_methods(aio.Container)

    assert set(blocking) == set(awaitable)
    for name in blocking:
        one, other = getattr(libcontainer.Container, name), getattr(aio.Container, name)
        assert inspect.signature(one).parameters.keys() == inspect.signature(other).parameters.keys(), name
        assert inspect.iscoroutinefunction(other) == (name not in PLAIN), name


def test_every_property_is_there_too() -> None:
    """What is known of a container is read the same way."""
    for name, value in vars(libcontainer.Container).items():
        if isinstance(value, property):
            assert isinstance(getattr(aio.Container, name), property), name
    for name in ("id", "root", "warnings", "stdin", "stdout", "stderr"):
        assert isinstance(getattr(aio.Container, name), property), name


def test_builders_differ_in_build_alone() -> None:
    """All `with_` methods are the same ones."""
    for one, other in (
        (libcontainer.ContainerBuilder, aio.ContainerBuilder),
        (libcontainer.InitContainerBuilder, aio.InitContainerBuilder),
    ):
        assert issubclass(other, one)
        assert set(public_methods(one)) == set(public_methods(other))
    assert inspect.iscoroutinefunction(aio.InitContainerBuilder.build)


def test_a_container_lives_its_life_from_a_loop(bundle: Bundle) -> None:
    """build, start, wait, state, load, list, delete."""

    async def work() -> None:
        container = await builder(bundle, "sh", "-c", "exit 5").build()
        assert container.status == "created"
        await container.start()
        assert await container.wait() == ExitStatus(5, None)
        assert await container.wait() == ExitStatus(5, None)
        loaded = await aio.Container.load(bundle.root, bundle.id)
        assert (await loaded.state())["status"] == "stopped"
        assert (await loaded.spec())["hostname"] == "box"
        assert [found.id for found in await aio.Container.list(bundle.root)] == [bundle.id]
        await container.delete()
        with pytest.raises(NotFound):
            await aio.Container.load(bundle.root, bundle.id)
        container.close()
        loaded.close()

    run(work())


def test_errors_are_those_of_the_blocking_methods(bundle: Bundle) -> None:
    """The same types, raised where they are awaited."""

    async def work() -> None:
        with pytest.raises(ExecError):
            await builder(bundle, "no-such-program").build()
        async with await builder(bundle, "sleep", "1000").build() as container:
            with pytest.raises(AlreadyExists):
                await builder(bundle, "true").build()
            await container.start()
            with pytest.raises(StateError, match="already running"):
                await container.start()
            with pytest.raises(Timeout):
                await container.wait(timeout=0.01)
            await container.kill("KILL")
            assert (await container.wait(10)).signal == signal.SIGKILL
        bundle.process["cwd"] = "nowhere"
        with pytest.raises(InvalidConfig):
            await builder(bundle, "true").build()

    run(work())


def test_the_block_deletes_the_container_whatever_happens(bundle: Bundle) -> None:
    """`async with` is the way not to leave one behind."""

    async def fail() -> None:
        async with await builder(bundle, "sleep", "1000").build() as container:
            await container.start()
            raise RuntimeError("of mine")

    async def work() -> None:
        with pytest.raises(RuntimeError, match="of mine"):
            await fail()
        assert await aio.Container.list(bundle.root) == []

    run(work())


def test_several_tasks_may_wait_for_one_container(bundle: Bundle) -> None:
    """Each with its own timeout; all of them learn the status."""

    async def work() -> None:
        async with await builder(
            bundle, "sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.1; done"
        ).build() as one:
            await one.start()
            waits = [asyncio.create_task(one.wait()) for _ in range(5)]
            cancelled = asyncio.create_task(one.wait())
            await asyncio.sleep(0)
            cancelled.cancel()
            while not all(task.done() for task in waits):
                with suppress(StateError):  # it may end at any moment
                    await one.kill("TERM")
                await asyncio.wait(waits, timeout=0.05)
            assert {task.result() for task in waits} == {ExitStatus(4, None)}
            with pytest.raises(asyncio.CancelledError):
                await cancelled

    run(work())


def add_waiting_hook(bundle: Bundle) -> Path:
    """Give the container a hook that ends when the returned fifo has been opened for writing and closed."""
    fifo = bundle.path / "fifo"
    os.mkfifo(fifo)
    bundle.spec["hooks"] = {
        "createRuntime": [{"path": "/bin/cat", "args": ["cat", str(fifo)], "timeout": 60}]
    }
    return fifo


async def open_when_read(fifo: Path) -> int:
    """Open the fifo for writing as soon as the hook reads it, and let the loop turn until then."""
    while True:
        await asyncio.sleep(0)
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)  # ENXIO: the hook does not read yet
        except OSError:
            continue


def test_the_loop_goes_on_while_a_hook_takes_its_time(bundle: Bundle) -> None:
    """The hook ends only when the loop, turning all the while, opens its fifo."""
    fifo = add_waiting_hook(bundle)

    async def work() -> None:
        building = asyncio.create_task(builder(bundle, "true").build())
        writer = await open_when_read(fifo)
        assert not building.done()
        os.close(writer)
        async with await building as container:
            assert container.status == "created"

    run(work())


def test_a_cancelled_create_leaves_nothing(bundle: Bundle) -> None:
    """It is waited for, and what came of it is removed before the cancellation goes on."""
    fifo = add_waiting_hook(bundle)

    async def work() -> None:
        building = asyncio.create_task(builder(bundle, "true").build())
        writer = await open_when_read(fifo)
        building.cancel()
        await asyncio.sleep(0)
        building.cancel()  # an impatient caller changes nothing
        os.close(writer)
        with pytest.raises(asyncio.CancelledError):
            await building
        assert await aio.Container.list(bundle.root) == []

    run(work())


def test_run_starts_and_waits(bundle: Bundle) -> None:
    """The twin of `run`; cancelled, it leaves the container running."""

    async def work() -> None:
        async with await builder(bundle, "sh", "-c", "exit 3").build() as container:
            assert await container.run() == ExitStatus(3, None)
        async with await builder(bundle, "sleep", "1000").build() as container:
            running = asyncio.create_task(container.run())
            while container.status != "running":
                await asyncio.sleep(0.001)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert container.status == "running"

    run(work())


def test_no_handler_for_children_is_installed(bundle: Bundle) -> None:
    """SIGCHLD and other programs' children are none of our business."""

    async def work() -> None:
        before = signal.getsignal(signal.SIGCHLD)
        async with await builder(bundle, "true").build() as container:
            await container.start()
            await container.wait()
            assert signal.getsignal(signal.SIGCHLD) is before

    run(work())


def test_thirty_containers_at_once_from_one_loop(bundle: Bundle) -> None:
    """Each gets its own status; the root file system and the bundle are shared."""
    bundle.spec["root"]["readonly"] = True
    bundle.spec["hostname"] = "many"
    for number in range(30):
        spec = copy.deepcopy(bundle.spec)
        spec["process"]["args"] = ["sh", "-c", f"exit {number}"]
        (bundle.path / f"{number}.json").write_text(dumps(spec))

    async def one(number: int) -> int | None:
        made = builder(bundle, "true", container_id=f"{bundle.id[:40]}-{number}")
        async with await made.with_config(bundle.path / f"{number}.json").build() as container:
            await container.start()
            return (await container.wait(60)).code

    async def work() -> None:
        assert await asyncio.gather(*[one(number) for number in range(30)]) == list(range(30))

    run(work())


# Tenants


def test_tenant_has_its_awaitable_twins() -> None:
    """The handle and the builder differ from the blocking ones in what waits, and in nothing else."""
    blocking, awaitable = public_methods(libcontainer.Process), public_methods(aio.Process)
    known = {"pid", "stdin", "stdout", "stderr", "terminal", "warnings", "returncode"}

    assert set(blocking) == set(awaitable)
    assert {name for name in awaitable if inspect.iscoroutinefunction(awaitable[name])} == {
        "wait",
        "communicate",
    }
    assert {name for name, value in vars(aio.Process).items() if isinstance(value, property)} == known
    assert (
        public_methods(libcontainer.TenantContainerBuilder).keys()
        == public_methods(aio.TenantContainerBuilder).keys()
    )


def test_a_tenant_lives_its_life_from_a_loop(bundle: Bundle) -> None:
    """exec, communicate, poll, wait, send_signal; the short form and the builder."""

    async def work() -> None:
        async with await builder(bundle, "sleep", "1000").build() as container:
            await container.start()
            async with await container.exec(["cat"], stdin=PIPE, stdout=PIPE) as process:
                assert process.poll() is None
                data = os.urandom(1 << 20)
                assert await process.communicate(data, timeout=60) == (data, None)
                assert await process.wait() == ExitStatus(0, None)
                assert process.returncode == 0
            common = aio.ContainerBuilder(bundle.id).with_root_path(bundle.root)
            async with await common.as_tenant().with_container_args(["sleep", "1000"]).build() as process:
                with pytest.raises(Timeout):
                    await process.wait(0.05)
                process.send_signal("TERM")
                assert await process.wait(30) == ExitStatus(None, signal.SIGTERM)
            with pytest.raises(ExecError):
                await container.exec(["no-such-program"])

    run(work())


def test_a_hundred_tenants_at_once_from_a_loop(bundle: Bundle) -> None:
    """Each gets its own output and status, and several may wait for one."""

    async def one(container: aio.Container, number: int) -> None:
        script = f"echo {number}; exit {number}"
        async with await container.exec(["sh", "-c", script], stdin=DEVNULL, stdout=PIPE) as process:
            assert await process.communicate(timeout=120) == (f"{number}\n".encode(), None)
            assert await asyncio.gather(process.wait(), process.wait()) == [ExitStatus(number, None)] * 2

    async def work() -> None:
        async with await builder(bundle, "sleep", "1000").build() as container:
            await container.start()
            await asyncio.gather(*(one(container, number) for number in range(100)))

    run(work())


def test_communicate_may_be_tried_again_after_its_timeout(bundle: Bundle) -> None:
    """What was read is not lost."""

    async def work() -> None:
        async with await builder(bundle, "sleep", "1000").build() as container:
            await container.start()
            script = "echo early; sleep 0.5; echo late"
            async with await container.exec(["sh", "-c", script], stdin=DEVNULL, stdout=PIPE) as process:
                with pytest.raises(Timeout):
                    await process.communicate(timeout=0.1)
                assert await process.communicate(timeout=30) == (b"early\nlate\n", None)

    run(work())


def test_a_cancelled_start_of_a_tenant_leaves_nothing(bundle: Bundle) -> None:
    """The step in progress ends, the process is killed and reaped, and then the cancellation goes on."""

    async def work() -> None:
        async with await builder(bundle, "sleep", "1000").build() as container:
            await container.start()
            for delay in (0, 0.0005, 0.001, 0.002, 0.004):
                starting = asyncio.create_task(container.exec(["sleep", "1000"]))
                await asyncio.sleep(delay)
                if not starting.cancel():
                    await (await starting).__aexit__()  # it was faster
                else:
                    with pytest.raises(asyncio.CancelledError):
                        await starting
            assert container.blocking._manager().processes() == [container.pid]

    run(work())


def test_waiting_for_a_container_reaps_the_tenants_that_nobody_waits_for(bundle: Bundle) -> None:
    """Its pid namespace would never end otherwise: a wait would hang for ever."""

    async def work() -> None:
        async with await builder(bundle, "sleep", "1000").build() as container:
            await container.start()
            process = await container.exec(["sleep", "1000"])
            await container.kill("KILL")
            assert await container.wait(30) == ExitStatus(None, signal.SIGKILL)
            assert process.poll() == ExitStatus(None, signal.SIGKILL)

    run(work())
