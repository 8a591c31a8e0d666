"""A handle on one container: its state, and the operations of the runtime-spec. runtime.md "Operations".

Nothing about the container is kept in this process that another one could not find out: any program may load
the container by its id. On the hot path.
"""

from __future__ import annotations

import _thread
import errno
import os

from libcontainer import state
from libcontainer.errors import (
    OF_DESCRIPTORS,
    CgroupError,
    Error,
    NotFound,
    StateError,
    SystemErrors,
)
from libcontainer.state import Directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Sequence
    from typing import IO, Any, Self

    from libcgroups.manager import Manager
    from libcgroups.stats import Stats
    from libcontainer.events import Events
    from libcontainer.exit_status import ExitStatus
    from libcontainer.process import Process
    from libcontainer.spawn import Stream


class Container:
    """One container below a root directory. Made by `ContainerBuilder`, or found by `Container.load` and
    `Container.list`.

    As a context manager it is deleted, by force, when the block is left. Methods that change something take
    the container's lock, so that two programs do not do it at once; they may be called from any thread. What
    runs out on the way, descriptors or room for the records, is an `Error` with its errno, too.
    """

    stdin: IO[bytes] | None = None
    stdout: IO[bytes] | None = None
    stderr: IO[bytes] | None = None
    _restored = False  # by this handle: it runs, and needs no start

    def __init__(
        self,
        root: str,
        container_id: str,
        record: dict[str, Any],
        *,
        text: bytes | None = None,
        pidfd: int = -1,
        master: int = -1,
    ) -> None:
        self.root = root
        self.id = container_id
        self.warnings: tuple[str, ...] = ()
        self._record = record
        self._text = text  # of the record, as it is on disk
        self._lock = _thread.allocate_lock()
        self._pidfd = pidfd
        self._master = master
        self._exit: ExitStatus | None = None
        self._spec: dict[str, Any] | None = None

    @classmethod
    def load(cls, root: str | os.PathLike[str] | None, container_id: str) -> Container:
        """Return the container of that id below `root`, None standing for the default root.

        Raises NotFound, InvalidArgument and StateError.
        """
        where = state.default_root() if root is None else os.path.abspath(os.fspath(root))
        with (
            SystemErrors(f"cannot load container {container_id}"),
            Directory.open(where, container_id) as directory,
        ):
            record = directory.read_record("state.json") or _record_of_intent(directory)
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
    def notify_socket(self) -> str | None:
        """The service manager's socket that is told when the payload is ready; None where there is none."""
        found = self._record.get("notifySocket")
        return None if found is None else str(found)

    @property
    def without_cgroup(self) -> str | None:
        """Why it has no cgroup, or not one of every kind: nothing is limited or measured there.

        None where it has all. Only an unprivileged user's container may do without, and only when its
        configuration asks for no limit.
        """
        found = (self._record.get("cgroup") or {}).get("reason")
        return None if found is None else str(found)

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations of its configuration."""
        return dict(self._record.get("annotations") or {})

    @property
    def status(self) -> str:
        """`creating`, `created`, `running`, `paused` or `stopped`, found out now.

        `unknown` for a record that cannot be read.
        """
        found = self._process_status()
        return "paused" if found in ("created", "running") and self._cgroup_is_frozen() else found

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
            "created": state.rfc3339(self.created),
            "owner": str(self.owner),
        }
        if self.annotations:
            result["annotations"] = self.annotations
        return result

    def spec(self) -> dict[str, Any]:
        """Return the configuration as it was when the container was created."""
        return self._read_spec()[0]

    def _stored_spec(self) -> dict[str, Any]:
        """Return the same without null members, read once: it never changes. Nobody may change this object."""
        if self._spec is None:
            self._spec, data = self._read_spec()
            if b"null" in data:
                from libcontainer.spec.load import drop_nulls

                drop_nulls(self._spec)
        return self._spec

    def _read_spec(self) -> tuple[dict[str, Any], bytes]:
        from libcontainer.strictjson import loads

        with self._directory() as directory:
            data = directory.read("config.json")
        if data is None and not ("startTime" in self._record or "unreadable" in self._record):
            raise StateError(f"container {self.id} is being created, or was never completely created")
        if data is None:
            raise state.not_found(self.id, self.root)
        value = loads(data, source=f"{self.root}/{self.id}/config.json")
        assert isinstance(value, dict)
        return value, data

    # Operations

    def start(self) -> None:
        """Execute the payload of a created container and run the poststart hooks.

        Raises StateError, ExecError, HookError, SetupError.
        """
        from libcontainer import release

        with SystemErrors(f"cannot start container {self.id}"):
            release.start(self)

    def kill(self, signal: int | str = "TERM", *, all: bool = False) -> None:  # noqa: A002  # as --all
        """Send a signal to the first process, or with `all` to every process of the container.

        SIGKILL reaches every process also where the container shares its pid namespace with others: no kernel
        ends them with the first one then. A paused container dies of SIGKILL; other signals wait until it is
        resumed. Signal 0 only looks whether it runs. With `all` a container without any process is no error.
        Raises StateError when the container does not run, InvalidArgument for an unknown signal, CgroupError
        with `all` and without a cgroup.
        """
        from libcontainer import kill

        kill.kill(self, signal, everyone=all)

    def pause(self) -> None:
        """Stop every process of a created or running container where it stands, until `resume`.

        Returns when all stand still. Raises StateError in any other state, CgroupError without a freezer.
        """
        from libcontainer.cgroup_errors import CgroupErrors

        with self._locked():
            self._require("pause", "created", "running")
            with CgroupErrors():
                self._manager().freeze()

    def resume(self) -> None:
        """Let the processes of a paused container go on. Raises StateError when it is not paused, CgroupError."""
        from libcontainer.cgroup_errors import CgroupErrors

        with self._locked():
            self._require("resume", "paused")
            with CgroupErrors():
                self._manager().thaw()

    def processes(self, *, all: bool = True) -> builtins.list[int]:  # noqa: A002  # as `kill` has it
        """Return the ids of its processes on the host, ascending; none when it has ended.

        Without `all` those are left out that the container has put into cgroups of its own below. Raises
        StateError for one that is being created, CgroupError where there is no cgroup to find them by.
        """
        from libcontainer.cgroup_errors import CgroupErrors

        self._require("list the processes of", "created", "running", "paused", "stopped")
        manager = self._manager()
        if not manager.cgroups:
            raise CgroupError(
                f"cannot list the processes of {self.id}: there is no cgroup to find them by ({manager.reason})",
                remedy="run it where a cgroup can be made (youki info tells)",
            )
        with CgroupErrors():
            return manager.processes(descendants=all)

    def stats(self) -> Stats:
        """Return what the container uses now, or has used when it has ended; see `libcgroups.stats`.

        A value that this host does not offer is None. Raises StateError for one that is being created,
        CgroupError where there is no cgroup to measure.
        """
        from libcontainer.cgroup_errors import CgroupErrors

        self._require("measure", "created", "running", "paused", "stopped")
        with CgroupErrors():
            return self._manager().stats()

    def events(self, interval: float = 5.0) -> Events:
        """Watch the container: return an iterator, for `for` and for `async for`, over its `Event`s.

        What it uses comes each `interval` seconds, and that it ran out of memory when that happens. The
        iteration ends with the container. Raises StateError when it does not run, InvalidArgument, CgroupError.
        """
        from libcontainer.events import Events

        self._require("watch", "created", "running", "paused")
        return Events(self, interval)

    def update(
        self,
        resources: dict[str, Any] | None = None,
        *,
        l3_cache_schema: str | None = None,
        mem_bw_schema: str | None = None,
    ) -> None:
        """Change limits of a created, running or paused container: all that are given, or on an error none.

        `resources` is the object `linux.resources` of the specification; what it does not give stays as it is.
        Device rules cannot be changed and are passed over. The schemata are those of `linux.intelRdt`. Raises
        InvalidConfig (every problem at once), StateError, CgroupError, RdtError, Unsupported.
        """
        from libcontainer import limits

        with SystemErrors(f"cannot update container {self.id}"), self._locked() as directory:
            self._require("update", "created", "running", "paused")
            limits.update(
                self, directory, {} if resources is None else resources, l3_cache_schema, mem_bw_schema
            )

    def checkpoint(self, image_path: str | os.PathLike[str], **options: Any) -> None:
        """Write the processes with all of their memory to the directory `image_path`, by CRIU, and delete the
        container. `ContainerBuilder.as_restored` makes one of it again.

        With `leave_running` it goes on instead. With `pre_dump` only memory is written, and it goes on: a later
        checkpoint writes what has changed since, when `parent_path` leads there from its own image path. The log
        is in `work_path` (default: the image path). Memory goes to the `page_server` (ADDRESS:PORT); with
        `lazy_pages` it is given away there, and the call waits until somebody has fetched all of it; `status_fd` gets
        a NUL when it can be. Of `empty_ns` (network) only the namespace itself is kept. `manage_cgroups_mode`
        (soft, full, strict, ignore) and the flags `tcp_established`, `tcp_skip_in_flight`, `ext_unix_sk`,
        `shell_job`, `file_locks`, `link_remap`, `auto_dedup` are CRIU's. Raises InvalidArgument, StateError
        unless it runs or is paused, Unsupported, CheckpointError.
        """
        from libcontainer.criu import checkpoint

        wishes = checkpoint.Wishes(image_path, **options)
        with self._locked() as directory:
            self._require("checkpoint", "running", "paused")
            checkpoint.checkpoint(self, directory, wishes)

    def wait(self, timeout: float | None = None) -> ExitStatus:
        """Wait until the first process has ended and return how. `timeout` in seconds bounds the whole call;
        None waits for ever.

        May be repeated, and called for a container of another program: then the status is known from Linux
        6.15 on, and None in both fields before. Sends no signal. Raises Timeout (the container goes on),
        StateError for one that is being created.
        """
        if self._exit is None:
            from libcontainer import exit_status

            self._exit = exit_status.await_container(self, timeout)
        return self._exit

    def delete(self, *, force: bool = False) -> None:
        """Remove a stopped or created container: its processes, cgroup and records; then run the poststop
        hooks.

        With `force` a running container is killed first, what an interrupted create left over is removed too,
        and an unknown id is no error. Poststop hooks that fail are told in `warnings`. Raises NotFound,
        StateError, CgroupError, RdtError and Timeout.
        """
        try:
            directory = self._directory()
        except NotFound:
            if force:
                return
            raise
        from libcontainer import deletion

        with directory, SystemErrors(f"cannot delete container {self.id}"):
            directory.lock()
            self._reread(directory)
            deletion.delete(self, directory, force=force)

    def run(self) -> ExitStatus:
        """Start the container (unless it has been restored), serve it in the foreground until it ends, and
        return how it ended.

        Signals that this process gets are forwarded; a terminal of the container is connected to this
        process's own. Only in the main thread: signal handlers are a matter of the process. Does not delete.
        """
        from libcontainer import foreground

        foreground.run(self)
        return self.wait()

    def exec(
        self,
        args: Sequence[str] = (),
        *,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        **options: Any,
    ) -> Process:
        """Start one more process in the running container: a tenant. Return its handle.

        `stdin`, `stdout` and `stderr` are as in subprocess (PIPE, DEVNULL, a descriptor or a file; None: this
        process's own). Each keyword argument is a `with_` method of TenantContainerBuilder: `env=…`, `user=…`,
        `cwd=…`, `process=…`. Raises what `TenantContainerBuilder.build` raises.
        """
        from libcontainer.tenant import short_form

        return short_form(self, args, (stdin, stdout, stderr), options).build()

    # Parts of them

    def _process_status(self) -> str:
        """Return the status as far as the first process knows it: paused, it is created or running."""
        record = self._record
        if record.get("unreadable"):
            return "unknown"
        if "startTime" not in record:
            return "creating"
        with SystemErrors(f"cannot find out the status of container {self.id}"):
            if self._exit is not None or not state.is_alive(record):
                return "stopped"
            return "created" if self._awaits_start() else "running"

    def _directory(self) -> Directory:
        with SystemErrors(f"cannot open the records of container {self.id}"):
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
        text = directory.read("state.json")
        if text is None:
            self._record = _record_of_intent(directory)
        elif text != self._text:
            self._record = directory.parse_record("state.json", text)
        self._text = text

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

    def _require(self, verb: str, *statuses: str) -> None:
        status = self.status
        if status not in statuses:
            reason = "container not running" if status == "stopped" else f"the container is {status}"
            raise StateError(f"cannot {verb} {self.id}: {reason}", remedy=f"youki state {self.id}")

    def _cgroup_is_frozen(self, manager: Manager | None = None) -> bool:
        from libcgroups.errors import Error as CgroupFailure

        try:
            return (manager or self._manager()).frozen()
        except CgroupFailure as error:
            if error.errno in OF_DESCRIPTORS:
                from libcontainer.cgroup_errors import cgroup_error

                raise cgroup_error(error) from error
            return False

    def _open_pidfd(self) -> int:
        """Return a pidfd that is certainly of our process: opened first, then the start time compared.

        Raises StateError.
        """
        if self._pidfd >= 0:
            return self._pidfd
        record = self._record
        if not record.get("pid"):
            raise StateError(f"container {self.id} is being created")
        with SystemErrors(f"cannot open the process of container {self.id}"):
            pidfd = self._open_recorded(record)
        with self._lock:  # another thread may have been as far
            if self._pidfd >= 0:
                os.close(pidfd)
            else:
                self._pidfd = pidfd
            return self._pidfd

    def _open_recorded(self, record: dict[str, Any]) -> int:
        try:
            pidfd = os.pidfd_open(record["pid"])
        except OSError as error:
            if error.errno in (errno.ESRCH, errno.EINVAL):
                raise StateError(f"container {self.id} is not running") from None
            raise
        try:
            if state.process_state(record) is None:
                raise StateError(f"container {self.id} is not running")
        except BaseException:
            os.close(pidfd)
            raise
        return pidfd


def _record_of_intent(directory: Directory) -> dict[str, Any]:
    """Return what is known of a container that is being created, or whose create was interrupted."""
    intent = directory.read_record("intent.json") or {}
    # Between our first look and this one the creation may have been finished.
    known = {name: intent.get(name) for name in ("cgroup", "rdt")}
    return directory.read_record("state.json") or known
