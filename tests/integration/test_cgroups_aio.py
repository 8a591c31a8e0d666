"""The asyncio twin does the same work, and is never left half done."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from libcgroups import InvalidArgument, aio
from libcgroups import Manager as Blocking

from .groups import needs

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes cgroups"),
]


def manager() -> aio.Manager:
    """A cgroup of this test run."""
    return aio.new(f"/libcontainer-test-aio-{os.getpid()}", container_id="aio")


@needs("pids")
def test_a_whole_life() -> None:
    """Made, limited, joined, frozen, measured, killed and removed, all awaited."""

    async def live() -> None:
        found = manager()
        await found.create()
        await found.check_empty_and_thawed()
        await found.apply({"pids": {"limit": 4}})
        await found.update({"pids": {"limit": 5}})
        sleeper = await asyncio.create_subprocess_exec("sleep", "600")
        await found.add_process(sleeper.pid)
        assert await found.processes() == [sleeper.pid]
        await found.freeze()
        assert found.blocking.frozen()
        await found.thaw()
        pids = (await found.stats()).pids
        assert (pids.current, pids.limit) == (1, 5)
        assert Blocking.from_state(found.to_state()).paths == found.paths
        await found.kill_all()
        assert await sleeper.wait() == -9
        await found.remove()
        assert not found.blocking.exists()

    asyncio.run(live())


def test_errors_are_those_of_the_blocking_one() -> None:
    """With their data."""

    async def refuse() -> None:
        found = manager()
        await found.create()
        with pytest.raises(InvalidArgument) as caught:
            await found.apply({"pids": {"limit": "x"}})
        assert caught.value.pointer == "/pids/limit"
        await found.remove()

    asyncio.run(refuse())


def test_waiting_for_the_dead_does_not_block_the_loop() -> None:
    """kill_all waits for processes that need a while; other tasks run meanwhile, and cancelling waits for it."""

    async def kill() -> None:
        found = manager()
        await found.create()
        program = "import os, time\nfor _ in range(30): os.fork() or time.sleep(600)\ntime.sleep(600)"
        crowd = await asyncio.create_subprocess_exec(
            sys.executable, "-S", "-c", "input()\n" + program, stdin=-1
        )
        await found.add_process(crowd.pid)
        assert crowd.stdin is not None
        crowd.stdin.write(b"\n")
        while len(await found.processes()) < 31:
            await asyncio.sleep(0.01)

        killing = asyncio.create_task(found.kill_all())
        await asyncio.sleep(0)
        assert not killing.done()
        killing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await killing
        assert await found.processes() == []  # carried through

        await crowd.wait()
        await found.remove()

    asyncio.run(kill())
