"""Watching a container: what it uses, in intervals, and each time that it runs out of memory.

    for event in container.events(interval=1.0):        # or `async for`
        print(event.type, event.to_dict())

The iteration ends when the container's first process has ended, after the last event. The JSON form is that of
runc's `events`. Imported when somebody watches.
"""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING

from libcontainer.cgroup_errors import CgroupErrors
from libcontainer.errors import OF_DESCRIPTORS, CgroupError, InvalidArgument, SystemErrors

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Literal, Self

    from libcgroups.notifications import Notifications, Oom
    from libcgroups.stats import Stats
    from libcontainer.container import Container

INTERVAL_S = 5.0
SHORTEST_S, LONGEST_S = 0.001, 1e6


class Event:
    """What happened in the container `id`: `type` is "stats", with `stats` and perhaps `intel_rdt` (a class of
    service in the form of runc's events), or "oom", with `oom`.
    """

    __slots__ = ("id", "intel_rdt", "oom", "stats", "type")

    def __init__(
        self,
        container_id: str,
        *,
        stats: Stats | None = None,
        intel_rdt: dict[str, Any] | None = None,
        oom: Oom | None = None,
    ) -> None:
        self.id = container_id
        self.type: Literal["stats", "oom"] = "oom" if stats is None else "stats"
        self.stats = stats
        self.intel_rdt = intel_rdt
        self.oom = oom

    def to_dict(self) -> dict[str, Any]:
        """Return the event as runc's `events` prints it: an "oom" has no `data`."""
        found: dict[str, Any] = {"type": self.type, "id": self.id}
        if self.stats is not None:
            from libcontainer.stats_event import stats_data

            found["data"] = stats_data(self.stats, intel_rdt=self.intel_rdt)
        return found

    def __repr__(self) -> str:
        return f"<Event {self.type} of {self.id}>"


class Events:
    """An iterator, for `for` and for `async for`, over the events of one container.

    Watching begins at once, stats come after each interval. One thread or task may iterate at a time. `close`
    it, or use it as a context manager, when leaving before the end.
    """

    def __init__(self, container: Container, interval: float) -> None:
        if not SHORTEST_S <= interval <= LONGEST_S:
            raise InvalidArgument(f"the interval {interval!r} is not a number of seconds above 0")
        self._container = container
        self._interval = interval
        self._due = time.monotonic() + interval
        self._ooms: Notifications[Oom] | None = None
        self._oom_fd = -1
        self._closed = False
        pidfd = container._open_pidfd()
        with SystemErrors(f"cannot watch container {container.id}"):
            self._epoll = select.epoll()
            self._pidfd = -1
            try:
                self._pidfd = os.dup(pidfd)
                self._epoll.register(self._pidfd, select.EPOLLIN)
                self._watch_memory()
            except BaseException:
                self.close()
                raise

    def _watch_memory(self) -> None:
        try:
            with CgroupErrors():
                self._ooms = self._container._manager().oom_events()
        except CgroupError as error:
            if error.errno in OF_DESCRIPTORS:
                raise
            self._container.warnings += (f"out of memory is not watched: {error}",)
        else:
            self._oom_fd = self._ooms.fileno()
            self._epoll.register(self._oom_fd, select.EPOLLIN)

    def close(self) -> None:
        """Stop watching. May be repeated. Not while another thread or task iterates."""
        if self._closed:
            return
        self._closed = True
        self._epoll.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
        if self._ooms is not None:
            self._ooms.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while not self._closed:
            event = self._look(self._epoll.poll(self._left()))
            if event is not None:
                return event
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        from libcgroups.notifications import readable
        from libcgroups.threads import in_thread

        while not self._closed:
            await readable(self._epoll.fileno(), self._left())
            event = await in_thread(self._look, self._epoll.poll(0))
            if event is not None:
                return event
        raise StopAsyncIteration

    def _left(self) -> float:
        return max(0.0, self._due - time.monotonic())

    def _look(self, ready: list[tuple[int, int]]) -> Event | None:
        """Return what there is to tell; close when the container has ended and all has been told."""
        fds = [fd for fd, _ in ready]
        ended = self._pidfd in fds
        if not ended and not self._left():
            self._due = max(self._due + self._interval, time.monotonic())
            return self._measure()
        # Also at the end: on v2 the announcement may come later than the death that it is about.
        if self._ooms is not None and (ended or self._oom_fd in fds):
            oom = self._ooms.take()
            if oom is not None:
                return Event(self._container.id, oom=oom)
        if ended:
            self.close()
        return None

    def _measure(self) -> Event | None:
        try:
            return current(self._container)
        except CgroupError:
            if self._pidfd not in [fd for fd, _ in self._epoll.poll(0)]:
                raise
            self.close()  # it has ended and was deleted at this very moment
            return None


def current(container: Container) -> Event:
    """Return what the container uses now, as an event. Raises as Container.stats, and RdtError."""
    record = container._record.get("rdt")
    stats = container.stats()
    if not record:
        return Event(container.id, stats=stats)
    from libcontainer import rdt

    return Event(container.id, stats=stats, intel_rdt=rdt.stats(record))
