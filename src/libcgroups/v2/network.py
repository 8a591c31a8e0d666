"""`network`: classes and priorities of packets exist in cgroup v1 only.

On v2 nftables or eBPF match the cgroup instead (cgroup-v2.rst).
"""

from __future__ import annotations

from libcgroups import resources as fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.resources import Resources

NAME = "network"
POINTERS: dict[str, str] = {}


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Raise Unsupported when anything was asked for, InvalidArgument when it is not valid."""
    network = fields_of.group(resources, "network", ("classID", "priorities"))
    for field, value in network.items():
        if value not in ([], None):
            raise fields_of.not_in_v2(f"/network/{field}")
    return []
