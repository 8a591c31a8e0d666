"""From resources to writes: which module limits which resource, and how a list of settings is written.

Each controller is one module of one shape: NAME (the kernel's), POINTERS (file → where in the resources it
comes from), the pure function `settings(resources) → [(file, value)]`, and `stats(cgroup) → Stats`, which says
what it measures and leaves the rest unsaid. A controller that cannot be limited or measures nothing lacks that
half. A module is imported only when its resource is asked for.
"""

from __future__ import annotations

import errno

from libcgroups.errors import CgroupError
from libcgroups.resources import requested

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Protocol

    from libcgroups.cgroup import Cgroup
    from libcgroups.resources import Resources
    from libcgroups.stats import Stats

    class Controller(Protocol):
        """The shape of a controller's module."""

        NAME: str
        POINTERS: Mapping[str, str]

        settings: Callable[[Resources], list[tuple[str, str]]]
        stats: Callable[[Cgroup], Stats]


MOST_KNOWN = 16

_known: dict[tuple[str, str], list[Change]] = {}


class Change:
    """What one controller is to write, and which resource asks for it."""

    __slots__ = ("controller", "resource", "settings")

    def __init__(self, resource: str, controller: Controller, settings: list[tuple[str, str]]) -> None:
        self.resource = resource
        self.controller = controller
        self.settings = settings

    def pointer(self, file: str) -> str:
        """Return where in the resources `file` comes from."""
        default = f"/unified/{file}" if self.resource == "unified" else f"/{self.resource}"
        return self.controller.POINTERS.get(file, default)

    @property
    def first_pointer(self) -> str:
        """Where in the resources the first setting comes from."""
        return self.pointer(self.settings[0][0])

    def write(self, cgroup: Cgroup) -> None:
        """Write the settings to `cgroup`; raises CgroupError, with `pointer`."""
        write = getattr(self.controller, "write", write_all)
        try:
            write(cgroup, self.settings, self.controller.POINTERS)
        except CgroupError as error:
            if error.pointer is None:
                error.pointer = self.pointer((error.path or "").rpartition("/")[2])
            raise


def wanted(
    resources: Resources | None, table: Mapping[str, tuple[str, ...]], package: str
) -> Sequence[Change]:
    """Return the changes that `resources` ask for.

    `table` is resource → module names in `package`. Raises InvalidArgument and Unsupported. Pure, and programs
    limit many cgroups alike: what was found is kept, by what the resources are and not by the object.
    """
    if not resources:
        return []
    asked = package, repr(resources)
    known = _known.get(asked)
    if known is not None:
        return known
    found = []
    for key in requested(resources):
        for name in table[key]:
            controller = load(package, name)
            settings = controller.settings(resources)
            if settings:
                found.append(Change(key, controller, settings))
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    _known[asked] = found
    return found


def load(package: str, name: str) -> Controller:
    """Return the controller's module."""
    # Not importlib.import_module: importing importlib costs more than the controller.
    module: Any = __import__(f"{package}.{name}", fromlist=("settings",))
    controller: Controller = module
    return controller


def write_all(cgroup: Cgroup, settings: list[tuple[str, str]], pointers: Mapping[str, str]) -> None:
    """Write the settings in order; one that EINVAL refuses is tried again after the others.

    Which order is right depends on the values that are set now: a memory limit above the old memory+swap
    limit, a CPU period that the old quota does not fit, a burst above the old quota are all refused with
    EINVAL until the other value is written. As long as a round gets one more value in, the next round may
    too. Raises CgroupError for the first value that stays refused.
    """
    while settings:
        refused = []
        failure: CgroupError | None = None
        for file, value in settings:
            try:
                cgroup.write(file, value, pointers.get(file))
            except CgroupError as error:
                if error.errno != errno.EINVAL:
                    raise
                failure = failure or error
                refused.append((file, value))
        if failure is not None and len(refused) == len(settings):
            raise failure
        settings = refused
