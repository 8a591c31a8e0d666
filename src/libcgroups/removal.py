"""Removing a cgroup with everything below it.

The kernel removes a cgroup only when it has no children and no live process, deepest first (cgroup-v2.rst,
"Un-populating"). The payload may have made cgroups of its own, may still be making them, and its processes
may still be dying: EBUSY is retried with growing pauses until a deadline, a directory that is gone counts as
removed. Names come from the payload, so each is looked up in the descriptor of its parent and never through a
symbolic link.
"""

from __future__ import annotations

import errno
import os
import time

from libcgroups.cgroup import DIRECTORY, read_file, subdirectories
from libcgroups.errors import InUse, from_os

FIRST_PAUSE_S = 0.0005
LONGEST_PAUSE_S = 0.1
_BUSY = (errno.EBUSY, errno.ENOTEMPTY)


def remove(directory: str, deadline: float) -> None:
    """Remove `directory` and all cgroups below it before `deadline` (of time.monotonic).

    Kills nothing. Raises InUse (EBUSY) when processes are still there at the deadline.
    """
    pause_s = FIRST_PAUSE_S
    while not _rmdir(directory, None):
        _remove_children(directory)
        if _rmdir(directory, None):
            return
        if time.monotonic() >= deadline:
            raise _busy(directory)
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


def _remove_children(directory: str) -> None:
    """Remove what can be removed below `directory` now, in one pass; what is busy stays for the next pass.

    Goes down and up with one descriptor and a list of names, so neither PATH_MAX nor RLIMIT_NOFILE bounds the
    depth.
    """
    try:
        fd = os.open(directory, DIRECTORY)
    except FileNotFoundError:
        return
    names: list[str] = []
    try:
        pending = [subdirectories(fd)]
        while True:
            if pending[-1]:
                name = pending[-1].pop()
                if _rmdir(name, fd):
                    continue
                try:
                    child = os.open(name, DIRECTORY, dir_fd=fd)
                except FileNotFoundError:
                    continue
                os.close(fd)
                fd = child
                names.append(name)
                pending.append(subdirectories(fd))
                continue
            if not names:
                return
            pending.pop()
            parent = os.open("..", DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = parent
            _rmdir(names.pop(), fd)
    finally:
        os.close(fd)


def _rmdir(name: str, dir_fd: int | None) -> bool:
    """Remove one directory; True when it is gone, False while it is busy."""
    try:
        os.rmdir(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise from_os(error, "rmdir", name) from error
    return True


def _busy(directory: str) -> InUse:
    try:
        pids = read_file(f"{directory}/cgroup.procs").split()
    except OSError:  # only to explain: a cgroup that cannot be read is described without its processes
        pids = []
    holds = f": it holds the processes {', '.join(pids[:8])}" if pids else ""
    return InUse(
        f"cannot remove {directory}{holds}: {os.strerror(errno.EBUSY)} (EBUSY)",
        path=directory,
        errno=errno.EBUSY,
        syscall="rmdir",
        remedy="end the processes in it and in the cgroups below it (kill_all), then remove it again",
    )
