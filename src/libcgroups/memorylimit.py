"""What v1 and v2 share of the memory limits. Spec: config-linux.md, `memory`."""

from __future__ import annotations

from libcgroups import resources as fields_of
from libcgroups.errors import CgroupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.cgroup import Cgroup

FIELDS = (
    *("checkBeforeUpdate", "disableOOMKiller", "kernel", "kernelTCP", "limit", "reservation", "swap"),
    *("swappiness", "useHierarchy"),
)
CHECK = "checkBeforeUpdate"  # stands among the settings for a look at the usage; is no file


def limit(memory: dict[str, object], field: str) -> int:
    """Return a number of bytes, -1 for no limit, 0 for unset; raises InvalidArgument."""
    return fields_of.integer(memory, field, "/memory", -1, fields_of.INT64_MAX) or 0


def swappiness(memory: dict[str, object]) -> int | None:
    """Return 0 to 100, None when unset (also by -1 or the largest number, as callers write it)."""
    if memory.get("swappiness") in (-1, fields_of.UINT64_MAX):
        return None
    return fields_of.integer(memory, "swappiness", "/memory", 0, 100)


def with_check(
    memory: dict[str, object], limit: int, settings: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return `settings`, with the wish to look at the usage first if there is one."""
    if fields_of.boolean(memory, CHECK, "/memory") and limit > 0:
        return [(CHECK, str(limit)), *settings]
    return settings


def checked(cgroup: Cgroup, settings: list[tuple[str, str]], usage_file: str) -> list[tuple[str, str]]:
    """Return `settings` without the wish to look, after looking.

    Raises CgroupError when more is in use already.
    """
    if not settings or settings[0][0] != CHECK:
        return settings
    wanted, usage = int(settings[0][1]), int(cgroup.read(usage_file))
    if wanted <= usage:
        raise CgroupError(
            f"rejecting memory limit {wanted} <= usage {usage}",
            path=f"{cgroup.directory}/{usage_file}",
            value=str(wanted),
            remedy="allow more, or leave out checkBeforeUpdate",
            pointer="/memory/limit",
        )
    return settings[1:]
