"""Signalling every process of a cgroup, so that none escapes by forking.

cgroup.kill (cgroup-v2.rst, since Linux 5.14; also in the unified hierarchy of a hybrid host) does it in the
kernel. Without it, or for another signal: freeze, signal each, thaw. SIGKILL repeats that until the cgroup is
empty or the time is over. Process ids are turned into pidfds and checked against the cgroup again, so that a
recycled id is never signalled.
"""

from __future__ import annotations

import errno
import os
import time

from libcgroups import events
from libcgroups.errors import CgroupError, Error, Timeout, Unsupported, from_os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from libcgroups.manager import Manager
else:
    import _signal

SIGKILL = 9
_BATCH = 256  # pidfds held at once, well below the usual RLIMIT_NOFILE of 1024
_PATIENCE_S = 0.25  # for processes that cgroup.kill has killed to be gone, before it is repeated
_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05


def kill_all(manager: Manager, signal: int, timeout_s: float) -> None:
    """See Manager.kill_all."""
    if not manager.exists():
        return
    manager.refuse_own_cgroup("kill the processes of")
    if signal != SIGKILL:
        _signal_all(manager, signal, keep_frozen=manager.frozen())
        return
    deadline = time.monotonic() + timeout_s
    while True:
        switched = _kill_switch(manager)
        if not switched:
            _signal_all(manager, SIGKILL, keep_frozen=False)
        manager.thaw_for_kill()
        if _await_empty(manager, min(deadline, time.monotonic() + _PATIENCE_S)):
            return
        if (
            switched
        ):  # a process may have moved itself out of the unified cgroup, but not out of the other ones
            _signal_all(manager, SIGKILL, keep_frozen=False)
        if time.monotonic() >= deadline:
            raise _survivors(manager, timeout_s)


def _kill_switch(manager: Manager) -> bool:
    """Kill through cgroup.kill; False where that does not exist, or is refused: in a threaded cgroup."""
    unified = manager.unified
    if unified is None or not unified.has("cgroup.kill"):
        return False
    try:
        unified.write("cgroup.kill", "1")
    except CgroupError as error:
        if error.errno != errno.EOPNOTSUPP:  # cgroup-v2.rst, "cgroup.kill": it works on whole processes only
            raise
        return False
    return True


def _signal_all(manager: Manager, signal: int, *, keep_frozen: bool) -> None:
    """Freeze, send `signal` to each process once, thaw (on every way out, unless it was frozen before)."""
    if keep_frozen:
        _signal_each(manager, signal)
        return
    thaw = True
    try:
        try:
            manager.freeze()
        except (Timeout, Unsupported):
            # It has thawed itself. Those that run get the signal as they run, and SIGKILL is repeated.
            thaw = False
        _signal_each(manager, signal)
    finally:
        if thaw:
            manager.thaw()


def _signal_each(manager: Manager, signal: int) -> None:
    pids = manager.processes()
    for start in range(0, len(pids), _BATCH):
        _signal_batch(manager, signal, pids[start : start + _BATCH])


def _signal_batch(manager: Manager, signal: int, pids: list[int]) -> None:
    """Signal those of `pids` that are still in the cgroup once a pidfd holds on to each of them."""
    pidfds = {}
    try:
        for pid in pids:
            try:
                pidfds[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                continue  # it has ended
        members = set(manager.processes())
        for pid, pidfd in pidfds.items():
            if pid not in members:
                continue
            try:
                _signal.pidfd_send_signal(pidfd, signal)
            except ProcessLookupError:
                continue  # it has ended
    finally:
        for pidfd in pidfds.values():
            os.close(pidfd)


def _await_empty(manager: Manager, deadline: float) -> bool:
    """Wait until the cgroup has no process, at most until `deadline`; tell whether that is so."""
    if manager.unified is not None:
        _await_unpopulated(f"{manager.unified.directory}/cgroup.events", deadline)
    pause_s = _FIRST_PAUSE_S
    while manager.populated():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
    return True


def _await_unpopulated(path: str, deadline: float) -> None:
    """Let the kernel wake us instead of looking again and again.

    Whether it is empty is decided by `populated`.
    """
    try:
        events.await_line(path, "populated 0", deadline)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):  # the cgroup is gone, so nobody is in it
            raise from_os(error, "read", path) from error


def _survivors(manager: Manager, timeout_s: float) -> Error:
    pids = manager.processes()
    who = ", ".join(map(str, pids[:8])) if pids else "processes of another pid namespace"
    directory = manager.primary.directory if manager.primary else ""
    return Timeout(
        f"{who} in {directory} did not end within {timeout_s:g} s of SIGKILL",
        path=directory,
        value=str(SIGKILL),
        remedy="a process in uninterruptible sleep (state D) ends when what it waits for answers",
    )
