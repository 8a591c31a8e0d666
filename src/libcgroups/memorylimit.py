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
# v1 says "no limit" as the largest count of pages that it can hold, rounded down to whole (huge) pages.
V1_UNLIMITED = 1 << 62
CHECK = "checkBeforeUpdate"  # stands among the settings, with a field, for a look at the usage; is no file
_WORDS = {"swap": "memory+swap", "limit": "memory"}


def limit(memory: dict[str, object], field: str) -> int:
    """Return a number of bytes, -1 for no limit, 0 for unset; raises InvalidArgument."""
    return fields_of.integer(memory, field, "/memory", -1, fields_of.INT64_MAX) or 0


def swappiness(memory: dict[str, object]) -> int | None:
    """Return 0 to 100, None when unset (also by -1 or the largest number, as callers write it)."""
    if memory.get("swappiness") in (-1, fields_of.UINT64_MAX):
        return None
    return fields_of.integer(memory, "swappiness", "/memory", 0, 100)


def with_check(memory: dict[str, object], settings: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return `settings`, with the wishes to look at the usage first, if there are any.

    Memory in use is in use with swap, too, so it must fit into both limits.
    """
    if not fields_of.boolean(memory, CHECK, "/memory"):
        return settings
    limits = [(field, limit(memory, field)) for field in ("swap", "limit")]
    return [*((f"{CHECK}/{field}", str(value)) for field, value in limits if value > 0), *settings]


def checked(cgroup: Cgroup, settings: list[tuple[str, str]], usage_file: str) -> list[tuple[str, str]]:
    """Return `settings` without the wishes to look, after looking.

    Raises CgroupError when more is in use already.
    """
    for wish, value in settings:
        check, _, field = wish.partition("/")
        if check != CHECK:
            continue
        usage = int(cgroup.read(usage_file))
        if int(value) <= usage:
            raise CgroupError(
                f"rejecting {_WORDS[field]} limit {value} <= usage {usage}",
                path=f"{cgroup.directory}/{usage_file}",
                value=value,
                remedy="allow more, or leave out checkBeforeUpdate",
                pointer=f"/memory/{field}",
            )
    return [setting for setting in settings if not setting[0].startswith(CHECK)]
