"""The formats of a cgroup's files, read: None where the kernel offers no such file.

Authority: cgroup-v2.rst, "Interface Files"; accounting/psi.rst. A file that is there but says something that
its format does not know is an error, never a missing value.
"""

from __future__ import annotations

import errno
import os

from libcgroups.cgroup import read_file
from libcgroups.errors import CgroupError, from_os
from libcgroups.memorylimit import V1_UNLIMITED
from libcgroups.stats import UNLIMITED, Count, IoEntry, Pressure, Stall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from libcgroups.cgroup import Cgroup

    T = TypeVar("T")

# EOPNOTSUPP: pressure of a kernel that was booted with psi=0. ENODEV: removed since it was opened.
_NOT_OFFERED = (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP)
NS_PER_US = 1000


def text(cgroup: Cgroup, file: str) -> str | None:
    """Return the text of `file`; raises CgroupError when it is there and cannot be read."""
    path = f"{cgroup.directory}/{file}"
    try:
        return read_file(path)
    except OSError as error:
        if error.errno in _NOT_OFFERED:
            return None
        raise from_os(error, "read", path) from error


def number(cgroup: Cgroup, file: str) -> int | None:
    """Return a single whole number."""
    return parsed(cgroup, file, int)


def limit(cgroup: Cgroup, file: str) -> int | None:
    """Return a single limit, UNLIMITED for "max" and for v1's largest number."""
    return parsed(cgroup, file, limit_of)


def flag(cgroup: Cgroup, file: str) -> bool | None:
    """Return a single 0 or 1."""
    return parsed(cgroup, file, lambda found: bool(int(found)))


def numbers(cgroup: Cgroup, file: str) -> tuple[int, ...] | None:
    """Return whole numbers with spaces between."""
    return parsed(cgroup, file, lambda found: tuple(int(word) for word in found.split()))


def flat(cgroup: Cgroup, file: str) -> dict[str, int] | None:
    """Return a flat keyed file: lines of a key and a whole number."""
    return parsed(cgroup, file, lambda found: {key: int(value) for key, value in _pairs(found)})


def limits(cgroup: Cgroup, file: str) -> dict[str, int] | None:
    """Return a flat keyed file of limits."""
    return parsed(cgroup, file, lambda found: {key: limit_of(value) for key, value in _pairs(found)})


def nested(cgroup: Cgroup, file: str) -> dict[str, dict[str, int]] | None:
    """Return a nested keyed file: lines of a key and then `subkey=value` pairs, UNLIMITED for "max".

    Values that are not whole numbers are left out: the percentages that io.cost adds to io.stat.
    """
    return parsed(cgroup, file, nested_of)


def pressure(cgroup: Cgroup, file: str) -> Pressure:
    """Return what a pressure file says (PSI); its fields are None where it is not offered."""
    return parsed(cgroup, file, _pressure) or Pressure()


def devices(cgroup: Cgroup, file: str, factor: int = 1) -> tuple[IoEntry, ...] | None:
    """Return a v1 blkio file: lines of "major:minor [operation] number", each number times `factor`.

    The sum over all devices at its end is left out.
    """
    return parsed(cgroup, file, lambda found: tuple(_devices(found, factor)))


def count(cgroup: Cgroup, name: str) -> Count:
    """Return the four files that say how many there are of what `name` counts."""
    return Count(
        current=number(cgroup, f"{name}.current"),
        limit=limit(cgroup, f"{name}.max"),
        peak=number(cgroup, f"{name}.peak"),
        failures=(flat(cgroup, f"{name}.events") or {}).get("max"),
    )


def scaled(value: int | None, factor: int) -> int | None:
    """Return `value` in a smaller unit; None stays None."""
    return None if value is None else value * factor


def limit_of(value: str) -> int:
    """Return the number of a limit's text, UNLIMITED for none."""
    value = value.strip()
    if value == "max":
        return UNLIMITED
    number = int(value)
    return UNLIMITED if number < 0 or number >= V1_UNLIMITED else number


def nested_of(found: str) -> dict[str, dict[str, int]]:
    """Return the table of a nested keyed file's text; raises ValueError."""
    table = {}
    for line in found.splitlines():
        key, *pairs = line.split()
        values = [pair.split("=") for pair in pairs]
        table[key] = {name: limit_of(value) for name, value in values if value == "max" or value.isdigit()}
    return table


def parsed(cgroup: Cgroup, file: str, parse: Callable[[str], T]) -> T | None:
    """Return what `parse` makes of the file; its ValueError becomes a CgroupError."""
    found = text(cgroup, file)
    if found is None:
        return None
    try:
        return parse(found)
    except (ValueError, LookupError) as error:
        path = f"{cgroup.directory}/{file}"
        raise CgroupError(
            f"{path} has an unknown form: {found[:80]!r}",
            path=path,
            value=found,
            remedy=f"report it with the kernel's version ({os.uname().release})",
        ) from error


def _pairs(found: str) -> list[list[str]]:
    return [line.split() for line in found.splitlines()]


def _devices(found: str, factor: int) -> Iterator[IoEntry]:
    for line in found.splitlines():
        device, *operation, value = line.split()
        if device == "Total":
            continue
        major, minor = device.split(":")
        yield IoEntry(
            major=int(major), minor=int(minor), operation="".join(operation), value=int(value) * factor
        )


def _pressure(found: str) -> Pressure:
    lines = {}
    for line in found.splitlines():
        kind, *pairs = line.split()
        if kind not in Pressure.FIELDS:
            continue
        values = dict(pair.split("=") for pair in pairs)
        lines[kind] = Stall(
            avg10=float(values["avg10"]),
            avg60=float(values["avg60"]),
            avg300=float(values["avg300"]),
            total_ns=int(values["total"]) * NS_PER_US,
        )
    return Pressure(**lines)
