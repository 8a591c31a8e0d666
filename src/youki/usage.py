"""What containers use, as a person wants to see it: shares of CPU time since the last look, sizes, limits.

Two looks make a row: CPU time and throttling only mean something as a share of the time between them.
"""

from __future__ import annotations

import time

from libcgroups.stats import UNLIMITED
from libcontainer.container import Container
from libcontainer.errors import CgroupError, NotFound, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from libcgroups.stats import Stats

    Usage = dict[str, Any]
    Look = tuple[int, Stats]  # when, in nanoseconds of the monotonic clock, and what

PRESSURES = ("cpu", "memory", "io")
COLUMNS = (
    *("ID", "CPU %", "MEMORY", "LIMIT", "PEAK", "PIDS", "READ", "WRITTEN", "PRESSURE %"),
    "THROTTLED %",
)


class Monitor:
    """Looks at the containers `ids` below `root`, or at all that there are at the time.

    Raises NotFound, StateError and CgroupError for one of `ids` that cannot be measured to begin with; later,
    and of all, only those that run are looked at.
    """

    def __init__(self, root: str, ids: Sequence[str]) -> None:
        self._root = root
        self._named = [Container.load(root, name) for name in dict.fromkeys(ids)]
        for container in self._named:
            if container.status == "stopped":
                raise StateError(f"cannot watch {container.id}: container not running")
            container.stats()
        self._last: dict[tuple[str, int], Look] = {}
        self._everything = not ids

    def look(self) -> list[Usage]:
        """Return what each container uses, by the order that was asked for, or by id.

        A container that is seen for the first time has no shares of time yet. Empty when all have ended.
        """
        found: list[Usage] = []
        seen: dict[tuple[str, int], Look] = {}
        for container in Container.list(self._root) if self._everything else self._named:
            key = (container.id, container.created)
            look = _measure(container)
            if look is not None:
                seen[key] = look
                found.append(usage(container.id, self._last.get(key), look))
        self._last = seen
        return found

    @property
    def over(self) -> bool:
        """Whether every container that was asked for has ended."""
        return not self._everything and not self._last


def _measure(container: Container) -> Look | None:
    """Return a look at a container, None for one that does not run or has no cgroup to measure."""
    try:
        if container.status not in ("created", "running", "paused"):
            return None
        return time.monotonic_ns(), container.stats()
    except (NotFound, StateError, CgroupError):
        return None  # it ended, or was deleted, while we looked


def usage(container_id: str, before: Look | None, now: Look) -> Usage:
    """Return one row as JSON data. None is a value that is not known, or for a limit: there is none."""
    stats = now[1]
    return {
        "id": container_id,
        "cpu_percent": _cpu_percent(before, now),
        "throttled_percent": _throttled_percent(before, now),
        "memory": {
            "usage": stats.memory.usage_bytes,
            "limit": _limit(stats.memory.limit_bytes),
            "peak": stats.memory.peak_bytes,
        },
        "pids": {"current": stats.pids.current, "limit": _limit(stats.pids.limit)},
        "io": {"read": stats.io.read_bytes, "written": stats.io.written_bytes},
        "pressure": {name: getattr(stats, name).pressure.some.avg10 for name in PRESSURES},
    }


def _cpu_percent(before: Look | None, now: Look) -> float | None:
    used = now[1].cpu.usage_ns
    if before is None or used is None or before[1].cpu.usage_ns is None or now[0] <= before[0]:
        return None
    return round(100 * (used - before[1].cpu.usage_ns) / (now[0] - before[0]), 1)


def _throttled_percent(before: Look | None, now: Look) -> float | None:
    """Return in how many of the CPU quota's periods the container was stopped; None without a quota."""
    new, old = now[1].cpu, before[1].cpu if before else None
    if old is None or None in (new.periods, new.throttled_periods, old.periods, old.throttled_periods):
        return None
    periods = (new.periods or 0) - (old.periods or 0)
    throttled = (new.throttled_periods or 0) - (old.throttled_periods or 0)
    return round(100 * throttled / periods, 1) if periods > 0 else None


def _limit(value: int | None) -> int | None:
    return None if value == UNLIMITED else value


def row(usage: Usage) -> tuple[str, ...]:
    """Return the texts of one row, in the order of COLUMNS."""
    memory, pids, io, pressure = (usage[name] for name in ("memory", "pids", "io", "pressure"))
    stalls = [pressure[name] for name in PRESSURES]
    return (
        usage["id"],
        percent(usage["cpu_percent"]),
        size(memory["usage"]),
        size(memory["limit"]),
        size(memory["peak"]),
        count(pids["current"]) + ("" if pids["limit"] is None else f"/{pids['limit']}"),
        size(io["read"]),
        size(io["written"]),
        "-" if stalls == [None] * 3 else "/".join(percent(stall) for stall in stalls),
        percent(usage["throttled_percent"]),
    )


def percent(value: float | None) -> str:
    """Return a share with one digit after the point."""
    return "-" if value is None else f"{value:.1f}"


def count(value: int | None) -> str:
    """Return a number of things."""
    return "-" if value is None else str(value)


def size(value: int | None) -> str:
    """Return a number of bytes in a unit of base 1024, as `update --memory` takes it: 512, 1.5k, 64m."""
    if value is None:
        return "-"
    number, units = float(value), iter(("", "k", "m", "g", "t", "p"))
    unit = next(units)
    while number >= 1023.95 and unit != "p":
        number, unit = number / 1024, next(units)
    return f"{number:.1f}".removesuffix(".0") + unit
