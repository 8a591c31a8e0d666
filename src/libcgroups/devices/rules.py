"""The OCI device rules, checked.

Spec: config-linux.md, `devices`: an ordered list, of which the last that matches counts.

Each letter of an access (read, write, mknod) is decided for itself: by the last rule that matches the device
and has that letter; without one it is denied. An access that asks for several is allowed when each of them
is. Pure.
"""

from __future__ import annotations

from libcgroups import resources as fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcgroups.resources import Resources

BLOCK, CHARACTER = 1, 2  # BPF_DEVCG_DEV_*, linux/bpf.h
MKNOD, READ, WRITE = 1, 2, 4  # BPF_DEVCG_ACC_*
EVERY_ACCESS = MKNOD | READ | WRITE
_LETTERS = {"m": MKNOD, "r": READ, "w": WRITE}
# u is an unbuffered character device, mknod(1).
_TYPES = {"a": None, "b": BLOCK, "c": CHARACTER, "u": CHARACTER}
_FIELDS = ("access", "allow", "major", "minor", "type")


class Rule:
    """One rule: `allow` or deny the bits `access` to the devices of `kind`, `major`, `minor` (None: any)."""

    __slots__ = ("access", "allow", "kind", "major", "minor")

    def __init__(
        self, *, allow: bool, kind: int | None, major: int | None, minor: int | None, access: int
    ) -> None:
        self.allow = allow
        self.kind = kind
        self.major = major
        self.minor = minor
        self.access = access

    @property
    def everything(self) -> bool:
        """Tell whether the rule decides every access to every device, so that no earlier rule counts."""
        return self.access == EVERY_ACCESS and (self.kind, self.major, self.minor) == (None, None, None)

    def __repr__(self) -> str:
        kind = {None: "a", BLOCK: "b", CHARACTER: "c"}[self.kind]
        major, minor = ("*" if number is None else str(number) for number in (self.major, self.minor))
        letters = "".join(letter for letter, bit in _LETTERS.items() if self.access & bit)
        return f"Rule({'allow' if self.allow else 'deny'} {kind} {major}:{minor} {letters})"


def parse(resources: Resources) -> list[Rule]:
    """Return the rules of `resources` in their order. Raises InvalidArgument, with `pointer`.

    An absent type, major or minor means any, as does -1 for a number; absent or empty access is all of it.
    """
    listed = fields_of.entries(resources.get("devices"), "/devices")
    return [_rule(entry, f"/devices/{index}") for index, entry in enumerate(listed)]


def effective(rules: list[Rule]) -> list[Rule]:
    """Return the rules that can decide anything: from the last one on that is about everything.

    A rule that denies everything is what holds without any rule, so it is left out.
    """
    for index in range(len(rules) - 1, -1, -1):
        if rules[index].everything:
            return rules[index if rules[index].allow else index + 1 :]
    return rules


def _rule(entry: dict[str, Any], pointer: str) -> Rule:
    for field in entry:
        if field not in _FIELDS:
            raise fields_of.invalid(
                f"{pointer}/{fields_of.escaped(field)}", field, f"one of {', '.join(_FIELDS)}"
            )
    if not isinstance(entry.get("allow"), bool):
        raise fields_of.invalid(f"{pointer}/allow", entry.get("allow"), "true or false")
    kind = fields_of.text(entry, "type", pointer) or "a"
    if kind not in _TYPES:
        raise fields_of.invalid(f"{pointer}/type", kind, f"one of {', '.join(_TYPES)}")
    letters = fields_of.text(entry, "access", pointer) or "rwm"
    if not set(letters) <= set(_LETTERS):
        raise fields_of.invalid(f"{pointer}/access", letters, "letters of rwm")
    return Rule(
        allow=entry["allow"],
        kind=_TYPES[kind],
        major=_number(entry, "major", pointer),
        minor=_number(entry, "minor", pointer),
        access=sum(_LETTERS[letter] for letter in set(letters)),
    )


def _number(entry: dict[str, Any], field: str, pointer: str) -> int | None:
    number = fields_of.integer(entry, field, pointer, -1, fields_of.UINT32_MAX)
    return None if number == -1 else number
