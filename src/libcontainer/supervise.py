"""The conversation with init while a container is made, from its spawn to the status `created`.

Python does from outside what needs the host's identity or the runtime's namespaces: cgroups, id maps, hooks,
resource limits, the console, the records. It never enters a container. Whatever fails, everything made before
is removed: processes, cgroup, directory, pid file. On the hot path.
"""

from __future__ import annotations

import os
import time

import libcgroups.errors
from libcontainer import rlimits, sealed, state
from libcontainer.channel import CHILD, CONSOLE, CONTINUE, DESCRIPTOR, FAILED, SYNC, listen
from libcontainer.errors import CgroupError, Error, InvalidArgument, SetupError
from libcontainer.plan import operations as do
from libcontainer.plan.encode import encode
from libcontainer.spawn import reap, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Iterator, Sequence
    from typing import Any

    from libcgroups.manager import Manager
    from libcontainer import rdt
    from libcontainer.channel import Channel, Report
    from libcontainer.host import Host
    from libcontainer.plan.context import Descriptor, Options, Plan
else:
    import _signal  # what the signal module is made of; the module itself builds enumerations

CHILD_TIMEOUT_S = 10.0


class Request:
    """What the caller wants besides the spec. Keyword arguments set the attributes.

    `stdio` replaces descriptors 0 to 2. `pid_file` and `console_socket` are paths, `console_fd` a connected
    socket or -1: without one the master of a terminal is kept in `Creation.master`. `pidfd_socket` receives a
    pidfd of the first process. `rdt` is the class of service (linux.intelRdt), planned.
    """

    stdio: Sequence[int | None] = (None, None, None)
    pid_file: str | None = None
    console_fd: int = -1
    pidfd_socket: str | None = None
    resources: dict[str, Any] | None = None
    rdt: rdt.Group | None = None

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class Creation:
    """The making of one container.

    `run` does it; afterwards `pid`, `pidfd` and `master` (-1 without a terminal) are the caller's.
    """

    def __init__(
        self,
        directory: state.Directory,
        spec: dict[str, Any],
        raw: bytes,
        plan: Plan,
        manager: Manager,
        host: Host,
        options: Options,
        request: Request,
    ) -> None:
        self.directory = directory
        self.spec = spec
        self.raw = raw
        self.plan = plan
        self.manager = manager
        self.host = host
        self.options = options
        self.request = request
        self.channel: Channel | None = None
        self.stage_one = self.pid = 0
        self.pidfd = self.master = -1
        self.limited = self.rlimits_set = False
        self.record: dict[str, Any] = {}
        self.recorded = False

    def run(self) -> None:
        """Make the container; on any failure remove what was made and raise the error."""
        try:
            self._make_groups()
            self._spawn()
            self._converse()
        except BaseException as error:
            self._abort(error)
            raise
        finally:
            if self.channel is not None:
                self.channel.close()

    def _make_groups(self) -> None:
        self.directory.write("config.json", self.raw)
        intent = {"cgroup": self.manager.plan_state(), "pidFile": self.request.pid_file}
        group = self.request.rdt
        if group is None:
            self.directory.write_record("intent.json", intent)
        else:
            with group.locked():
                group.look()
                self.directory.write_record("intent.json", {**intent, "rdt": group.to_state()})
                group.create()
        self._make_cgroup()

    def _make_cgroup(self) -> None:
        try:
            self.manager.create()
            self.manager.check_empty_and_thawed()
        except libcgroups.errors.Error as error:
            raise cgroup_error(error) from error
        if len(self.manager.cgroups) != len(self.options.cgroups):
            # Rootless, some could not be made: the container's view of its cgroups shows what there is.
            from libcontainer.plan.compile import compile_init

            self.options.cgroups = self.manager.cgroups
            self.plan = compile_init(self.spec, self.host, self.options)

    def _spawn(self) -> None:
        self.stage_one, self.channel = spawn(self.request.stdio, self.options.passed_fds)
        # Beside the start of init, which takes longer.
        data = encode(self.plan.ops, len(self.plan.descriptors))
        if not self.options.self_join:
            try:
                self.manager.add_process(self.stage_one)
            except libcgroups.errors.Error as error:
                raise cgroup_error(error) from error
        if self.request.rdt is not None:
            self.request.rdt.add_task(self.stage_one)  # its children are born in the group
        opened: list[int] = []
        try:
            opened.append(sealed.sealed_bytes("plan", data))
            for descriptor in self.plan.descriptors:
                opened.append(self._open(descriptor))
            self.channel.send_plan(opened[0], opened[1:])
        finally:
            for fd in opened:
                os.close(fd)

    def _open(self, descriptor: Descriptor) -> int:
        if descriptor.kind == "listener":
            return listen(self.directory.address("start.sock"))
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

    # The conversation

    def _converse(self) -> None:
        for report in self._reports():
            if report.kind == SYNC:
                if self._reached(report):
                    return
            elif report.kind == DESCRIPTOR:
                self._take_descriptor(report)
            elif report.kind == FAILED:
                from libcontainer.failure import setup_error

                raise setup_error(report, self.plan, self.spec)

    def _reports(self) -> Iterator[Report]:
        """Yield what init reports, in the order of the plan.

        The second stage may be heard before the first has told who it is: the two run at the same time.
        """
        assert self.channel is not None
        clone = next(step for step, op in enumerate(self.plan.ops) if isinstance(op, do.Clone))
        early: list[Report] = []
        while (report := self.channel.receive()) is not None:
            if report.kind == CHILD:
                self.channel.limit(None)
                self._take_child(report.value)
                yield from early
                early.clear()
            elif self.stage_one and report.step > clone:
                early.append(report)
                # Stage one has nothing left to do but to say so; if it was killed instead, nobody will.
                self.channel.limit(CHILD_TIMEOUT_S)
            else:
                yield report
        raise self._died()

    def _take_child(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        reap(self.stage_one)
        self.stage_one = 0
        if self.options.as_sibling:
            check_sibling(pid)
        self.record = self._new_record()  # while init works

    def _take_descriptor(self, report: Report) -> None:
        if report.value == CONSOLE:
            self.master = report.fd
            if self.request.console_fd >= 0:
                from libcontainer.console import send_master

                send_master(self.request.console_fd, self.master)
                os.close(self.master)
                self.master = -1
        else:
            from libcontainer.network import move_devices

            move_devices(report.fd, self.pid, self.spec["linux"]["netDevices"])

    def _reached(self, report: Report) -> bool:
        """Do what the sync point asks for; True when the container is created."""
        assert self.channel is not None
        if report.value == do.SYNC_MAPS:
            from libcontainer.idmap import write_maps

            linux = self.spec["linux"]
            uids, gids = linux.get("uidMappings") or [], linux.get("gidMappings") or []
            write_maps(self.stage_one, uids, gids, privileged=self.host.privileged)
        elif report.value == do.SYNC_HOOKS:
            self._limit()
            self._run_hooks()
        elif report.value == do.SYNC_LIMITS:
            self._limit()
        elif report.value == do.SYNC_RLIMITS:
            self._set_rlimits()
        else:
            self._finish()
        self.channel.send(CONTINUE)
        return bool(report.value == do.SYNC_READY)

    def _limit(self) -> None:
        """Apply the cgroup limits.

        When init's own work is done, so that a low limit meets the payload, but before any hook runs.
        """
        if self.limited:
            return
        self.limited = True
        try:
            self.manager.apply(self.request.resources)
        except libcgroups.errors.Error as error:
            raise cgroup_error(error) from error

    def _run_hooks(self) -> None:
        hooks = self.spec.get("hooks") or {}
        if not hooks.get("prestart") and not hooks.get("createRuntime"):
            return
        from libcontainer.hooks import run

        current = oci_state(self.spec, self.options, "creating", self.pid)
        for kind in ("prestart", "createRuntime"):
            if hooks.get(kind):
                run(hooks[kind], kind, current, cwd=self.options.bundle, pointer=f"/hooks/{kind}")

    def _set_rlimits(self) -> None:
        """Set the payload's resource limits, once: prlimit(2) may need its user to be still ours."""
        if not self.rlimits_set:
            self.rlimits_set = True
            rlimits.apply(self.pid, (self.spec.get("process") or {}).get("rlimits") or [])

    def _finish(self) -> None:
        self._limit()
        self._set_rlimits()
        self.directory.write_record("state.json", self.record)
        self.recorded = True
        self.directory.remove_file("intent.json")
        if self.request.pid_file is not None:
            state.write_pid_file(self.request.pid_file, self.pid)
        if self.request.pidfd_socket is not None:
            from libcontainer.console import connect, send_master

            socket = connect(self.request.pidfd_socket)
            try:
                send_master(socket, self.pidfd, b"pidfd")
            finally:
                os.close(socket)

    def _new_record(self) -> dict[str, Any]:
        found = state.start_time(self.pid)
        if found is None:
            raise self._died()
        linux = self.spec.get("linux") or {}
        hooks = self.spec.get("hooks") or {}
        return {
            "ociVersion": self.spec["ociVersion"],
            "pid": self.pid,
            "startTime": found[1],
            "bootId": state.boot_id(),
            "bundle": self.options.bundle,
            "rootfs": self.options.rootfs,
            "created": time.time_ns(),
            "owner": os.geteuid(),
            "annotations": self.spec.get("annotations") or {},
            "cgroup": self.manager.to_state(),
            **({} if self.request.rdt is None else {"rdt": self.request.rdt.to_state()}),
            "pidNamespace": any([item["type"] == "pid" for item in linux.get("namespaces") or ()]),
            "hooks": {kind: hooks[kind] for kind in ("poststart", "poststop") if hooks.get(kind)},
            "steps": len(self.plan.ops),
            "hasProcess": bool(self.spec.get("process")),
        }

    # Failure

    def _died(self) -> Error:
        """Return the error for an init that ended without a word.

        Killed from outside, most often for want of memory.
        """
        status = None
        if self.stage_one:
            status, self.stage_one = reap(self.stage_one), 0
        elif self.pid:
            status, self.pid = reap(self.pid), 0
        how = (
            ""
            if status is None
            else f" by signal {os.WTERMSIG(status)}"
            if os.WIFSIGNALED(status)
            else f" with status {os.WEXITSTATUS(status)}"
        )
        return SetupError(
            f"init ended{how} before the container was created",
            step="init",
            remedy="a memory limit that is too low ends it by signal 9; the kernel log (dmesg) tells",
        )

    def _abort(self, error: BaseException) -> None:
        """Remove everything that was made.

        Errors on the way are added to `error` as notes, never raised over it.
        """
        if self.channel is not None:
            self.channel.close()
        for cleanup in (
            self._end_processes,
            self._remove_cgroup,
            self._leave_class,
            self._close_descriptors,
            self._remove_records,
            self._run_poststop,
        ):
            try:
                cleanup()
            except Exception as another:
                error.add_note(f"cleaning up after it also failed: {another}")

    def _end_processes(self) -> None:
        if self.stage_one:
            os.kill(self.stage_one, _signal.SIGKILL)
            reap(self.stage_one)
        if self.pidfd >= 0:
            try:
                _signal.pidfd_send_signal(self.pidfd, _signal.SIGKILL)
            except ProcessLookupError:
                pass
            reap(self.pid)

    def _remove_cgroup(self) -> None:
        # A hook may have left processes in it, which are not ours to know by pid.
        if self.manager.exists():
            self.manager.kill_all()
            self.manager.remove()

    def _leave_class(self) -> None:
        if self.request.rdt is not None:
            self.request.rdt.remove()

    def _run_poststop(self) -> None:
        """Run the poststop hooks of a container that did not come to be: runtime.md "Lifecycle" 3 to 5, 13.

        They undo what hooks did before them, so they run as soon as there was a process whose state hooks saw.
        """
        hooks = (self.spec.get("hooks") or {}).get("poststop")
        if not hooks or not self.pid:
            return
        from libcontainer.hooks import run

        last = oci_state(self.spec, self.options, "stopped", 0)
        failures = run(
            hooks, "poststop", last, cwd=self.options.bundle, pointer="/hooks/poststop", keep_going=True
        )
        if failures:
            raise failures[0]

    def _close_descriptors(self) -> None:
        for fd in (self.pidfd, self.master):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self.master = -1

    def _remove_records(self) -> None:
        if self.request.pid_file is not None and self.recorded:
            try:
                os.unlink(self.request.pid_file)
            except FileNotFoundError:
                pass
        self.directory.remove()


def oci_state(spec: dict[str, Any], options: Options, status: str, pid: int) -> dict[str, Any]:
    """Return the state as hooks get it: runtime.md "State"."""
    return {
        "ociVersion": spec["ociVersion"],
        "id": options.container_id,
        "status": status,
        "pid": pid,
        "bundle": options.bundle,
        "annotations": spec.get("annotations") or {},
    }


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
    """Raise SetupError unless the parent of `pid` became our own parent, which must be a subreaper for it.

    PR_SET_CHILD_SUBREAPER(2const).
    """
    with open(f"/proc/{pid}/stat", "rb") as file:
        parent = int(file.read().rpartition(b")")[2].split()[1])
    if parent != os.getppid():
        raise SetupError(
            f"as_sibling: init became a child of process {parent}, not of ours, {os.getppid()}",
            step="as_sibling",
            remedy="the calling program's parent must be a child subreaper (PR_SET_CHILD_SUBREAPER)",
        )


def cgroup_error(error: libcgroups.errors.Error) -> CgroupError:
    """Return a cgroup library's error as one of ours."""
    pointer = None if error.pointer is None else f"/linux/resources{error.pointer}"
    where = "" if pointer is None else f"config.json {pointer}: "
    return CgroupError(
        f"{where}{error.message}",
        step="cgroup",
        pointer=pointer,
        syscall=error.syscall,
        errno=error.errno,
        path=error.path,
        remedy=error.remedy,
    )
