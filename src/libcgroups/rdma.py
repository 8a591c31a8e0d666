"""The limits on RDMA devices, the same in v1 and v2. Spec: config-linux.md, `rdma`. Pure."""

from __future__ import annotations

from libcgroups import resources as fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.cgroup import Cgroup
    from libcgroups.resources import Resources
    from libcgroups.stats import Stats

POINTERS = {"rdma.max": "/rdma"}
_KEYS = {"hcaHandles": "hca_handle", "hcaObjects": "hca_object"}


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return what to write, [(file, value)]; empty when nothing was asked for. Raises InvalidArgument."""
    devices = resources.get("rdma") or {}
    if not isinstance(devices, dict):
        raise fields_of.invalid("/rdma", devices, "an object")
    found = []
    for device, limits in devices.items():
        pointer = f"/rdma/{fields_of.escaped(device)}"
        if not device or not device.isprintable() or " " in device:
            raise fields_of.invalid(pointer, device, "the name of an RDMA device")
        if not isinstance(limits, dict) or any(field not in _KEYS for field in limits):
            raise fields_of.invalid(pointer, limits, f"an object with {' and '.join(_KEYS)}")
        values = {
            key: fields_of.integer(limits, field, pointer, 0, fields_of.UINT32_MAX)
            for field, key in _KEYS.items()
        }
        words = [f"{key}={value}" for key, value in values.items() if value is not None]
        if words:
            found.append(("rdma.max", " ".join((device, *words))))
    return found


def stats(cgroup: Cgroup) -> Stats:
    """Return the handles and objects of each RDMA device, and their limits. Raises CgroupError."""
    from libcgroups import formats
    from libcgroups.stats import RdmaStats, Stats

    current = formats.nested(cgroup, "rdma.current")
    limits = formats.nested(cgroup, "rdma.max") or {}
    if current is None:
        return Stats()
    return Stats(
        rdma={
            device: RdmaStats(
                handles=used.get("hca_handle"),
                handle_limit=limits.get(device, {}).get("hca_handle"),
                objects=used.get("hca_object"),
                object_limit=limits.get(device, {}).get("hca_object"),
            )
            for device, used in current.items()
        }
    )
