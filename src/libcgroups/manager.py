"""The manager of one cgroup across all hierarchies. Which one is the host's affair: see `libcgroups.factory`.

A life: `new(…)` → `plan_state()` (written down by the caller as an intent) → `create()` →
`check_empty_and_thawed()` → `apply(resources)` → `add_process(pid)` → … → `kill_all()` → `remove()`. Another
process continues it with `Manager.from_state(…)`. Two managers of different cgroups share nothing; one
manager is not made for use by two threads.

Authority: cgroups(7), cgroup-v2.rst, runtime-spec config-linux.md ("Control groups"). On the hot path.
"""

from __future__ import annotations

import errno
import os
import time
from abc import ABC, abstractmethod

from libcgroups import host
from libcgroups.cgroup import Cgroup, remove_empty
from libcgroups.errors import (
    PERMISSION_ERRNOS,
    CgroupError,
    InUse,
    NotPermitted,
    Unsupported,
    from_os,
)
from libcgroups.path import visible_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Any, Literal

    from libcgroups.host import Mode
    from libcgroups.notifications import Kind, Level, Notifications, Oom, Resource
    from libcgroups.resources import Resources
    from libcgroups.stats import Pressure, Stats

    Driver = Literal["cgroupfs", "systemd"]

SIGKILL = 9
REMOVE_DEADLINE_S = 10.0
STATE_VERSION = 1


class Manager(ABC):
    """One cgroup in every hierarchy of the host; see `new`.

    `mode` is the host's arrangement, `cgroups` the directories with their hierarchies, `reason` None or why
    the caller has to do without (some) cgroups: it named no path, and may not make any there.
    """

    def __init__(
        self, mode: Mode, cgroups: Sequence[Cgroup], *, optional: bool = False, reason: str | None = None
    ) -> None:
        """Manage `cgroups`.

        With `optional` those that the caller may not make are left out instead of an error.
        """
        self.mode: Mode = mode
        self.cgroups = tuple(cgroups)
        self.optional = optional
        self.reason = reason
        self._strangers = False  # a cgroup that was there before may hold processes of somebody else
        self._fresh = False  # made by this very object, so that it knows what was limited
        self._limited: set[str] = set()

    # What exists

    @property
    def paths(self) -> dict[str, str]:
        """Absolute cgroup directory by controller: "name=…" for a named v1 hierarchy, "" for the unified one."""
        return {
            controller: cgroup.directory
            for cgroup in self.cgroups
            for controller in cgroup.controllers or ("",)
        }

    @property
    def unified(self) -> Cgroup | None:
        """The cgroup in the unified (v2) hierarchy, None where there is none."""
        return next((cgroup for cgroup in self.cgroups if not cgroup.controllers), None)

    @property
    @abstractmethod
    def primary(self) -> Cgroup | None:
        """The cgroup whose list of processes counts; None when there is no cgroup at all."""

    def cgroup_of(self, controller: str) -> Cgroup | None:
        """Return the v1 cgroup that `controller` governs, None where that is not mounted."""
        return next((cgroup for cgroup in self.cgroups if controller in cgroup.controllers), None)

    def exists(self) -> bool:
        """Tell whether the cgroup exists in any hierarchy."""
        return any(cgroup.exists() for cgroup in self.cgroups)

    # Making and joining

    def create(self, cgroups: Collection[Cgroup] | None = None) -> None:
        """Make the cgroup in every hierarchy; what exists is used as it is, and `remove` will leave it.

        Of the `cgroups` of this manager that are given, only these are made; None stands for all. Not permitted, no
        path named: that hierarchy is left out and `reason` tells why. Any other failure removes what this call made
        and raises CgroupError (NotPermitted).
        """
        left_out = []
        wanted = self.cgroups if cgroups is None else cgroups
        try:
            for cgroup in wanted:
                try:
                    self._create(cgroup)
                except NotPermitted as error:
                    if not self.optional:
                        raise
                    remove_empty(cgroup.directory, cgroup.made)
                    self.reason = f"{cgroup.directory} is not used: {error}"
                    left_out.append(cgroup)
        except BaseException:
            for cgroup in wanted:
                remove_empty(cgroup.directory, cgroup.made)
                cgroup.made = 0
            raise
        self.cgroups = tuple(cgroup for cgroup in self.cgroups if cgroup not in left_out)
        self._fresh = True

    def _create(self, cgroup: Cgroup) -> None:
        cgroup.create()

    def check_empty_and_thawed(self, cgroups: Collection[Cgroup] | None = None) -> None:
        """Refuse a cgroup that somebody else populated or froze: no stranger may be killed with ours.

        Looks at the given ones of this manager's `cgroups`; None stands for all. runtime-spec config-linux.md lets
        a runtime check this. Raises InUse. A cgroup that we made needs no look for processes.
        """
        for cgroup in self.cgroups:
            if cgroup.made or not (cgroups is None or cgroup in cgroups):
                continue
            from libcgroups import processes

            count = sum(len(pids) for pids in processes.below(cgroup.directory))
            if count:
                self._strangers = True
                raise InUse(
                    f"container's cgroup is not empty: {count} process(es) found",
                    path=cgroup.directory,
                    value=str(count),
                    remedy="choose another cgroup path, or end the processes there",
                )
        if (cgroups is None or self.primary in cgroups) and self.frozen():
            raise InUse(
                "container's cgroup unexpectedly frozen",
                path=self.primary.directory if self.primary else None,
                remedy="thaw the cgroup or its parent, or choose another cgroup path",
            )

    def add_process(self, pid: int, *, born_in_unified: bool = False) -> None:
        """Move the process `pid`, with all its threads, into the cgroup of every hierarchy.

        `born_in_unified` says that it was cloned into the unified cgroup (`open_fd`), which then needs no
        move. Raises CgroupError; the process may then be in some of them, so the caller ends it and calls
        `remove`. The first process may leave out a hierarchy, as `create` does: write `to_state()` after it.
        """
        text = str(pid)
        # The primary comes first: should we die half-way, `kill_all` of another process finds it there.
        for cgroup in sorted(self.cgroups, key=lambda cgroup: cgroup is not self.primary):
            if born_in_unified and not cgroup.controllers:
                continue
            try:
                cgroup.write("cgroup.procs", text)
            except NotPermitted as error:
                self._leave_out(cgroup, error)

    def _leave_out(self, cgroup: Cgroup, error: NotPermitted) -> None:
        """Go on without `cgroup` if nobody asked for it: no path, no limit. Raises `error` otherwise.

        A process that joins later (exec) never goes without: the first one may be limited there.
        """
        if not self.optional or not self._fresh or cgroup.directory in self._limited:
            raise error
        remove_empty(cgroup.directory, cgroup.made)
        self.cgroups = tuple(other for other in self.cgroups if other is not cgroup)
        self.reason = f"{cgroup.directory} is not used: {error}"

    def open_fd(self) -> int | None:
        """Return a new descriptor of the unified cgroup for CLONE_INTO_CGROUP (clone3(2)), None without one.

        The caller closes it. In a hybrid arrangement the v1 hierarchies still need `add_process`. Raises
        CgroupError.
        """
        return None if self.unified is None else self.unified.open_fd()

    # Limits

    @abstractmethod
    def check(self, resources: Resources | None) -> None:
        """Refuse resources that are not valid or that this host cannot limit, without touching anything.

        `resources` is the OCI `linux.resources` object. Raises InvalidArgument and Unsupported, with
        `pointer`.
        """

    @abstractmethod
    def apply(self, resources: Resources | None) -> None:
        """Set the limits that `resources` (the OCI object; None and absent fields change nothing) asks for.

        Everything is checked before the first write. Raises InvalidArgument, Unsupported and CgroupError,
        with `pointer`: a limit that was asked for and cannot be had is never left out.
        """

    def update(self, resources: Resources | None) -> None:
        """Change the limits of a cgroup in use as `apply` does: all of them, or none where one is refused.

        A value that the kernel has already is not written again. Device rules come last, as those of v1 cannot
        be undone. Raises as `apply`; an undoing that fails is told in a note of the error.
        """
        from libcgroups.journal import Journal

        with Journal(self):
            self.apply({key: value for key, value in (resources or {}).items() if key != "devices"})
            self.apply({key: value for key, value in (resources or {}).items() if key == "devices"})

    def device_program(self, resources: Resources | None) -> bytes:  # noqa: ARG002  # v1 has a controller for it
        """Return the program that decides about devices on cgroup v2 as `resources` say; empty where none does.

        For a caller that attaches it itself before the first process enters a cgroup that `create` made, called
        `devices.program.PROGRAM_NAME`, and leaves the rules out of what it gives to `apply`. Raises InvalidArgument.
        """
        return b""

    def _refuse_without_cgroup(self, pointer: str) -> Unsupported:
        return Unsupported(
            f"{pointer}: this cannot be limited without a cgroup ({self.reason or 'no hierarchy is mounted'})",
            pointer=pointer,
            remedy="remove the limit, or run where a cgroup can be made",
        )

    def delegate(self, uid: int) -> None:
        """Let the user `uid` divide the cgroup, and move processes within it; the limits stay the caller's.

        The owner's number is that of the caller's user namespace. Raises Unsupported on v1, where the owner of
        a cgroup could lift its limits; CgroupError, NotPermitted.
        """
        if self.mode != "v2" or self.unified is None:
            raise Unsupported(
                f"a cgroup of a {self.mode} host cannot be delegated",
                value=str(uid),
                remedy="use a host with cgroup v2 only",
            )
        from libcgroups import delegation

        delegation.delegate(self.unified, uid)

    # Processes

    def processes(self, *, descendants: bool = True) -> list[int]:
        """Return the ids of the processes in the cgroup, ascending; with `descendants` also those below it.

        Empty when it does not exist. Processes that the caller's pid namespace cannot see are not in the
        list. Raises CgroupError.
        """
        cgroup = self.primary
        if cgroup is None:
            return []
        from libcgroups import processes

        found: set[int] = set()
        for pids in processes.below(cgroup.directory, descendants=descendants):
            found.update(pids)
        found.discard(0)  # a process of another pid namespace; kill(0) would hit our own group
        return sorted(found)

    @abstractmethod
    def freeze(self) -> None:
        """Stop every process of the cgroup and of those below it; return when all stand still.

        Raises Timeout (after thawing again), Unsupported where there is no freezer, InUse if the caller
        itself is inside.
        """

    @abstractmethod
    def thaw(self) -> None:
        """Let the processes go on.

        No error if the cgroup is gone; raises CgroupError, Unsupported, Timeout.
        """

    @abstractmethod
    def frozen(self) -> bool:
        """Tell whether the cgroup is frozen or being frozen, by itself or by an ancestor.

        False when there is no freezer.
        """

    def stats(self) -> Stats:
        """Return what the cgroup, with those below it, uses now; see `libcgroups.stats`.

        A value that this host does not offer is None. Raises CgroupError, with ENOENT when the cgroup does not
        exist.
        """
        if not self.exists():
            directory = self.primary.directory if self.primary else None
            raise CgroupError(
                f"there is no cgroup {directory} to measure" if directory else f"no cgroup ({self.reason})",
                path=directory,
                errno=errno.ENOENT,
                remedy="create it first; what it has used is lost once it is removed",
            )
        return self._measure()

    @abstractmethod
    def _measure(self) -> Stats:
        """Ask every controller."""

    def oom_events(self) -> Notifications[Oom]:
        """Watch for the cgroup running out of memory; see `libcgroups.notifications`.

        Raises Unsupported without the memory controller, CgroupError.
        """
        from libcgroups import notifications

        return notifications.oom_events(self)

    def memory_pressure_events(self, level: Level = "medium") -> Notifications[Pressure]:
        """Watch for want of memory, of `level` "low", "medium" or "critical".

        On v1 these are the kernel's own (cgroup-v1/memory.rst, section 11), and what comes is empty; on v2
        they are stalls of memory for some 5 %, some 10 % and full 10 % of two seconds. Raises InvalidArgument,
        Unsupported, CgroupError.
        """
        from libcgroups import notifications

        return notifications.memory_pressure_events(self, level)

    def stall_events(
        self, resource: Resource, *, kind: Kind = "some", stall_us: int, window_us: int = 2_000_000
    ) -> Notifications[Pressure]:
        """Watch for tasks that want `resource` ("cpu", "io", "memory") for `stall_us` within `window_us`.

        Needs the unified hierarchy; a hybrid host will do. Raises as `memory_pressure_events`.
        """
        from libcgroups import notifications

        return notifications.stall_events(self, resource, kind, stall_us, window_us)

    def kill_all(self, signal: int = SIGKILL, *, timeout_s: float = 10.0) -> None:
        """Send `signal` to every process of the cgroup and of those below it, however fast they fork.

        SIGKILL returns when the cgroup is empty, frozen or not before; other signals are sent once, and what
        was frozen stays so. After `check_empty_and_thawed` found strangers, and for a manager of a mere
        intent, a cgroup that was there before is not touched: none of ours is known to be in it. Raises
        Timeout when processes are still there after `timeout_s`, Unsupported without a cgroup, InUse if the
        caller itself is inside, CgroupError.
        """
        if not self.cgroups:
            raise Unsupported(
                f"there is no cgroup to find the processes by ({self.reason})",
                remedy="signal the processes by their ids",
            )
        if self._strangers and not all(cgroup.made for cgroup in (self.primary, self.unified) if cgroup):
            return
        from libcgroups import kill

        kill.kill_all(self, signal, timeout_s)

    def populated(self) -> bool:
        """Tell whether any process is in or below the cgroup, also one that our pid namespace cannot see."""
        if self.primary is None:
            return False
        from libcgroups import processes

        return any(processes.below(self.primary.directory))

    def thaw_for_kill(self) -> None:
        """Thaw whatever keeps SIGKILL from taking effect."""
        self.thaw()

    def refuse_own_cgroup(self, doing: str) -> None:
        """Raise InUse if the caller is itself inside the cgroup: it would freeze or kill itself."""
        own = host.own_cgroups()
        for cgroup in self.cgroups:
            try:
                path = visible_path(own, cgroup.hierarchy)
            except CgroupError:
                continue  # a cgroup that is not visible here is not below a directory that is
            if path == cgroup.path or path.startswith(cgroup.path + "/"):
                raise InUse(
                    f"cannot {doing} {cgroup.directory}: the caller is inside",
                    path=cgroup.directory,
                    remedy="call from outside that cgroup",
                )

    # Removing

    def remove(self, *, timeout_s: float = REMOVE_DEADLINE_S) -> None:
        """Remove the cgroups that `create` made with all below them, then the parents it made if empty.

        What was there before is left. A cgroup that is gone counts as removed; one with processes (dying,
        perhaps) is retried until `timeout_s` is over. Kills nothing: see `kill_all`. Raises InUse (EBUSY)
        when it is still in use; the other hierarchies have been removed then.
        """
        deadline: float | None = None
        failure: CgroupError | None = None
        for cgroup in self.cgroups:
            if not cgroup.made:
                continue
            try:
                os.rmdir(cgroup.directory)
            except FileNotFoundError:
                pass  # removed by somebody else: what we wanted
            except OSError as error:
                if deadline is None:
                    deadline = time.monotonic() + timeout_s
                try:
                    _remove_busy(cgroup, error, deadline)
                except CgroupError as problem:
                    failure = problem
                    continue
            remove_empty(cgroup.ancestor(1), cgroup.made - 1)
        if failure is not None:
            raise failure

    # State on disk

    def plan_state(self) -> dict[str, Any]:
        """Return the state that `create` is about to bring about: an intent to write down before it.

        Looks which directories are missing now. A process that finds the intent removes exactly those; what a
        rival makes between this and `create` is the one thing it cannot know, so write `to_state()` once
        `create` is done.
        """
        return self._state([(cgroup, cgroup.missing()) for cgroup in self.cgroups], planned=True)

    def to_state(self) -> dict[str, Any]:
        """Return what another process needs to manage and remove this cgroup (`from_state`), as JSON data."""
        return self._state([(cgroup, cgroup.made) for cgroup in self.cgroups], planned=False)

    def _state(self, cgroups: list[tuple[Cgroup, int]], *, planned: bool) -> dict[str, Any]:
        return {
            "version": STATE_VERSION,
            "driver": "cgroupfs",
            "mode": self.mode,
            "planned": planned,
            "optional": self.optional,
            "reason": self.reason,
            "cgroups": [
                {
                    "mountPoint": cgroup.mount_point,
                    "root": cgroup.hierarchy.root,
                    "controllers": list(cgroup.controllers),
                    "path": cgroup.path,
                    "made": made,
                }
                for cgroup, made in cgroups
            ],
        }

    @staticmethod
    def from_state(state: dict[str, Any]) -> Manager:
        """Return the manager that `plan_state` or `to_state` described.

        Raises InvalidArgument if it does not describe one.
        """
        from libcgroups import factory

        return factory.from_state(state)


def _remove_busy(cgroup: Cgroup, error: OSError, deadline: float) -> None:
    if error.errno in PERMISSION_ERRNOS or error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
        raise from_os(error, "rmdir", cgroup.directory) from error
    from libcgroups import removal

    removal.remove(cgroup.directory, deadline)
