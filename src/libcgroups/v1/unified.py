"""`unified` names files of cgroup v2, which a v1 host does not have: asking for it is an error."""

from __future__ import annotations

from libcgroups.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.resources import Resources

NAME = "unified"
POINTERS: dict[str, str] = {}


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Raise Unsupported when anything was asked for."""
    if not resources.get("unified"):
        return []
    raise Unsupported(
        "/unified needs cgroup v2, and this host's controllers are cgroup v1",
        pointer="/unified",
        remedy="use the fields of the specification (memory, cpu, …), or a cgroup v2 host",
    )
