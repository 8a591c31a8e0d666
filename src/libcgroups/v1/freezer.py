"""The v1 freezer: stop and continue all processes of a cgroup and of those below it.

File: freezer.state (cgroup-v1/freezer-subsystem.rst): THAWED, FREEZING, FROZEN. A frozen process dies of
SIGKILL only when thawed.
"""

from __future__ import annotations

import errno
import time

from libcgroups.cgroup import Cgroup, read_file, walk, write_file
from libcgroups.errors import CgroupError, Timeout, Unsupported, from_os

DEADLINE_S = 10.0
_STATE = "freezer.state"
_RESTART_EVERY = 50
_PAUSE_S = 0.01
_EAGER_LOOKS = (
    20  # usually the second look already says FROZEN; pausing from the start would cost more than looking
)


def freeze(cgroup: Cgroup) -> None:
    """Freeze and return when the kernel says FROZEN; thaws again on every failure.

    While processes keep appearing (fork, somebody joining) the kernel can stay in FREEZING for ever; starting
    afresh now and then gets it out. Raises Timeout after ten seconds, Unsupported when there is no such
    cgroup, CgroupError.
    """
    if not cgroup.has(_STATE):
        raise Unsupported(
            f"freezer not supported: {cgroup.directory}/{_STATE} does not exist",
            path=f"{cgroup.directory}/{_STATE}",
            errno=errno.ENOENT,
            remedy="create the cgroup first; the root cgroup cannot be frozen",
        )
    try:
        _freeze(cgroup, time.monotonic() + DEADLINE_S)
    except BaseException:
        _write_thawed(cgroup)
        raise


def _freeze(cgroup: Cgroup, deadline: float) -> None:
    look = 0
    cgroup.write(_STATE, "FROZEN")
    while cgroup.read(_STATE) != "FROZEN\n":
        look += 1
        if time.monotonic() >= deadline:
            raise _late(cgroup, "FROZEN")
        if look % _RESTART_EVERY == 0:
            cgroup.write(_STATE, "THAWED")
            time.sleep(_PAUSE_S)
            cgroup.write(_STATE, "FROZEN")
        elif look > _EAGER_LOOKS:
            time.sleep(_PAUSE_S)


def thaw(cgroup: Cgroup) -> None:
    """Thaw and return when the kernel says THAWED; nothing to do when the cgroup is gone.

    Raises CgroupError, Timeout.
    """
    if not _write_thawed(cgroup):
        return
    deadline = time.monotonic() + DEADLINE_S
    while (found := state(cgroup)) not in ("THAWED", ""):
        if time.monotonic() >= deadline:
            raise _late(cgroup, f"THAWED but {found}")
        time.sleep(_PAUSE_S)


def thaw_nested(cgroup: Cgroup) -> None:
    """Thaw also every cgroup below: the payload may have frozen its own, and would outlive SIGKILL there."""
    for fd in walk(cgroup.directory):
        try:
            write_file(_STATE, "THAWED", fd)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # removed meanwhile
                raise from_os(error, "write", f"{cgroup.directory}/{_STATE}", "THAWED") from error


def frozen(cgroup: Cgroup) -> bool:
    """Tell whether the cgroup is frozen or being frozen, by itself or by an ancestor.

    False when it does not exist.
    """
    return state(cgroup) in ("FROZEN", "FREEZING")


def state(cgroup: Cgroup) -> str:
    """Return THAWED, FREEZING or FROZEN; empty when the cgroup does not exist. Raises CgroupError."""
    path = f"{cgroup.directory}/{_STATE}"
    try:
        return read_file(path).strip()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return ""
        raise from_os(error, "read", path) from error


def _write_thawed(cgroup: Cgroup) -> bool:
    """Write THAWED; False when the cgroup is gone."""
    try:
        cgroup.write(_STATE, "THAWED")
    except CgroupError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return False
        raise
    return True


def _late(cgroup: Cgroup, wanted: str) -> Timeout:
    return Timeout(
        f"{cgroup.directory} did not become {wanted} within {DEADLINE_S:g} s",
        path=f"{cgroup.directory}/{_STATE}",
        value=wanted,
        errno=errno.ETIMEDOUT,
        remedy="a process in state D cannot be frozen, and one below a frozen ancestor not be thawed",
    )
