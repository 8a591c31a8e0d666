"""Whether the container's user owns the container's cgroup, and so may divide it.

config-linux.md "Cgroup ownership": on cgroup v2, for a container with a cgroup namespace of its own and its cgroups
mounted writable. On v1 the owner could lift the limits, so it never changes there.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcgroups.manager import Manager

_PLACE = "/sys/fs/cgroup"


def delegate(manager: Manager, spec: dict[str, Any], pid: int) -> None:
    """Give the cgroup to the container's user, whose first process is `pid`, where it is to be its owner."""
    uid = owner(spec)
    if uid is None or not manager.cgroups:
        return
    with open(f"/proc/{pid}/uid_map") as table:
        found = on_host(table.read(), uid)
    if found is not None and found != os.geteuid():
        manager.delegate(found)


def owner(spec: dict[str, Any]) -> int | None:
    """Return the user id, as the container sees it, that is to own the cgroup; None when nothing changes."""
    namespaces = (spec.get("linux") or {}).get("namespaces") or ()
    if not any([item["type"] == "cgroup" and not item.get("path") for item in namespaces]):
        return None
    if not any([_is_writable(mount) for mount in spec.get("mounts") or ()]):
        return None
    user = (spec.get("process") or {}).get("user") or {}
    return user.get("uid") or 0


def on_host(uid_map: str, uid: int) -> int | None:
    """Return the id on the host for `uid`, by the text of the container's /proc/PID/uid_map.

    None when it is not mapped: then nobody in the container is that user.
    """
    for line in uid_map.splitlines():
        inside, outside, size = (int(word) for word in line.split())
        if inside <= uid < inside + size:
            return outside + uid - inside
    return None


def _is_writable(mount: dict[str, Any]) -> bool:
    if mount.get("type") != "cgroup" or os.path.normpath(mount["destination"]) != _PLACE:
        return False
    words = [option for option in mount.get("options") or () if option in ("ro", "rw")]
    return not words or words[-1] == "rw"
