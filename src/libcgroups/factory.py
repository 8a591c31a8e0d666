"""The choice of a manager: by the host, or by the state that another process has written down. On the hot path."""

from __future__ import annotations

from libcgroups import host
from libcgroups.cgroup import Cgroup
from libcgroups.errors import InvalidArgument, Unsupported
from libcgroups.manager import STATE_VERSION
from libcgroups.path import normalise, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal

    from libcgroups.host import Mode, Setup
    from libcgroups.manager import Manager

    Driver = Literal["cgroupfs", "systemd"]


def new(
    cgroups_path: str | None,
    *,
    container_id: str,
    driver: Driver = "cgroupfs",
    root: str = host.DEFAULT_ROOT,
    setup: Setup | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Manager:
    """Return the manager for this host; nothing is created yet.

    `cgroups_path`: absolute counts from each hierarchy's mount point; relative is below the caller's cgroup
    (v2: beside it); None is a cgroup named `container_id` there. For the systemd driver it is
    "slice:prefix:name", and `annotations` may set properties of the unit (`org.systemd.property.*`). `setup`
    saves a detection. Raises InvalidArgument, Unsupported (no hierarchy at `root`, or no systemd), CgroupError.
    """
    setup = host.detect(root) if setup is None else setup
    if driver == "systemd":
        from libcgroups.systemd import manager as systemd

        return systemd.new(cgroups_path, container_id, setup, annotations)
    if driver != "cgroupfs":
        raise InvalidArgument(
            f"the cgroup driver {driver!r} is not known", value=driver, remedy="use 'cgroupfs' or 'systemd'"
        )
    hierarchies = setup.hierarchies
    if setup.unified_hierarchy is not None:
        hierarchies += (setup.unified_hierarchy,)
    if not hierarchies:
        return _without_hierarchies(cgroups_path, root)
    absolute = cgroups_path is not None and cgroups_path.startswith("/")
    own = {} if absolute else host.own_cgroups()
    sibling = setup.mode == "v2"
    cgroups = [
        Cgroup(hierarchy, resolve(cgroups_path, container_id, hierarchy, own, sibling=sibling))
        for hierarchy in hierarchies
    ]
    return _manager(setup.mode, cgroups, optional=cgroups_path is None, reason=None)


def from_state(state: dict[str, Any]) -> Manager:
    """See Manager.from_state."""
    try:
        if state["version"] != STATE_VERSION or state["driver"] not in ("cgroupfs", "systemd"):
            raise ValueError(f"version {state['version']!r}, driver {state['driver']!r}")
        manager = _restored(state, [_cgroup_from_state(entry) for entry in state["cgroups"]])
        manager._strangers = bool(state["planned"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidArgument(
            f"this is not the state of a cgroup manager: {error}", remedy="remove the cgroup by hand"
        ) from error
    return manager


def _restored(state: dict[str, Any], cgroups: list[Cgroup]) -> Manager:
    if state["driver"] == "systemd":
        from libcgroups.systemd import manager as systemd

        return systemd.from_state(state, cgroups)
    return _manager(state["mode"], cgroups, optional=bool(state["optional"]), reason=state["reason"])


def _without_hierarchies(cgroups_path: str | None, root: str) -> Manager:
    reason = f"no cgroup hierarchy is mounted at {root}"
    if cgroups_path is not None:
        raise Unsupported(
            f"{reason}, so there is no place for the cgroup {cgroups_path}",
            path=root,
            value=cgroups_path,
            remedy="mount the cgroup filesystem, or name no cgroup path",
        )
    return _manager("none", [], optional=True, reason=reason)


def _manager(mode: Mode, cgroups: list[Cgroup], *, optional: bool, reason: str | None) -> Manager:
    """Only the code for this host's arrangement is imported."""
    if mode == "v2":
        from libcgroups.v2.manager import V2Manager

        return V2Manager(mode, cgroups, optional=optional, reason=reason)
    if mode not in ("v1", "hybrid", "none"):
        raise ValueError(f"mode {mode!r}")
    from libcgroups.v1.manager import V1Manager

    return V1Manager(mode, cgroups, optional=optional, reason=reason)


def _cgroup_from_state(entry: dict[str, Any]) -> Cgroup:
    path, made = entry["path"], entry["made"]
    if normalise(path) != path or not path.startswith("/") or path == "/":
        raise ValueError(f"path {path!r}")
    if not isinstance(made, int) or not 0 <= made <= path.count("/"):
        raise ValueError(f"made {made!r}")
    return Cgroup(host.Hierarchy(entry["mountPoint"], tuple(entry["controllers"]), entry["root"]), path, made)
