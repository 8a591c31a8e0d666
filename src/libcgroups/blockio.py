"""What v1 and v2 share of the limits on block devices. Spec: config-linux.md, `blockIO`. Pure."""

from __future__ import annotations

from libcgroups import resources as fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from libcgroups.resources import Resources

THROTTLES = {  # field → (rate limited, unit)
    "throttleReadBpsDevice": ("read", "bps"),
    "throttleWriteBpsDevice": ("write", "bps"),
    "throttleReadIOPSDevice": ("read", "iops"),
    "throttleWriteIOPSDevice": ("write", "iops"),
}
FIELDS = ("weight", "leafWeight", "weightDevice", *THROTTLES)
WEIGHT_MIN, WEIGHT_MAX = 10, 1000
_NUMBER_MAX = (1 << 32) - 1  # device numbers


def group(resources: Resources) -> dict[str, Any]:
    """Return the blockIO object; raises InvalidArgument on a field that the specification does not know."""
    return fields_of.group(resources, "blockIO", FIELDS)


def weight(fields: dict[str, Any], field: str, pointer: str) -> int | None:
    """Return a weight from 10 to 1000, None when unset or 0; raises InvalidArgument."""
    value = fields_of.integer(fields, field, pointer, 0, WEIGHT_MAX)
    if value and value < WEIGHT_MIN:
        raise fields_of.invalid(
            f"{pointer}/{field}", value, f"a whole number from {WEIGHT_MIN} to {WEIGHT_MAX}"
        )
    return value or None


def weight_devices(block: dict[str, Any]) -> Iterator[tuple[str, int | None, int | None, str]]:
    """Yield (major:minor, weight, leaf weight, pointer) of `weightDevice`; raises InvalidArgument."""
    pointer = "/blockIO/weightDevice"
    for index, entry in enumerate(fields_of.entries(block.get("weightDevice"), pointer)):
        here = f"{pointer}/{index}"
        number = _number(entry, here)
        yield number, weight(entry, "weight", here), weight(entry, "leafWeight", here), here


def throttles(block: dict[str, Any]) -> Iterator[tuple[str, str, str, int]]:
    """Yield (direction, unit, major:minor, rate per second) of the throttles; raises InvalidArgument."""
    for field, (direction, unit) in THROTTLES.items():
        pointer = f"/blockIO/{field}"
        for index, entry in enumerate(fields_of.entries(block.get(field), pointer)):
            here = f"{pointer}/{index}"
            rate = fields_of.required(entry, "rate", here, 0, fields_of.UINT64_MAX)
            yield direction, unit, _number(entry, here), rate


def _number(entry: dict[str, Any], pointer: str) -> str:
    major = fields_of.required(entry, "major", pointer, 0, _NUMBER_MAX)
    minor = fields_of.required(entry, "minor", pointer, 0, _NUMBER_MAX)
    return f"{major}:{minor}"
