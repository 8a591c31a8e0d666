"""Where another process of a container enters its cgroups.

That is the container's own cgroup of each hierarchy, or one below it that the caller names; or, on v2, that of
the first process, where the payload has made sub-cgroups and the own one may hold no processes any more
(cgroup-v2.rst, "No Internal Process Constraint"). Makes nothing: who asks for a cgroup has to have made it.
"""

from __future__ import annotations

from libcgroups.cgroup import Cgroup, read_file
from libcgroups.errors import CgroupError, InvalidArgument, NotPermitted, from_os
from libcgroups.path import normalise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from libcgroups.manager import Manager

ALL = ""


def entrance(manager: Manager, pid: int, below: Iterable[str] = ()) -> Sequence[Cgroup]:
    """Return the cgroup of each hierarchy that a process which joins the one of `pid` shall enter.

    `below` names sub-cgroups as runc does: one path for all hierarchies, or `controller[,controller]:path` for
    each (v1), the others being entered as they are. Raises InvalidArgument, and CgroupError where there is no
    such cgroup.
    """
    paths = parse(below)
    if paths:
        return _below(manager, paths)
    unified = manager.unified
    if unified is None or not _hands_controllers_on(unified):
        return manager.cgroups
    nested = _cgroup_of(pid, unified)
    return [nested if cgroup is unified else cgroup for cgroup in manager.cgroups]


def parse(below: Iterable[str]) -> dict[str, str]:
    """Return controller → path below the container's cgroup; ALL is any controller. Raises InvalidArgument."""
    items = list(below)
    paths: dict[str, str] = {}
    for item in items:
        controllers, colon, path = item.rpartition(":")
        if not colon and len(items) > 1:
            raise _wrong(item, "of several, each begins with its controllers and a colon")
        for controller in controllers.split(",") if colon else (ALL,):
            if colon and not controller:
                raise _wrong(item, "a controller is empty")
            if controller in paths:
                raise _wrong(item, f"the controller {controller} is named twice")
            paths[controller] = _relative(path)
    return paths


def _relative(path: str) -> str:
    """Return the path as it is appended: with a slash before each name, empty for the cgroup itself."""
    inner = normalise(path).strip("/")
    return f"/{inner}" if inner else ""


def _below(manager: Manager, paths: dict[str, str]) -> Sequence[Cgroup]:
    known = {controller for cgroup in manager.cgroups for controller in cgroup.controllers}
    for controller in paths.keys() - known - {ALL}:
        raise _wrong(
            f"{controller}:{paths[controller].lstrip('/')}",
            "the container has no cgroup of that controller"
            if known
            else "cgroup v2 has one path for all controllers",
        )
    found = []
    for cgroup in manager.cgroups:
        named = [paths[controller] for controller in cgroup.controllers if controller in paths]
        path = named[0] if named else paths.get(ALL, "")
        inner = Cgroup(cgroup.hierarchy, cgroup.path + path)
        if path and not inner.exists():
            raise CgroupError(
                f"there is no cgroup {path[1:]} below the container's: {inner.directory} does not exist",
                path=inner.directory,
                value=path[1:],
                remedy="make it first, in each hierarchy",
            )
        found.append(inner)
    return found


def _wrong(item: str, why: str) -> InvalidArgument:
    return InvalidArgument(
        f"{item!r} is no sub-cgroup: {why}",
        value=item,
        remedy="write PATH, or CONTROLLER[,CONTROLLER]:PATH where each controller has its own hierarchy",
    )


def _hands_controllers_on(cgroup: Cgroup) -> bool:
    try:
        return bool(cgroup.read("cgroup.subtree_control").strip())
    except NotPermitted:
        return False


def _cgroup_of(pid: int, own: Cgroup) -> Cgroup:
    """Return the v2 cgroup of `pid`, which is below `own`. Raises CgroupError."""
    try:
        text = read_file(f"/proc/{pid}/cgroup")
    except OSError as error:
        raise from_os(error, "read", f"/proc/{pid}/cgroup") from error
    line = next((line for line in text.splitlines() if line.startswith("0::")), "0::")
    root = own.hierarchy.root.rstrip("/")
    path = line[3:].removeprefix(root)
    if not path.startswith(f"{own.path}/") or ".." in path.split("/"):
        raise CgroupError(
            f"{own.directory} has handed its controllers on, and process {pid} is not below it, but in {line[3:]}",
            path=own.directory,
            value=line[3:],
            remedy="name the sub-cgroup to enter",
        )
    return Cgroup(own.hierarchy, path)
