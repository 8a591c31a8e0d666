"""The console socket: handing the container's terminal to the program that will serve it.

The protocol is that of runc, crun and youki: connect to the AF_UNIX stream socket at the given path and
send one message with one descriptor, the pty's master (handover.py). The message's text is its name, which
receivers ignore. Making the pty is the container's side; serving a terminal in the foreground is
`terminal.py`. On the hot path.
"""

from __future__ import annotations

from libcontainer import handover
from libcontainer.errors import InvalidArgument

WHAT = "the console socket"


def check_terminal(terminal: bool, detached: bool, console_socket: str | None) -> None:
    """Refuse combinations of `process.terminal`, detaching and a console socket that cannot work.

    A terminal of a detached container must be handed over, and there is nothing to hand over otherwise. A
    terminal in the foreground needs no socket: the caller's own terminal serves it. Raises InvalidArgument.
    """
    if terminal and detached and console_socket is None:
        raise InvalidArgument(
            "cannot allocate tty if youki will detach without setting console socket",
            pointer="/process/terminal",
            remedy="give a console socket, do not detach, or set process.terminal to false",
        )
    if console_socket is not None and not (terminal and detached):
        raise InvalidArgument(
            "cannot use console socket if youki will not detach or allocate tty",
            pointer="/process/terminal",
            path=console_socket,
            remedy="leave the console socket out, or detach and set process.terminal to true",
        )


def connect(path: str) -> int:
    """Connect to the console socket at `path`, as `handover.connect` does."""
    return handover.connect(path, WHAT)


def send_master(sock_fd: int, master_fd: int, name: bytes = b"/dev/ptmx") -> None:
    """Send the pty's master through a connected console socket, as `handover.send` does."""
    handover.send(sock_fd, name, master_fd, WHAT)
