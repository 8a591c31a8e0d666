"""The v2 memory controller: how much memory and how much swap a cgroup may use.

Files: memory.max, memory.swap.max, memory.low (cgroup-v2.rst, "Memory"; bytes). Spec: config-linux.md,
`memory`, which counts swap together with memory: -1 is no limit, and 0 is unset.
"""

from __future__ import annotations

from libcgroups import memorylimit
from libcgroups import resources as fields_of
from libcgroups.controllers import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcgroups.cgroup import Cgroup
    from libcgroups.resources import Resources
    from libcgroups.stats import Stats, Usage

NAME = "memory"
_SWAP = "memory.swap.max"
POINTERS = {
    _SWAP: "/memory/swap",
    "memory.max": "/memory/limit",
    "memory.low": "/memory/reservation",
}


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return what to write, [(file, value)]; empty when nothing was asked for.

    Raises InvalidArgument, Unsupported.
    """
    memory = fields_of.group(resources, "memory", memorylimit.FIELDS)
    _refuse_v1_only(memory)
    limit, swap = memorylimit.limit(memory, "limit"), memorylimit.limit(memory, "swap")
    values = {
        _SWAP: swap_only(limit, swap),
        "memory.max": limit or None,
        "memory.low": memorylimit.limit(memory, "reservation") or None,
    }
    found = [
        (file, "max" if value == -1 else str(value)) for file, value in values.items() if value is not None
    ]
    return memorylimit.with_check(memory, found)


def swap_only(limit: int, swap: int) -> int | None:
    """Return the limit of swap alone for those of memory and of memory+swap; None is unset, -1 none.

    Raises InvalidArgument where the two contradict each other. Equal values mean no swap: 0.
    """
    if swap == 0:
        return -1 if limit == -1 else None
    if swap == -1 or limit == -1:
        return swap
    if limit == 0:
        raise fields_of.invalid(
            "/memory/swap", swap, "a memory limit beside it: unable to set swap limit without"
        )
    if swap < limit:
        raise fields_of.invalid(
            "/memory/swap", swap, f"memory+swap limit should be >= memory limit ({limit})"
        )
    return swap - limit


def write(cgroup: Cgroup, settings: list[tuple[str, str]], pointers: Mapping[str, str]) -> None:
    """Write the settings. Raises CgroupError."""
    settings = memorylimit.checked(cgroup, settings, "memory.current")
    # A kernel that does not account swap (swapaccount=0) has no such file: no limit and no swap are both kept
    # there.
    if any(setting in settings for setting in ((_SWAP, "max"), (_SWAP, "0"))) and not cgroup.has(_SWAP):
        settings = [setting for setting in settings if setting[0] != _SWAP]
    write_all(cgroup, settings, pointers)


def _refuse_v1_only(memory: dict[str, object]) -> None:
    for field in ("kernel", "kernelTCP"):
        if memorylimit.limit(memory, field) > 0:
            raise fields_of.not_in_v2(f"/memory/{field}")
    if memorylimit.swappiness(memory) is not None:
        raise fields_of.not_in_v2("/memory/swappiness")
    if fields_of.boolean(memory, "disableOOMKiller", "/memory"):
        raise fields_of.not_in_v2("/memory/disableOOMKiller")
    fields_of.boolean(memory, "useHierarchy", "/memory")  # v2 always is


def stats(cgroup: Cgroup) -> Stats:
    """Return how much memory is in use. Raises CgroupError."""
    from libcgroups import formats
    from libcgroups.stats import MemoryStats, Stats, Usage

    stat = formats.flat(cgroup, "memory.stat")
    found = stat or {}
    events = formats.flat(cgroup, "memory.events") or {}
    memory = Usage(
        usage_bytes=formats.number(cgroup, "memory.current"),
        limit_bytes=formats.limit(cgroup, "memory.max"),
        peak_bytes=formats.number(cgroup, "memory.peak"),
        failures=events.get("max"),
    )
    swap_bytes = formats.number(cgroup, "memory.swap.current")
    return Stats(
        memory=MemoryStats(
            **memory.to_dict(),
            with_swap=_with_swap(memory, swap_bytes, formats.limit(cgroup, _SWAP)),
            swap_bytes=swap_bytes,
            cache_bytes=found.get("file"),
            rss_bytes=found.get("anon"),
            kernel=Usage(usage_bytes=found.get("kernel")),
            kernel_tcp=Usage(usage_bytes=found.get("sock")),
            ooms=events.get("oom"),
            oom_kills=events.get("oom_kill"),
            stat=stat,
            pressure=formats.pressure(cgroup, "memory.pressure"),
        )
    )


def _with_swap(memory: Usage, swap_bytes: int | None, swap_limit: int | None) -> Usage:
    """Return memory and swap together, as v1 counts them.

    Their peaks may have been at different times, and so cannot be added.
    """
    from libcgroups.stats import UNLIMITED, Usage

    used, limit = memory.usage_bytes, memory.limit_bytes
    return Usage(
        usage_bytes=None if used is None or swap_bytes is None else used + swap_bytes,
        limit_bytes=None
        if limit is None or swap_limit is None
        else UNLIMITED
        if UNLIMITED in (limit, swap_limit)
        else limit + swap_limit,
    )
