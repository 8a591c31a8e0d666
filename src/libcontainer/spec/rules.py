"""The vocabulary in which the checks of config.json are written: a rule for each kind of JSON value.

A rule is called with the value, the pointer of the object or array that holds it, and its name or index
there, and adds to a list what is wrong. The pointer of the value itself is only put together when it is
needed, so that a correct configuration costs little. A rule takes any JSON value and never raises. On the
hot path.
"""

from __future__ import annotations

from libcontainer.errors import Problem
from libcontainer.strictjson import is_text, pointer_to, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    Key = str | int
    Rule = Callable[[object, str, Key, list[Problem]], None]
    Also = Callable[[Any, str, list[Problem]], None]

LONGEST_LIST = 65536
"""How many entries a list or a free map may have, so that what is made of a configuration stays bounded."""

MOST_PROBLEMS = 1000
"""After this many problems of one configuration no more are looked for."""

LONGEST_PATH = 4095
"""PATH_MAX without the NUL: no system call takes a longer path (path_resolution(7))."""


def describe(value: object) -> str:
    """Return `value` as it is shown in a Problem: short, in ASCII, on one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return quote(value) if len(value) <= 60 else quote(value[:57]) + "..."
    if isinstance(value, dict):
        return f"an object of {len(value)}" if value else "an empty object"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**20 else "an integer of more than 20 digits"
    return quote(str(value)[:60])[1:-1]


def missing(pointer: str, expected: str) -> Problem:
    """Return the problem that something required is not there."""
    return Problem(pointer, "nothing", expected)


class Record:
    """An object with known members: `fields` gives the rule of each; others are ignored (config.md).

    A member that is null is the same as absent, except where it is named in `firm`: there absent means less
    protection, and a null that a faulty template left behind must not take it away. `also` is called with the
    object for what concerns several members.
    """

    __slots__ = ("also", "fields", "firm", "required")

    def __init__(
        self,
        fields: Mapping[str, Rule],
        required: tuple[str, ...] = (),
        *,
        firm: Collection[str] = (),
        also: Also | None = None,
    ) -> None:
        self.fields = fields
        self.required = required
        self.firm = firm
        self.also = also

    def __call__(self, value: object, pointer: str, key: Key, problems: list[Problem]) -> None:
        self.whole(value, pointer_to(pointer, key), problems)

    def whole(self, value: object, here: str, problems: list[Problem]) -> None:
        """Check the object `value` that is at the pointer `here`."""
        if not isinstance(value, dict):
            problems.append(Problem(here, describe(value), "an object"))
            return
        fields = self.fields
        for name, item in value.items():
            rule = fields.get(name)
            if rule is None:
                continue
            if item is not None:
                rule(item, here, name, problems)
            elif name in self.firm:
                problems.append(Problem(f"{here}/{name}", "null", "a value, or the member left out"))
        for name in self.required:
            if value.get(name) is None:
                expected = "a value: this member is required"
                problems.append(missing(f"{here}/{name}", expected))
        if self.also is not None:
            self.also(value, here, problems)


class Array:
    """A list whose entries follow one rule; `also` is called with it for what concerns several entries."""

    __slots__ = ("also", "entry", "least", "most")

    def __init__(
        self, entry: Rule, *, least: int = 0, most: int = LONGEST_LIST, also: Also | None = None
    ) -> None:
        self.entry = entry
        self.least = least
        self.most = most
        self.also = also

    def __call__(self, value: object, pointer: str, key: Key, problems: list[Problem]) -> None:
        here = pointer_to(pointer, key)
        if not isinstance(value, list):
            problems.append(Problem(here, describe(value), "a list"))
            return
        if not self.least <= len(value) <= self.most:
            expected = f"at least {self.least}" if len(value) < self.least else f"at most {self.most}"
            entries = "entry" if expected.endswith(" 1") else "entries"
            problems.append(Problem(here, describe(value), f"{expected} {entries}"))
            return
        entry = self.entry
        for index, item in enumerate(value):
            entry(item, here, index, problems)
            if len(problems) > MOST_PROBLEMS:
                return
        if self.also is not None:
            self.also(value, here, problems)


class FreeMap:
    """An object whose names are free: `name` tests each, `entry` is the rule of each value."""

    __slots__ = ("entry", "expected", "name")

    def __init__(self, entry: Rule, name: Callable[[str], bool], expected: str) -> None:
        self.entry = entry
        self.name = name
        self.expected = expected

    def __call__(self, value: object, pointer: str, key: Key, problems: list[Problem]) -> None:
        here = pointer_to(pointer, key)
        if not isinstance(value, dict):
            problems.append(Problem(here, describe(value), "an object"))
            return
        if len(value) > LONGEST_LIST:
            problems.append(Problem(here, describe(value), f"at most {LONGEST_LIST} members"))
            return
        for name, item in value.items():
            if not isinstance(name, str) or not is_clean(name) or not self.name(name):
                pointer = pointer_to(here, name if isinstance(name, str) else describe(name))
                problems.append(Problem(pointer, f"the name {describe(name)}", self.expected))
            else:
                self.entry(item, here, name, problems)
            if len(problems) > MOST_PROBLEMS:
                return


class Integer:
    """An integer from `low` to `high`, both included. true, false and 1.0 are no integers."""

    __slots__ = ("expected", "high", "low")

    def __init__(self, low: int, high: int, expected: str | None = None) -> None:
        self.low = low
        self.high = high
        self.expected = expected or f"an integer from {low} to {high}"

    def __call__(self, value: object, pointer: str, key: Key, problems: list[Problem]) -> None:
        if type(value) is not int or not self.low <= value <= self.high:
            problems.append(Problem(pointer_to(pointer, key), describe(value), self.expected))


class Text:
    """A string that a system call can take, and for which `test` holds."""

    __slots__ = ("expected", "test")

    def __init__(self, expected: str, test: Callable[[str], bool]) -> None:
        self.expected = expected
        self.test = test

    def __call__(self, value: object, pointer: str, key: Key, problems: list[Problem]) -> None:
        if not isinstance(value, str) or not is_clean(value) or not self.test(value):
            problems.append(Problem(pointer_to(pointer, key), describe(value), self.expected))


class Choice:
    """One of the strings in `names`."""

    __slots__ = ("names",)

    def __init__(self, *names: str) -> None:
        self.names = frozenset(names)

    def __call__(self, value: object, pointer: str, key: Key, problems: list[Problem]) -> None:
        if not isinstance(value, str) or value not in self.names:
            expected = (
                "one of " + ", ".join(sorted(self.names)) if self.names else "nothing: no value is defined"
            )
            problems.append(Problem(pointer_to(pointer, key), describe(value), expected))


def text(value: object, pointer: str, key: Key, problems: list[Problem]) -> None:
    """The rule of any string that a system call can take."""
    if not isinstance(value, str) or not is_clean(value):
        problems.append(
            Problem(pointer_to(pointer, key), describe(value), "a string without NUL, in valid Unicode")
        )


def boolean(value: object, pointer: str, key: Key, problems: list[Problem]) -> None:
    """The rule of true and false."""
    if type(value) is not bool:
        problems.append(Problem(pointer_to(pointer, key), describe(value), "true or false"))


def absolute(value: object, pointer: str, key: Key, problems: list[Problem]) -> None:
    """The rule of an absolute path."""
    if not isinstance(value, str) or value[:1] != "/" or not is_clean(value) or len(value) > LONGEST_PATH:
        expected = f"an absolute path of at most {LONGEST_PATH} bytes"
        problems.append(Problem(pointer_to(pointer, key), describe(value), expected))


def is_clean(value: str) -> bool:
    """Whether a system call can take `value`: no NUL, and UTF-8 can hold it."""
    return "\0" not in value and is_text(value)


def is_line(value: str) -> bool:
    """Whether `value` stays on one line, so that nothing more can be written with it."""
    return "\n" not in value


def is_path(value: str) -> bool:
    """Whether `value` can be a path, absolute or relative."""
    return 0 < len(value) <= LONGEST_PATH


LINE = Text("a string without newline and NUL", is_line)
PATH = Text(f"a path of 1 to {LONGEST_PATH} bytes", is_path)
FILLED = Text("a string that is not empty", bool)
UINT16 = Integer(0, 2**16 - 1)
UINT32 = Integer(0, 2**32 - 1)
UINT64 = Integer(0, 2**64 - 1)
INT32 = Integer(-(2**31), 2**31 - 1)
INT64 = Integer(-(2**63), 2**63 - 1)
# 4294967295 is no id: setresuid(2) and chown(2) take it as "leave unchanged".
ID = Integer(0, 2**32 - 2)
# The kernel's dev_t has 12 bits for the major and 20 for the minor number (include/linux/kdev_t.h).
MAJOR = Integer(0, 2**12 - 1)
MINOR = Integer(0, 2**20 - 1)
TEXTS = Array(text)
LINES = Array(LINE)
ABSOLUTE_PATHS = Array(absolute)


def records(value: object, name: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the objects in the list `value[name]` with their indices, whatever else is there."""
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, list):
        return []
    return [(index, item) for index, item in enumerate(found) if isinstance(item, dict)]


def check_types_once(listed: list[Any], here: str, what: str, problems: list[Problem]) -> None:
    """Add a problem for each record of the list `here` whose `type` an earlier one has already."""
    seen: dict[str, int] = {}
    for index, item in records({"": listed}, ""):
        name = word(item, "type")
        if name is None:
            continue
        if name in seen:
            expected = f"each {what} once: it is at {here}/{seen[name]} already"
            problems.append(Problem(f"{here}/{index}/type", describe(name), expected))
        seen.setdefault(name, index)


def strings(value: object, name: str) -> list[str]:
    """Return the entries of the list `value[name]` that are strings."""
    found = value.get(name) if isinstance(value, dict) else None
    return [item for item in found if isinstance(item, str)] if isinstance(found, list) else []


def member(value: object, name: str) -> dict[str, Any]:
    """Return the object `value[name]`, an empty one where there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def integer(value: object, name: str) -> int | None:
    """Return the integer `value[name]`, None where there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if type(found) is int else None


def word(value: object, name: str) -> str | None:
    """Return the string `value[name]`, None where there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else None


def is_numbers_list(value: str, most: int) -> bool:
    """Whether `value` is a list of numbers up to `most` such as `0-3,7`.

    Spaces and empty entries are allowed (config.md "execCPUAffinity").
    """
    for part in value.split(","):
        first, dash, last = part.strip(" ").partition("-")
        if not first and not dash:
            continue
        if not _is_number(first, most) or (dash and not (_is_number(last, most) and int(first) <= int(last))):
            return False
    return True


def _is_number(digits: str, most: int) -> bool:
    return digits.isascii() and digits.isdecimal() and len(digits) <= 9 and int(digits) <= most
