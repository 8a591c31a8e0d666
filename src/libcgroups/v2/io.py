"""The v2 io controller: weights for and ceilings to the use of block devices.

Files: io.bfq.weight where the BFQ scheduler offers it, else io.weight; io.max (cgroup-v2.rst, "IO").
Spec: config-linux.md, `blockIO`.
"""

from __future__ import annotations

from libcgroups import blockio
from libcgroups import resources as fields_of
from libcgroups.controllers import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcgroups.cgroup import Cgroup
    from libcgroups.resources import Resources
    from libcgroups.stats import IoEntry, Stats

NAME = "io"
_BFQ, _WEIGHT = "io.bfq.weight", "io.weight"
POINTERS = {_BFQ: "/blockIO/weight", _WEIGHT: "/blockIO/weight", "io.max": "/blockIO"}
_KEYS = {
    ("read", "bps"): "rbps",
    ("write", "bps"): "wbps",
    ("read", "iops"): "riops",
    ("write", "iops"): "wiops",
}
_OPERATIONS = {"r": "Read", "w": "Write", "d": "Discard"}  # the words of v1


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return what to write, [(file, value)], weights on BFQ's scale; empty when nothing was asked for.

    A rate of 0 is no limit, as in v1. Raises InvalidArgument, and Unsupported for leaf weights, which v2 does
    not have.
    """
    block = blockio.group(resources)
    found: list[tuple[str, str]] = []
    if blockio.weight(block, "leafWeight", "/blockIO") is not None:
        raise fields_of.not_in_v2("/blockIO/leafWeight")
    weight = blockio.weight(block, "weight", "/blockIO")
    if weight is not None:
        found.append((_BFQ, str(weight)))
    for number, weight, leaf_weight, pointer in blockio.weight_devices(block):
        if leaf_weight is not None:
            raise fields_of.not_in_v2(f"{pointer}/leafWeight")
        if weight is not None:
            found.append((_BFQ, f"{number} {weight}"))
    for direction, unit, number, rate in blockio.throttles(block):
        found.append(("io.max", f"{number} {_KEYS[direction, unit]}={rate or 'max'}"))
    return found


def io_weight(weight: int) -> int:
    """Return the io.weight (1 to 10000) for a blkio weight (10 to 1000)."""
    return 1 + (weight - blockio.WEIGHT_MIN) * 9999 // (blockio.WEIGHT_MAX - blockio.WEIGHT_MIN)


def write(cgroup: Cgroup, settings: list[tuple[str, str]], pointers: Mapping[str, str]) -> None:
    """Write the settings, weights converted for io.weight where BFQ's file does not exist.

    Raises CgroupError.
    """
    if any(file == _BFQ for file, _ in settings) and not cgroup.has(_BFQ):
        settings = [_converted(file, value) for file, value in settings]
    write_all(cgroup, settings, pointers)


def _converted(file: str, value: str) -> tuple[str, str]:
    if file != _BFQ:
        return file, value
    device, space, weight = value.rpartition(" ")
    return _WEIGHT, f"{device}{space}{io_weight(int(weight))}"


def stats(cgroup: Cgroup) -> Stats:
    """Return what was asked of the devices. Raises CgroupError."""
    from libcgroups import formats
    from libcgroups.stats import IoStats, Stats

    requests = formats.parsed(cgroup, "io.stat", _requests) or (None, None)
    return Stats(
        io=IoStats(
            service_bytes=requests[0],
            serviced=requests[1],
            pressure=formats.pressure(cgroup, "io.pressure"),
        )
    )


def _requests(text: str) -> tuple[tuple[IoEntry, ...], tuple[IoEntry, ...]]:
    """Return the bytes and the numbers of requests by device and operation; raises ValueError."""
    from libcgroups import formats
    from libcgroups.stats import IoEntry

    found: dict[str, list[IoEntry]] = {"bytes": [], "ios": []}
    for device, values in formats.nested_of(text).items():
        major, minor = (int(number) for number in device.split(":"))
        for letter, operation in _OPERATIONS.items():
            for unit, entries in found.items():
                if letter + unit in values:
                    value = values[letter + unit]
                    entries.append(IoEntry(major=major, minor=minor, operation=operation, value=value))
    return tuple(found["bytes"]), tuple(found["ios"])
