"""`devices` on cgroup v2 needs an eBPF program (cgroup-v2.rst, "Device controller").

This library does not make one: asking for device rules is an error, so that nobody believes devices to be
guarded.
"""

from __future__ import annotations

from libcgroups.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.resources import Resources

NAME = "devices"
POINTERS: dict[str, str] = {}


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Raise Unsupported when anything was asked for."""
    if not resources.get("devices"):
        return []
    raise Unsupported(
        "/devices cannot be enforced on cgroup v2 by this version of libcgroups",
        pointer="/devices",
        remedy="remove the device rules if the container may use every device",
    )
