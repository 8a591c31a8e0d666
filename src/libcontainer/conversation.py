"""The conversation with init, from its spawn to the payload: what the making of a container and of a tenant share.

Python does from outside what needs the host's identity or the runtime's namespaces. It never enters a
container. Whatever fails, everything made before is removed. On the hot path.
"""

from __future__ import annotations

import os

from libcontainer import rlimits
from libcontainer.channel import CHILD, CONSOLE, CONTINUE, DESCRIPTOR, FAILED, SYNC
from libcontainer.errors import Error, InvalidArgument, SetupError
from libcontainer.plan import operations as do
from libcontainer.plan.encode import encode
from libcontainer.spawn import reap, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from libcontainer import rdt
    from libcontainer.channel import Channel, Report
    from libcontainer.host import Host
    from libcontainer.plan.context import Descriptor, Options, Part, Plan
else:
    import _signal  # what the signal module is made of; the module itself builds enumerations

CHILD_TIMEOUT_S = 10.0
LAST_REPORTS_S = 1.0
PIDFD_SOCKET = "the pidfd socket"


class Request:
    """What the caller wants besides the spec. Keyword arguments set the attributes.

    `stdio` replaces descriptors 0 to 2. `pid_file` and `console_socket` are paths, `console_fd` a connected
    socket or -1: without one the master of a terminal is kept in `Conversation.master`. `pidfd_socket`
    receives a pidfd of the payload's process. `rdt` is the class of service (linux.intelRdt). `notify_socket`
    is the service manager's (NOTIFY_SOCKET).
    """

    stdio: Sequence[int | None] = (None, None, None)
    pid_file: str | None = None
    console_fd: int = -1
    pidfd_socket: str | None = None
    resources: dict[str, Any] | None = None
    rdt: rdt.Group | None = None
    notify_socket: str | None = None

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class Conversation:
    """Init at work on one plan, seen from outside.

    Afterwards `pid`, `pidfd` and `master` (-1 without a terminal) are the caller's. Subclasses say what
    happens at the points where init waits, and what has to be removed after a failure. `GOAL` ends the
    sentence about an init that died.
    """

    GOAL = "it was done"

    def __init__(
        self, spec: dict[str, Any], plan: Plan, host: Host, options: Options, request: Request
    ) -> None:
        self.spec = spec
        self.plan = plan
        self.host = host
        self.options = options
        self.request = request
        self.channel: Channel | None = None
        self.stage_one = self.pid = 0
        self.ended = False  # the process `pid`, and it has been waited for
        self.pidfd = self.master = -1
        self.rlimits_set = False
        self.later: Iterator[Part] | None = None  # parts of the plan, once stage two has been born
        self.sent = 0  # descriptors that init has got

    # What subclasses say

    def _enter_cgroup(self) -> None:
        """Move stage one into its cgroups, where init does not enter them by itself."""
        raise NotImplementedError

    def _work_beside_init(self) -> None:
        """Do what stage two does not need for the first part of the plan that it gets."""

    def _reached(self, point: int) -> bool:
        """Do what the sync point asks for; True when nothing of the conversation is left."""
        raise NotImplementedError

    def _cleanups(self) -> Sequence[Callable[[], None]]:
        """Return what removes everything that was made, in order."""
        raise NotImplementedError

    # The spawn

    def _spawn(self) -> None:
        self.stage_one, self.channel = spawn(self.request.stdio, self.options.passed_fds)
        self._enter_cgroup()
        if self.request.rdt is not None:
            self.request.rdt.add_task(self.stage_one)  # its children are born in the group
        self._send(encode(self.plan.first, len(self.plan.descriptors)))

    def _send_later(self) -> None:
        """Send the rest of the plan; init is at work on one part while the next is made.

        Not before stage two has been born: stage one would take a part for the reply that it waits for.
        """
        self.later = self.plan.later
        self._send_next()
        self._work_beside_init()
        while self._send_next():
            pass

    def _send_next(self) -> bool:
        """Send the next part of the plan; False when there is none."""
        part = next(self.later or iter(()), None)
        if part is not None:
            self._send(part.encoded(len(self.plan.descriptors)))
        return part is not None

    def _send(self, part: bytes) -> None:
        """Send a part of the plan with the descriptors that it adds."""
        assert self.channel is not None
        opened: list[int] = []
        try:
            for descriptor in self.plan.descriptors[self.sent :]:
                fd = self._open(descriptor)
                opened.append(fd)  # one by one: closed also when a later one fails
            try:
                self.channel.send_plan(part, opened)
            except ConnectionError:
                pass  # init has failed; what it reported before is still to be read
        finally:
            for fd in opened:
                os.close(fd)
        self.sent += len(opened)

    def _open(self, descriptor: Descriptor) -> int:
        if descriptor.kind == "namespace":
            path, nstype = descriptor.detail
            return open_namespace(path, nstype, descriptor.pointer)
        if descriptor.kind == "tasks":
            return os.open(f"{descriptor.detail}/tasks", os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        if descriptor.kind == "cgroup":
            return os.open(descriptor.detail, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        from libcontainer.mapping import open_user_namespace

        return open_user_namespace(
            *descriptor.detail, pointer=descriptor.pointer, privileged=self.host.privileged
        )

    # The reports

    def _converse(self) -> None:
        for report in self._reports():
            if report.kind == SYNC:
                if self._reached(report.value):
                    return
            elif report.kind == DESCRIPTOR:
                self._take_descriptor(report)
            elif report.kind == FAILED:
                raise self._failure(report)

    def _reports(self) -> Iterator[Report]:
        """Yield what init reports, in the order of the plan.

        The second stage may be heard before the first has told who it is: the two run at the same time.
        """
        assert self.channel is not None
        clone = next(step for step, op in enumerate(self.plan.first) if isinstance(op, do.Clone))
        early: list[Report] = []
        try:
            while (report := self.channel.receive()) is not None:
                if report.kind == CHILD:
                    self.channel.limit(None)
                    self._take_child(report.value)
                    while early:
                        yield early.pop(0)
                elif self.stage_one and report.step > clone:
                    early.append(report)
                    # Stage one has nothing left to do but to say so; if it was killed instead, nobody will.
                    self.channel.limit(CHILD_TIMEOUT_S)
                else:
                    yield report
            raise self._died()
        finally:
            for unheard in early:
                unheard.close()

    def _take_child(self, pid: int) -> None:
        self.pid = pid
        reap(self.stage_one)
        self.stage_one = 0
        try:
            self.pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self.ended = True  # as nobody's child; what it reported is still to be read
            return
        self._send_later()
        if self.options.as_sibling:
            check_sibling(pid)

    def _take_descriptor(self, report: Report) -> None:
        assert report.value == CONSOLE
        self.master = report.fd
        if self.request.console_fd >= 0:
            from libcontainer.console import send_master

            send_master(self.request.console_fd, self.master)
            os.close(self.master)
            self.master = -1

    def _failure(self, report: Report) -> Error:
        from libcontainer.failure import setup_error

        return setup_error(report, self.plan, self.spec)

    # At the sync points

    def _go_on(self) -> None:
        assert self.channel is not None
        try:
            self.channel.send(CONTINUE)
        except ConnectionError:
            raise self._died() from None

    def _set_rlimits(self) -> None:
        """Set the payload's resource limits, once: prlimit(2) may need its user to be still ours."""
        if not self.rlimits_set:
            self.rlimits_set = True
            rlimits.apply(self.pid, (self.spec.get("process") or {}).get("rlimits") or [])

    # Failure

    def _died(self) -> Error:
        """Return the error for an init that ended without a word: killed, most often for want of memory."""
        status = None
        if self.stage_one:
            status, self.stage_one = reap(self.stage_one), 0
        elif self.pid and not self.ended:
            status, self.ended = reap(self.pid), True
        how = (
            ""
            if status is None
            else f" by signal {os.WTERMSIG(status)}"
            if os.WIFSIGNALED(status)
            else f" with status {os.WEXITSTATUS(status)}"
        )
        return SetupError(
            f"init ended{how} before {self.GOAL}",
            step="init",
            remedy="a memory limit that is too low ends it by signal 9; the kernel log (dmesg) tells",
        )

    def abort(self, error: BaseException) -> None:
        """Remove everything that was made."""
        clean_up(error, (self._hear_of_child, self._hang_up, *self._cleanups()))

    def _hear_of_child(self) -> None:
        """Learn of a stage two that has been born meanwhile: it is ours to reap."""
        if self.channel is None or not self.stage_one:
            return
        self.channel.stop_sending()  # init ends when it asks for more
        self.channel.limit(LAST_REPORTS_S)
        while (report := self.channel.receive()) is not None:
            report.close()
            if report.kind == CHILD:
                self.pid = report.value
                self.pidfd = os.pidfd_open(self.pid)

    def _hang_up(self) -> None:
        if self.channel is not None:
            self.channel.close()

    def _end_processes(self) -> None:
        if self.stage_one:
            kill(self.stage_one)
            reap(self.stage_one)
        if self.pidfd >= 0:
            try:
                _signal.pidfd_send_signal(self.pidfd, _signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.pid and not self.ended:
            if self.pidfd < 0 and not self.options.as_sibling:
                kill(self.pid)  # no descriptor was free for a pidfd; nobody has waited for our child
            reap(self.pid)

    def _close_descriptors(self) -> None:
        for fd in (self.pidfd, self.master):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self.master = -1


def kill(child: int) -> None:
    """Kill a child that has not been waited for; where SIGCHLD is ignored it may be gone."""
    try:
        os.kill(child, _signal.SIGKILL)
    except ProcessLookupError:
        pass


def clean_up(error: BaseException, steps: Sequence[Callable[[], None]]) -> None:
    """Take all `steps` after `error`. Errors on the way are added to it as notes, never raised over it."""
    for step in steps:
        try:
            step()
        except Exception as another:
            error.add_note(f"cleaning up after it also failed: {another}")


def send_pidfd(request: Request, pidfd: int) -> None:
    """Send the payload's pidfd to the socket that was asked for, if one was."""
    if request.pidfd_socket is not None:
        from libcontainer import handover

        socket = handover.connect(request.pidfd_socket, PIDFD_SOCKET)
        try:
            handover.send(socket, b"pidfd", pidfd, PIDFD_SOCKET)
        finally:
            os.close(socket)


def open_namespace(path: str, nstype: int, pointer: str) -> int:
    """Return a descriptor of the namespace at `path`, which must be one of type `nstype` (ioctl_nsfs(2)
    NS_GET_NSTYPE).
    """
    import fcntl

    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SetupError(
            f"config.json {pointer}/path: cannot open {path}: {error.strerror}",
            pointer=f"{pointer}/path",
            path=path,
            syscall="open",
            errno=error.errno,
            remedy="check that the process or bind mount that holds the namespace still exists",
        ) from error
    try:
        found = fcntl.ioctl(fd, 0xB703)
    except OSError:
        found = -1
    if found != nstype:
        os.close(fd)
        raise InvalidArgument(
            f"config.json {pointer}/path: {path} is not a namespace of the declared type",
            pointer=f"{pointer}/path",
            path=path,
            remedy="use a path such as /proc/PID/ns/net that belongs to the type",
        )
    return fd


def check_sibling(pid: int) -> None:
    """Raise SetupError unless the parent of `pid` became our own parent.

    That one must be a subreaper for it: PR_SET_CHILD_SUBREAPER(2const).
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            parent = int(file.read().rpartition(b")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return  # it has ended; what it reported tells why
    if parent != os.getppid():
        raise SetupError(
            f"as_sibling: init became a child of process {parent}, not of ours, {os.getppid()}",
            step="as_sibling",
            remedy="the calling program's parent must be a child subreaper (PR_SET_CHILD_SUBREAPER)",
        )
