"""libcgroups: Linux control groups (v1, hybrid, v2), usable without any container.

    from libcgroups import new

    manager = new("/jobs/build-7", container_id="build-7")
    manager.create()
    manager.apply({"pids": {"limit": 64}, "memory": {"limit": 256 << 20}})
    manager.add_process(pid)
    ...
    print(manager.stats().memory.peak_bytes)
    manager.kill_all()
    manager.remove()

`libcgroups.aio` is the same for asyncio. Importing this package reads nothing from the host; a manager's code is
imported when the host needs it.
"""

from __future__ import annotations

from libcgroups.errors import (
    CgroupError,
    Error,
    InUse,
    InvalidArgument,
    NotPermitted,
    Timeout,
    Unsupported,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.factory import new
    from libcgroups.host import Hierarchy, Setup, detect
    from libcgroups.manager import Manager
    from libcgroups.notifications import Notifications, Oom
    from libcgroups.stats import Stats

__all__ = [
    "CgroupError",
    "Error",
    "Hierarchy",
    "InUse",
    "InvalidArgument",
    "Manager",
    "NotPermitted",
    "Notifications",
    "Oom",
    "Setup",
    "Stats",
    "Timeout",
    "Unsupported",
    "detect",
    "new",
]

_HOMES = {
    "Hierarchy": "host",
    "Setup": "host",
    "detect": "host",
    "Manager": "manager",
    "new": "factory",
    "Notifications": "notifications",
    "Oom": "notifications",
    "Stats": "stats",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = __import__(f"{__name__}.{home}", fromlist=(name,))
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
