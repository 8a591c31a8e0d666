"""Reading the OCI `linux.resources` object: values with their bounds, and JSON pointers for what is wrong.

Specification: runtime-spec config-linux.md, "Control groups". A JSON null is the same as an absent field.
Pure. Pointers count from the top of the resources object that was passed: "/pids/limit".
"""

from __future__ import annotations

from libcgroups.errors import InvalidArgument, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Resources = Mapping[str, Any]

INT64_MIN = -(1 << 63)
INT64_MAX = (1 << 63) - 1
UINT64_MAX = (1 << 64) - 1
UINT32_MAX = (1 << 32) - 1
UINT16_MAX = (1 << 16) - 1

KEYS = ("blockIO", "cpu", "devices", "hugepageLimits", "memory", "network", "pids", "rdma", "unified")


def requested(resources: Resources | None) -> list[str]:
    """Return the names of the resources that are asked for, in a fixed order.

    Raises InvalidArgument for a name that the specification does not know: a misspelt limit is no limit.
    """
    if not resources:
        return []
    for key in resources:
        if key not in KEYS:
            raise InvalidArgument(
                f"the resource {key!r} is not known",
                value=key,
                pointer=f"/{escaped(key)}",
                remedy=f"use one of {', '.join(KEYS)}",
            )
    return [key for key in KEYS if resources.get(key)]


def group(resources: Resources, key: str, fields: Sequence[str]) -> dict[str, Any]:
    """Return the object `key` of `resources` without its nulls.

    Raises InvalidArgument on a field not in `fields`.
    """
    value = resources.get(key) or {}
    if not isinstance(value, dict):
        raise invalid(f"/{key}", value, "an object")
    for field in value:
        if field not in fields:
            raise invalid(f"/{key}/{escaped(field)}", field, f"one of {', '.join(fields)}")
    return {field: content for field, content in value.items() if content is not None}


def any_of(resources: Resources, key: str, fields: Sequence[str]) -> bool:
    """Tell whether one of `fields` of the object `key` is set, without judging any of it."""
    value = resources.get(key)
    return isinstance(value, dict) and any(value.get(field) not in (None, "") for field in fields)


def entries(value: Any, pointer: str) -> list[dict[str, Any]]:
    """Return `value` as a list of objects (an empty one for None); raises InvalidArgument."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise invalid(pointer, value, "a list of objects")
    return value


def integer(fields: Mapping[str, Any], field: str, pointer: str, minimum: int, maximum: int) -> int | None:
    """Return the whole number in `field`, None when absent.

    Raises InvalidArgument when it is not within the bounds.
    """
    value = fields.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise invalid(f"{pointer}/{field}", value, f"a whole number from {minimum} to {maximum}")
    return value


def required(fields: Mapping[str, Any], field: str, pointer: str, minimum: int, maximum: int) -> int:
    """Return the whole number in `field`.

    Raises InvalidArgument when it is absent or not within the bounds.
    """
    value = integer(fields, field, pointer, minimum, maximum)
    if value is None:
        raise invalid(f"{pointer}/{field}", None, f"a whole number from {minimum} to {maximum}")
    return value


def boolean(fields: Mapping[str, Any], field: str, pointer: str) -> bool:
    """Return the truth value in `field`, False when absent; raises InvalidArgument."""
    value = fields.get(field, False)
    if not isinstance(value, bool):
        raise invalid(f"{pointer}/{field}", value, "true or false")
    return value


def text(fields: Mapping[str, Any], field: str, pointer: str) -> str | None:
    """Return the non-empty line in `field`, None when absent or empty; raises InvalidArgument."""
    value = fields.get(field)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or "\n" in value or "\0" in value:
        raise invalid(f"{pointer}/{field}", value, "text without NUL and newline")
    return value


def escaped(name: object) -> str:
    """Return a member's name as a JSON pointer writes it (RFC 6901)."""
    return str(name).replace("~", "~0").replace("/", "~1")


def invalid(pointer: str, found: object, expected: str) -> InvalidArgument:
    """Return the error for a value that is not acceptable."""
    return InvalidArgument(
        f"{pointer}: found {found!r}, expected {expected}", value=str(found), pointer=pointer, remedy=None
    )


def not_in_v2(pointer: str) -> Unsupported:
    """Return the error for a resource that cgroup v2 has no counterpart of."""
    return Unsupported(
        f"{pointer}: this cannot be limited on cgroup v2",
        pointer=pointer,
        remedy="remove it, or use a cgroup v1 host",
    )
