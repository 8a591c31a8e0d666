"""An agent for SCMP_ACT_NOTIFY that answers mkdir: `python3 agent.py SOCKET`.

A container whose profile notifies mkdir and mkdirat, with listenerPath SOCKET and a listenerMetadata, gets the
directories of its /tmp made by this program, under a name that tells so: `mkdir /tmp/data` makes /tmp/data.METADATA.
Anything else is refused. seccomp_unotify(2) has the rules that an agent must keep; the comments below name them.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import socket
import struct
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

RECEIVE, SEND, IS_VALID = 0xC0502100, 0xC0182101, 0x40082102  # SECCOMP_IOCTL_NOTIF_…
NOTIFICATION = struct.Struct("=QII iIQ6Q")  # id, pid, flags, then struct seccomp_data
ANSWER = struct.Struct("=QqiI")  # id, value, error, flags

# (AUDIT_ARCH_…, number) of mkdir and mkdirat → which argument is the path
CALLS = {(0xC000003E, 83): 0, (0xC000003E, 258): 1, (0x40000003, 39): 0, (0xC00000B7, 34): 1}


def main(path: str) -> None:
    """Serve every container that connects, each in a thread, so that a slow one does not keep others waiting."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(path)
        server.listen()
        print("ready", flush=True)
        while True:
            connection, _ = server.accept()
            with connection:
                state, listener = receive(connection)
            if listener is not None:
                threading.Thread(target=serve, args=(state, listener), daemon=True).start()


def receive(connection: socket.socket) -> tuple[dict, int | None]:
    """Take the container process state and the descriptor that it calls seccompFd (config-linux.md)."""
    data, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 8)
    if not descriptors:
        return {}, None
    state = json.loads(data)
    print("serving", state["state"]["id"], "pid", state["pid"], state.get("metadata"), flush=True)
    return state, dict(zip(state["fds"], descriptors, strict=True))["seccompFd"]


def serve(state: dict, listener: int) -> None:
    """Answer until no process is left under the filter: then the listener hangs up."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while not poll.poll()[0][1] & select.POLLHUP:
        notification = bytearray(NOTIFICATION.size)  # must be zero
        try:
            fcntl.ioctl(listener, RECEIVE, notification)
        except InterruptedError:
            continue
        except FileNotFoundError:
            continue  # a signal took the process out of the call
        number, pid, _, call, arch, _, *arguments = NOTIFICATION.unpack(notification)
        error = answer(listener, number, pid, CALLS.get((arch, call)), arguments, str(state.get("metadata")))
        try:
            fcntl.ioctl(listener, SEND, ANSWER.pack(number, 0, -error, 0))
        except FileNotFoundError:
            pass  # it does not wait any more
    os.close(listener)


@contextmanager
def opened(path: str, flags: int, directory: int | None = None) -> Iterator[int]:
    """A descriptor for the time of a block."""
    descriptor = os.open(path, flags, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def answer(
    listener: int, number: int, pid: int, place: int | None, arguments: list[int], metadata: str
) -> int:
    """Carry the call out, and return 0 or an errno.

    Never let the process itself go on with a path that was judged here: it may change it meanwhile
    (SECCOMP_USER_NOTIF_FLAG_CONTINUE is no means of security).
    """
    if place is None:
        return errno.ENOSYS
    try:
        with (
            opened(f"/proc/{pid}/mem", os.O_RDONLY) as memory,
            opened(f"/proc/{pid}/root", os.O_PATH) as root,
        ):
            # The number of a process that ended may be another one's by now: what was opened counts only if the call
            # still waits.
            fcntl.ioctl(listener, IS_VALID, struct.pack("=Q", number))
            path = os.pread(memory, 4096, arguments[place]).partition(b"\0")[0]
            directory, _, name = path.rpartition(b"/")
            if directory != b"/tmp" or name in (b"", b".", b".."):
                return errno.EPERM
            # A link in the place of /tmp would lead out of the container: none is followed.
            with opened("tmp", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, root) as tmp:
                os.mkdir(name + b"." + metadata.encode(), 0o755, dir_fd=tmp)
    except OSError as failure:
        return failure.errno or errno.EIO
    return 0


if __name__ == "__main__":
    main(sys.argv[1])
