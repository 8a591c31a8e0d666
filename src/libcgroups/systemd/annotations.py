"""Annotations that set properties of the unit: `org.systemd.property.NAME` = a value in GVariant's text form.

Authority: runc's docs/systemd.md ("Auxiliary properties") for the names, GLib's "GVariant Text Format" for the
values, of which the types of D-Bus without dictionaries are read. Pure. Such annotations let a configuration
change what systemd does on the host.
"""

from __future__ import annotations

from libcgroups.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from libcgroups.systemd.properties import Property, Variant

PREFIX = "org.systemd.property."
_OURS = frozenset(("Delegate", "PIDs", "Slice"))  # where the processes are is for the driver to decide
_USEC_PER_SEC = 1_000_000
_RANGES = {
    "y": (0, (1 << 8) - 1),
    "n": (-(1 << 15), (1 << 15) - 1),
    "q": (0, (1 << 16) - 1),
    "i": (-(1 << 31), (1 << 31) - 1),
    "u": (0, (1 << 32) - 1),
    "x": (-(1 << 63), (1 << 63) - 1),
    "t": (0, (1 << 64) - 1),
}
_KEYWORDS = {
    "boolean": "b",
    "byte": "y",
    "double": "d",
    "int16": "n",
    "int32": "i",
    "int64": "x",
    "objectpath": "o",
    "signature": "g",
    "string": "s",
    "uint16": "q",
    "uint32": "u",
    "uint64": "t",
}
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_DEPTH = 8


def properties(annotations: Mapping[str, str] | None) -> list[Property]:
    """Return the properties that the annotations ask for, in their order.

    A name in seconds (TimeoutStopSec) becomes the one that D-Bus has, in microseconds (TimeoutStopUSec).
    Raises InvalidArgument, with `pointer` from the top of the annotations.
    """
    found = []
    for key, text in (annotations or {}).items():
        if not key.startswith(PREFIX):
            continue
        name = key[len(PREFIX) :]
        if not (len(name) > 2 and name.isascii() and name.isalpha() and name[0].isupper()):
            raise _invalid(key, text, "the name of a property, like TimeoutStopUSec, after the prefix")
        if name in _OURS:
            raise _invalid(key, text, "a property that the driver does not decide itself")
        try:
            variant = parse(text)
            if name.endswith("Sec") and name[:-3][-1].islower():
                name, variant = f"{name[:-3]}USec", _microseconds(variant)
        except ValueError as error:
            raise _invalid(key, text, f"a value in GVariant's text form: {error}") from error
        found.append((name, variant))
    return found


def parse(text: str) -> Variant:
    """Return the signature and the value of a GVariant in text form, like `uint64 5` or `['a', 'b']`.

    Raises ValueError.
    """
    reader = _Reader(text)
    variant = reader.value(None, 0)
    reader.end()
    return variant


class _Reader:
    """Reads a text from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def value(self, expected: str | None, depth: int) -> Variant:
        """Return the next value; `expected` is its signature where that is known."""
        if depth > _DEPTH:
            raise ValueError(f"nested deeper than {_DEPTH}")
        character = self.peek()
        if character in ("'", '"'):
            return self._text(expected or "s")
        if character == "[":
            return self._array(expected, depth)
        if character == "(":
            return self._tuple(expected, depth)
        if character == "@":
            self.position += 1
            return self.value(self._word(), depth)
        word = self._word()
        if word in _KEYWORDS:
            return self.value(_KEYWORDS[word], depth)
        return _scalar(word, expected)

    def end(self) -> None:
        """Raise ValueError unless nothing is left."""
        if self.peek():
            raise ValueError(f"unexpected {self.text[self.position :]!r}")

    def peek(self) -> str:
        """Return the next character that is no space, "" at the end."""
        while self.position < len(self.text) and self.text[self.position].isspace():
            self.position += 1
        return self.text[self.position : self.position + 1]

    def _word(self) -> str:
        self.peek()
        start = self.position
        while self.position < len(self.text) and self.text[self.position] not in " \t\n,[]'\"":
            if self.text[self.position] in "()" and self.text[start - 1 : start] != "@":
                break
            self.position += 1
        if start == self.position:
            raise ValueError("a value is missing")
        return self.text[start : self.position]

    def _text(self, signature: str) -> Variant:
        if signature not in ("s", "o", "g"):
            raise ValueError(f"text where {signature!r} is expected")
        quote = self.text[self.position]
        self.position += 1
        characters: list[str] = []
        while True:
            character = self.text[self.position : self.position + 1]
            self.position += 1
            if character == "":
                raise ValueError("the text does not end")
            if character == quote:
                return signature, "".join(characters)
            if character == "\\":
                escaped = self.text[self.position : self.position + 1]
                self.position += 1
                character = _ESCAPES.get(escaped, escaped)
            characters.append(character)

    def _array(self, expected: str | None, depth: int) -> Variant:
        if expected is not None and not expected.startswith("a"):
            raise ValueError(f"an array where {expected!r} is expected")
        self.position += 1
        element = expected[1:] if expected else None
        values: list[Any] = []
        while self.more("]", first=not values):
            signature, value = self.value(element, depth + 1)
            if element is not None and signature != element:
                raise ValueError(f"{signature!r} in an array of {element!r}")
            element = signature
            values.append(value)
        if element is None:
            raise ValueError("an empty array needs its type, as in @as []")
        return f"a{element}", bytes(values) if element == "y" else values

    def _tuple(self, expected: str | None, depth: int) -> Variant:
        self.position += 1
        wanted: list[str | None] = [] if expected is None else [*_members(expected)]
        members: list[Variant] = []
        while self.more(")", first=not members):
            here = wanted[len(members)] if len(members) < len(wanted) else None
            members.append(self.value(here, depth + 1))
        signature = f"({''.join(member[0] for member in members)})"
        if expected is not None and signature != expected:
            raise ValueError(f"{signature!r} where {expected!r} is expected")
        return signature, tuple(member[1] for member in members)

    def more(self, closing: str, *, first: bool) -> bool:
        """Step over a comma or the `closing` bracket; tell whether a value follows."""
        if self.peek() == closing:
            self.position += 1
            return False
        if first:
            return True
        if self.peek() != ",":
            raise ValueError(f"{closing!r} or a comma is missing")
        self.position += 1
        if self.peek() != closing:
            return True
        self.position += 1  # a comma after the last value, as in a tuple of one: (1,)
        return False


def _scalar(word: str, expected: str | None) -> Variant:
    if word in ("true", "false"):
        signature: str = expected or "b"
        if signature != "b":
            raise ValueError(f"{word} where {signature!r} is expected")
        return signature, word == "true"
    if expected == "d" or (expected is None and not word.lstrip("+-").isalnum()):
        return "d", float(word)
    signature = expected or "i"
    if signature not in _RANGES:
        raise ValueError(f"{word!r} where {signature!r} is expected")
    number = int(word, 0)
    low, high = _RANGES[signature]
    if not low <= number <= high:
        raise ValueError(f"{number} does not fit {signature!r}")
    return signature, number


def _members(signature: str) -> list[str]:
    """Return the signatures of the members of a tuple: ["s", "as"] for "(sas)"."""
    if not (signature.startswith("(") and signature.endswith(")")):
        raise ValueError(f"a tuple where {signature!r} is expected")
    found, rest = [], signature[1:-1]
    while rest:
        length = _complete(rest)
        found.append(rest[:length])
        rest = rest[length:]
    return found


def _complete(signature: str) -> int:
    """Return the length of the first complete type of `signature`."""
    length = len(signature) - len(signature.lstrip("a"))
    if signature[length : length + 1] != "(":
        return length + 1
    depth = 0
    for index in range(length, len(signature)):
        depth += {"(": 1, ")": -1}.get(signature[index], 0)
        if depth == 0:
            return index + 1
    raise ValueError(f"{signature!r} is no signature")


def _microseconds(variant: Variant) -> Variant:
    signature, value = variant
    if signature not in _RANGES and signature != "d":
        raise ValueError("a number of seconds is expected")
    if not 0 <= value * _USEC_PER_SEC <= _RANGES["t"][1]:
        raise ValueError(f"{value} seconds cannot be told in microseconds")
    return "t", int(value * _USEC_PER_SEC)


def _invalid(key: str, text: str, expected: str) -> InvalidArgument:
    return InvalidArgument(
        f"/annotations/{key.replace('~', '~0').replace('/', '~1')}: found {text!r}, expected {expected}",
        value=text,
        pointer=f"/{key.replace('~', '~0').replace('/', '~1')}",
        remedy="correct or remove the annotation",
    )
