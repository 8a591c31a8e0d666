"""Changing the limits of a cgroup in use: all of them, or none where one is refused.

Before each write the file is read: a value that stands there already is not written again (the kernel may
refuse even that, as it does for kernel memory once there are processes), and what stood there is kept. Undoing
goes backwards through the very states that the kernel accepted on the way. Imported for an update only.
"""

from __future__ import annotations

from libcgroups.cgroup import Cgroup
from libcgroups.errors import CgroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from libcgroups.manager import Manager

# Files that hold a line for each device or interface: what a line that is not there stands for.
DEFAULTS = {
    "blkio.bfq.weight_device": "0",
    "blkio.leaf_weight_device": "0",
    "blkio.throttle.read_bps_device": "0",
    "blkio.throttle.read_iops_device": "0",
    "blkio.throttle.write_bps_device": "0",
    "blkio.throttle.write_iops_device": "0",
    "blkio.weight_device": "0",
    "io.bfq.weight": "default",
    "io.max": "rbps=max wbps=max riops=max wiops=max",
    "io.weight": "default",
    "net_prio.ifpriomap": "0",
    "rdma.max": "hca_handle=max hca_object=max",
}


class Journal:
    """A block in which writes to the cgroups of `manager` are undone when it is left by an exception."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._cgroups = manager.cgroups
        self._written: list[tuple[Cgroup, str, str]] = []

    def __enter__(self) -> Self:
        self._manager.cgroups = tuple(Recorded(cgroup, self._written) for cgroup in self._cgroups)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._manager.cgroups = self._cgroups
        if error is None:
            return
        for cgroup, file, previous in reversed(self._written):
            try:
                cgroup.write(file, previous)
            except CgroupError as problem:
                error.add_note(f"undoing the change also failed: {problem}")


class Recorded(Cgroup):
    """A cgroup that notes in `written` what each file held before it was written."""

    __slots__ = ("_plain", "_written")

    def __init__(self, plain: Cgroup, written: list[tuple[Cgroup, str, str]]) -> None:
        super().__init__(plain.hierarchy, plain.path, plain.made)
        self._plain = plain
        self._written = written

    def write(self, file: str, value: str, pointer: str | None = None) -> None:
        """See Cgroup.write; does nothing where the file holds that value already."""
        try:
            before = previous(file, value, self.read(file))
        except CgroupError:
            before = None  # there is nothing to read; whether it can be written, the write will tell
        if before == value:
            return
        self._plain.write(file, value, pointer)
        if before is not None:
            self._written.append((self._plain, file, before))


def previous(file: str, value: str, text: str) -> str | None:
    """Return what to write to `file`, whose content is `text`, to undo the writing of `value`.

    None where that cannot be told.
    """
    if file == "memory.oom_control":
        return text.split()[1]  # "oom_kill_disable 0", and lines that cannot be written
    lines = text.splitlines()
    key, space, _ = value.partition(" ")
    default = DEFAULTS.get(file)
    if default is not None and space:
        return next((line for line in lines if line.startswith(f"{key} ")), f"{key} {default}")
    return lines[0] if len(lines) == 1 or (lines and default is not None) else None
