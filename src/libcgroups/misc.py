"""The misc controller, the same in v1 and v2: scalar resources of the machine, such as encryption keys of guests.

Files: misc.current, misc.max, misc.peak, misc.events (cgroup-v2.rst, "Misc"). The specification has no field
for it: on v2 a limit is set through `unified`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.cgroup import Cgroup
    from libcgroups.stats import Stats


def stats(cgroup: Cgroup) -> Stats:
    """Return how much of each resource is in use, and the limits. Raises CgroupError."""
    from libcgroups import formats
    from libcgroups.stats import Count, Stats

    current = formats.flat(cgroup, "misc.current")
    if current is None:
        return Stats()
    limits = formats.limits(cgroup, "misc.max") or {}
    peaks = formats.flat(cgroup, "misc.peak") or {}
    events = formats.flat(cgroup, "misc.events") or {}
    return Stats(
        misc={
            resource: Count(
                current=used,
                limit=limits.get(resource),
                peak=peaks.get(resource),
                failures=events.get(f"{resource}.max"),
            )
            for resource, used in current.items()
        }
    )
