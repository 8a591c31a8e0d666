"""A process in the foreground with a terminal: that on the caller's own.

Authority: pty(7), tty_ioctl(4), termios(3). The terminal's bytes are copied by one poll loop, without threads
and with bounded buffers. Sending a terminal to another program is `console.py`, the caller's signals are
`forwarding.py`. Imported only for such a process.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import termios

from libcontainer import reaping, signals
from libcontainer.errors import Error, in_words
from libcontainer.forwarding import ForwardedSignals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self

    from libcontainer.forwarding import Action, Signals

_BUFFER_BYTES = 65536
# A pipe that poll(2) reports writable takes this many bytes without blocking (pipe(7), PIPE_BUF).
_WRITE_BYTES = select.PIPE_BUF
# What may still stand in the pty when the process has ended; a process left behind cannot keep the loop
# busy.
_DRAIN_BYTES = 1 << 20
# How often to look again for a container side that closed its terminal and may open it again.
_REOPEN_MS = 100
# How often to look for a new window size where signals cannot be had: outside the main thread.
_RESIZE_MS = 500

_WINCH = signals.NUMBERS["WINCH"]


class Terminal:
    """The caller's terminal while a container uses it; a context manager that makes it raw, and restores it.

    `stdin` that is no terminal is left alone. Restoring does not wait for output (TCSANOW), so it cannot
    hang.
    """

    def __init__(self, stdin: int = 0, stdout: int = 1) -> None:
        self._stdin = stdin
        # Where the window size is read: the first of both that is a terminal.
        self._screen = next((fd for fd in (stdin, stdout) if os.isatty(fd)), None)
        self._former: list[Any] | None = None
        self._copied: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        if os.isatty(self._stdin):
            self._former = termios.tcgetattr(self._stdin)
            termios.tcsetattr(self._stdin, termios.TCSANOW, _raw(self._former))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._former is None:
            return
        former, self._former = self._former, None
        try:
            termios.tcsetattr(self._stdin, termios.TCSANOW, former)
        except termios.error as failure:
            # EIO: the terminal itself is gone (its window was closed), and with it what there was to
            # restore.
            if failure.args[0] != errno.EIO:
                raise

    def size(self) -> tuple[int, int] | None:
        """The window's (rows, columns); None where there is no terminal, or it knows no size."""
        if self._screen is None:
            return None
        try:
            rows, columns = termios.tcgetwinsize(self._screen)
        except termios.error:
            return None  # the window has been closed
        return (rows, columns) if rows and columns else None

    def copy_size(self, master_fd: int) -> None:
        """Give the container's terminal the caller's size; on a change the kernel sends SIGWINCH inside.

        Only what changed since the last look: a size that the container set itself stays otherwise.
        """
        size = self.size()
        if size is not None and size != self._copied:
            termios.tcsetwinsize(master_fd, size)
            self._copied = size

    def ignore_size(self) -> None:
        """Take the size as it is now for known: `copy_size` copies later changes only."""
        self._copied = self.size()


def proxy(
    master_fd: int,
    pidfd: int,
    *,
    stdin: int = 0,
    stdout: int = 1,
    start: Callable[[], None] | None = None,
    keep_size: bool = False,
    stop: int = -1,
) -> None:
    """Connect the caller's stdin and stdout to the container's terminal until the process of `pidfd` ends.

    `stdin` and `stdout` may be a terminal, pipes or files. A terminal is raw meanwhile, and its size, with
    every change, is the container's (without one the size stays as `consoleSize` set it). Signals are
    forwarded. All that the container wrote is on `stdout` when this returns; its exit status is left for
    the caller. When `stdin` ends, the container's terminal sees end of file (its VEOF character). When
    nobody reads `stdout` any more, output is dropped. Outside the main thread signals are not caught, and
    the window's size is polled.
    """
    terminal = Terminal(stdin, stdout)
    actions: dict[int, Action] = {_WINCH: lambda _: terminal.copy_size(master_fd)}
    blocking = os.get_blocking(master_fd)
    # Signals first, the raw terminal inside: no signal can end this process while the terminal is raw.
    with ForwardedSignals(pidfd, actions, required=False) as caught, terminal:
        reopened: list[int] = []
        try:
            os.set_blocking(master_fd, False)
            source = _reopen(stdin, os.O_RDONLY, reopened)
            sink = _reopen(stdout, os.O_WRONLY, reopened)
            if keep_size:
                terminal.ignore_size()
            terminal.copy_size(master_fd)
            if start is not None:
                start()
            _Proxy(master_fd, pidfd, source, sink, terminal, caught, stop).run()
        finally:
            os.set_blocking(master_fd, blocking)
            for fd in reopened:
                os.close(fd)


class _Proxy:
    """The two buffers between the caller's descriptors and the pty's master, and the loop that moves them."""

    def __init__(
        self,
        master: int,
        pidfd: int,
        source: int,
        sink: int,
        terminal: Terminal,
        caught: Signals,
        stop: int,
    ) -> None:
        self._master = master
        self._pidfd = pidfd
        self._source = source
        self._sink = sink
        self._terminal = terminal
        self._caught = caught
        self._stop = stop
        self._to_master = bytearray()
        self._to_sink = bytearray()
        self._source_open = True
        self._sink_open = True
        self._line_started = False
        self._master_rests = False

    def run(self) -> None:
        while not self._step():
            pass
        self._drain()

    def _step(self) -> bool:
        """Wait for something to do and do it; return whether the process has ended or the service shall."""
        ready = _poll(self._interest(), self._timeout_ms())
        self._master_rests = False
        if self._caught.fileno() in ready:
            self._caught.dispatch()
        elif self._caught.fileno() < 0:
            self._terminal.copy_size(self._master)
        if ready.get(self._master, 0) & (select.POLLIN | select.POLLHUP | select.POLLERR):
            self._read_master()
        if ready.get(self._master, 0) & select.POLLOUT:
            self._write_master()
        if self._source in ready and self._source_open:
            self._read_source()
        if self._sink in ready and self._to_sink:
            self._write_sink()
        if reaping.watch() in ready:
            reaping.reap_ended()
        return self._pidfd in ready or self._stop in ready

    def _interest(self) -> dict[int, int]:
        """What to poll. A descriptor that must wait is left out: its hang-up would spin the loop."""
        interest = {self._pidfd: select.POLLIN, reaping.watch(): select.POLLIN}
        wanted = (
            (self._caught.fileno(), select.POLLIN, self._caught.fileno() >= 0),
            (self._stop, select.POLLIN, self._stop >= 0),
            (self._master, select.POLLIN, not self._master_rests and len(self._to_sink) < _BUFFER_BYTES),
            (self._master, select.POLLOUT, not self._master_rests and bool(self._to_master)),
            (self._source, select.POLLIN, self._source_open and len(self._to_master) < _BUFFER_BYTES),
            (self._sink, select.POLLOUT, bool(self._to_sink)),
        )
        for fd, event, want in wanted:
            if want:
                interest[fd] = interest.get(fd, 0) | event
        return interest

    def _timeout_ms(self) -> int | None:
        if self._master_rests:
            return _REOPEN_MS
        return _RESIZE_MS if self._caught.fileno() < 0 else None

    def _read_master(self) -> int:
        """Move what the container has written to its buffer; return how many bytes that were."""
        try:
            data = os.read(self._master, _BUFFER_BYTES)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno != errno.EIO:
                raise _broken("read from the container's terminal", error) from error
            data = b""
        # EIO (pty(7)): all is read, and no process has the container's side open. One may open it again.
        self._master_rests = not data
        if self._sink_open:
            self._to_sink += data
        return len(data)

    def _write_master(self) -> None:
        try:
            written = os.write(self._master, self._to_master)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:
                raise _broken("write to the container's terminal", error) from error
            self._master_rests = True
            return
        del self._to_master[:written]

    def _read_source(self) -> None:
        try:
            data = os.read(self._source, _BUFFER_BYTES - len(self._to_master))
        except BlockingIOError:
            return
        except OSError as error:
            # EIO: the caller's terminal has hung up, or this process is an orphan in the background.
            if error.errno != errno.EIO:
                raise _broken("read stdin", error) from error
            data = b""
        if data:
            self._to_master += data
            self._line_started = data[-1:] not in b"\r\n"
            return
        self._source_open = False
        self._to_master += self._end_of_file()

    def _end_of_file(self) -> bytes:
        """What makes a reader in the container see end of file, where lines are edited: termios(3), VEOF."""
        attributes = termios.tcgetattr(self._master)
        character = attributes[6][termios.VEOF]
        if not attributes[3] & termios.ICANON or character == b"\0":
            return b""
        # In the middle of a line the first one only hands over what has been typed.
        return bytes(character) * (2 if self._line_started else 1)

    def _write_sink(self) -> None:
        try:
            written = os.write(self._sink, self._to_sink[:_WRITE_BYTES])
        except BlockingIOError:
            return
        except OSError as error:
            # Nobody reads any more (EPIPE), or the terminal has been closed (EIO): the container goes on.
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise _broken("write the container's output to stdout", error) from error
            self._sink_open = False
            self._to_sink.clear()
            return
        del self._to_sink[:written]

    def _drain(self) -> None:
        """After the end: write out what is in the buffer and what still stands in the pty."""
        left = _DRAIN_BYTES
        self._flush()
        while self._sink_open and left > 0:
            moved = self._read_master()
            if not moved:
                return
            left -= moved
            self._flush()

    def _flush(self) -> None:
        """Write out the buffer, unless a signal asks to stop: there is nobody left to forward it to."""
        interest = {self._sink: select.POLLOUT}
        if self._caught.fileno() >= 0:
            interest[self._caught.fileno()] = select.POLLIN
        while self._to_sink:
            ready = _poll(interest, None)
            if self._caught.fileno() in ready and set(self._caught.dispatch()) - {_WINCH}:
                self._sink_open = False
                self._to_sink.clear()
            elif self._sink in ready:
                self._write_sink()


def _poll(interest: dict[int, int], timeout_ms: int | None) -> dict[int, int]:
    poller = select.poll()
    for fd, events in interest.items():
        poller.register(fd, events)
    return dict(poller.poll(timeout_ms))


def _reopen(fd: int, mode: int, reopened: list[int]) -> int:
    """A non-blocking descriptor of our own for a terminal or pipe; `fd` itself where there can be none.

    O_NONBLOCK set on `fd` would hold for every program that shares it, such as the caller's shell, and
    would stay.
    """
    status = os.fstat(fd)
    is_master = status.st_rdev == os.makedev(5, 2)  # opening /dev/ptmx makes another pty
    if is_master or not (os.isatty(fd) or stat.S_ISFIFO(status.st_mode)):
        return fd
    try:
        own = os.open(f"/proc/self/fd/{fd}", mode | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        # Another user's terminal (after su), or a pipe without reader. poll(2) and small writes do nearly
        # as well.
        return fd
    reopened.append(own)
    return own


def _raw(attributes: list[Any]) -> list[Any]:
    """The terminal attributes with every transformation off, as cfmakeraw(3) has them."""
    iflag, oflag, cflag, lflag, ispeed, ospeed, characters = attributes
    iflag &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP)
    iflag &= ~(termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON)
    oflag &= ~termios.OPOST
    cflag = (cflag & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    characters = list(characters)
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    return [iflag, oflag, cflag, lflag, ispeed, ospeed, characters]


def _broken(what: str, error: OSError) -> Error:
    number = error.errno or 0
    return Error(
        f"cannot {what}: {in_words(number)}",
        step="proxy terminal",
        errno=error.errno,
    )
