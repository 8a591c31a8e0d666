"""v2 announces changes of memory.events (inotify(7)) and stalls by PSI triggers (poll(2); accounting/psi.rst)."""

from __future__ import annotations

import os
import select

from libcgroups import formats
from libcgroups.cgroup import Cgroup
from libcgroups.errors import CgroupError, InvalidArgument, from_os
from libcgroups.inotify import DELETE, MODIFY, Inotify
from libcgroups.notifications import Oom, Source
from libcgroups.stats import Pressure, Stall

# v1's levels as stalls in two seconds: what systemd takes for pressure (systemd.resource-control(5),
# MemoryPressureThresholdSec=), half of it, and as much with nobody getting on at all.
LEVELS = {"low": ("some", 100_000), "medium": ("some", 200_000), "critical": ("full", 200_000)}
_WINDOW_US = (500_000, 10_000_000)


class OomSource(Source[Oom]):
    """Out of memory, in the cgroup or below it. Other lines of memory.events change too and are passed over."""

    def __init__(self, cgroup: Cgroup) -> None:
        super().__init__(cgroup)
        self._inotify = Inotify()
        self.fd = self._inotify.fd
        try:
            self._inotify.watch(f"{cgroup.directory}/memory.events", MODIFY)
            self._inotify.watch(cgroup.ancestor(1), DELETE)
            self._last = self._counts()  # read after the watch began, so that no change is lost
        except BaseException:
            self.close()
            raise

    def take(self) -> Oom | None:
        """See Source.take."""
        self._inotify.read()
        last, self._last = self._last, self._counts()
        if all(now <= before for now, before in zip(self._last, last, strict=True)):
            return None
        return Oom(ooms=self._last[0], oom_kills=self._last[1])

    def _counts(self) -> tuple[int, int]:
        events = formats.flat(self.cgroup, "memory.events") or {}
        return events.get("oom", 0), events.get("oom_kill", 0)


class StallSource(Source[Pressure]):
    """Tasks were stalled for `stall_us` within `window_us`; the kernel tells at most once in each window."""

    MASK = select.EPOLLPRI

    def __init__(self, cgroup: Cgroup, resource: str, kind: str, stall_us: int, window_us: int) -> None:
        super().__init__(cgroup)
        self._file = f"{resource}.pressure"
        if not _WINDOW_US[0] <= window_us <= _WINDOW_US[1] or not 0 < stall_us <= window_us:
            raise InvalidArgument(
                f"a stall of {stall_us} µs in {window_us} µs cannot be watched for",
                value=f"{kind} {stall_us} {window_us}",
                remedy="use a window of 0.5 to 10 seconds, and a stall that is not longer",
            )
        self._kind = kind
        self._last = self._total(formats.pressure(cgroup, self._file))
        path, trigger = f"{cgroup.directory}/{self._file}", f"{kind} {stall_us} {window_us}"
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as error:
            raise from_os(error, "open", path) from error
        try:
            os.write(self.fd, trigger.encode())
        except OSError as error:
            os.close(self.fd)
            raise _refused(from_os(error, "write", path, trigger)) from error

    def take(self) -> Pressure | None:
        """See Source.take. A removal makes the trigger ready, too, and before the directory has gone."""
        found = formats.pressure(self.cgroup, self._file)
        last, self._last = self._last, self._total(found)
        return found if self._last > last else None

    def _total(self, pressure: Pressure) -> int:
        stall: Stall = getattr(pressure, self._kind)
        return stall.total_ns or 0


def _refused(error: CgroupError) -> CgroupError:
    error.remedy = error.remedy or (
        "without CAP_SYS_RESOURCE the window must be a multiple of 2 seconds (and the kernel 6.4 or later)"
    )
    return error
