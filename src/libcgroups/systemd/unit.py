"""What is asked of systemd: start, change, join and stop one unit.

Authority: org.freedesktop.systemd1(5). Starting and stopping are jobs: the call returns at once, and the
signal JobRemoved says how the job ended. Nothing here knows resources: see `properties`.
"""

from __future__ import annotations

import errno
import time

from libcgroups.errors import CgroupError, NotPermitted, Timeout, Unsupported
from libcgroups.systemd.bus import Bus, CallError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

    from libcgroups.errors import Error
    from libcgroups.systemd.properties import Property

JOB_DEADLINE_S = 30.0
_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"
_EXISTS = "org.freedesktop.systemd1.UnitExists"
_NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit"
_DBUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")


class Systemd:
    """The caller's systemd, for as long as the context lasts."""

    def __init__(self, bus: Bus | None = None) -> None:
        """Connect; raises as `Bus.connect`."""
        self._bus = Bus.connect() if bus is None else bus

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bus.close()

    @property
    def user(self) -> bool:
        """Tell whether it is a user's systemd, not the system's."""
        return self._bus.user

    def version(self) -> int:
        """Return its version, 252 for "252.39-1"; 0 when it says something else."""
        text = str(self._property("Version")).lstrip("v")
        digits = text[: len(text) - len(text.lstrip("0123456789"))]
        return int(digits) if digits else 0

    def control_group(self) -> str:
        """Return the path of its own cgroup, below which its units' are: "/" for the system's."""
        return str(self._property("ControlGroup")) or "/"

    def start(self, unit: str, properties: list[Property]) -> None:
        """Start a transient unit and wait until it is there.

        A failed unit of that name from before is forgotten first. When the job fails or takes longer than
        JOB_DEADLINE_S, the unit is stopped again. Raises InUse (a unit of that name is running), Timeout,
        NotPermitted, CgroupError.
        """
        doing = "start"
        self._watch(doing, unit)
        body: tuple[Any, ...] = (unit, "replace", properties, [])
        try:
            job = self._start(unit, body)
        except CallError as error:
            raise error.translated(doing, unit) from error
        except OSError as error:
            raise _lost(doing, unit, error) from error
        try:
            result = self._await(job, doing, unit)
        except Timeout:
            self._abandon(unit)
            raise
        if result != "done":
            self._abandon(unit)
            raise _failed(doing, unit, result)

    def _start(self, unit: str, body: tuple[Any, ...]) -> str:
        try:
            return self._job("StartTransientUnit", "ssa(sv)a(sa(sv))", body)
        except CallError as error:
            if error.name != _EXISTS:
                raise
        self.reset_failed(unit)
        return self._job("StartTransientUnit", "ssa(sv)a(sa(sv))", body)

    def stop(self, unit: str) -> None:
        """Stop a unit, which ends its processes, and wait; one that is gone counts as stopped.

        What is left of it when it failed is forgotten. Raises Timeout, NotPermitted, CgroupError.
        """
        doing = "stop"
        self._watch(doing, unit)
        try:
            job = self._job("StopUnit", "ss", (unit, "replace"))
        except CallError as error:
            if error.name == _NO_SUCH_UNIT:
                return
            raise error.translated(doing, unit) from error
        except OSError as error:
            raise _lost(doing, unit, error) from error
        result = self._await(job, doing, unit)
        if result != "done":
            raise _failed(doing, unit, result)
        self.reset_failed(unit)

    def set_properties(self, unit: str, properties: list[Property]) -> None:
        """Change properties of a running unit until it ends or the host restarts. Raises as `start`."""
        self._do("change", unit, "SetUnitProperties", "sba(sv)", (unit, True, properties))

    def attach(self, unit: str, pids: list[int]) -> None:
        """Move processes into the unit's cgroup (since systemd 238). Raises as `start`, and Unsupported."""
        self._do("move a process into", unit, "AttachProcessesToUnit", "ssau", (unit, "/", pids))

    def reset_failed(self, unit: str) -> None:
        """Forget that a unit failed, so that its name is free. One that is gone is no error. Raises as `start`."""
        try:
            self._manager("ResetFailedUnit", "s", (unit,))
        except CallError as error:
            if error.name != _NO_SUCH_UNIT:
                raise error.translated("reset", unit) from error
        except OSError as error:
            raise _lost("reset", unit, error) from error

    def _abandon(self, unit: str) -> None:
        """Stop what a failed start may have left, without waiting; the start's own error is what counts."""
        for member, signature, body in (
            ("StopUnit", "ss", (unit, "replace")),
            ("ResetFailedUnit", "s", (unit,)),
        ):
            try:
                self._manager(member, signature, body)
            except (CallError, OSError):
                continue  # gone already, or the connection is: the error of the start is raised by the caller

    def _watch(self, doing: str, unit: str) -> None:
        """Ask for the signals about the jobs of `unit`, before the job is made: none may be missed."""
        rule = (
            f"type='signal',sender='{_NAME}',path='{_PATH}',interface='{_MANAGER}',member='JobRemoved',"
            f"arg2='{unit}'"
        )
        if not self._bus.direct:
            self._translated(doing, unit, *_DBUS, "AddMatch", "s", (rule,))
        self._translated(doing, unit, _NAME, _PATH, _MANAGER, "Subscribe", "", ())

    def _await(self, job: str, doing: str, unit: str) -> str:
        """Return the result of `job`. Raises Timeout."""
        deadline = time.monotonic() + JOB_DEADLINE_S
        try:
            while True:
                member, body = self._bus.next_signal(deadline)
                if member == "JobRemoved" and len(body) == 4 and body[1] == job:
                    return str(body[3])
        except OSError as error:
            raise _lost(doing, unit, error) from error

    def _job(self, member: str, signature: str, body: tuple[Any, ...]) -> str:
        return str(self._manager(member, signature, body)[0])

    def _manager(self, member: str, signature: str, body: tuple[Any, ...]) -> tuple[Any, ...]:
        return self._bus.call(_NAME, _PATH, _MANAGER, member, signature, body)

    def _do(self, doing: str, unit: str, member: str, signature: str, body: tuple[Any, ...]) -> None:
        self._translated(doing, unit, _NAME, _PATH, _MANAGER, member, signature, body)

    def _translated(self, doing: str, unit: str, *call: Any) -> tuple[Any, ...]:
        try:
            return self._bus.call(*call)
        except CallError as error:
            raise error.translated(doing, unit) from error
        except OSError as error:
            raise _lost(doing, unit, error) from error

    def _property(self, name: str) -> object:
        interface = "org.freedesktop.DBus.Properties"
        answer = self._translated("ask", "systemd", _NAME, _PATH, interface, "Get", "ss", (_MANAGER, name))
        return answer[0][1]  # a variant: (signature, value)


def _failed(doing: str, unit: str, result: str) -> CgroupError:
    return CgroupError(
        f"cannot {doing} {unit}: systemd's job ended with {result!r}",
        value=unit,
        remedy=f"see: journalctl --unit {unit}",
    )


def _lost(doing: str, unit: str, error: OSError) -> Error:
    if isinstance(error, TimeoutError):
        return Timeout(
            f"cannot {doing} {unit}: systemd did not answer in time",
            value=unit,
            errno=errno.ETIMEDOUT,
            remedy="see what it is busy with: systemctl list-jobs",
        )
    kind = NotPermitted if isinstance(error, PermissionError) else Unsupported
    return kind(
        f"cannot {doing} {unit}: the connection to systemd broke: {error.strerror or error}",
        value=unit,
        errno=error.errno,
        remedy="check that systemd and D-Bus are running (systemctl status)",
    )
