"""Handing a descriptor to another program: its AF_UNIX stream socket, and one message with the descriptor in it.

That is how a terminal reaches its master and a seccomp listener its agent (SCM_RIGHTS, unix(7)). `what` names the
socket in errors: "the console socket". On the hot path: `_socket` instead of `socket`, which builds enumerations on
import.
"""

from __future__ import annotations

import _socket
import errno
import os
import stat
import struct

from libcontainer.errors import Error, InvalidArgument, SetupError, Timeout, in_words

# How long the other side may take to accept and to read: it waits for nothing but us.
DEADLINE_S = 10


def connect(path: str, what: str) -> int:
    """Connect to the socket at `path` and return the descriptor, which the caller closes.

    The path may be of any length. Raises InvalidArgument when there is no such socket or nobody listens on
    it, and Timeout when its owner accepts no connection for 10 seconds.
    """
    # O_PATH and /proc/self/fd: the inode that was checked is the one connected to, and sun_path's 108 bytes
    # (unix(7)) do not limit the path.
    inode = open_socket(path, what)
    try:
        return _connect(f"/proc/self/fd/{inode}", path, what)
    finally:
        os.close(inode)


def open_socket(path: str, what: str) -> int:
    """Return an O_PATH descriptor of the socket at `path`. Raises InvalidArgument where there is none."""
    try:
        inode = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _failed("open", path, what, error) from error
    if stat.S_ISSOCK(os.fstat(inode).st_mode):
        return inode
    os.close(inode)
    raise InvalidArgument(
        f"{what} {path} is not a socket",
        path=path,
        remedy="give the path of an AF_UNIX stream socket on which a program listens",
    )


def send(sock_fd: int, data: bytes, descriptor: int, what: str) -> None:
    """Send `data` through a connected socket, as one message with exactly one descriptor.

    Closes neither: the caller does once this has returned. Raises SetupError, or Timeout when the other side
    does not read for 10 seconds.
    """
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", descriptor))]
    sock = _socket.socket(-1, -1, -1, sock_fd)
    try:
        _limit(sock)
        # MSG_NOSIGNAL: the program that uses this library may have SIGPIPE at its default, which ends it.
        sent = sock.sendmsg([data], rights, _socket.MSG_NOSIGNAL)
    except BlockingIOError as error:
        raise _late(f"{what} did not take the descriptor", "send", None) from error
    except OSError as error:
        raise _not_sent(error, what) from error
    finally:
        sock.detach()
    if sent != len(data):
        raise SetupError(f"{what} took {sent} of {len(data)} bytes", step="send")


def _connect(address: str, path: str, what: str) -> int:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        _limit(sock)
        sock.connect(address)
        return sock.detach()
    except BlockingIOError as error:
        raise _late(f"{what} {path} accepted no connection", "connect", path) from error
    except OSError as error:
        raise _failed("connect", path, what, error) from error
    finally:
        sock.close()  # does nothing once detached


def _limit(sock: _socket.socket) -> None:
    # socket(7): SO_SNDTIMEO bounds connect(2) on a full backlog too, where AF_UNIX cannot be polled.
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, struct.pack("ll", DEADLINE_S, 0))


_REMEDIES = {
    errno.ENOENT: "start the program that listens there first; it makes the socket",
    errno.ECONNREFUSED: "the program that made the socket no longer listens; start it again",
    errno.EPROTOTYPE: "the socket must be of type SOCK_STREAM",
    errno.EACCES: "connecting needs write permission on the socket and search permission on its directory",
}


def _failed(syscall: str, path: str, what: str, error: OSError | ValueError) -> Error:
    number = error.errno if isinstance(error, OSError) else None
    reason = str(error) if number is None else in_words(number)
    return InvalidArgument(
        f"cannot connect to {what} {path}: {syscall}: {reason}",
        step="connect",
        syscall=syscall,
        errno=number,
        path=path,
        remedy=None if number is None else _REMEDIES.get(number),
    )


def _not_sent(error: OSError, what: str) -> SetupError:
    number = error.errno or 0
    return SetupError(
        f"cannot send a descriptor through {what}: sendmsg: {in_words(number)}",
        step="send",
        syscall="sendmsg",
        errno=error.errno,
        remedy="the receiving program closed its end" if number in (errno.EPIPE, errno.ECONNRESET) else None,
    )


def _late(event: str, step: str, path: str | None) -> Timeout:
    return Timeout(
        f"{event} within {DEADLINE_S} s",
        step=step,
        errno=errno.EAGAIN,
        path=path,
        remedy="the receiving program hangs; restart it",
    )
