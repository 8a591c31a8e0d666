"""Names of the systemd driver: "slice:prefix:name", units, and the directories of nested slices.

Authority: systemd.unit(5), systemd.slice(5); runc's docs/systemd.md for the triple. Pure.
"""

from __future__ import annotations

import os

from libcgroups.errors import InvalidArgument, Unsupported

_UNIT_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@")
_UNIT_LENGTH = 255  # systemd.unit(5), "Description"
BOOTED = "/run/systemd/system"  # sd_booted(3)


class UnitName:
    """A parsed "slice:prefix:name": the parent `slice`, and the `unit` to make in it, which may be a slice itself."""

    __slots__ = ("slice", "unit")

    def __init__(self, slice_unit: str, unit: str) -> None:
        self.slice = slice_unit
        self.unit = unit

    @property
    def is_slice(self) -> bool:
        """A unit that is a slice takes no processes itself and is placed by Wants=, not Slice=."""
        return self.unit.endswith(".slice")

    @property
    def path(self) -> str:
        """The path of the unit's cgroup below the manager's: the mount point, or the user manager's cgroup."""
        if self.is_slice:
            return expand_slice(self.unit)
        return f"{expand_slice(self.slice).rstrip('/')}/{self.unit}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnitName) and (self.slice, self.unit) == (other.slice, other.unit)

    def __hash__(self) -> int:
        return hash((self.slice, self.unit))

    def __repr__(self) -> str:
        return f"UnitName({self.slice!r}, {self.unit!r})"


def parse(
    cgroups_path: str | None, container_id: str, *, rootless: bool = False, prefix: str = "youki"
) -> UnitName:
    """Return the unit that "slice:prefix:name" names; None means ":<prefix>:<container_id>".

    An empty slice is system.slice, or user.slice when `rootless`; an empty prefix leaves the name alone; a
    name that ends in ".slice" is the unit itself. Raises InvalidArgument for anything else, and for names
    that are not valid unit names.
    """
    parts = [("", prefix, container_id)] if cgroups_path is None else [tuple(cgroups_path.split(":"))]
    if len(parts[0]) != 3:
        raise InvalidArgument(
            'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, '
            f"got {cgroups_path!r} instead",
            value=cgroups_path,
            remedy='write for example "system.slice:youki:name"',
        )
    slice_unit, before, name = parts[0]
    slice_unit = slice_unit or ("user.slice" if rootless else "system.slice")
    expand_slice(slice_unit)
    if not name:
        raise InvalidArgument(
            f"the unit in {cgroups_path!r} has no name", value=cgroups_path, remedy="name it"
        )
    if name.endswith(".slice"):
        expand_slice(name)
        return UnitName(slice_unit, _check_unit(name))
    return UnitName(slice_unit, _check_unit(f"{before}-{name}.scope" if before else f"{name}.scope"))


def expand_slice(name: str) -> str:
    """Return the path of a slice: "a-b.slice" is "/a.slice/a-b.slice", the root slice "-.slice" is "/".

    Raises InvalidArgument when `name` is not the name of a slice.
    """
    stem, suffix = name[: -len(".slice")], name[-len(".slice") :]
    if suffix != ".slice" or not stem:
        raise _invalid_slice(name, 'it must end in ".slice"')
    _check_unit(name)
    if stem == "-":
        return "/"
    if "/" in stem or "" in (names := stem.split("-")):
        raise _invalid_slice(name, 'it may not hold "/", begin or end with "-", or hold "--"')
    return "".join(f"/{'-'.join(names[: count + 1])}.slice" for count in range(len(names)))


def _check_unit(name: str) -> str:
    wrong = sorted(set(name) - _UNIT_CHARACTERS)
    if wrong or len(name) > _UNIT_LENGTH or name.startswith("."):
        raise InvalidArgument(
            f"{name!r} is not the name of a systemd unit",
            value=name,
            remedy=f"replace {''.join(wrong)!r} (letters, digits and : - _ . \\ @ are allowed)"
            if wrong
            else f"use at most {_UNIT_LENGTH} characters, not starting with a dot",
        )
    return name


def _invalid_slice(name: str, rule: str) -> InvalidArgument:
    return InvalidArgument(
        f"{name!r} is not the name of a systemd slice: {rule}", value=name, remedy="correct the name"
    )


def require_booted(unit: UnitName) -> None:
    """Raise Unsupported unless systemd runs this host."""
    if os.path.isdir(BOOTED):
        return
    raise Unsupported(
        f"the systemd cgroup driver cannot make {unit.unit}: systemd does not run this host "
        f"({BOOTED} does not exist)",
        path=BOOTED,
        value=unit.unit,
        remedy="use the cgroupfs driver (without --systemd-cgroup)",
    )
