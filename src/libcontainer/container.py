"""A handle on one container: its state, and the operations of the runtime-spec. runtime.md "Operations".

Nothing about the container is kept in this process that another one could not find out: any program may load
the container by its id. On the hot path.
"""

from __future__ import annotations

import errno
import os
import time

from libcontainer import state
from libcontainer.errors import Error, NotFound, SetupError, StateError, Timeout
from libcontainer.state import Directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Sequence
    from typing import IO, Any, Self

    from libcgroups.manager import Manager
else:
    import _signal  # what the signal module is made of; the module itself builds enumerations

SIGKILL = _signal.SIGKILL
KILL_TIMEOUT_S = 10.0
ANSWER_S = 1.0  # after that a start looks whether init is frozen; a startContainer hook may take longer, too
_PIDFD_GET_INFO, _PIDFD_INFO_EXIT, _PIDFD_INFO_SIZE = 0xC040FF0B, 1 << 3, 64


class ExitStatus:
    """How the container's first process ended.

    `code` is its exit status, or None when a signal ended it, which is then in `signal`. Both are None when
    nobody can tell: the process was not ours to wait for and the kernel (before 6.15) does not keep its
    status. `returncode` is what a shell would show: the code, or 128 plus the signal; None when unknown.
    """

    __slots__ = ("code", "signal")

    def __init__(self, code: int | None, signal: int | None) -> None:
        self.code = code
        self.signal = signal

    @classmethod
    def from_wait(cls, status: int) -> ExitStatus:
        """Decode a wait status (waitpid(2))."""
        if os.WIFSIGNALED(status):
            return cls(None, os.WTERMSIG(status))
        return cls(os.WEXITSTATUS(status), None)

    @property
    def returncode(self) -> int | None:
        """The exit status as a shell would show it."""
        return self.code if self.signal is None else 128 + self.signal

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExitStatus) and (self.code, self.signal) == (other.code, other.signal)

    def __hash__(self) -> int:
        return hash((self.code, self.signal))

    def __repr__(self) -> str:
        return f"ExitStatus(code={self.code}, signal={self.signal})"


class Container:
    """One container below a root directory. Made by `ContainerBuilder`, or found by `Container.load` and
    `Container.list`.

    As a context manager it is deleted, by force, when the block is left. Methods that change something take
    the container's lock, so that two programs do not do it at once; they may be called from any thread.
    """

    stdin: IO[bytes] | None = None
    stdout: IO[bytes] | None = None
    stderr: IO[bytes] | None = None

    def __init__(
        self, root: str, container_id: str, record: dict[str, Any], *, pidfd: int = -1, master: int = -1
    ) -> None:
        self.root = root
        self.id = container_id
        self.warnings: tuple[str, ...] = ()
        self._record = record
        self._pidfd = pidfd
        self._master = master
        self._exit: ExitStatus | None = None

    @classmethod
    def load(cls, root: str | os.PathLike[str] | None, container_id: str) -> Container:
        """Return the container of that id below `root` (None.

        The default root). Raises NotFound, InvalidArgument and StateError.
        """
        where = state.default_root() if root is None else os.path.abspath(os.fspath(root))
        with Directory.open(where, container_id) as directory:
            record = directory.read_record("state.json")
            if record is None:
                record = _record_of_intent(directory)
        return cls(where, container_id, record)

    @classmethod
    def list(cls, root: str | os.PathLike[str] | None = None) -> list[Container]:
        """Return all containers below `root`, by id.

        What cannot be read has the status `unknown` and its reason in `warnings`.
        """
        where = state.default_root() if root is None else os.path.abspath(os.fspath(root))
        found = []
        for container_id in state.list_ids(where):
            try:
                found.append(cls.load(where, container_id))
            except NotFound:
                continue  # deleted meanwhile
            except Error as error:
                broken = cls(where, container_id, {"unreadable": True})
                broken.warnings = (str(error),)
                found.append(broken)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.delete(force=True)
        finally:
            self.close()

    def close(self) -> None:
        """Close the descriptors that this handle holds (pidfd, terminal, pipes). The container goes on."""
        for fd in (self._pidfd, self._master):
            if fd >= 0:
                os.close(fd)
        self._pidfd = self._master = -1
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()

    def __repr__(self) -> str:
        return f"<Container {self.id} in {self.root}>"

    # What is known

    @property
    def pid(self) -> int | None:
        """The first process's number on the host; None when it does not run."""
        return self._record.get("pid") if self.status != "stopped" else None

    @property
    def bundle(self) -> str:
        """The absolute path of the bundle."""
        return str(self._record.get("bundle", ""))

    @property
    def rootfs(self) -> str:
        """The absolute path of the root file system on the host."""
        return str(self._record.get("rootfs", ""))

    @property
    def created(self) -> int:
        """When the container was created, in nanoseconds since 1970; 0 for one that never was."""
        return int(self._record.get("created", 0))

    @property
    def owner(self) -> int:
        """The user id of who created it."""
        return int(self._record.get("owner", 0))

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations of its configuration."""
        return dict(self._record.get("annotations") or {})

    @property
    def status(self) -> str:
        """`creating`, `created`, `running`, `paused` or `stopped`, found out now.

        `unknown` for a record that cannot be read.
        """
        record = self._record
        if record.get("unreadable"):
            return "unknown"
        if "startTime" not in record:
            return "creating"
        if self._exit is not None or not state.is_alive(record):
            return "stopped"
        if self._awaits_start():
            return "created"
        return "paused" if self._cgroup_is_frozen() else "running"

    def state(self) -> dict[str, Any]:
        """Return the state of the runtime-spec (runtime.md "State") with `rootfs`, `created` and `owner`
        beside it, as runc prints it.
        """
        status = self.status
        result: dict[str, Any] = {
            "ociVersion": self._record.get("ociVersion", "1.0.0"),
            "id": self.id,
            "pid": 0 if status == "stopped" else self._record.get("pid", 0),
            "status": status,
            "bundle": self.bundle,
            "rootfs": self.rootfs,
            "created": rfc3339(self.created),
            "owner": str(self.owner),
        }
        if self.annotations:
            result["annotations"] = self.annotations
        return result

    def spec(self) -> dict[str, Any]:
        """Return the configuration as it was when the container was created."""
        from libcontainer.strictjson import loads

        with self._directory() as directory:
            data = directory.read("config.json")
        if data is None:
            raise state.not_found(self.id, self.root)
        value = loads(data, source=f"{self.root}/{self.id}/config.json")
        assert isinstance(value, dict)
        return value

    # Operations

    def start(self) -> None:
        """Execute the payload of a created container and run the poststart hooks.

        Raises StateError, ExecError, HookError, SetupError.
        """
        with self._locked() as directory:
            self._release(directory)
            directory.remove_file("start.sock")
        if self._record["hooks"].get("poststart"):
            self._run_poststart()

    def kill(self, signal: int | str = "TERM", *, all: bool = False) -> None:  # noqa: A002  # as --all
        """Send a signal to the first process, or with `all` to every process of the container.

        SIGKILL reaches every process where the container shares its pid namespace with others: no kernel ends
        them with the first one then. Raises StateError when the container does not run, InvalidArgument for
        an unknown signal.
        """
        from libcontainer.signals import parse

        number = parse(signal)
        manager = self._manager()
        everyone = all or (number == SIGKILL and not self._record.get("pidNamespace"))
        status = self.status
        if status == "stopped" and not (everyone and manager.exists() and manager.processes()):
            raise StateError(f"cannot kill {self.id}: container not running")
        if status == "creating":
            raise StateError(
                f"cannot kill {self.id}: it is being created", remedy=f"youki delete --force {self.id}"
            )
        if everyone and manager.paths:
            self._kill_all(manager, number)
        else:
            self._signal_init(number)
        if number == SIGKILL and status == "paused":
            manager.thaw_for_kill()

    def wait(self, timeout: float | None = None) -> ExitStatus:
        """Wait until the first process has ended and return how. `timeout` in seconds bounds the whole call;
        None waits for ever.

        May be repeated, and called for a container of another program: then the status is known from Linux
        6.15 on, and None in both fields before. Sends no signal. Raises Timeout (the container goes on),
        StateError for one that is being created.
        """
        if self._exit is None:
            self._exit = self._wait(timeout)
        return self._exit

    def delete(self, *, force: bool = False) -> None:
        """Remove a stopped or created container: its processes, cgroup and records; then run the poststop
        hooks.

        With `force` a running container is killed first, what an interrupted create left over is removed too,
        and an unknown id is no error. Poststop hooks that fail are told in `warnings`. Raises NotFound,
        StateError, CgroupError and Timeout.
        """
        try:
            directory = self._directory()
        except NotFound:
            if force:
                return
            raise
        with directory:
            directory.lock()
            self._reread(directory)
            self._require_deletable(force)
            self._end()
            self._remove_cgroup()
            hooks = (self._record.get("hooks") or {}).get("poststop")
            last = dict(self.state(), status="stopped") if hooks else {}
            directory.remove()
        if hooks:
            self._run_poststop(hooks, last)

    def run(self) -> ExitStatus:
        """Start the container, serve it in the foreground until it ends, and return how it ended.

        Signals that this process gets are forwarded; a terminal of the container is connected to this
        process's own. Only in the main thread: signal handlers are a matter of the process. Does not delete.
        """
        from libcontainer.foreground import serve

        return serve(self)

    # Parts of them

    def _directory(self) -> Directory:
        return Directory.open(self.root, self.id)

    def _locked(self) -> Directory:
        directory = self._directory()
        try:
            directory.lock()
            self._reread(directory)
        except BaseException:
            directory.close()
            raise
        return directory

    def _reread(self, directory: Directory) -> None:
        """Take the record as it is now that nobody else changes it."""
        record = directory.read_record("state.json")
        self._record = _record_of_intent(directory) if record is None else record

    def _not_created(self) -> StateError:
        """Return the error for a container that is not in the state in which it can be started."""
        status = self.status
        reasons = {
            "running": "cannot start an already running container",
            "paused": "cannot start an already running container",
            "stopped": "cannot start a container that has stopped",
            "creating": "cannot start a container that was never completely created",
        }
        return StateError(
            f"{reasons.get(status, 'cannot start the container')}: {self.id}", remedy=f"youki state {self.id}"
        )

    def _release(self, directory: Directory) -> None:
        """Tell init to go on and wait until the payload is executed."""
        from libcontainer import channel

        # Whether init waits for us is asked by asking it to go on.
        recorded = "startTime" in self._record
        connection = channel.connect(directory.address("start.sock")) if recorded else None
        if connection is None:
            raise self._not_created()
        started = False
        try:
            if not self._record["hasProcess"]:
                raise StateError(
                    f"cannot start {self.id}: its configuration has no process", pointer="/process"
                )
            connection.send(channel.START)
            if not connection.answers_within(ANSWER_S) and self._cgroup_is_frozen():
                raise StateError(
                    f"{self.id} is paused: it starts when it is resumed", remedy=f"resume {self.id}"
                )
            while (report := connection.receive()) is not None:
                if report.kind == channel.FAILED:
                    error = self._failure(report)
                    self._end()  # init ends by itself; when we return, it has
                    raise error
                started = report.kind == channel.STARTED
        finally:
            connection.close()
        if not started:
            raise SetupError(f"init of {self.id} ended before it could execute the payload", step="start")

    def _failure(self, report: Any) -> Error:
        """Return the error for a step that failed after `start`; the plan is compiled again to name it."""
        from libcontainer.failure import setup_error
        from libcontainer.host import Host
        from libcontainer.plan.compile import tail_of_plan
        from libcontainer.plan.context import Options, Plan

        spec = self.spec()
        ops = tail_of_plan(spec, Host(), Options(container_id=self.id, bundle=self.bundle))
        report.step -= self._record["steps"] - len(ops)
        return setup_error(report, Plan(ops, []), spec)

    def _run_poststart(self) -> None:
        from libcontainer.errors import HookError
        from libcontainer.hooks import run

        try:
            run(
                self._record["hooks"]["poststart"],
                "poststart",
                self._hook_state("running"),
                cwd=self.bundle,
                pointer="/hooks/poststart",
            )
        except HookError:
            # runtime.md "Lifecycle" 9: a failed poststart hook is an error, and the container is stopped.
            try:
                self.kill(SIGKILL)
            except StateError:
                pass  # it has ended by itself
            self._end()
            raise

    def _run_poststop(self, hooks: Sequence[dict[str, Any]], last: dict[str, Any]) -> None:
        from libcontainer.hooks import run

        failures = run(
            hooks,
            "poststop",
            self._hook_state("stopped", last),
            cwd=self.bundle,
            pointer="/hooks/poststop",
            keep_going=True,
        )
        self.warnings += tuple([str(failure) for failure in failures])

    def _hook_state(self, status: str, known: dict[str, Any] | None = None) -> dict[str, Any]:
        found = known or self.state()
        names = ("ociVersion", "id", "pid", "bundle")
        return {**{name: found[name] for name in names}, "status": status, "annotations": self.annotations}

    def _manager(self) -> Manager:
        from libcgroups.manager import Manager

        return Manager.from_state(self._record["cgroup"])

    def _awaits_start(self) -> bool:
        from libcontainer import channel

        try:
            with self._directory() as directory:
                return directory.has("start.sock") and channel.is_listening(directory.address("start.sock"))
        except NotFound:
            return False

    def _cgroup_is_frozen(self) -> bool:
        from libcgroups.errors import Error as CgroupFailure

        try:
            return self._manager().frozen()
        except CgroupFailure:
            return False

    def _open_pidfd(self) -> int:
        """Return a pidfd that is certainly of our process.

        Opened first, then the start time compared. Raises StateError.
        """
        if self._pidfd >= 0:
            return self._pidfd
        pid = self._record.get("pid")
        if not pid:
            raise StateError(f"container {self.id} is being created")
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            if error.errno in (errno.ESRCH, errno.EINVAL):
                raise StateError(f"container {self.id} is not running") from None
            raise
        if state.process_state(self._record) is None:
            os.close(pidfd)
            raise StateError(f"container {self.id} is not running")
        self._pidfd = pidfd
        return pidfd

    def _signal_init(self, number: int) -> None:
        try:
            _signal.pidfd_send_signal(self._open_pidfd(), number)
        except ProcessLookupError:
            raise StateError(f"cannot kill {self.id}: container not running") from None
        except PermissionError as error:
            raise StateError(
                f"cannot kill {self.id}: {error.strerror}", errno=error.errno, remedy="ask its owner"
            ) from error

    def _kill_all(self, manager: Manager, number: int) -> None:
        from libcgroups.errors import Error as CgroupFailure

        try:
            manager.kill_all(number)
        except CgroupFailure as error:
            from libcontainer.supervise import cgroup_error

            raise cgroup_error(error) from error

    def _wait(self, timeout: float | None) -> ExitStatus:
        try:
            pidfd = self._open_pidfd()
        except StateError:
            if self.status == "stopped":
                return ExitStatus(None, None)
            raise
        await_exit(pidfd, timeout, self.id)
        return exit_status(pidfd)

    def _require_deletable(self, force: bool) -> None:
        status = self.status
        if force or status in ("stopped", "created"):
            return
        if status == "creating":
            raise StateError(
                f"cannot delete container {self.id}: its create was interrupted",
                remedy=f"youki delete --force {self.id}",
            )
        raise StateError(
            f"cannot delete container {self.id} that is not stopped: {status}",
            remedy=f"stop it first, or youki delete --force {self.id}",
        )

    def _end(self) -> None:
        """Kill what still runs and wait until it is gone.

        A process of ours is reaped, its status kept for `wait`.
        """
        if "startTime" not in self._record:
            return
        try:
            pidfd = self._open_pidfd()
        except StateError:
            return
        try:
            _signal.pidfd_send_signal(pidfd, SIGKILL)
        except ProcessLookupError:
            pass  # it has ended and was waited for
        else:
            self._manager().thaw_for_kill()
            await_exit(pidfd, KILL_TIMEOUT_S, self.id)
        if self._exit is None:
            self._exit = exit_status(pidfd)

    def _remove_cgroup(self) -> None:
        if not self._record.get("cgroup"):
            return
        from libcgroups.errors import Error as CgroupFailure

        try:
            manager = self._manager()
            # Who is not in it cannot fork in it, so that an empty one stays empty.
            if manager.populated():
                manager.kill_all()
            manager.remove()
        except CgroupFailure as error:
            from libcontainer.supervise import cgroup_error

            raise cgroup_error(error) from error


def _record_of_intent(directory: Directory) -> dict[str, Any]:
    """Return what is known of a container that is being created, or whose create was interrupted."""
    intent = directory.read_record("intent.json") or {}
    # Between our first look and this one the creation may have been finished.
    return directory.read_record("state.json") or {"cgroup": intent.get("cgroup")}


def await_exit(pidfd: int, timeout: float | None, container_id: str) -> None:
    """Wait until the process has ended. Raises Timeout."""
    from select import POLLIN
    from select import poll as make_poll

    deadline = None if timeout is None else time.monotonic() + timeout
    poll = make_poll()
    poll.register(pidfd, POLLIN)
    while True:
        left = None if deadline is None else max(0, round((deadline - time.monotonic()) * 1000))
        if poll.poll(left):
            return
        if left is not None and time.monotonic() >= (deadline or 0):
            raise Timeout(f"container {container_id} did not end within {timeout:g} s", step="wait")


def exit_status(pidfd: int) -> ExitStatus:
    """Return how the ended process ended.

    By waiting for our child, or else from the kernel's memory of it (ioctl_pidfd PIDFD_GET_INFO).
    """
    try:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        return _exit_of_stranger(pidfd)
    if result is None:
        return ExitStatus(None, None)
    if result.si_code == os.CLD_EXITED:
        return ExitStatus(result.si_status, None)
    return ExitStatus(None, result.si_status)


def _exit_of_stranger(pidfd: int) -> ExitStatus:
    import fcntl
    from struct import pack_into, unpack_from

    info = bytearray(_PIDFD_INFO_SIZE)
    pack_into("=Q", info, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return ExitStatus(None, None)
    (mask,) = unpack_from("=Q", info, 0)
    if not mask & _PIDFD_INFO_EXIT:
        return ExitStatus(None, None)
    (status,) = unpack_from("=i", info, 60)
    return ExitStatus.from_wait(status)


def rfc3339(nanoseconds: int) -> str:
    """Return a time as RFC 3339 in UTC with nanoseconds, as engines parse it."""
    if not nanoseconds:
        return "0001-01-01T00:00:00Z"
    seconds, rest = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09}Z"
