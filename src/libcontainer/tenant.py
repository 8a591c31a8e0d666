"""Tenants: another process in a running container. `ContainerBuilder("id").as_tenant().with_…().build()`.

A tenant starts from the process that the container was created with, and with all that this had to obey:
namespaces, cgroups, capabilities, labels, filters, limits. On the hot path.
"""

from __future__ import annotations

import os

import libcgroups.errors
from libcontainer.cgroup_errors import CgroupErrors
from libcontainer.container import Container
from libcontainer.conversation import Request
from libcontainer.errors import CgroupError, Error, InvalidArgument, SetupError, StateError, SystemErrors
from libcontainer.host import Host
from libcontainer.namespaces import may_join_itself
from libcontainer.plan.compile_tenant import compile_tenant
from libcontainer.plan.context import Options
from libcontainer.spawn import Streams
from libcontainer.spec.overlay import SOURCE, overlay
from libcontainer.supervise_tenant import TenantCreation
from libcontainer.target import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Self

    from libcgroups.manager import Manager
    from libcontainer.builder import ContainerBuilder, Path
    from libcontainer.exit_status import ExitStatus
    from libcontainer.process import Process
    from libcontainer.spawn import Stream

_REASONS = {
    "creating": " that is being created",
    "created": " that has not been started",
    "stopped": "",
    "unknown": " whose record cannot be read",
}


class TenantContainerBuilder:
    """Describes one more process of a running container; `build` starts it.

    What is not said is as the container's own process has it. Every `with_` method returns the builder itself.
    """

    def __init__(self, common: ContainerBuilder, container: Container | None = None) -> None:
        """Go on from the settings in `common`; `container` saves looking it up by its id."""
        self.common = common
        self.container = container
        self.process: dict[str, Any] | str | None = None
        self.asked: dict[str, Any] = {}
        self.detach = False
        self.ignore_paused = False
        self.sibling = False
        self.sub_cgroups: tuple[str, ...] = ()
        self.pidfd_socket: str | None = None

    # The process

    def with_container_args(self, args: Sequence[str]) -> Self:
        """Execute this program with these arguments; required, unless `with_process` says it."""
        self.asked["args"] = list(args)
        return self

    def with_process(self, process: dict[str, Any] | Path | None) -> Self:
        """Take all of the process from a process object of the runtime-spec, or from a file that holds one.

        It wins: nothing is taken from the container's own process then, nor from the methods that change
        parts of it (arguments, environment, directory, user, groups, capabilities, no_new_privs, labels,
        terminal). A file is read, and the object copied, by `build`.
        """
        is_path = isinstance(process, (str, bytes, os.PathLike))
        self.process = os.path.abspath(os.fsdecode(process)) if is_path else process  # type: ignore[arg-type,assignment]
        return self

    def with_env(self, env: Mapping[str, str] | Iterable[str]) -> Self:
        """Add these variables, as a mapping or as `NAME=value` strings; they win over the container's."""
        items = [f"{name}={value}" for name, value in env.items()] if hasattr(env, "items") else list(env)
        self.asked["env"] = items
        return self

    def with_cwd(self, cwd: Path | None) -> Self:
        """Start in this directory of the container, an absolute path. It must exist."""
        return self._ask("cwd", None if cwd is None else os.fspath(cwd))

    def with_user(self, uid: int | None) -> Self:
        """Run as this user of the container. The groups stay as they are: see `with_group`."""
        return self._ask_user("uid", uid)

    def with_group(self, gid: int | None) -> Self:
        """Run with this primary group of the container."""
        return self._ask_user("gid", gid)

    def with_additional_gids(self, gids: Iterable[int]) -> Self:
        """Add these supplementary groups to the container's."""
        return self._ask_user("additionalGids", list(gids))

    def with_capabilities(self, capabilities: Iterable[str]) -> Self:
        """Add these capabilities (`CAP_NET_RAW`) to what the process may use; never to the inheritable set."""
        self.asked["capabilities"] = list(capabilities)
        return self

    def with_no_new_privs(self, no_new_privs: bool | None) -> Self:
        """Say whether execve(2) can never give privileges that the process does not have."""
        return self._ask("noNewPrivileges", no_new_privs)

    def with_apparmor(self, profile: str | None) -> Self:
        """Confine the process by this AppArmor profile."""
        return self._ask("apparmorProfile", profile)

    def with_process_label(self, label: str | None) -> Self:
        """Give the process this SELinux label."""
        return self._ask("selinuxLabel", label)

    def with_terminal(self, terminal: bool) -> Self:
        """Say whether the process gets a terminal (default: no, whatever the container's own process has)."""
        self.asked["terminal"] = terminal
        return self

    # How it is started

    def with_detach(self, detach: bool) -> Self:
        """Say whether the caller will leave the process alone. Its terminal then needs a console socket."""
        self.detach = detach
        return self

    def with_ignore_paused(self, ignore_paused: bool) -> Self:
        """Start in a paused container, too: the process, and so `build`, goes on when that is resumed."""
        self.ignore_paused = ignore_paused
        return self

    def with_sub_cgroup(self, path: str | Iterable[str] | None) -> Self:
        """Start in this cgroup below the container's, which must exist.

        Where each controller has its own hierarchy (cgroup v1), `controller[,controller]:path` is for one of
        them; several are given as a list. A cgroup of its own is the way to end a tenant with all it started.
        """
        self.sub_cgroups = () if path is None else (path,) if isinstance(path, str) else tuple(path)
        return self

    def with_pidfd_socket(self, path: Path | None) -> Self:
        """Send a pidfd of the process to the AF_UNIX socket at `path`."""
        self.pidfd_socket = None if path is None else os.path.abspath(os.fspath(path))
        return self

    def as_sibling(self, sibling: bool = True) -> Self:
        """Make the process a child of this process's parent, which must be a child subreaper, instead of ours."""
        self.sibling = sibling
        return self

    def build(self) -> Process:
        """Start the process; when this returns, it has executed its program.

        Raises InvalidConfig (every problem at once), InvalidArgument, NotFound, StateError, SetupError,
        ExecError, CgroupError, Unsupported. After an error nothing is left: no process, no pid file.
        """
        with _ProcessErrors(self._source), self._system_errors(), _Start(self) as start:
            start.creation.run()
            return start.process()

    def run(self) -> ExitStatus:
        """Start the process, serve it in the foreground until it ends, and return how it ended.

        Signals that this process gets are forwarded; a terminal of the tenant is connected to this process's
        own. Only in the main thread: signal handlers are a matter of the process.
        """
        from libcontainer.exit_status import await_exit, exit_status
        from libcontainer.foreground import serve

        with _ProcessErrors(self._source):
            with self._system_errors(), _Start(self) as start:
                creation = start.creation
                creation.prepare()
            try:
                serve(creation.pidfd, creation.master, creation.release, keep_size=creation.has_console_size)
                await_exit(creation.pidfd, None, "the tenant")
                return exit_status(creation.pidfd)
            except BaseException as error:
                creation.abort(error)
                raise
            finally:
                creation.close()

    def explain(self) -> list[str]:
        """Return what `build` would do, one operation per line, as `youki explain` prints it; nothing is started.

        Raises as `build` does for what is known before the start.
        """
        from libcontainer.plan.explain import describe

        with _ProcessErrors(self._source), _Start(self) as start:
            return describe(start.creation.plan)

    @property
    def _source(self) -> str:
        """What the process object is called in errors."""
        return self.process if isinstance(self.process, str) else SOURCE

    def _ask(self, member: str, value: object) -> Self:
        """Ask for a member of the process; None takes that back."""
        if value is None:
            self.asked.pop(member, None)
        else:
            self.asked[member] = value
        return self

    def _system_errors(self) -> SystemErrors:
        return SystemErrors(f"cannot start a process in container {self.common.container_id}", SetupError)

    def _ask_user(self, member: str, value: object) -> Self:
        user = self.asked.setdefault("user", {})
        user.pop(member, None)
        if value is not None:
            user[member] = value
        return self


def short_form(
    container: Container, args: Sequence[str], streams: Sequence[Stream], options: dict[str, Any]
) -> TenantContainerBuilder:
    """Return the builder that `Container.exec` stands for. Raises InvalidArgument for an unknown option."""
    from libcontainer.builder import ContainerBuilder

    common = ContainerBuilder(container.id)
    common.streams = list(streams)
    tenant = TenantContainerBuilder(common, container)
    if args:
        tenant.with_container_args(args)
    for name, value in options.items():
        owner = next((each for each in (tenant, common) if hasattr(each, f"with_{name}")), None)
        if owner is None or name.startswith("std"):
            raise InvalidArgument(
                f"exec: no option {name!r}", remedy="see the with_ methods of TenantContainerBuilder"
            )
        getattr(owner, f"with_{name}")(value)
    return tenant


class _ProcessErrors:
    """A block whose errors name a place in the process object, as the caller knows it, not in config.json."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        stored = "config.json /process"
        if isinstance(error, Error) and error.message.startswith(f"{stored}/") and error.pointer:
            error.message = f"{self.source} {error.message.removeprefix(stored)}"
            error.args = (error.message,)
            error.pointer = error.pointer.removeprefix("/process")


class _Start:
    """One start of a tenant: what is open for it, from the look at the container to the handle on the process."""

    def __init__(self, builder: TenantContainerBuilder) -> None:
        common = builder.common
        container = builder.container or Container.load(common.root_path, common.container_id)
        self.container = container
        self.close_container = builder.container is None
        self.streams = Streams(common.streams)
        self.console = -1
        self.target: Target | None = None
        try:
            self._prepare(builder)
        except BaseException:
            self.__exit__(StateError)
            raise

    def _prepare(self, builder: TenantContainerBuilder) -> None:
        container, common = self.container, builder.common
        manager = _running_in(container, builder.ignore_paused)
        spec = container._stored_spec()
        spec = {**spec, "process": _process(builder, spec)}
        self._connect_console(builder, spec)
        self.target = Target(container._record, container._open_pidfd())
        host = Host()
        seccomp = (spec.get("linux") or {}).get("seccomp")
        if seccomp:
            from libcontainer.seccomp import prepare

            prepare(seccomp, host, container.root)
        options = Options(
            container_id=container.id,
            no_new_keyring=bool(container._record.get("noNewKeyring")),
            as_sibling=builder.sibling,
            preserve_fds=common.preserved_fds,
            cgroup_mode=manager.mode,
            cgroups=_cgroups(manager, self.target.pid, builder.sub_cgroups),
            self_join=may_join_itself(spec, host),
        )
        plan = compile_tenant(spec, host, options, self.target.namespaces())
        request = Request(
            stdio=self.streams.theirs,
            pid_file=common.pid_file,
            console_fd=self.console,
            pidfd_socket=builder.pidfd_socket,
            rdt=_class_of_service(container),
        )
        self.creation = TenantCreation(
            spec, plan, manager, self.target, container._hook_state, host, options, request
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.streams.close_ours()
        self.streams.close_theirs()
        if self.console >= 0:
            os.close(self.console)
        if self.target is not None:
            self.target.__exit__()
        if self.close_container:
            self.container.close()

    def process(self) -> Process:
        """Return the handle on what has been started."""
        from libcontainer.process import Process

        creation = self.creation
        return Process(
            self.container.id,
            creation.pid,
            creation.pidfd,
            streams=self.streams.files(),
            terminal=None if creation.master < 0 else os.fdopen(creation.master, "r+b", 0),
            is_child=not creation.options.as_sibling,
            has_console_size=creation.has_console_size,
            warnings=creation.plan.warnings,
        )

    def _connect_console(self, builder: TenantContainerBuilder, spec: dict[str, Any]) -> None:
        path = builder.common.console_socket
        terminal = bool(spec["process"].get("terminal"))
        if terminal or path is not None:
            from libcontainer.console import check_terminal, connect

            check_terminal(terminal, builder.detach, path)
            if path is not None:
                self.console = connect(path)


def _running_in(container: Container, ignore_paused: bool) -> Manager:
    """Return the manager of the container's cgroup. Raises StateError where no process can be started in it."""
    status = container._process_status()
    if status != "running":
        words = "cannot exec in a stopped container" if status == "stopped" else "cannot exec in a container"
        raise StateError(
            f"{words}{_REASONS[status]}: {container.id}",
            step="exec",
            remedy=f"youki state {container.id}",
        )
    manager = container._manager()
    if not ignore_paused and container._cgroup_is_frozen(manager):
        raise StateError(
            f"cannot exec in a paused container (use --ignore-paused to override): {container.id}",
            step="exec",
            remedy="resume it, or let the process wait for that",
        )
    return manager


def _process(builder: TenantContainerBuilder, spec: dict[str, Any]) -> dict[str, Any]:
    """Return the process object of the tenant, checked. Raises InvalidConfig and InvalidArgument."""
    given = builder.process
    if given is None:
        stored = spec.get("process")
        if not stored:
            raise StateError("the container has no process to start from", pointer="/process", step="exec")
        return overlay(stored, builder.asked)
    from libcontainer.spec import load

    return load.load_process(given) if isinstance(given, str) else load.copy_process(given)


def _cgroups(manager: Manager, pid: int, below: Sequence[str]) -> Sequence[Any]:
    from libcgroups.entrance import entrance

    try:
        with CgroupErrors():
            return entrance(manager, pid, below)
    except CgroupError as error:
        # A path that is none is the caller's argument, not the state of a cgroup.
        if isinstance(error.__cause__, libcgroups.errors.InvalidArgument):
            raise InvalidArgument(error.message, step="cgroup", remedy=error.remedy) from error
        raise


def _class_of_service(container: Container) -> Any:
    record = container._record.get("rdt")
    if record is None:
        return None
    from libcontainer import rdt

    return rdt.Group.from_state(record)
