"""Telling the service manager that the payload is ready: sd_notify(3) across the container's wall.

A service manager that started the runtime names its socket in NOTIFY_SOCKET, which no container can reach. So the
container gets a socket of its own, and says READY=1 there; the runtime then says it outside, with the process that
is to be watched from now on (MAINPID). Nothing else passes, and no byte of the payload's does.

    <root>/<id>/notify/notify.sock      outside; bound before the payload starts, by who serves it
    /run/notify/notify.sock             inside, its directory a read-only mount; NOTIFY_SOCKET says so

runc does the same; engines do it by themselves (conmon) and keep NOTIFY_SOCKET from the runtime. Imported only when
the caller has a NOTIFY_SOCKET.
"""

from __future__ import annotations

import _socket
import os
from select import POLLHUP, POLLIN
from select import poll as make_poll
from struct import pack

from libcontainer.errors import in_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from libcontainer.container import Container
    from libcontainer.exit_status import ExitStatus

DIRECTORY = "notify"
SOCKET = f"{DIRECTORY}/notify.sock"
INSIDE = "/run/notify"
INSIDE_SOCKET = f"{INSIDE}/notify.sock"
BARRIER_S = 30.0
LONGEST_MESSAGE = 4096


def mount(directory: str) -> dict[str, Any]:
    """Return the mount of the notify socket's `directory`, as config.json would have it."""
    options = ["bind", "nosuid", "nodev", "noexec", "ro"]
    return {"destination": INSIDE, "type": "bind", "source": directory, "options": options}


class Relay:
    """The container's notify socket, bound, and the way from there to the service manager.

    A context manager that closes it. `forward` may run in a thread; `stop`, from another one, ends it.
    """

    def __init__(self, container: Container) -> None:
        self._container = container
        self._pidfd = container._open_pidfd()
        self._outside = str(container.notify_socket)
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        with container._directory() as directory:
            directory.remove_file(SOCKET)  # of a start that failed
            self._socket.bind(directory.address(SOCKET))
            # The payload's user may be anybody, and only the container can reach it.
            os.chmod(SOCKET, 0o666, dir_fd=directory.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        os.close(self._stop)

    def stop(self) -> None:
        """End `forward`: nobody waits for the payload any more."""
        os.eventfd_write(self._stop, 1)

    def forward(self, main_pid: int) -> bool:
        """Wait until the payload is ready and tell it, with `main_pid` as the main process; True if it was told.

        Returns at the latest when the first process has ended. A service manager that cannot be reached is a
        warning of the container.
        """
        poll = make_poll()
        for fd in (self._socket.fileno(), self._pidfd, self._stop):
            poll.register(fd, POLLIN)
        while self._socket.fileno() in [fd for fd, _ in poll.poll()]:
            if b"READY=1" in self._socket.recv(LONGEST_MESSAGE).split(b"\n"):
                return self._tell(main_pid)
        return False

    def _tell(self, main_pid: int) -> bool:
        outside = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            path = self._outside
            outside.connect("\0" + path[1:] if path.startswith("@") else path)
            outside.send(b"READY=1\nMAINPID=%d" % main_pid)
            _await_barrier(outside)
        except OSError as error:
            words = in_words(error.errno or 0)
            self._container.warnings += (f"the service manager at {self._outside} was not told: {words}",)
            return False
        finally:
            outside.close()
        return True


def _await_barrier(outside: _socket.socket) -> None:
    """Wait until everything that was sent has been read: sd_notify_barrier(3).

    Who sends a message and ends at once may be gone when the service manager looks up whose it was.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, pack("i", writer))]
        outside.sendmsg([b"BARRIER=1"], rights)
        os.close(writer)
        writer = -1
        poll = make_poll()
        poll.register(reader, POLLHUP)
        poll.poll(BARRIER_S * 1000)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def start(container: Container) -> None:
    """Start a container that nobody serves afterwards, and return when its payload is ready, or has ended."""
    with Relay(container) as relay:
        container.start()
        relay.forward(container.pid or 0)


def run(container: Container) -> ExitStatus:
    """Serve a container in the foreground, as `Container.run` does, with this process as the main one."""
    from threading import Thread

    with Relay(container) as relay:
        thread = Thread(target=relay.forward, args=(os.getpid(),), name="notify")
        thread.start()
        try:
            return container.run()
        finally:
            relay.stop()
            thread.join()
