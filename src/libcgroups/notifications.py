"""What the kernel announces about a cgroup: out of memory, memory pressure, stalls.

    with manager.oom_events() as events:
        for event in events:               # blocks; `async for` in asyncio, which does not
            print(event.oom_kills)

Watching starts with the call that returns the iterator, and ends with `close` (from any thread) or when the
cgroup is removed. Notifications that come faster than they are taken are one.

Authority: cgroup-v1/memory.rst (sections 9 to 11) for eventfds, cgroup-v2.rst for events files, accounting/psi.rst
for triggers.
"""

from __future__ import annotations

import os
import select
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from libcgroups.errors import InvalidArgument, Unsupported
from libcgroups.stats import Record

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Literal, Self

    from libcgroups.cgroup import Cgroup
    from libcgroups.manager import Manager
    from libcgroups.stats import Pressure

    Level = Literal["low", "medium", "critical"]
    Resource = Literal["cpu", "io", "memory"]
    Kind = Literal["some", "full"]

T = TypeVar("T")

# The kernel tells of a removal by itself but for one that another cgroup namespace does; so look now and then.
GLANCE_S = 1.0
LEVELS = ("low", "medium", "critical")
RESOURCES = ("cpu", "io", "memory")
KINDS = ("some", "full")
WINDOW_US = 2_000_000  # a caller without CAP_SYS_RESOURCE may use multiples of this only: accounting/psi.rst


class Oom(Record):
    """The cgroup ran out of memory: how often so far, and how many processes the kernel has killed for it.

    v1 does not count the first, announces it before it kills, and counts only kills in the cgroup itself.
    """

    ooms: int | None = None
    oom_kills: int | None = None


class Source(ABC, Generic[T]):
    """One descriptor that the kernel makes ready, and what that means; see v1/ and v2/notifications.py."""

    MASK = select.EPOLLIN
    fd: int

    def __init__(self, cgroup: Cgroup) -> None:
        self.cgroup = cgroup

    def exists(self) -> bool:
        """Tell whether the cgroup is still there."""
        return self.cgroup.exists()

    @abstractmethod
    def take(self) -> T | None:
        """Return what made the descriptor ready, None when it was nothing of interest; does not block."""

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


class Notifications(Generic[T]):
    """An iterator, for `for` and for `async for`, over what the kernel announces; or `take` it from it.

    One thread or task may iterate at a time; any may `close`.
    """

    def __init__(self, source: Source[T]) -> None:
        self._source = source
        self._guard = threading.RLock()  # held for moments only; never while waiting
        self._waiting = self._over = self._disposed = False
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        try:
            self._epoll.register(source.fd, source.MASK)
            self._epoll.register(self._stop, select.EPOLLIN)
        except OSError:
            self._dispose()
            raise

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        self._begin()
        try:
            while not self._over:
                event = self._look(ready=bool(self._epoll.poll(GLANCE_S)))
                if event is not None:
                    return event
        finally:
            self._end()
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        self._begin()
        try:
            while not self._over:
                # Not asked again which of the two it was: asking takes the readiness of a trigger away.
                event = self._look(ready=await readable(self._epoll.fileno(), GLANCE_S))
                if event is not None:
                    return event
        finally:
            self._end()
        raise StopAsyncIteration

    def fileno(self) -> int:
        """Return a descriptor for a loop of the caller's own: while it can be read, call `take`."""
        return self._epoll.fileno()

    def take(self) -> T | None:
        """Return what has been announced, None when it was nothing of interest; does not block."""
        self._begin()
        try:
            return self._look(ready=True)
        finally:
            self._end()

    def close(self) -> None:
        """End the iteration, also one that waits in another thread or task. May be repeated."""
        with self._guard:
            if self._disposed:
                return
            self._over = True
            os.eventfd_write(self._stop, 1)
            if not self._waiting:
                self._dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _look(self, *, ready: bool) -> T | None:
        if self._over:
            return None
        event = self._source.take() if ready else None
        if event is None and not self._source.exists():
            self._over = True
        return event

    def _begin(self) -> None:
        with self._guard:
            if self._waiting:
                raise ValueError("these notifications are being waited for already")
            self._waiting = True

    def _end(self) -> None:
        """Close the descriptors once nobody waits on them: their numbers may be somebody else's at once."""
        with self._guard:
            self._waiting = False
            if self._over and not self._disposed:
                self._dispose()

    def _dispose(self) -> None:
        self._disposed = True
        self._epoll.close()
        self._source.close()
        os.close(self._stop)


async def readable(fd: int, timeout_s: float) -> bool:
    """Wait until `fd` can be read, and tell whether it can."""
    import asyncio

    loop = asyncio.get_running_loop()
    ready: asyncio.Future[bool] = loop.create_future()

    def resolve(answer: bool) -> None:
        if not ready.done():
            ready.set_result(answer)

    loop.add_reader(fd, resolve, True)
    timer = loop.call_later(timeout_s, resolve, False)
    try:
        return await ready
    finally:
        timer.cancel()
        loop.remove_reader(fd)


def oom_events(manager: Manager) -> Notifications[Oom]:
    """See Manager.oom_events."""
    cgroup = manager.cgroup_of("memory")
    if cgroup is not None:
        from libcgroups.v1.notifications import OomSource as V1Source

        return Notifications(V1Source(cgroup))
    from libcgroups.v2.notifications import OomSource

    return Notifications(OomSource(_unified(manager, "memory.events")))


def memory_pressure_events(manager: Manager, level: Level) -> Notifications[Pressure]:
    """See Manager.memory_pressure_events."""
    _known("level", level, LEVELS)
    cgroup = manager.cgroup_of("memory")
    if cgroup is not None:
        from libcgroups.v1.notifications import PressureSource

        return Notifications(PressureSource(cgroup, level))
    from libcgroups.v2.notifications import LEVELS as TRIGGERS
    from libcgroups.v2.notifications import StallSource

    kind, stall_us = TRIGGERS[level]
    return Notifications(
        StallSource(_unified(manager, "memory.pressure"), "memory", kind, stall_us, WINDOW_US)
    )


def stall_events(
    manager: Manager, resource: Resource, kind: Kind, stall_us: int, window_us: int
) -> Notifications[Pressure]:
    """See Manager.stall_events."""
    _known("resource", resource, RESOURCES)
    _known("kind", kind, KINDS)
    from libcgroups.v2.notifications import StallSource

    cgroup = _unified(manager, f"{resource}.pressure")
    return Notifications(StallSource(cgroup, resource, kind, stall_us, window_us))


def _unified(manager: Manager, file: str) -> Cgroup:
    cgroup = manager.unified
    if cgroup is None or not cgroup.has(file):
        where = "no unified hierarchy" if cgroup is None else f"no {cgroup.directory}/{file}"
        raise Unsupported(
            f"nothing announces this here: there is {where}",
            path=None if cgroup is None else f"{cgroup.directory}/{file}",
            value=file,
            remedy="create the cgroup, on a host that has the controller; pressure needs CONFIG_PSI",
        )
    return cgroup


def _known(name: str, value: str, values: tuple[str, ...]) -> None:
    if value not in values:
        raise InvalidArgument(
            f"the {name} {value!r} is not known", value=str(value), remedy=f"use one of {', '.join(values)}"
        )
