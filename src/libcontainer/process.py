"""A handle on one tenant: a process in a running container beside its first one. On the hot path.

The names are those of subprocess.Popen; how a process ended is told as `Container.wait` tells it.
"""

from __future__ import annotations

import _thread
import os
import time

from libcontainer import reaping
from libcontainer.errors import InvalidArgument, StateError, Timeout
from libcontainer.exit_status import await_exit, exit_status, has_ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import IO, Self

    from libcontainer.exit_status import ExitStatus
else:
    import _signal  # what the signal module is made of; the module itself builds enumerations

SIGKILL = _signal.SIGKILL


class Process:
    """One process in a container. Made by `TenantContainerBuilder.build` and `Container.exec`.

    `pid` is its number on the host. `stdin`, `stdout` and `stderr` are our ends of the pipes that were asked
    for, `terminal` is the master of its terminal, each None where there is none; all are unbuffered binary
    files. `warnings` tells in sentences what could not be granted, `has_console_size` whether the process object set
    the size of the terminal. As a context manager the process is killed,
    if it still runs, and its files are closed, when the block is left. Methods may be called from any thread.

    Its descendants are not its own matter: they end with the container, or by the sub-cgroup that was chosen
    for it.
    """

    def __init__(
        self,
        container_id: str,
        pid: int,
        pidfd: int,
        *,
        streams: list[IO[bytes] | None],
        terminal: IO[bytes] | None = None,
        is_child: bool = True,
        has_console_size: bool = False,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.container_id = container_id
        self.pid = pid
        self.stdin, self.stdout, self.stderr = streams
        self.terminal = terminal
        self.warnings = warnings
        self.has_console_size = has_console_size
        self._pidfd = pidfd
        self._exit: ExitStatus | None = None
        self._lock = _thread.allocate_lock()
        self._closed = False
        self._is_child = is_child
        self._talk: Talk | None = None
        if is_child:
            reaping.reap_ended()
            reaping.add(pidfd, self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if not self._closed:
                self.kill()
                self.wait()
        finally:
            self.close()

    def __repr__(self) -> str:
        return f"<Process {self.pid} in container {self.container_id}>"

    def __str__(self) -> str:
        return f"process {self.pid} of container {self.container_id}"

    @property
    def returncode(self) -> int | None:
        """How it ended, as a shell shows it: its exit status, or 128 plus the signal; None before `wait` or
        `poll` has seen the end.
        """
        return None if self._exit is None else self._exit.returncode

    def poll(self) -> ExitStatus | None:
        """Return how it ended, None while it runs. Does not block."""
        if self._exit is None:
            with self._lock:  # several threads may look, but only one can reap
                if self._exit is None and has_ended(self._open_pidfd()):
                    self._exit = exit_status(self._pidfd)
                    self._close_pidfd()
        return self._exit

    def wait(self, timeout: float | None = None) -> ExitStatus:
        """Wait until it has ended and return how. `timeout` in seconds; None: for ever. May be repeated.

        With PIPE a process that writes much waits for somebody who reads: use `communicate`. Raises Timeout;
        the process goes on then.
        """
        while True:
            status = self.poll()
            if status is not None:
                return status
            pidfd = self._dup_pidfd()
            if pidfd >= 0:
                try:
                    await_exit(pidfd, timeout, str(self))
                finally:
                    os.close(pidfd)

    def send_signal(self, signal: int | str) -> None:
        """Send it a signal, by number or by name. One that has ended is left alone, as subprocess does.

        Raises InvalidArgument, and StateError when it may not be signalled.
        """
        from libcontainer.signals import parse

        number = parse(signal)
        with self._lock:  # while nobody reaps it, its number is its own
            if self._pidfd < 0:
                return
            try:
                _signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                pass  # it has ended; `wait` tells how
            except PermissionError as error:
                raise StateError(
                    f"cannot signal {self}: {error.strerror}", errno=error.errno, remedy="ask its owner"
                ) from error

    def kill(self) -> None:
        """Send it SIGKILL: to this process alone, not to those that it started."""
        self.send_signal(SIGKILL)

    def communicate(
        self,
        input: bytes | None = None,  # noqa: A002  # as subprocess calls it
        timeout: float | None = None,
    ) -> tuple[bytes | None, bytes | None]:
        """Write `input` to its standard input and close that, read all output, wait for the end, and return
        what came from standard output and standard error; None for a stream that is no pipe.

        `timeout` in seconds bounds the whole call. Raises Timeout: the process goes on, and another call
        loses nothing of the output. Raises InvalidArgument for `input` without a pipe to write it to.
        """
        talk = self._talk_with(input)
        deadline = None if timeout is None else time.monotonic() + timeout
        while talk.interest():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not talk.step(left) and left is not None and time.monotonic() >= (deadline or 0):
                raise Timeout(f"{self} did not end within {timeout:g} s", step="communicate")
        self.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return talk.output()

    def _talk_with(self, data: bytes | None) -> Talk:
        """Return what `communicate` began, or begin it."""
        if data is not None and self.stdin is None:
            raise InvalidArgument(
                "communicate: there is input, but standard input is no pipe", remedy="give stdin=PIPE"
            )
        if self._talk is None:
            self._talk = Talk(self.stdin, self.stdout, self.stderr, data)
        return self._talk

    def close(self) -> None:
        """Close the files of this handle. The process goes on, and is reaped when it has ended."""
        self._closed = True
        for stream in (self.stdin, self.stdout, self.stderr, self.terminal):
            if stream is not None:
                stream.close()
        if not self._is_child:
            with self._lock:
                self._close_pidfd()

    def _dup_pidfd(self) -> int:
        """Return a pidfd that stays open however others wait; -1 when the process has been reaped."""
        with self._lock:
            return -1 if self._exit is not None else os.dup(self._open_pidfd())

    def _open_pidfd(self) -> int:
        if self._pidfd < 0:
            raise StateError(f"the handle on {self} is closed")
        return self._pidfd

    def _close_pidfd(self) -> None:
        if self._pidfd >= 0:
            reaping.discard(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1


class Talk:
    """What `communicate` has still to write, and what it has read so far."""

    def __init__(
        self,
        stdin: IO[bytes] | None,
        stdout: IO[bytes] | None,
        stderr: IO[bytes] | None,
        data: bytes | None,
    ) -> None:
        self.stdin = stdin
        self.left = memoryview(data or b"")
        self.read: list[tuple[IO[bytes], list[bytes]] | None] = [
            None if stream is None else (stream, []) for stream in (stdout, stderr)
        ]
        if stdin is not None and not stdin.closed:
            if self.left:
                os.set_blocking(stdin.fileno(), False)
            else:
                stdin.close()

    def interest(self) -> list[tuple[int, bool]]:
        """Return the descriptors of the open pipes, and of each whether it is to be written to."""
        found = [(stream.fileno(), False) for stream, _ in self._readers()]
        if self.stdin is not None and not self.stdin.closed:
            found.append((self.stdin.fileno(), True))
        return found

    def step(self, timeout: float | None) -> bool:
        """Wait until one of the pipes is ready, and serve all that are; False when none was in time."""
        from select import POLLIN, POLLOUT
        from select import poll as make_poll

        poll = make_poll()
        for fd, writing in self.interest():
            poll.register(fd, POLLOUT if writing else POLLIN)
        ready = [fd for fd, _ in poll.poll(None if timeout is None else timeout * 1000)]
        for stream, chunks in self._readers():
            if stream.fileno() in ready:
                self._read(stream, chunks)
        if self.stdin is not None and not self.stdin.closed and self.stdin.fileno() in ready:
            self._write()
        return bool(ready)

    def _readers(self) -> list[tuple[IO[bytes], list[bytes]]]:
        return [item for item in self.read if item is not None and not item[0].closed]

    def output(self) -> tuple[bytes | None, bytes | None]:
        """Return what has been read."""
        stdout, stderr = (None if item is None else b"".join(item[1]) for item in self.read)
        return stdout, stderr

    def _write(self) -> None:
        assert self.stdin is not None
        try:
            self.left = self.left[os.write(self.stdin.fileno(), self.left) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.left = memoryview(b"")  # it reads no more, as subprocess takes it
        if not self.left:
            self.stdin.close()

    def _read(self, stream: IO[bytes], chunks: list[bytes]) -> None:
        chunk = os.read(stream.fileno(), 1 << 16)
        if chunk:
            chunks.append(chunk)
        else:
            stream.close()
