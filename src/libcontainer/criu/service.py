"""One `criu swrk`: a process that carries out one request, heard over a SOCK_SEQPACKET socket.

While it works it notifies us of what it has come to, and waits for our answer; a descriptor may come with it
(SCM_RIGHTS). Everything else that it has to say stands in its log. https://criu.org/RPC
"""

from __future__ import annotations

import _socket
import fcntl
import os
import re
import select
import shutil

from libcontainer import reaping
from libcontainer.channel import hear
from libcontainer.criu import messages
from libcontainer.errors import CheckpointError, Unsupported
from libcontainer.exit_status import await_exit
from libcontainer.spawn import reap

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Sequence
    from typing import Self
else:
    import _signal

PROGRAM = "criu"
OLDEST = (3, 15)  # external pid namespaces, and the freezer of cgroup v2
LONGEST_MESSAGE = 1 << 16
SOCKET_FD = 3
FIRST_EXTRA_FD = 4  # where the descriptors begin that are passed on beside the standard streams
OUT_OF_THE_WAY = 64
QUOTED_LINES = 3
QUOTED_BYTES = 1 << 18
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INSTALL = "install criu 3.15 or later (Debian, Fedora: the package criu), and run it as root: criu check"


class Service:
    """The process; a context manager that waits for its end. `pid` is its number.

    `stdio` are the descriptors that it gets as 0 to 2 (None: /dev/null), `extra` those from FIRST_EXTRA_FD on.
    Raises Unsupported where there is no criu.
    """

    def __init__(self, stdio: Sequence[int | None] = (None, None, None), extra: Sequence[int] = ()) -> None:
        self.socket, theirs = _socket.socketpair(
            _socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
        )
        opened: list[int] = []
        try:
            null = _kept(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC), opened, close=True)
            passed = [null if fd is None else fd for fd in stdio] + [theirs.fileno(), *extra]
            # Copies first: a number may be in use by what another one is a copy of.
            copies = [_kept(fd, opened) for fd in passed]
            self.pid = _spawn(copies)
        except BaseException:
            self.socket.close()
            raise
        finally:
            theirs.close()
            for fd in opened:
                os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        if self.pid:
            pidfd = os.pidfd_open(self.pid)
            try:
                await_exit(pidfd, None, PROGRAM)
            finally:
                os.close(pidfd)
            reap(self.pid)
            self.pid = 0

    def call(
        self, request: messages.Message, notified: Callable[[str, int, int], None] | None = None
    ) -> messages.Message:
        """Send the request, answer the notifications, and return the response.

        `notified` gets the name of a notification, the process id and the descriptor that come with it (0 and -1
        without); when it raises, CRIU is told that it failed, undoes what it has done, and the error is raised.
        Raises CheckpointError when the end comes without a response.
        """
        failure: BaseException | None = None
        self._send(request)
        while True:
            response, fd = self._receive()
            if response is None:
                raise failure or CheckpointError(
                    "criu ended without an answer", step="criu", remedy="the kernel log (dmesg) may tell why"
                )
            if response.get("type") != messages.NOTIFY:
                if failure is not None:
                    raise failure
                return response
            found = response.get("notify") or {}
            try:
                if failure is None and notified is not None:
                    notified(found.get("script", ""), found.get("pid", 0), fd)
            except BaseException as error:
                failure = error
            finally:
                if fd >= 0:
                    os.close(fd)
            self._send({"type": messages.NOTIFY, "notify_success": failure is None})

    def _send(self, request: messages.Message) -> None:
        try:
            self.socket.send(messages.encode(request, messages.REQUEST), _socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has ended; what it said before is still to be read

    def _receive(self) -> tuple[messages.Message | None, int]:
        """Return a response and the descriptor that came with it, or None and -1 at the end.

        CRIU waits for the first process that it ends, which waits for the tenants that are ours to reap.
        """
        poll = select.poll()
        for watched in (self.socket.fileno(), reaping.watch()):
            poll.register(watched, select.POLLIN)
        while self.socket.fileno() not in [fd for fd, _ in poll.poll()]:
            reaping.reap_ended()
        data, fds = hear(self.socket, LONGEST_MESSAGE, _socket.CMSG_SPACE(4))
        return (messages.decode(data, messages.RESPONSE), fds[0] if fds else -1) if data else (None, -1)


def _kept(fd: int, opened: list[int], *, close: bool = False) -> int:
    """Return a copy of `fd` that is out of the way of the numbers that the new process's descriptors get."""
    try:
        copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY)
    finally:
        if close:
            os.close(fd)
    opened.append(copy)
    return copy


def _spawn(descriptors: Sequence[int]) -> int:
    environment = dict(os.environ)
    environment.setdefault("PATH", DEFAULT_PATH)  # for it, and for tar, ip and iptables, which it calls
    try:
        return os.posix_spawn(
            shutil.which(PROGRAM, path=environment["PATH"]) or PROGRAM,
            [PROGRAM, "swrk", str(SOCKET_FD)],
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(descriptors)],
            setsigmask=[],
            setsigdef=[_signal.SIGPIPE, _signal.SIGXFSZ],  # Python ignores them
        )
    except OSError as error:
        raise Unsupported(
            f"checkpoint and restore need the program criu, which cannot be started: {error.strerror}",
            step="criu",
            syscall="posix_spawn",
            errno=error.errno,
            remedy=INSTALL,
        ) from error


# What not every kernel or CRIU can do: what it is needed for, and how a checkpoint does without.
FEATURES = {
    "mem_track": (
        "pre-dumps need a kernel that tracks changes of memory",
        "without pre-dump and parent path",
    ),
    "lazy_pages": ("lazy pages need a kernel with userfaultfd(2)", "without lazy pages"),
}


def require(*features: str) -> None:
    """Raise Unsupported unless CRIU is there, recent enough, and with the `features` asked for."""
    with Service() as service:
        found = service.call({"type": messages.VERSION}).get("version") or {}
    version = found.get("major", 0), found.get("minor", 0)
    if version < OLDEST:
        raise Unsupported(
            f"criu is of version {version[0]}.{version[1]}, but 3.15 or later is needed",
            step="criu",
            remedy=INSTALL,
        )
    for feature in features:
        with Service() as service:
            answer = service.call({"type": messages.FEATURE_CHECK, "features": {feature: True}})
        if not (answer.get("features") or {}).get(feature):
            need, without = FEATURES[feature]
            raise Unsupported(
                f"{need}, and a criu that uses it, which are not here",
                step="criu",
                remedy=f"do it {without}, or see: criu check --all",
            )


def failed(action: str, response: messages.Message, log: str) -> CheckpointError:
    """Return the error for a request that CRIU did not carry out, with the last errors of its `log`."""
    lines = last_errors(log)
    said = response.get("cr_errmsg", "").strip()
    reason = "; ".join(lines) or said or f"error {response.get('cr_errno', 0)}"
    number = response.get("cr_errno") or None
    return CheckpointError(
        f"criu cannot {action}: {reason}", step="criu", errno=number, path=log, remedy=f"see {log}"
    )


def last_errors(log: str) -> list[str]:
    """Return the last lines of CRIU's log that tell an error, without their times; none where there is no log."""
    try:
        with open(log, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - QUOTED_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = [re.sub(r"^\([\d.]+\)\s*", "", line).strip() for line in text.splitlines() if "Error" in line]
    return [re.sub(r"^(\d+: )?Error ", "", line) for line in lines[-QUOTED_LINES:]]
