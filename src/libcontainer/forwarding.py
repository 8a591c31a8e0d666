"""The caller's signals, handed on to a process in the foreground.

Signals reach a poll loop through a wakeup descriptor (set_wakeup_fd): between a signal's arrival and poll(2) no
moment is left in which it could be missed. What is forwarded follows `runc run`. Imported only for a process in
the foreground; `_signal` instead of `signal`, which builds enumerations on import.
"""

from __future__ import annotations

import os
import select

from libcontainer import signals
from libcontainer.errors import InvalidArgument, SetupError, in_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self

    Action = Callable[[int], None]
else:
    import _signal

_LONGEST_READ = 4096

# Not forwarded, by reason. All others are, except those that this process ignores (as below nohup(1)).
_NOT_FORWARDED = frozenset(
    signals.NUMBERS[name]
    for name in (
        *("KILL", "STOP"),  # cannot be caught
        *("CHLD", "PIPE", "URG", "XFSZ"),  # about this process's own children and descriptors
        *("TSTP", "TTIN", "TTOU", "CONT"),  # job control of the caller's shell
        "WINCH",  # the caller's window: its size is copied instead
        *("SEGV", "BUS", "FPE", "ILL", "TRAP", "SYS"),  # faults of this process
        *("PROF", "VTALRM", "XCPU"),  # its own timers and limits
    )
    if name in signals.NUMBERS
)


class Signals:
    """Catches signals, to run an action for each when `dispatch` is called; `fileno` becomes readable.

    A context manager: on leaving, the former dispositions and wakeup descriptor are back. In a thread other
    than the main one Python cannot catch signals: entering raises InvalidArgument, or, when signals are not
    `required`, catches none and leaves `fileno` at -1.
    """

    def __init__(self, actions: dict[int, Action], *, required: bool = True) -> None:
        self._actions = actions
        self._required = required
        self._former: dict[int, Any] = {}
        self._former_wakeup = -1
        self._reader = self._writer = -1

    def fileno(self) -> int:
        """The descriptor to poll for POLLIN beside others."""
        return self._reader

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._former_wakeup = _signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        except ValueError as error:
            self._close()
            if not self._required:
                return self
            raise InvalidArgument(
                "signals can only be forwarded from the main thread",
                remedy="run the container in the foreground from the main thread, or wait for it yourself",
            ) from error
        try:
            self._catch()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader < 0:
            return
        for number, handler in self._former.items():
            _signal.signal(number, handler)
        self._former.clear()
        _signal.set_wakeup_fd(self._former_wakeup)
        self._close()

    def dispatch(self) -> list[int]:
        """Run the action of every signal that has arrived, in their order; return them. Does not block."""
        try:
            arrived = [number for number in os.read(self._reader, _LONGEST_READ) if number in self._actions]
        except BlockingIOError:
            return []
        for number in arrived:
            self._actions[number](number)
        return arrived

    def _catch(self) -> None:
        for number in self._actions:
            former = _signal.getsignal(number)
            # None: a handler that was not set from Python and could not be put back.
            if former is not None and former != _signal.SIG_IGN:
                self._former[number] = former
                _signal.signal(number, _arrived)

    def _close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)
        self._reader = self._writer = -1


def _arrived(number: int, frame: object) -> None:
    """Nothing: having a handler makes the interpreter write the number to the wakeup descriptor."""


class ForwardedSignals(Signals):
    """The signals of a foreground container: see `forward_signals`."""

    def __init__(self, pidfd: int, more: dict[int, Action] | None = None, *, required: bool = True) -> None:
        self._pidfd = pidfd
        actions: dict[int, Action] = dict.fromkeys(forwardable(), self._send)
        super().__init__(actions | (more or {}), required=required)

    def wait(self) -> None:
        """Block until the process has ended, forwarding meanwhile. Its status is left for the caller."""
        from libcontainer import reaping

        poller = select.poll()
        for fd in (self._pidfd, self.fileno(), reaping.watch()):
            poller.register(fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poller.poll()}
            self.dispatch()
            if self._pidfd in ready:
                return
            reaping.reap_ended()

    def _send(self, number: int) -> None:
        try:
            _signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            pass  # it has ended; whoever waits for it will see that
        except OSError as error:
            code = error.errno or 0
            raise SetupError(
                f"cannot forward {signals.name(number)} to the container: "
                f"pidfd_send_signal: {in_words(code)}",
                step="forward signal",
                syscall="pidfd_send_signal",
                errno=error.errno,
            ) from error


def forwardable() -> tuple[int, ...]:
    """The signals that a runtime in the foreground hands on to its container."""
    return tuple(number for number in signals.ALL if number not in _NOT_FORWARDED)


def forward_signals(pidfd: int) -> ForwardedSignals:
    """Forward every forwardable signal that this process receives to that of `pidfd`; a context manager.

    Inside the `with` block nothing happens by itself: poll `fileno()` and call `dispatch()`, or call
    `wait()`. Signals that are ignored on entry stay ignored. Main thread only (InvalidArgument).
    """
    return ForwardedSignals(pidfd)
