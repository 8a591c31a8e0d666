"""The console socket: handing the container's terminal to the program that will serve it.

The protocol is that of runc, crun and youki: connect to the AF_UNIX stream socket at the given path and
send one message with one descriptor (SCM_RIGHTS, unix(7)), the pty's master. The message's text is its
name, which receivers ignore. Making the pty is the container's side; serving a terminal in the foreground
is `terminal.py`. On the hot path: `_socket` instead of `socket`, which builds enumerations on import.
"""

from __future__ import annotations

import _socket
import errno
import os
import stat
import struct

from libcontainer.errors import Error, InvalidArgument, SetupError, Timeout, in_words

# How long the other side may take to accept and to read: it waits for nothing but us.
_DEADLINE_S = 10


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
    """Connect to the console socket at `path` and return the descriptor, which the caller closes.

    The path may be of any length. Raises InvalidArgument when there is no such socket or nobody listens on
    it, and Timeout when its owner accepts no connection for 10 seconds.
    """
    # O_PATH and /proc/self/fd: the inode that was checked is the one connected to, and sun_path's 108 bytes
    # (unix(7)) do not limit the path.
    try:
        inode = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _failed("open", path, error) from error
    try:
        if not stat.S_ISSOCK(os.fstat(inode).st_mode):
            raise InvalidArgument(
                f"the console socket {path} is not a socket",
                path=path,
                remedy="give the path of an AF_UNIX stream socket on which a program listens",
            )
        return _connect(f"/proc/self/fd/{inode}", path)
    finally:
        os.close(inode)


def send_master(sock_fd: int, master_fd: int, name: bytes = b"/dev/ptmx") -> None:
    """Send the pty's master through a connected console socket, as one message with exactly one descriptor.

    Closes neither descriptor: the caller closes both once this has returned. Raises SetupError, or Timeout
    when the other side does not read for 10 seconds.
    """
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", master_fd))]
    sock = _socket.socket(-1, -1, -1, sock_fd)
    try:
        _limit(sock)
        # MSG_NOSIGNAL: the program that uses this library may have SIGPIPE at its default, which ends it.
        sent = sock.sendmsg([name], rights, _socket.MSG_NOSIGNAL)
    except BlockingIOError as error:
        raise _late("did not read the terminal's descriptor", None) from error
    except OSError as error:
        raise _not_sent(error) from error
    finally:
        sock.detach()
    if sent != len(name):
        raise SetupError(f"the console socket took {sent} of {len(name)} bytes", step="send console")


def _connect(address: str, path: str) -> int:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        _limit(sock)
        sock.connect(address)
        return sock.detach()
    except BlockingIOError as error:
        raise _late(f"{path} accepted no connection", path) from error
    except OSError as error:
        raise _failed("connect", path, error) from error
    finally:
        sock.close()  # does nothing once detached


def _limit(sock: _socket.socket) -> None:
    # socket(7): SO_SNDTIMEO bounds connect(2) on a full backlog too, where AF_UNIX cannot be polled.
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, struct.pack("ll", _DEADLINE_S, 0))


_REMEDIES = {
    errno.ENOENT: "start the program that receives the terminal first; it makes the socket",
    errno.ECONNREFUSED: "the program that made the socket no longer listens; start it again",
    errno.EPROTOTYPE: "the socket must be of type SOCK_STREAM",
    errno.EACCES: "connecting needs write permission on the socket and search permission on its directory",
}


def _failed(syscall: str, path: str, error: OSError | ValueError) -> Error:
    number = error.errno if isinstance(error, OSError) else None
    reason = str(error) if number is None else in_words(number)
    return InvalidArgument(
        f"cannot connect to the console socket {path}: {syscall}: {reason}",
        step="connect console",
        syscall=syscall,
        errno=number,
        path=path,
        remedy=None if number is None else _REMEDIES.get(number),
    )


def _not_sent(error: OSError) -> SetupError:
    number = error.errno or 0
    return SetupError(
        f"cannot send the terminal through the console socket: sendmsg: {in_words(number)}",
        step="send console",
        syscall="sendmsg",
        errno=error.errno,
        remedy="the receiving program closed its end" if number in (errno.EPIPE, errno.ECONNRESET) else None,
    )


def _late(what: str, path: str | None) -> Timeout:
    return Timeout(
        f"the console socket {what} within {_DEADLINE_S} s",
        step="connect console" if path else "send console",
        errno=errno.EAGAIN,
        path=path,
        remedy="the receiving program hangs; restart it",
    )
