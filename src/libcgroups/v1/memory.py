"""The v1 memory controller: how much memory, and memory with swap, a cgroup may use.

Files: memory.* (cgroup-v1/memory.rst; bytes). Spec: config-linux.md, `memory`: -1 is no limit, and 0 is
unset. The limit must not exceed that of memory+swap at any moment; which to write first depends on the old
values, and controllers.write_all finds it out.
"""

from __future__ import annotations

import errno
import time

from libcgroups import memorylimit
from libcgroups import resources as fields_of
from libcgroups.controllers import write_all
from libcgroups.errors import CgroupError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcgroups.cgroup import Cgroup
    from libcgroups.resources import Resources
    from libcgroups.stats import Stats, Usage

NAME = "memory"
_KMEM = "memory.kmem.limit_in_bytes"
_LIMIT, _MEMSW = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
POINTERS = {
    "memory.use_hierarchy": "/memory/useHierarchy",
    _LIMIT: "/memory/limit",
    _MEMSW: "/memory/swap",
    "memory.soft_limit_in_bytes": "/memory/reservation",
    _KMEM: "/memory/kernel",
    "memory.kmem.tcp.limit_in_bytes": "/memory/kernelTCP",
    "memory.swappiness": "/memory/swappiness",
    "memory.oom_control": "/memory/disableOOMKiller",
}


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return what to write, [(file, value)]; empty when nothing was asked for. Raises InvalidArgument."""
    memory = fields_of.group(resources, "memory", memorylimit.FIELDS)
    limit, swap = memorylimit.limit(memory, "limit"), memorylimit.limit(memory, "swap")
    if limit > 0 and 0 < swap < limit:
        raise fields_of.invalid(
            "/memory/swap", swap, f"memory+swap limit should be >= memory limit ({limit})"
        )
    if limit == -1 and swap == 0:
        swap = -1  # no limit of memory makes sense only without one of memory+swap
    values: dict[str, int | None] = {
        "memory.use_hierarchy": 1 if fields_of.boolean(memory, "useHierarchy", "/memory") else None,
        _LIMIT: limit or None,
        _MEMSW: swap or None,
        "memory.soft_limit_in_bytes": memorylimit.limit(memory, "reservation") or None,
        _KMEM: memorylimit.limit(memory, "kernel") or None,
        "memory.kmem.tcp.limit_in_bytes": memorylimit.limit(memory, "kernelTCP") or None,
        "memory.swappiness": memorylimit.swappiness(memory),
        "memory.oom_control": None,
    }
    if "disableOOMKiller" in memory:
        values["memory.oom_control"] = int(fields_of.boolean(memory, "disableOOMKiller", "/memory"))
    found = [(file, str(value)) for file, value in values.items() if value is not None]
    return memorylimit.with_check(memory, found)


# The kernel counts memory in batches of 64 pages for each CPU, and takes the unused part back from other CPUs in
# the background while it looks whether the new limit holds (mm/memcontrol.c, drain_all_stock): a limit that
# there is room for can be refused for a moment.
DRAINS, DRAIN_S = 10, 0.002


def write(cgroup: Cgroup, settings: list[tuple[str, str]], pointers: Mapping[str, str]) -> None:
    """Write the settings; says how much is in use when a limit is below that. Raises CgroupError."""
    settings = memorylimit.checked(cgroup, settings, "memory.usage_in_bytes")
    if (_MEMSW, "-1") in settings and not cgroup.has(_MEMSW):
        settings = [
            setting for setting in settings if setting[0] != _MEMSW
        ]  # no accounting of swap: no limit
    for attempt in range(DRAINS + 1):
        try:
            write_all(cgroup, settings, pointers)
            break
        except CgroupError as error:
            if error.errno != errno.EBUSY or error.path is None:
                raise
            kind = error.path.rpartition("/")[2].removesuffix("limit_in_bytes")
            usage, most = (cgroup.read(f"{kind}{what}_in_bytes").strip() for what in ("usage", "max_usage"))
            if attempt == DRAINS:
                error.remedy = (
                    f"{usage} bytes are in use and cannot be reclaimed (the most so far: {most}): allow more"
                )
                raise
            time.sleep(DRAIN_S)
    _require_kernel_limit(cgroup, settings)


def _require_kernel_limit(cgroup: Cgroup, settings: list[tuple[str, str]]) -> None:
    """Refuse a limit of kernel memory where the kernel takes it and does nothing, as since Linux 5.16."""
    wanted = dict(settings).get(_KMEM, "-1")
    if wanted == "-1" or int(cgroup.read(_KMEM)) < memorylimit.V1_UNLIMITED:
        return
    raise Unsupported(
        "this kernel does not limit kernel memory by itself any more: it counts it as memory",
        path=f"{cgroup.directory}/{_KMEM}",
        value=wanted,
        remedy="remove it; the limit of memory holds for the kernel's part, too",
        pointer=POINTERS[_KMEM],
    )


def stats(cgroup: Cgroup) -> Stats:
    """Return how much memory is in use. Raises CgroupError."""
    from libcgroups import formats
    from libcgroups.stats import MemoryStats, Stats

    stat = formats.flat(cgroup, "memory.stat")

    def below(key: str) -> int | None:
        # memory.stat counts the cgroup alone under the plain names, and those below it too as total_*.
        return (stat or {}).get(f"total_{key}")

    return Stats(
        memory=MemoryStats(
            **_usage(cgroup, "memory").to_dict(),
            with_swap=_usage(cgroup, "memory.memsw"),
            swap_bytes=below("swap"),
            cache_bytes=below("cache"),
            rss_bytes=below("rss"),
            kernel=_usage(cgroup, "memory.kmem"),
            kernel_tcp=_usage(cgroup, "memory.kmem.tcp"),
            oom_kills=(formats.flat(cgroup, "memory.oom_control") or {}).get("oom_kill"),
            stat=stat,
        )
    )


def _usage(cgroup: Cgroup, name: str) -> Usage:
    from libcgroups import formats
    from libcgroups.stats import Usage

    return Usage(
        usage_bytes=formats.number(cgroup, f"{name}.usage_in_bytes"),
        limit_bytes=formats.limit(cgroup, f"{name}.limit_in_bytes"),
        peak_bytes=formats.number(cgroup, f"{name}.max_usage_in_bytes"),
        failures=formats.number(cgroup, f"{name}.failcnt"),
    )
