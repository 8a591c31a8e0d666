"""Which processes are in a cgroup and below it. Authority: cgroups(7), cgroup-v2.rst ("Processes", "Threads")."""

from __future__ import annotations

import errno

from libcgroups.cgroup import read_file, walk
from libcgroups.errors import from_os


def below(directory: str, *, descendants: bool = True) -> list[list[int]]:
    """Return the process ids of `directory` and of each cgroup below it.

    A process of another pid namespace is 0.
    """
    found = []
    for fd in walk(directory):
        try:
            found.append([int(pid) for pid in read_file("cgroup.procs", fd).split()])
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                found.append(_processes_of_threads(fd))
            # ENOENT, ENODEV: removed while we looked, so it has no processes.
            elif error.errno not in (errno.ENOENT, errno.ENODEV):
                raise from_os(error, "read", f"{directory}/cgroup.procs") from error
        if not descendants:
            break
    return found


def _processes_of_threads(fd: int) -> list[int]:
    """Return the processes of a threaded cgroup, which lists only threads (cgroup-v2.rst, "Threads")."""
    pids: set[int] = set()
    for thread in read_file("cgroup.threads", fd).split():
        try:
            status = read_file(f"/proc/{thread}/status")
        except OSError:
            continue  # the thread has ended
        pids.update(int(line[5:]) for line in status.split("\n") if line.startswith("Tgid:"))
    return sorted(pids)
