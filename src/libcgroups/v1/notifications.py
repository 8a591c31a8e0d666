"""v1 announces through an eventfd that is registered in cgroup.event_control (cgroup-v1/memory.rst).

It is signalled once more when the cgroup is removed, which is not an event.
"""

from __future__ import annotations

import os

from libcgroups import formats
from libcgroups.cgroup import Cgroup
from libcgroups.errors import CgroupError, from_os
from libcgroups.notifications import Oom, Source, T
from libcgroups.stats import Pressure


class _EventSource(Source[T]):
    """An eventfd that is registered for `file`."""

    def __init__(self, cgroup: Cgroup, file: str, argument: str = "") -> None:
        super().__init__(cgroup)
        path = f"{cgroup.directory}/{file}"
        try:
            file_fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            raise from_os(error, "open", path) from error
        try:
            self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            try:
                cgroup.write("cgroup.event_control", f"{self.fd} {file_fd} {argument}".rstrip())
            except CgroupError:
                os.close(self.fd)
                raise
        finally:
            os.close(file_fd)

    def happened(self) -> bool:
        """Tell whether there was an event since the last look."""
        try:
            count = os.eventfd_read(self.fd)
        except BlockingIOError:
            return False
        return count > (0 if self.exists() else 1)


class OomSource(_EventSource[Oom]):
    """Out of memory, in the cgroup or in an ancestor."""

    def __init__(self, cgroup: Cgroup) -> None:
        super().__init__(cgroup, "memory.oom_control")

    def take(self) -> Oom | None:
        """See Source.take."""
        if not self.happened():
            return None
        return Oom(oom_kills=(formats.flat(self.cgroup, "memory.oom_control") or {}).get("oom_kill"))


class PressureSource(_EventSource[Pressure]):
    """The kernel reclaims memory with more effort than `level` stands for; v1 does not tell how much more."""

    def __init__(self, cgroup: Cgroup, level: str) -> None:
        super().__init__(cgroup, "memory.pressure_level", level)

    def take(self) -> Pressure | None:
        """See Source.take."""
        return Pressure() if self.happened() else None
