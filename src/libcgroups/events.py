"""Waiting for a line of a cgroup's events file.

Authority: cgroup-v2.rst: a change of cgroup.events, memory.events, … is announced by poll(2) with POLLPRI.
The kernel compares with what this descriptor read last, so each wait reads first and a change between the two
is not lost.
"""

from __future__ import annotations

import os
import select
import time

_GLANCE_S = (
    0.1  # look again that often even without an announcement: a plain file (a test's tree) announces nothing
)


def await_line(path: str, line: str, deadline: float) -> bool:
    """Wait until `path` holds `line`; False when that is not so at `deadline` (of time.monotonic).

    Raises OSError (ENOENT when the cgroup does not exist; ENODEV when it was removed while waiting).
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        while line not in os.pread(fd, 4096, 0).decode().split("\n"):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            poll.poll(min(left_s, _GLANCE_S) * 1000)
        return True
    finally:
        os.close(fd)
