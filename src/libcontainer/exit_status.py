"""How a process ended, and waiting for it by a pidfd. pidfd_open(2), waitid(2).

No SIGCHLD handler is needed and no other process's exit status is touched. Imported when somebody waits.
"""

from __future__ import annotations

import os
import time

from libcontainer.errors import StateError, Timeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.container import Container

_PIDFD_GET_INFO, _PIDFD_INFO_EXIT, _PIDFD_INFO_SIZE = 0xC040FF0B, 1 << 3, 64


class ExitStatus:
    """How a process of a container ended.

    `code` is its exit status, or None when a signal ended it, which is then in `signal`. Both are None when
    nobody can tell: the process was not ours to wait for and the kernel (before 6.15) does not keep its
    status. `returncode` is what a shell would show: the code, or 128 plus the signal; None when unknown.
    """

    __slots__ = ("code", "signal")

    def __init__(self, code: int | None, signal: int | None) -> None:
        self.code = code
        self.signal = signal

    @classmethod
    def from_wait(cls, status: int) -> ExitStatus:
        """Decode a wait status (waitpid(2))."""
        if os.WIFSIGNALED(status):
            return cls(None, os.WTERMSIG(status))
        return cls(os.WEXITSTATUS(status), None)

    @property
    def returncode(self) -> int | None:
        """The exit status as a shell would show it."""
        return self.code if self.signal is None else 128 + self.signal

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExitStatus) and (self.code, self.signal) == (other.code, other.signal)

    def __hash__(self) -> int:
        return hash((self.code, self.signal))

    def __repr__(self) -> str:
        return f"ExitStatus(code={self.code}, signal={self.signal})"


def await_container(container: Container, timeout: float | None) -> ExitStatus:
    """Wait until the first process of the container has ended, and return how. Raises Timeout, StateError."""
    try:
        pidfd = container._open_pidfd()
    except StateError:
        if container.status == "stopped":
            return ExitStatus(None, None)
        raise
    await_exit(pidfd, timeout, f"container {container.id}")
    return exit_status(pidfd)


def await_exit(pidfd: int, timeout: float | None, what: str) -> None:
    """Wait until the process has ended. Raises Timeout, in whose text `what` says what did not end.

    Tenants of this process that end meanwhile are reaped: the first process of a container waits for them.
    """
    from select import POLLIN
    from select import poll as make_poll

    from libcontainer import reaping

    deadline = None if timeout is None else time.monotonic() + timeout
    poll = make_poll()
    poll.register(pidfd, POLLIN)
    poll.register(reaping.watch(), POLLIN)
    while True:
        left = None if deadline is None else max(0, round((deadline - time.monotonic()) * 1000))
        ready = [fd for fd, _ in poll.poll(left)]
        if pidfd in ready:
            return
        if ready:
            reaping.reap_ended()
        if left is not None and time.monotonic() >= (deadline or 0):
            raise Timeout(f"{what} did not end within {timeout:g} s", step="wait")


def has_ended(pidfd: int) -> bool:
    """Tell whether the process has ended, reaped or not."""
    from select import POLLIN
    from select import poll as make_poll

    poll = make_poll()
    poll.register(pidfd, POLLIN)
    return bool(poll.poll(0))


def exit_status(pidfd: int) -> ExitStatus:
    """Return how the ended process ended.

    Of a child waitid(2) tells it, of another process the kernel's memory of it (ioctl_pidfd PIDFD_GET_INFO).
    """
    try:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        return _exit_of_stranger(pidfd)
    if result is None:
        return ExitStatus(None, None)
    if result.si_code == os.CLD_EXITED:
        return ExitStatus(result.si_status, None)
    return ExitStatus(None, result.si_status)


def _exit_of_stranger(pidfd: int) -> ExitStatus:
    import fcntl
    from struct import pack_into, unpack_from

    info = bytearray(_PIDFD_INFO_SIZE)
    pack_into("=Q", info, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return ExitStatus(None, None)
    (mask,) = unpack_from("=Q", info, 0)
    if not mask & _PIDFD_INFO_EXIT:
        return ExitStatus(None, None)
    (status,) = unpack_from("=i", info, 60)
    return ExitStatus.from_wait(status)
