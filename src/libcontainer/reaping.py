"""Tenants that this process has to reap.

A pid namespace ends when all its processes have been reaped, each by its own parent (pid_namespaces(7)): the first
process would never end for somebody who waits for it in the very program that has started a tenant and does not
wait for that. So whoever waits also reaps the tenants that have ended; their handles know then how. On the hot path.
"""

from __future__ import annotations

import _thread
import os
from select import EPOLLIN, epoll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.process import Process

_lock = _thread.allocate_lock()
_watch: tuple[int, epoll] | None = None  # (pid of the process that made it, the pidfds of its tenants)
_tenants: dict[int, Process] = {}  # by pidfd


def watch() -> int:
    """Return a descriptor to poll for POLLIN: one of the tenants has ended, so call `reap_ended`."""
    return _epoll().fileno()


def add(pidfd: int, process: Process) -> None:
    """Take over the care for a new tenant, until `discard`."""
    _tenants[pidfd] = process
    _epoll().register(pidfd, EPOLLIN)


def discard(pidfd: int) -> None:
    """Forget a tenant that has been reaped; its pidfd is still open."""
    if _tenants.pop(pidfd, None) is not None:
        _epoll().unregister(pidfd)


def reap_ended() -> None:
    """Reap the tenants that have ended."""
    if not _tenants:
        return
    for pidfd, _ in _epoll().poll(0):
        process = _tenants.get(pidfd)
        if process is not None:
            process.poll()


def _epoll() -> epoll:
    """Return what watches the tenants of this process: after a fork those of the parent are not ours."""
    global _watch
    with _lock:
        if _watch is None or _watch[0] != os.getpid():
            _tenants.clear()
            _watch = (os.getpid(), epoll())
        return _watch[1]
