"""The freezer of the unified hierarchy, which is part of every non-root cgroup of it (also on a hybrid host).

Files: cgroup.freeze, cgroup.events (cgroup-v2.rst, "Core Interface Files"). A frozen process can be killed.
"""

from __future__ import annotations

import errno
import time

from libcgroups import events
from libcgroups.cgroup import Cgroup, read_file, write_file
from libcgroups.errors import Timeout, Unsupported, from_os

DEADLINE_S = 10.0
_GONE = (errno.ENOENT, errno.ENODEV)


def freeze(cgroup: Cgroup) -> None:
    """Freeze and wait until all processes stand still; thaws again and raises Timeout when they do not.

    Raises Unsupported where the file is missing (before Linux 5.2, or no such cgroup), CgroupError.
    """
    path = f"{cgroup.directory}/cgroup.freeze"
    try:
        write_file(path, "1")
    except FileNotFoundError as error:
        raise Unsupported(
            f"freezer not supported: {path} does not exist",
            path=path,
            errno=error.errno,
            syscall="open",
            remedy="the cgroup must exist, and the kernel be 5.2 or later",
        ) from error
    except OSError as error:
        raise from_os(error, "write", path, "1") from error
    try:
        _await(cgroup, "frozen 1")
    except BaseException:
        thaw(cgroup)
        raise


def thaw(cgroup: Cgroup) -> None:
    """Thaw and wait until the processes may run; nothing to do when the cgroup is gone.

    Raises CgroupError, Timeout.
    """
    path = f"{cgroup.directory}/cgroup.freeze"
    try:
        write_file(path, "0")
    except OSError as error:
        if error.errno in _GONE:
            return
        raise from_os(error, "write", path, "0") from error
    _await(cgroup, "frozen 0")


def frozen(cgroup: Cgroup) -> bool:
    """Tell whether the cgroup is frozen (by itself or an ancestor) or on the way to it.

    False when it does not exist.
    """
    for file, line in (("cgroup.events", "frozen 1"), ("cgroup.freeze", "1")):
        try:
            if line in read_file(f"{cgroup.directory}/{file}").split("\n"):
                return True
        except OSError as error:
            if error.errno not in _GONE:
                raise from_os(error, "read", f"{cgroup.directory}/{file}") from error
    return False


def _await(cgroup: Cgroup, line: str) -> None:
    path = f"{cgroup.directory}/cgroup.events"
    try:
        if events.await_line(path, line, time.monotonic() + DEADLINE_S):
            return
    except OSError as error:
        if error.errno in _GONE:
            return  # removed: nothing is left to freeze or to thaw
        raise from_os(error, "read", path) from error
    raise Timeout(
        f"{cgroup.directory} did not show {line!r} within {DEADLINE_S:g} s",
        path=path,
        value=line,
        errno=errno.ETIMEDOUT,
        remedy="a process in state D cannot be frozen, and one below a frozen ancestor not be thawed",
    )
