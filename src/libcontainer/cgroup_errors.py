"""What the cgroup library refuses, as an error of this one. On the hot path."""

from __future__ import annotations

import libcgroups.errors
from libcontainer.errors import OF_DESCRIPTORS, CgroupError, SystemErrors, shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

CONFIG = "/linux/resources"


class CgroupErrors:
    """A block out of which errors of the cgroup library, and a lack of descriptors there, come as CgroupError.

    `resources` is where in the configuration the resources are that were passed there; None for those of a
    call, whose pointers count from their own top. `place` is what an error is about that points at nothing.
    """

    __slots__ = ("_place", "_resources")

    def __init__(self, resources: str | None = CONFIG, *, place: str | None = None) -> None:
        self._resources = resources
        self._place = place

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, libcgroups.errors.Error):
            raise cgroup_error(error, self._resources, self._place) from error
        if isinstance(error, OSError) and error.errno in OF_DESCRIPTORS:
            SystemErrors("cannot use the cgroup", CgroupError).__exit__(kind, error, trace)


def cgroup_error(
    error: libcgroups.errors.Error, resources: str | None = CONFIG, place: str | None = None
) -> CgroupError:
    """Return an error of the cgroup library as one of ours."""
    pointer = place if error.pointer is None else f"{resources or ''}{error.pointer}"
    where = "" if pointer is None else f"{'config.json' if resources else 'resources'} {pointer}: "
    found = CgroupError(
        where + error.message.removeprefix(f"{error.pointer}: "),
        step="cgroup",
        pointer=pointer,
        syscall=error.syscall,
        errno=error.errno,
        path=error.path,
        remedy=error.remedy or (shortage(error.errno) if error.errno in OF_DESCRIPTORS else None),
    )
    for note in getattr(error, "__notes__", ()):
        found.add_note(note)
    return found
