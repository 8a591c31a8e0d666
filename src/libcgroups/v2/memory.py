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

NAME = "memory"
_SWAP = "memory.swap.max"
POINTERS = {
    memorylimit.CHECK: "/memory/checkBeforeUpdate",
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
    return memorylimit.with_check(memory, limit, found)


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
