"""The v1 net_cls controller: a class for the packets that the cgroup's processes send.

File: net_cls.classid (cgroup-v1/net_cls.rst). Spec: config-linux.md, `network.classID`.
"""

from __future__ import annotations

from libcgroups import resources as fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.resources import Resources

NAME = "net_cls"
POINTERS = {"net_cls.classid": "/network/classID"}


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return what to write, [(file, value)]; empty when nothing was asked for. Raises InvalidArgument."""
    network = fields_of.group(resources, "network", ("classID", "priorities"))
    class_id = fields_of.integer(network, "classID", "/network", 0, fields_of.UINT32_MAX)
    return [] if class_id is None else [("net_cls.classid", str(class_id))]
