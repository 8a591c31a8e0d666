"""The managers of the systemd driver: a cgroup that is a transient scope or slice of systemd.

systemd makes the cgroup, hands it to us (Delegate=) and removes it; limits are told to it as properties and
are written to the files too, since it has no property for many of them, and would undo what it was not told.
A scope cannot be without a process: it is started by the first `add_process`, and `create` only prepares.

Authority: systemd.scope(5), systemd.resource-control(5), systemd's docs/CGROUP_DELEGATION.md.
"""

from __future__ import annotations

import errno
from abc import abstractmethod

from libcgroups import memorylimit
from libcgroups.cgroup import Cgroup, read_file
from libcgroups.errors import CgroupError, Error, Unsupported
from libcgroups.manager import SIGKILL, Manager
from libcgroups.path import visible_path
from libcgroups.systemd import annotations as annotated
from libcgroups.systemd import name, properties
from libcgroups.systemd.unit import Systemd
from libcgroups.v1 import memory as v1_memory
from libcgroups.v1.manager import V1Manager
from libcgroups.v2 import memory as v2_memory
from libcgroups.v2.manager import V2Manager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from libcgroups.host import Mode, Setup
    from libcgroups.resources import Resources
    from libcgroups.systemd.name import UnitName
    from libcgroups.systemd.properties import Property

    Connect = Callable[[], Systemd]


class UnitManager(Manager):
    """What the v1 and the v2 manager of a unit share."""

    unit: UnitName
    description: str
    extra: list[Property]
    connect: Connect
    _start_resources: Resources | None = None

    def set_unit(
        self, unit: UnitName, description: str, extra: list[Property], connect: Connect = Systemd
    ) -> None:
        """Say which unit this is; `extra` are properties to start it with, `connect` gives a conversation."""
        self.unit = unit
        self.description = description
        self.extra = extra
        self.connect = connect

    # Making and joining

    def create(self, cgroups: Collection[Cgroup] | None = None) -> None:  # noqa: ARG002  # systemd makes all
        """Start a slice; a scope needs its first process, see `add_process`. Raises as that."""
        if self.unit.is_slice:
            self._start([])

    def add_process(self, pid: int, *, born_in_unified: bool = False) -> None:
        """Start the unit with the process `pid` in it, or move it into the unit that runs.

        The call returns when systemd has moved it. Raises InUse when a unit of that name is running already,
        Timeout, NotPermitted, Unsupported for a slice (which holds no processes) and CgroupError; the unit
        does not exist then.
        """
        if self.unit.is_slice:
            raise Unsupported(
                f"{self.unit.unit} is a slice, which holds no processes itself",
                value=self.unit.unit,
                remedy="name a scope in it: slice:prefix:name, with a name that does not end in .slice",
            )
        if not self._ours():
            self._start([pid])
            return
        try:
            with self.connect() as systemd:
                systemd.attach(self.unit.unit, [pid])
        except Error:
            # Before systemd 238 there is no such call, and systemd may have stopped meanwhile: the files of a
            # delegated cgroup do the same, and say themselves what does not work.
            super().add_process(pid, born_in_unified=born_in_unified)
            return
        self._join_other_hierarchies(pid)

    def _start(self, pids: list[int]) -> None:
        missing = [cgroup for cgroup in self.cgroups if not cgroup.exists()]
        with self.connect() as systemd:
            version = systemd.version()
            wanted = [
                *properties.unit_properties(self.unit, self.description, pids, version, v2=self.mode == "v2"),
                *properties.start_properties(self._start_resources, version),
                *self.extra,
            ]
            systemd.start(self.unit.unit, wanted)
            for cgroup in missing:
                if cgroup.exists():
                    cgroup.made = 1  # of the path only the unit's own directory: its slices are systemd's
            try:
                self._check_started(pids)
            except BaseException:
                systemd.stop(self.unit.unit)
                raise

    def _check_started(self, pids: list[int]) -> None:
        """See that the processes are where we take them to be; bring them to the hierarchies systemd left out."""
        for pid in pids:
            self._join_other_hierarchies(pid)
        cgroup = self.primary
        if cgroup is None or not cgroup.exists():
            raise CgroupError(
                f"systemd started {self.unit.unit}, but {cgroup.directory if cgroup else 'its cgroup'} "
                "does not exist",
                path=cgroup.directory if cgroup else None,
                value=self.unit.unit,
                errno=errno.ENOENT,
                remedy="check that /sys/fs/cgroup here is that of systemd (systemctl show -p ControlGroup)",
            )

    def _join_other_hierarchies(self, pid: int) -> None:
        """Nothing to do on v2: there is one hierarchy."""

    def _ours(self) -> bool:
        return any(cgroup.made for cgroup in self.cgroups)

    def open_fd(self) -> int | None:
        """Return None until the unit has been started: its first process cannot be born in it."""
        return super().open_fd() if self._ours() else None

    # Limits

    @abstractmethod
    def _check_files(self, resources: Resources | None) -> None:
        """Do what `check` of the manager of the files does."""

    @abstractmethod
    def _check_usage(self, resources: Resources) -> None:
        """Refuse a memory limit below what is in use, if that is asked for: systemd would not look."""

    @abstractmethod
    def _write_files(self, resources: Resources) -> None:
        """Do what `apply` of the manager of the files does."""

    def check(self, resources: Resources | None) -> None:
        """See Manager.check. What only the start can be told (memory.oom.group) is kept for it."""
        self._check_files(resources)
        self._properties(resources, 0)
        self._start_resources = resources

    def apply(self, resources: Resources | None) -> None:
        """See Manager.apply: first as properties of the unit, then as files."""
        if not resources:
            return
        self._check_files(resources)
        self._check_usage(resources)
        with self.connect() as systemd:
            wanted = self._properties(resources, systemd.version())
            if wanted:
                systemd.set_properties(self.unit.unit, wanted)
        self._write_files(properties.settled(resources))

    def update(self, resources: Resources | None) -> None:
        """See Manager.update. The kernel decides first: its refusal can be undone before systemd is told."""
        if not resources:
            return
        from libcgroups.journal import Journal

        self._check_files(resources)
        with Journal(self):
            self._write_files(properties.settled(resources))
            self.apply(resources)

    def _properties(self, resources: Resources | None, version: int) -> list[Property]:
        if not resources:
            return []
        convert = properties.v2_properties if self.mode == "v2" else properties.v1_properties
        return convert(resources, version, _major_names() if resources.get("devices") else {})

    # Ending

    def kill_all(self, signal: int = SIGKILL, *, timeout_s: float = 10.0) -> None:
        """See Manager.kill_all. systemd removes the cgroup as soon as its last process has ended."""
        try:
            super().kill_all(signal, timeout_s=timeout_s)
        except CgroupError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV) or self.exists():
                raise

    def remove(self, *, timeout_s: float = 10.0) -> None:
        """Stop the unit if it is ours, forget its failure, and remove what is left of its cgroup.

        One that is gone counts as removed. Raises as Manager.remove, and Timeout, NotPermitted.
        """
        if self._ours():
            with self.connect() as systemd:
                systemd.stop(self.unit.unit)
        super().remove(timeout_s=timeout_s)
        for cgroup in self.cgroups:
            cgroup.made = 0  # the next process starts a new unit

    # State on disk

    def plan_state(self) -> dict[str, Any]:
        """See Manager.plan_state. The slices above the unit are systemd's to make and to remove."""
        return self._state([(cgroup, min(cgroup.missing(), 1)) for cgroup in self.cgroups], planned=True)

    def _state(self, cgroups: list[tuple[Cgroup, int]], *, planned: bool) -> dict[str, Any]:
        found = super()._state(cgroups, planned=planned)
        found["driver"] = "systemd"
        found["unit"] = {"name": self.unit.unit, "slice": self.unit.slice, "description": self.description}
        return found


class SystemdV2Manager(UnitManager, V2Manager):
    """A unit on a pure v2 host."""

    def _check_files(self, resources: Resources | None) -> None:
        V2Manager.check(self, resources)

    def _check_usage(self, resources: Resources) -> None:
        memorylimit.checked(self.cgroup, v2_memory.settings(resources), "memory.current")

    def _write_files(self, resources: Resources) -> None:
        V2Manager.apply(self, resources)


class SystemdV1Manager(UnitManager, V1Manager):
    """A unit on a v1 or hybrid host, with the same path in the hierarchies that systemd leaves to us."""

    def _check_files(self, resources: Resources | None) -> None:
        V1Manager.check(self, resources)

    def _check_usage(self, resources: Resources) -> None:
        cgroup = self.cgroup_of(v1_memory.NAME)
        if cgroup is not None:
            memorylimit.checked(cgroup, v1_memory.settings(resources), "memory.usage_in_bytes")

    def _write_files(self, resources: Resources) -> None:
        V1Manager.apply(self, resources)

    def _join_other_hierarchies(self, pid: int) -> None:
        for cgroup in self.cgroups:
            self._create(cgroup)
        V1Manager.add_process(self, pid)


def new(
    cgroups_path: str | None,
    container_id: str,
    setup: Setup,
    annotations: Mapping[str, str] | None = None,
    connect: Connect | None = None,
) -> UnitManager:
    """Return the manager of the unit that `cgroups_path` ("slice:prefix:name") names; starts nothing.

    Asks systemd where its cgroups are. `annotations` may set properties (`annotations.properties`). Raises
    InvalidArgument, Unsupported (no systemd, no jeepney, no hierarchy), NotPermitted, CgroupError.
    """
    extra = annotated.properties(annotations)
    unit = name.parse(cgroups_path, container_id)
    hierarchies = setup.hierarchies
    if setup.unified_hierarchy is not None:
        hierarchies += (setup.unified_hierarchy,)
    if connect is None:
        name.require_booted(unit)
        connect = Systemd
    with connect() as systemd:
        if systemd.user:
            unit = name.parse(cgroups_path, container_id, rootless=True)
        base = systemd.control_group()
    path = f"{base.rstrip('/')}{unit.path}"
    cgroups = [
        Cgroup(hierarchy, visible_path({(hierarchy.controllers or ("",))[0]: path}, hierarchy))
        for hierarchy in hierarchies
    ]
    found = _manager(setup.mode, cgroups, optional=False, reason=None)
    found.set_unit(unit, f"youki container {container_id}", extra, connect)
    return found


def from_state(state: dict[str, Any], cgroups: list[Cgroup], connect: Connect = Systemd) -> UnitManager:
    """Return the manager that `to_state` or `plan_state` of one of this driver described.

    Raises ValueError, KeyError and TypeError if it does not describe one.
    """
    entry = state["unit"]
    unit = name.UnitName(entry["slice"], entry["name"])
    if not cgroups or any(cgroup.path.rpartition("/")[2] != unit.unit for cgroup in cgroups):
        raise ValueError(f"the unit {unit.unit!r} is not in {[cgroup.path for cgroup in cgroups]}")
    found = _manager(state["mode"], cgroups, optional=bool(state["optional"]), reason=state["reason"])
    found.set_unit(unit, str(entry["description"]), [], connect)
    return found


def _manager(mode: Mode, cgroups: list[Cgroup], *, optional: bool, reason: str | None) -> UnitManager:
    if mode not in ("v1", "hybrid", "v2") or not cgroups:
        raise Unsupported(
            "the systemd cgroup driver needs a mounted cgroup hierarchy",
            value=mode,
            remedy="mount the cgroup filesystem at /sys/fs/cgroup",
        )
    kind = SystemdV2Manager if mode == "v2" else SystemdV1Manager
    return kind(mode, cgroups, optional=optional, reason=reason)


def _major_names() -> dict[tuple[int, int], str]:
    try:
        return properties.parse_proc_devices(read_file("/proc/devices"))
    except OSError as error:
        raise CgroupError(
            f"cannot read /proc/devices: {error.strerror}",
            path="/proc/devices",
            errno=error.errno,
            syscall="open",
            remedy="mount /proc",
        ) from error
