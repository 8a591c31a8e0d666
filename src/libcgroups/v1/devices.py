"""The v1 devices controller: which device nodes a cgroup may open and make.

Files: devices.allow, devices.deny, devices.list (cgroup-v1/devices.rst). Spec: config-linux.md, `devices`: an
ordered list of rules, of which the last that matches counts.

The kernel keeps less than such a list: a default and exceptions to it, and an access is decided by one
exception alone. So the rules are first carried out on a model (`Access`), and then its result is written.
What the kernel would silently do differently is refused.
"""

from __future__ import annotations

import os

from libcgroups import resources as fields_of
from libcgroups.errors import Unsupported, from_os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from libcgroups.cgroup import Cgroup
    from libcgroups.resources import Resources

    Device = tuple[str, int, int]  # type "b" or "c", major, minor; ANY for every number

NAME = "devices"
POINTERS = {"devices.allow": "/devices", "devices.deny": "/devices"}
ANY = -1
ALL = "a *:* rwm"
_ACCESS = "rwm"
_TYPES = {"a": "bc", "b": "b", "c": "c", "u": "c"}  # u is an unbuffered character device, mknod(1)
_FIELDS = ("access", "allow", "major", "minor", "type")


class Access:
    """What a cgroup may do with devices: everything or nothing (`allowed`) but for `exceptions`."""

    __slots__ = ("allowed", "exceptions")

    def __init__(self, *, allowed: bool, exceptions: dict[Device, frozenset[str]] | None = None) -> None:
        self.allowed = allowed
        self.exceptions = exceptions or {}

    def apply(
        self, allow: bool, types: str, major: int, minor: int, access: frozenset[str], pointer: str
    ) -> None:
        """Carry out one rule; raises Unsupported when the kernel's model has no form for the result."""
        if (types, major, minor, access) == ("bc", ANY, ANY, frozenset(_ACCESS)):
            self.allowed, self.exceptions = allow, {}
            return
        for kind in types:
            device = (kind, major, minor)
            if allow == self.allowed:
                self._withdraw(device, access, pointer)
            else:
                self.exceptions[device] = self.exceptions.get(device, frozenset()) | access

    def _withdraw(self, device: Device, access: frozenset[str], pointer: str) -> None:
        """Take `access` to `device` back out of the exceptions."""
        for other, granted in list(self.exceptions.items()):
            if not granted & access or _overlap(device, other) is None:
                continue
            if not _covers(device, other):
                raise _inexpressible(device, other, pointer)
            self.exceptions[other] = granted - access
            if not self.exceptions[other]:
                del self.exceptions[other]

    def closed(self) -> dict[Device, frozenset[str]]:
        """Return the exceptions so that one alone decides each access.

        Where two allow parts of an access to one device ("r" to all, "w" to one), the kernel would refuse
        "rw".
        """
        found = dict(self.exceptions)
        if self.allowed:
            return found  # denials need no joining: any one that matches in part refuses
        readable = [device for device, access in found.items() if "r" in access and "w" not in access]
        writable = [device for device, access in found.items() if "w" in access and "r" not in access]
        for one in readable:
            for two in writable:
                both = _overlap(one, two)
                if both is not None:
                    found[both] = found.get(both, frozenset()) | found[one] | found[two]
        return found


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return what to write to a cgroup whose state is not known, [(file, value)]; empty without rules.

    Starts from nothing allowed, or from everything if the rules say so. Raises InvalidArgument, Unsupported.
    """
    rules = fields_of.entries(resources.get("devices"), "/devices")
    if not rules:
        return []
    return transition(None, evaluate(rules))


def evaluate(rules: list[dict[str, Any]]) -> Access:
    """Return what the OCI `rules` allow; what none of them matches is denied.

    Raises InvalidArgument, Unsupported.
    """
    access = Access(allowed=False)
    for index, rule in enumerate(rules):
        pointer = f"/devices/{index}"
        for field in rule:
            if field not in _FIELDS:
                raise fields_of.invalid(
                    f"{pointer}/{fields_of.escaped(field)}", field, f"one of {', '.join(_FIELDS)}"
                )
        if not isinstance(rule.get("allow"), bool):
            raise fields_of.invalid(f"{pointer}/allow", rule.get("allow"), "true or false")
        types = _TYPES.get(rule.get("type") or "a")
        if types is None:
            raise fields_of.invalid(f"{pointer}/type", rule.get("type"), "one of a, b, c, u")
        numbers = [_number(rule, field, pointer) for field in ("major", "minor")]
        letters = fields_of.text(rule, "access", pointer) or _ACCESS
        if not set(letters) <= set(_ACCESS):
            raise fields_of.invalid(f"{pointer}/access", letters, "letters of rwm")
        access.apply(rule["allow"], types, numbers[0], numbers[1], frozenset(letters), pointer)
    return access


def transition(current: Access | None, wanted: Access) -> list[tuple[str, str]]:
    """Return the least to write to get from `current` (None: not known) to `wanted`.

    Nothing that both allow is denied in between, so that an update does not break a running program.
    """
    giving, taking = (
        ("devices.deny", "devices.allow") if wanted.allowed else ("devices.allow", "devices.deny")
    )
    exceptions = wanted.closed()
    if current is None or current.allowed != wanted.allowed or wanted.allowed:
        return [(taking, ALL), *((giving, _line(device, exceptions[device])) for device in exceptions)]
    old = current.exceptions
    given = {device: access - old.get(device, frozenset()) for device, access in exceptions.items()}
    taken = {device: access - exceptions.get(device, frozenset()) for device, access in old.items()}
    return [(giving, _line(device, access)) for device, access in given.items() if access] + [
        (taking, _line(device, access)) for device, access in taken.items() if access
    ]


def parse_list(text: str) -> Access | None:
    """Return what devices.list says; None when it is everything, as the kernel then hides the exceptions."""
    exceptions: dict[Device, frozenset[str]] = {}
    for line in text.splitlines():
        kind, numbers, access = line.split(" ")
        if kind == "a":
            return None
        major, minor = (ANY if number == "*" else int(number) for number in numbers.split(":"))
        exceptions[kind, major, minor] = frozenset(access)
    return Access(allowed=False, exceptions=exceptions)


def write(cgroup: Cgroup, settings: list[tuple[str, str]], _pointers: Mapping[str, str]) -> None:
    """Bring the cgroup to what `settings` stands for, with the least change. Raises CgroupError."""
    if settings[0] == ("devices.deny", ALL):
        exceptions = parse_list("\n".join(value for _, value in settings[1:]))
        current = parse_list(cgroup.read("devices.list"))
        if current is not None and exceptions is not None:
            settings = transition(current, exceptions)
    _write(cgroup, settings)


def _write(cgroup: Cgroup, settings: list[tuple[str, str]]) -> None:
    """Write each line in one write(2), as the kernel wants it; each file is opened once for all its lines."""
    opened: dict[str, int] = {}
    try:
        for file, line in settings:
            path = f"{cgroup.directory}/{file}"
            try:
                if file not in opened:
                    opened[file] = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
                os.write(opened[file], line.encode())
            except OSError as error:
                raise from_os(error, "write", path, line, POINTERS[file]) from error
    finally:
        for fd in opened.values():
            os.close(fd)


def _number(rule: dict[str, Any], field: str, pointer: str) -> int:
    number = fields_of.integer(rule, field, pointer, ANY, fields_of.UINT32_MAX)
    return ANY if number is None else number


def _overlap(one: Device, two: Device) -> Device | None:
    """Return the devices that are in both, None when there are none."""
    numbers = []
    for left, right in zip(one[1:], two[1:], strict=True):
        if ANY not in (left, right) and left != right:
            return None
        numbers.append(right if left == ANY else left)
    return (one[0], numbers[0], numbers[1]) if one[0] == two[0] else None


def _covers(wide: Device, narrow: Device) -> bool:
    return _overlap(wide, narrow) == narrow


def _line(device: Device, access: frozenset[str]) -> str:
    major, minor = ("*" if number == ANY else str(number) for number in device[1:])
    return f"{device[0]} {major}:{minor} {''.join(letter for letter in _ACCESS if letter in access)}"


def _inexpressible(device: Device, other: Device, pointer: str) -> Unsupported:
    return Unsupported(
        f"{pointer}: cgroup v1 cannot except {_line(device, frozenset(_ACCESS))[:-4]} "
        f"from an earlier rule for {_line(other, frozenset(_ACCESS))[:-4]}",
        pointer=pointer,
        remedy="make the earlier rule narrower",
    )
