"""Where a cgroup lies: what `cgroupsPath` means in each hierarchy.

Specification: runtime-spec config-linux.md, "Control groups": an absolute path counts from the hierarchy's
mount point; a relative one from a place that the runtime chooses. As runc: in v1 the caller's own cgroup, in
v2 the *parent* of it, because a cgroup that holds processes cannot hand controllers to children
(cgroup-v2.rst, "No Internal Process Constraint"). Pure: nothing here touches the host. On the hot path.
"""

from __future__ import annotations

from libcgroups.errors import CgroupError, InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.host import Hierarchy


def normalise(path: str) -> str:
    """Return `path` without empty and "." components and without a trailing slash; "/" stays "/".

    Raises InvalidArgument on "..", NUL and newline: such a path means something else than it says.
    """
    if "\0" in path or "\n" in path:
        raise InvalidArgument(
            f"the cgroup path {path!r} holds a NUL or a newline", value=path, remedy="remove that character"
        )
    names = [name for name in path.split("/") if name not in ("", ".")]
    if ".." in names:
        raise InvalidArgument(
            f"the cgroup path {path!r} holds a '..' component",
            value=path,
            remedy="write the path without '..'",
        )
    return ("/" if path.startswith("/") else "") + "/".join(names)


def check_id(container_id: str) -> str:
    """Return `container_id` if it is usable as the name of one cgroup; raises InvalidArgument if not."""
    if container_id in ("", ".", "..") or any(character in container_id for character in "/\0\n"):
        raise InvalidArgument(
            f"{container_id!r} cannot be the name of a cgroup",
            value=container_id,
            remedy="use a name without '/', NUL and newline",
        )
    return container_id


def resolve(
    cgroups_path: str | None, container_id: str, hierarchy: Hierarchy, own: dict[str, str], *, sibling: bool
) -> str:
    """Return the path below the mount point of `hierarchy` that `cgroups_path` means there.

    `own` is what `host.own_cgroups` returned (used unless the path is absolute); None as a path means a
    cgroup named after `container_id`. With `sibling` a relative path starts beside the caller's cgroup (v2),
    else below it (v1). Raises InvalidArgument when the result is the root cgroup, CgroupError when the
    caller's cgroup is not visible.
    """
    path = check_id(container_id) if cgroups_path is None else normalise(cgroups_path)
    if not path.startswith("/"):
        base = visible_path(own, hierarchy)
        if sibling:
            base = base.rpartition("/")[0]
        path = f"{base.rstrip('/')}/{path}".rstrip("/")
    if path in ("", "/"):
        raise InvalidArgument(
            "the root cgroup cannot be managed: it holds the processes of the whole host",
            value=cgroups_path,
            remedy="name a cgroup below it",
        )
    return path


def visible_path(own: dict[str, str], hierarchy: Hierarchy) -> str:
    """Return the caller's own cgroup as a path below the mount point of `hierarchy`.

    In a container the mount shows only a part of the hierarchy (the root field of mountinfo), and
    /proc/self/cgroup still counts from the top. Raises CgroupError when the caller's cgroup is outside the
    visible part or unknown.
    """
    key = hierarchy.controllers[0] if hierarchy.controllers else ""
    path, top = own.get(key), hierarchy.root
    if path is not None and not path.startswith("/.."):
        if top == "/":
            return path
        if path == top or path.startswith(top + "/"):
            return path[len(top) :] or "/"
    raise CgroupError(
        f"the caller's own cgroup ({path}) is not visible below {hierarchy.mount_point}, which shows {top}",
        path=hierarchy.mount_point,
        value=path,
        remedy="give an absolute cgroup path",
    )
