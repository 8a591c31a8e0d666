"""The socket between the runtime and init.

Reports one way, replies the other. The formats are those of init/wire.h. On the hot path.
"""

from __future__ import annotations

import _socket
import errno
import os
from struct import Struct, pack

from libcontainer.errors import ProtocolError
from libcontainer.plan.build_id import BUILD_ID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer.seccomp.notify import Agent

CHILD, SYNC, DESCRIPTOR, FAILED, STARTED = 1, 2, 3, 4, 5
CONSOLE, NETLINK, LISTENER = 1, 2, 3
CONTINUE, START = pack("<I", 1), pack("<I", 2)

_HEAD = Struct("<QIIiIq24s")
_LONGEST = _HEAD.size + 1024
_LONGEST_INLINE = 1 << 15  # of a plan in its message; init takes twice as much
_SOL_SOCKET, _SCM_RIGHTS = _socket.SOL_SOCKET, _socket.SCM_RIGHTS
_CONTROL = _socket.CMSG_SPACE(8 * 4)


class Report:
    """One message of init: its type, the number of the operation, and what belongs to the type."""

    __slots__ = ("call", "detail", "errno", "fd", "kind", "step", "value")

    def __init__(self, data: bytes, fd: int) -> None:
        build_id, self.kind, self.step, self.errno, _, self.value, call = _HEAD.unpack_from(data)
        if build_id != BUILD_ID:
            raise ProtocolError(
                f"init has build id {build_id:#x}, this library {BUILD_ID:#x}",
                remedy="reinstall libcontainer: its Python part and its init program are of different versions",
            )
        self.call = call.rstrip(b"\0").decode("utf-8", "replace")
        self.detail = data[_HEAD.size :].rstrip(b"\0").decode("utf-8", "replace")
        self.fd = fd

    def close(self) -> None:
        """Close the descriptor that came with it, which nobody has taken."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Channel:
    """The runtime's end. Closing it ends an init that has not been released.

    `last_words` is memory that an init with a system call filter shares: what it says there counts at the end.
    """

    __slots__ = ("last_words", "socket")

    def __init__(self, socket: _socket.socket) -> None:
        self.socket = socket
        self.last_words = -1

    @classmethod
    def pair(cls) -> tuple[Channel, int]:
        """Return a channel and the descriptor of init's end, which the caller closes after the spawn."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        return cls(ours), theirs.detach()

    def close(self) -> None:
        """Close the socket; closing twice is fine."""
        self.socket.close()
        if self.last_words >= 0:
            os.close(self.last_words)
            self.last_words = -1

    def stop_sending(self) -> None:
        """Let init meet the end where it waits for a reply; what it reports can still be received."""
        self.socket.shutdown(_socket.SHUT_WR)

    def send_plan(self, plan: bytes, descriptors: list[int]) -> None:
        """Send an encoded plan, or a part of one, with the descriptors that it names.

        Raises ConnectionError when init is gone.
        """
        if len(plan) <= _LONGEST_INLINE:
            try:
                self._send_rights([b"plan", plan], descriptors)
                return
            except OSError as error:
                if error.errno != errno.EMSGSIZE:  # net.core.wmem_default is less than anybody's
                    raise
        from libcontainer.sealed import sealed_bytes

        fd = sealed_bytes("plan", plan)
        try:
            self._send_rights([b"plan"], [fd, *descriptors])
        finally:
            os.close(fd)

    def _send_rights(self, data: list[bytes], fds: list[int]) -> None:
        rights = [(_SOL_SOCKET, _SCM_RIGHTS, pack(f"{len(fds)}i", *fds))] if fds else []
        self.socket.sendmsg(data, rights, _socket.MSG_NOSIGNAL)

    def send(self, reply: bytes) -> None:
        """Send CONTINUE or START. Raises ConnectionError when init is gone."""
        self.socket.send(reply, _socket.MSG_NOSIGNAL)

    def limit(self, timeout_s: float | None) -> None:
        """Let `receive` wait no longer than that; init then counts as gone."""
        self.socket.settimeout(timeout_s)

    def answers_within(self, timeout_s: float) -> bool:
        """Wait for a report, or the end, without taking it; False when nothing came."""
        self.socket.settimeout(timeout_s)
        try:
            self.socket.recv(1, _socket.MSG_PEEK)
        except TimeoutError:
            return False
        except OSError:
            return True  # the end; `receive` tells
        finally:
            self.socket.settimeout(None)
        return True

    def receive(self) -> Report | None:
        """Wait for a report; None when init closed its end, by executing the payload or by dying.

        Raises ProtocolError.
        """
        try:
            data, fds = hear(self.socket, _LONGEST, _CONTROL)
        except TimeoutError:
            return None
        if not data:
            return self._read_last_words()
        for extra in fds[1:]:
            os.close(extra)
        if len(data) < _HEAD.size:
            raise ProtocolError(f"init sent {len(data)} bytes that are no report")
        report = Report(data, fds[0] if fds else -1)
        if report.kind == STARTED:
            self.last_words, report.fd = report.fd, -1
        return report

    def await_payload(self, agent: Callable[[], Agent]) -> Report | None:
        """Serve init until it has executed the payload.

        Returns its last report: STARTED then, FAILED otherwise, None when it ended without a word. `agent` is
        asked who gets the listener of a filter, where there is one; raises what that one raises.
        """
        last: Report | None = None
        met: Agent | None = None
        try:
            while (report := self.receive()) is not None:
                if report.kind == FAILED:
                    return report
                if report.kind == STARTED:
                    last = report
                else:
                    met = met or agent()
                    met.serve(report, self)
        finally:
            if met is not None:
                met.close()
        return last

    def _read_last_words(self) -> Report | None:
        """Return the failure of an init that could send nothing any more (init/seccomp.c), once."""
        if self.last_words < 0:
            return None
        data = os.pread(self.last_words, _LONGEST, 0)
        os.close(self.last_words)
        self.last_words = -1
        return Report(data, -1) if any(data) else None


def hear(socket: _socket.socket, longest: int, control: int) -> tuple[bytes, list[int]]:
    """Receive one message and the descriptors that came with it; an empty one when the other end was closed."""
    for _ in range(2):
        try:
            data, ancillary, flags, _ = socket.recvmsg(longest, control, _socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            continue  # told once, of an end that was closed with messages of ours unread; its own are still there
        fds = [
            int.from_bytes(content[index : index + 4], "little")
            for level, kind, content in ancillary
            if (level, kind) == (_SOL_SOCKET, _SCM_RIGHTS)
            for index in range(0, len(content), 4)
        ]
        if flags & _socket.MSG_CTRUNC:  # no descriptor was free for what came with it
            for fd in fds:
                os.close(fd)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return data, fds
    return b"", []


def listen(address: str) -> int:
    """Bind the start socket at `address` and return its descriptor."""
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    try:
        listener.bind(address)
        listener.listen(8)
    except BaseException:
        listener.close()
        raise
    return listener.detach()


def connect(address: str) -> Channel | None:
    """Connect to the start socket of a created container; None when nobody listens there any more."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    try:
        socket.connect(address)
    except (ConnectionRefusedError, FileNotFoundError):
        socket.close()
        return None
    except BaseException:
        socket.close()
        raise
    return Channel(socket)


def adopt(connection: int, last_words: int) -> Channel:
    """Return the channel of a connection that another program made; `last_words` is -1 where there are none."""
    channel = Channel(_socket.socket(fileno=connection))
    channel.last_words = last_words
    for fd in (connection, last_words):
        if fd >= 0:
            os.set_inheritable(fd, False)
    return channel


def is_listening(address: str) -> bool:
    """Tell whether init still waits for `start`.

    A connection without a word only asks. A full backlog, too, means that it waits.
    """
    socket = _socket.socket(
        _socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
    )
    try:
        socket.connect(address)
    except BlockingIOError:
        return True
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    finally:
        socket.close()
    return True
