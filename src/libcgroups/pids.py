"""The limit of tasks, the same in v1 and v2. Spec: config-linux.md, `pids.limit`. Pure."""

from __future__ import annotations

from libcgroups import resources as fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.cgroup import Cgroup
    from libcgroups.resources import Resources
    from libcgroups.stats import Stats

POINTERS = {"pids.max": "/pids/limit"}


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return what to write, [(file, value)]; empty when nothing was asked for. Raises InvalidArgument.

    0 is honoured (runtime-spec 1.3): the cgroup then takes processes that are moved in, and none of them can
    fork.
    """
    pids = fields_of.group(resources, "pids", ("limit",))
    limit = fields_of.integer(pids, "limit", "/pids", fields_of.INT64_MIN, fields_of.INT64_MAX)
    if limit is None:
        return []
    return [("pids.max", "max" if limit < 0 else str(limit))]


def stats(cgroup: Cgroup) -> Stats:
    """Return how many tasks there are, and the limit. Raises CgroupError."""
    from libcgroups import formats
    from libcgroups.stats import Stats

    return Stats(pids=formats.count(cgroup, "pids"))
