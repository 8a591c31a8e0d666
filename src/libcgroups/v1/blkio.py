"""The v1 blkio controller: weights for and ceilings to the use of block devices.

Files: blkio.* (cgroup-v1/blkio-controller.rst); with the BFQ scheduler blkio.bfq.weight and
blkio.bfq.weight_device take the place of the weights. Spec: config-linux.md, `blockIO`.
"""

from __future__ import annotations

from libcgroups import blockio
from libcgroups.controllers import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcgroups.cgroup import Cgroup
    from libcgroups.resources import Resources
    from libcgroups.stats import IoEntry, Stats

NAME = "blkio"
_NS_PER_MS = 1_000_000
_WEIGHT, _WEIGHT_DEVICE = "blkio.weight", "blkio.weight_device"
_BFQ = {_WEIGHT: "blkio.bfq.weight", _WEIGHT_DEVICE: "blkio.bfq.weight_device"}
POINTERS = {
    _WEIGHT: "/blockIO/weight",
    _BFQ[_WEIGHT]: "/blockIO/weight",
    _WEIGHT_DEVICE: "/blockIO/weightDevice",
    _BFQ[_WEIGHT_DEVICE]: "/blockIO/weightDevice",
    "blkio.leaf_weight": "/blockIO/leafWeight",
    "blkio.leaf_weight_device": "/blockIO/weightDevice",
    "blkio.throttle.read_bps_device": "/blockIO/throttleReadBpsDevice",
    "blkio.throttle.write_bps_device": "/blockIO/throttleWriteBpsDevice",
    "blkio.throttle.read_iops_device": "/blockIO/throttleReadIOPSDevice",
    "blkio.throttle.write_iops_device": "/blockIO/throttleWriteIOPSDevice",
}


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return what to write, [(file, value)]; empty when nothing was asked for. Raises InvalidArgument."""
    block = blockio.group(resources)
    found: list[tuple[str, str]] = []
    for field, file in (("weight", _WEIGHT), ("leafWeight", "blkio.leaf_weight")):
        weight = blockio.weight(block, field, "/blockIO")
        if weight is not None:
            found.append((file, str(weight)))
    for number, weight, leaf_weight, _ in blockio.weight_devices(block):
        if weight is not None:
            found.append((_WEIGHT_DEVICE, f"{number} {weight}"))
        if leaf_weight is not None:
            found.append(("blkio.leaf_weight_device", f"{number} {leaf_weight}"))
    for direction, unit, number, rate in blockio.throttles(block):
        found.append((f"blkio.throttle.{direction}_{unit}_device", f"{number} {rate}"))
    return found


def write(cgroup: Cgroup, settings: list[tuple[str, str]], pointers: Mapping[str, str]) -> None:
    """Write the settings, weights to BFQ's files where the plain ones do not exist. Raises CgroupError."""
    asked = {file for file, _ in settings if file in _BFQ}
    names = {file: _BFQ[file] for file in asked if not cgroup.has(file)}
    write_all(cgroup, [(names.get(file, file), value) for file, value in settings], pointers)


def stats(cgroup: Cgroup) -> Stats:
    """Return what was asked of the devices. Raises CgroupError.

    Each number is taken from the first of its files that has any: BFQ's, CFQ's (kernels before 5.0), and
    that of throttling, which every scheduler has.
    """
    from libcgroups.stats import IoStats, Stats

    return Stats(
        io=IoStats(
            service_bytes=_entries(cgroup, "io_service_bytes"),
            serviced=_entries(cgroup, "io_serviced"),
            queued=_entries(cgroup, "io_queued"),
            merged=_entries(cgroup, "io_merged"),
            service_time_ns=_entries(cgroup, "io_service_time"),
            wait_time_ns=_entries(cgroup, "io_wait_time"),
            time_ns=_entries(cgroup, "time", factor=_NS_PER_MS),
            sectors=_entries(cgroup, "sectors"),
        )
    )


def _entries(cgroup: Cgroup, name: str, factor: int = 1) -> tuple[IoEntry, ...] | None:
    from libcgroups import formats

    best: tuple[IoEntry, ...] | None = None
    for kind in ("bfq.", "", "throttle."):
        found = formats.devices(cgroup, f"blkio.{kind}{name}_recursive", factor)
        if found:
            return found
        best = found if best is None else best
    return best
