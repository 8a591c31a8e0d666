"""Cgroups from asyncio: the manager of this library, its blocking methods awaitable.

    from libcgroups.aio import new

    manager = new("/jobs/build-7", container_id="build-7")
    await manager.create()
    await manager.apply({"memory": {"limit": 256 << 20}})
    await manager.add_process(pid)
    async for event in manager.oom_events():
        ...

The names, arguments and errors are those of the blocking ones. What works on files for a moment, or waits for
processes to end, runs in a thread of its own and is carried through when it is cancelled: the cancellation goes
on afterwards. Notifications take no thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from libcgroups import factory
from libcgroups.host import DEFAULT_ROOT
from libcgroups.manager import REMOVE_DEADLINE_S, SIGKILL
from libcgroups.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcgroups import manager as _manager
    from libcgroups.factory import Driver
    from libcgroups.host import Setup
    from libcgroups.notifications import Kind, Level, Notifications, Oom, Resource
    from libcgroups.resources import Resources
    from libcgroups.stats import Pressure, Stats

__all__ = ["Manager", "new"]


def new(
    cgroups_path: str | None,
    *,
    container_id: str,
    driver: Driver = "cgroupfs",
    root: str = DEFAULT_ROOT,
    setup: Setup | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Manager:
    """Return the manager for this host, as libcgroups.new does; nothing is created yet."""
    return Manager(
        factory.new(
            cgroups_path,
            container_id=container_id,
            driver=driver,
            root=root,
            setup=setup,
            annotations=annotations,
        )
    )


class Manager:
    """One cgroup in every hierarchy, as libcgroups.Manager; `blocking` is that one.

    What is asked of a single file is asked there (`blocking.exists()`, `.frozen()`, `.paths`): that takes
    microseconds.
    """

    def __init__(self, blocking: _manager.Manager) -> None:
        self.blocking = blocking

    @property
    def paths(self) -> dict[str, str]:
        """Controller → absolute cgroup directory."""
        return self.blocking.paths

    async def create(self) -> None:
        """Make the cgroup in every hierarchy."""
        await in_thread(self.blocking.create)

    async def check_empty_and_thawed(self) -> None:
        """Refuse a cgroup that somebody else populated or froze."""
        await in_thread(self.blocking.check_empty_and_thawed)

    async def add_process(self, pid: int) -> None:
        """Move the process `pid` into the cgroup."""
        await in_thread(self.blocking.add_process, pid)

    async def apply(self, resources: Resources | None) -> None:
        """Set the limits."""
        await in_thread(self.blocking.apply, resources)

    async def update(self, resources: Resources | None) -> None:
        """Change the limits of a cgroup in use: all of them, or none."""
        await in_thread(self.blocking.update, resources)

    async def delegate(self, uid: int) -> None:
        """Let the user `uid` divide the cgroup (v2)."""
        await in_thread(self.blocking.delegate, uid)

    async def processes(self, *, descendants: bool = True) -> list[int]:
        """Return the ids of the processes in the cgroup, and with `descendants` of those below it."""
        return await in_thread(self.blocking.processes, descendants=descendants)

    async def freeze(self) -> None:
        """Stop every process; return when all stand still."""
        await in_thread(self.blocking.freeze)

    async def thaw(self) -> None:
        """Let the processes go on."""
        await in_thread(self.blocking.thaw)

    async def stats(self) -> Stats:
        """Return what the cgroup uses now."""
        return await in_thread(self.blocking.stats)

    async def kill_all(self, signal: int = SIGKILL, *, timeout_s: float = 10.0) -> None:
        """Send `signal` to every process; SIGKILL returns when the cgroup is empty."""
        await in_thread(self.blocking.kill_all, signal, timeout_s=timeout_s)

    async def remove(self, *, timeout_s: float = REMOVE_DEADLINE_S) -> None:
        """Remove the cgroups that `create` made."""
        await in_thread(self.blocking.remove, timeout_s=timeout_s)

    def to_state(self) -> dict[str, Any]:
        """Return what `libcgroups.Manager.from_state` needs."""
        return self.blocking.to_state()

    def oom_events(self) -> Notifications[Oom]:
        """Watch for the cgroup running out of memory: use `async for`."""
        return self.blocking.oom_events()

    def memory_pressure_events(self, level: Level = "medium") -> Notifications[Pressure]:
        """Watch for want of memory: use `async for`."""
        return self.blocking.memory_pressure_events(level)

    def stall_events(
        self, resource: Resource, *, kind: Kind = "some", stall_us: int, window_us: int = 2_000_000
    ) -> Notifications[Pressure]:
        """Watch for tasks that want `resource`: use `async for`."""
        return self.blocking.stall_events(resource, kind=kind, stall_us=stall_us, window_us=window_us)
