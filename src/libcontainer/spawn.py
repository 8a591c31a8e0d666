"""Starting init: posix_spawn(3) of the sealed program with a channel, standard streams and preserved
descriptors.

A library lives in programs with threads, where running Python between fork and exec is unsafe; posix_spawn
runs none. On the hot path.
"""

from __future__ import annotations

import errno
import fcntl
import os

from libcontainer import sealed
from libcontainer.channel import Channel
from libcontainer.errors import InvalidArgument, SetupError, shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Sequence
    from typing import IO

    Stream = int | IO[bytes] | IO[str] | None
else:
    import _signal  # what the signal module is made of; the module itself builds enumerations

PIPE, DEVNULL = -1, -3  # as subprocess has them

# Python ignores SIGPIPE and SIGXFSZ, and its caller may ignore or block more; the payload starts with none of
# that.
_ALL_SIGNALS = [number for number in range(1, 65) if number not in (_signal.SIGKILL, _signal.SIGSTOP, 32, 33)]


def spawn(stdio: Sequence[int | None] = (None, None, None), preserve_fds: int = 0) -> tuple[int, Channel]:
    """Start init and return its pid and the channel to it.

    `stdio` replaces descriptors 0 to 2 (None: the caller's own); descriptors 3 to 2+`preserve_fds` of the
    caller are passed on. Raises InvalidArgument for a preserved descriptor that is not open, SetupError when
    the process cannot be started.
    """
    check_preserved(preserve_fds)
    target = 3 + preserve_fds
    channel, theirs = Channel.pair()
    opened = [theirs]
    try:
        actions: list[tuple[int, int, int]] = []
        for number, fd in enumerate(stdio):
            if fd is not None:
                actions.append((os.POSIX_SPAWN_DUP2, _above(fd, target, opened), number))
        # To itself: that clears close-on-exec.
        actions += [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in range(3, target)]
        actions.append((os.POSIX_SPAWN_DUP2, _above(theirs, target, opened), target))
        program = _above(sealed.program(opened), target, opened)
        pid = os.posix_spawn(
            f"/proc/self/fd/{program}",
            ["libcontainer-init", str(target)],
            {},
            file_actions=actions,
            setsigmask=[],
            setsigdef=_ALL_SIGNALS,
        )
    except OSError as error:
        channel.close()
        raise SetupError(
            f"cannot start init: {error.strerror}",
            step="spawn",
            syscall="posix_spawn",
            errno=error.errno,
            remedy=(None if error.errno == errno.ENOMEM else shortage(error.errno))
            or "check the limits of processes and memory of the caller, and that /proc is mounted",
        ) from error
    except BaseException:
        channel.close()
        raise
    finally:
        for fd in opened:
            os.close(fd)
    return pid, channel


def check_preserved(count: int) -> None:
    """Raise InvalidArgument unless descriptors 3 to 2+`count` are open and inheritable.

    One that is close-on-exec was not meant for another program: it may be the runtime's own, such as the
    directory of the records, which a container must never get (CVE-2024-21626).
    """
    for fd in range(3, 3 + count):
        try:
            if fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC == 0:
                continue
        except OSError:
            pass
        raise InvalidArgument(
            f"file descriptor {fd} does not exist or is close-on-exec, but {count} are to be preserved",
            remedy="--preserve-fds and LISTEN_FDS count inheritable descriptors from 3 on",
        )


def _above(fd: int, target: int, opened: list[int]) -> int:
    """Return `fd`, or a copy out of the way of the numbers that the new process's descriptors get."""
    if fd > target:
        return fd
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, target + 1)
    opened.append(copy)
    return copy


def reap(pid: int) -> int | None:
    """Wait for our child `pid` and return its wait status; None when it is not ours to wait for."""
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return None


class Streams:
    """The standard streams of one payload: its ends, and ours of those that are pipes."""

    def __init__(self, requested: Sequence[Stream]) -> None:
        self.theirs: list[int | None] = []
        self.ours: list[int | None] = []
        self._opened: list[int] = []
        try:
            for number, stream in enumerate(requested):
                theirs, ours = self._open(stream, number)
                self.theirs.append(theirs)
                self.ours.append(ours)
        except BaseException:
            self.close_theirs()
            self.close_ours()
            raise

    def _open(self, stream: Stream, number: int) -> tuple[int | None, int | None]:
        if stream is None:
            return None, None
        if stream == PIPE:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            theirs, ours = (reader, writer) if number == 0 else (writer, reader)
            self._opened.append(theirs)
            return theirs, ours
        if stream == DEVNULL:
            fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            self._opened.append(fd)
            return fd, None
        return (stream if isinstance(stream, int) else stream.fileno()), None

    def close_theirs(self) -> None:
        """Close what was opened for the payload, which has its own copies."""
        for fd in self._opened:
            os.close(fd)
        self._opened.clear()

    def close_ours(self) -> None:
        """Close our ends of the pipes."""
        for fd in self.ours:
            if fd is not None:
                os.close(fd)

    def files(self) -> list[IO[bytes] | None]:
        """Return our ends of the pipes as files."""
        return [
            None if fd is None else os.fdopen(fd, "wb" if number == 0 else "rb", 0)
            for number, fd in enumerate(self.ours)
        ]
