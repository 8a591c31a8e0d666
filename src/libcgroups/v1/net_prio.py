"""The v1 net_prio controller: the priority of the cgroup's packets on each interface.

File: net_prio.ifpriomap (cgroup-v1/net_prio.rst). Spec: config-linux.md, `network.priorities`.
"""

from __future__ import annotations

from libcgroups import resources as fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.resources import Resources

NAME = "net_prio"
POINTERS = {"net_prio.ifpriomap": "/network/priorities"}


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return what to write, [(file, value)], one interface each; empty when nothing was asked for.

    Raises InvalidArgument.
    """
    network = fields_of.group(resources, "network", ("classID", "priorities"))
    pointer = "/network/priorities"
    found = []
    for index, entry in enumerate(fields_of.entries(network.get("priorities"), pointer)):
        here = f"{pointer}/{index}"
        name = fields_of.text(entry, "name", here)
        if name is None or not name.isprintable() or " " in name or "/" in name:
            raise fields_of.invalid(f"{here}/name", name, "the name of a network interface")
        priority = fields_of.required(entry, "priority", here, 0, fields_of.UINT32_MAX)
        found.append(("net_prio.ifpriomap", f"{name} {priority}"))
    return found
