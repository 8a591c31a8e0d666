"""Making containers: `ContainerBuilder("id").with_…().as_init(bundle).with_…().build()`.

The names are those of youki's libcontainer; arguments of the `with_` methods may be paths of any kind. On the
hot path: what only an init container needs is imported when one is made, a tenant goes without (tenant.py).
"""

from __future__ import annotations

import os

from libcontainer import state
from libcontainer.cgroup_errors import CgroupErrors
from libcontainer.container import Container
from libcontainer.conversation import Request
from libcontainer.errors import InvalidArgument, InvalidConfig, Problem, SetupError, SystemErrors
from libcontainer.host import Host
from libcontainer.namespaces import may_join_itself
from libcontainer.plan.context import Options
from libcontainer.spawn import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from libcgroups.manager import Manager
    from libcontainer import rdt
    from libcontainer.restored import RestoredContainerBuilder
    from libcontainer.spawn import Stream
    from libcontainer.tenant import TenantContainerBuilder

    Path = str | os.PathLike[str]


class ContainerBuilder:
    """Describes a container to be made, whatever its kind; `as_init` goes on with a first process, `as_restored`
    with that of a checkpoint, `as_tenant` with one more process of a running container.

    Every `with_` method returns the builder itself. Raises InvalidArgument for an id that is not acceptable.
    """

    def __init__(self, container_id: str) -> None:
        self.container_id = state.validate_id(container_id)
        self.root_path: str | None = None
        self.pid_file: str | None = None
        self.console_socket: str | None = None
        self.preserved_fds = 0
        self.streams: list[Stream] = [None, None, None]

    def with_root_path(self, path: Path | None) -> Self:
        """Keep the records below `path`; None stands for /run/youki, or the user's runtime directory."""
        self.root_path = None if path is None else os.path.abspath(os.fspath(path))
        return self

    def with_pid_file(self, path: Path | None) -> Self:
        """Write the number of the payload's process to `path` before it is executed; a failure to do so is an error."""
        self.pid_file = None if path is None else os.path.abspath(os.fspath(path))
        return self

    def with_console_socket(self, path: Path | None) -> Self:
        """Send the master of the terminal to the AF_UNIX socket at `path` (for `process.terminal` in a
        detached container).
        """
        self.console_socket = None if path is None else os.path.abspath(os.fspath(path))
        return self

    def with_preserved_fds(self, count: int) -> Self:
        """Pass the descriptors 3 to 2+`count` of this process on to the payload."""
        if type(count) is not int or not 0 <= count <= 1 << 16:
            raise InvalidArgument(f"with_preserved_fds: {count!r} is not a number of descriptors")
        self.preserved_fds = count
        return self

    def with_stdin(self, stream: Stream) -> Self:
        """Use `stream` as standard input: a descriptor, a file, PIPE, DEVNULL, or None for this process's own."""
        self.streams[0] = stream
        return self

    def with_stdout(self, stream: Stream) -> Self:
        """Use `stream` as standard output, as `with_stdin` says."""
        self.streams[1] = stream
        return self

    def with_stderr(self, stream: Stream) -> Self:
        """Use `stream` as standard error, as `with_stdin` says."""
        self.streams[2] = stream
        return self

    def as_init(self, bundle: Path) -> InitContainerBuilder:
        """Go on with the first process of a new container, described by the bundle directory."""
        return InitContainerBuilder(self, bundle)

    def as_restored(self, bundle: Path, image_path: Path) -> RestoredContainerBuilder:
        """Go on with a container that was checkpointed to `image_path`, with the bundle that it had."""
        from libcontainer.restored import RestoredContainerBuilder

        return RestoredContainerBuilder(self, bundle, image_path)

    def as_tenant(self) -> TenantContainerBuilder:
        """Go on with one more process of the running container of this id."""
        from libcontainer.tenant import TenantContainerBuilder

        return TenantContainerBuilder(self)


class InitContainerBuilder:
    """Describes the first process of a new container; `build` makes it."""

    def __init__(self, common: ContainerBuilder, bundle: Path) -> None:
        self.common = common
        self.bundle = os.path.abspath(os.fspath(bundle))
        self.config: str | None = None
        self.systemd = False
        self.detach = True
        self.no_pivot = False
        self.no_new_keyring = False
        self.sibling = False
        self.rootless: bool | None = None
        self.pidfd_socket: str | None = None
        self.notify_socket: str | None = None

    def with_bundle(self, bundle: Path) -> Self:
        """Use another bundle directory."""
        self.bundle = os.path.abspath(os.fspath(bundle))
        return self

    def with_config(self, path: Path | None) -> Self:
        """Read the configuration from `path` instead of the bundle's config.json."""
        self.config = None if path is None else os.path.abspath(os.fspath(path))
        return self

    def with_systemd(self, systemd: bool) -> Self:
        """Let systemd manage the cgroup (default: no)."""
        self.systemd = systemd
        return self

    def with_detach(self, detach: bool) -> Self:
        """Say whether the caller will leave the container alone (default) or serve it in the foreground with
        `Container.run`.
        """
        self.detach = detach
        return self

    def with_no_pivot(self, no_pivot: bool) -> Self:
        """Move the root instead of pivot_root(2), for an initramfs. Weaker: only where pivot_root cannot be used."""
        self.no_pivot = no_pivot
        return self

    def with_no_new_keyring(self, no_new_keyring: bool) -> Self:
        """Leave the caller's session keyring in place: its keys are then in reach of the container."""
        self.no_new_keyring = no_new_keyring
        return self

    def with_pidfd_socket(self, path: Path | None) -> Self:
        """Send a pidfd of the first process to the AF_UNIX socket at `path`."""
        self.pidfd_socket = None if path is None else os.path.abspath(os.fspath(path))
        return self

    def with_notify_socket(self, address: str | None) -> Self:
        """Let the payload tell the service manager at `address` (its NOTIFY_SOCKET) that it is ready.

        It gets a socket of its own; `libcontainer.notify_socket` serves that from the start on.
        """
        self.notify_socket = address or None
        return self

    def with_rootless(self, rootless: bool | None) -> Self:
        """Say whether a cgroup that may not be made is no error.

        With None, the default, it is none where neither a path nor a limit is asked for.
        """
        self.rootless = rootless
        return self

    def as_sibling(self, sibling: bool = True) -> Self:
        """Make the first process a child of this process's parent, which must be a child subreaper, instead
        of ours.
        """
        self.sibling = sibling
        return self

    def build(self) -> Container:
        """Make the container: namespaces, root file system and cgroup exist, hooks have run, the payload
        waits for `start`.

        Raises InvalidConfig (every problem at once), InvalidArgument, AlreadyExists, SetupError, ExecError,
        HookError, CgroupError, RdtError, Unsupported. After an error nothing is left: no process, mount, cgroup,
        directory or pid file. (A cgroup or class of service that cannot be removed stays, with a record for
        `delete`; the error has a note of it.)
        """
        from libcontainer.spec.load import load_shared

        spec, raw = load_shared(self.bundle, self.config)
        self._check_terminal(spec)
        with SystemErrors(f"cannot create container {self.common.container_id}", SetupError):
            return self._create(spec, raw, Host())

    def _check_terminal(self, spec: dict[str, Any]) -> None:
        terminal = bool((spec.get("process") or {}).get("terminal"))
        if terminal or self.common.console_socket is not None:
            from libcontainer.console import check_terminal

            check_terminal(terminal, self.detach, self.common.console_socket)

    def _create(self, spec: dict[str, Any], raw: bytes, host: Host) -> Container:
        from libcontainer.plan.compile import compile_init
        from libcontainer.supervise import Creation

        common = self.common
        root = common.root_path or state.default_root()
        manager, resources = self._manager(spec, host)
        options = self._options(spec, manager, resources, host)
        seccomp = (spec.get("linux") or {}).get("seccomp")
        if seccomp:
            from libcontainer.seccomp import prepare

            prepare(seccomp, host, root)
        plan = compile_init(spec, host, options, raw)
        group = self._class_of_service(spec, host)
        with Opened(common, root) as opened:
            request = Request(
                stdio=opened.streams.theirs,
                pid_file=common.pid_file,
                console_fd=opened.console,
                pidfd_socket=self.pidfd_socket,
                resources=resources,
                rdt=group,
                notify_socket=self.notify_socket,
            )
            creation = Creation(opened.directory, spec, raw, plan, manager, host, options, request)
            creation.run()
        container = Container(
            root,
            common.container_id,
            creation.record,
            text=creation.text,
            pidfd=creation.pidfd,
            master=creation.master,
        )
        container.stdin, container.stdout, container.stderr = opened.streams.files()
        container.warnings = creation.plan.warnings
        return container

    def _manager(self, spec: dict[str, Any], host: Host) -> tuple[Manager, dict[str, Any] | None]:
        """Return the cgroup manager and the limits that it will apply, checked before anything is made."""
        from libcgroups import factory
        from libcontainer.devices import resources_with_rules

        path = (spec.get("linux") or {}).get("cgroupsPath") or None
        with CgroupErrors("/annotations", place=path and "/linux/cgroupsPath"):
            found = factory.new(
                path,
                container_id=self.common.container_id,
                driver="systemd" if self.systemd else "cgroupfs",
                annotations=spec.get("annotations"),
            )
        with CgroupErrors():
            if self.rootless is not None:
                found.optional = self.rootless
            resources = resources_with_rules(
                (spec.get("linux") or {}).get("resources"), enforceable=enforces_devices(host, found)
            )
            found.check(resources)
        return found, resources

    def _class_of_service(self, spec: dict[str, Any], host: Host) -> rdt.Group | None:
        config = (spec.get("linux") or {}).get("intelRdt")
        if config is None:
            return None
        from libcontainer import rdt

        return rdt.plan(config, self.common.container_id, host.mounts)

    def _notify_directory(self, spec: dict[str, Any]) -> str | None:
        """Return where the notify socket will be: only a container with mounts of its own has one."""
        namespaces = (spec.get("linux") or {}).get("namespaces") or ()
        if self.notify_socket is None or not any([item["type"] == "mount" for item in namespaces]):
            return None
        root = self.common.root_path or state.default_root()
        return f"{root}/{self.common.container_id}/notify"

    def _options(
        self, spec: dict[str, Any], manager: Manager, resources: dict[str, Any] | None, host: Host
    ) -> Options:
        # A scope of systemd does not exist before it is started with its first process.
        self_join = not self.systemd and may_join_itself(spec, host)
        return Options(
            container_id=self.common.container_id,
            bundle=os.path.realpath(self.bundle),
            rootfs=resolve_rootfs(self.bundle, spec["root"]["path"]),
            no_pivot=self.no_pivot,
            no_new_keyring=self.no_new_keyring,
            as_sibling=self.sibling,
            preserve_fds=self.common.preserved_fds,
            listen_fds=listen_fds(),
            cgroup_mode=manager.mode,
            cgroups=manager.cgroups,
            self_join=self_join,
            device_program=manager.device_program(resources) if self_join else b"",
            notify_directory=self._notify_directory(spec),
        )


class Opened:
    """What is open while a container is made: its standard streams, its directory below `root`, the console socket.

    A context manager that closes it, after a failure our ends of the streams, too.
    """

    def __init__(self, common: ContainerBuilder, root: str) -> None:
        self.streams = Streams(common.streams)
        try:
            self.directory = state.Directory.create(root, common.container_id)
            try:
                self.console = _connect_console(common.console_socket)
            except BaseException:
                self.directory.remove()
                raise
        except BaseException:
            self.streams.close_ours()
            self.streams.close_theirs()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.streams.close_ours()
        self.directory.close()
        self.streams.close_theirs()
        if self.console >= 0:
            os.close(self.console)


def _connect_console(path: str | None) -> int:
    if path is None:
        return -1
    from libcontainer.console import connect

    return connect(path)


def resolve_rootfs(bundle: str, path: str) -> str:
    """Return the absolute root file system, with symbolic links resolved once and for all.

    Raises InvalidConfig.
    """
    rootfs = os.path.realpath(os.path.join(bundle, path))
    try:
        os.stat(f"{rootfs}/.")
    except OSError as error:
        found = f"{path!r} ({rootfs}: {error.strerror})"
        raise InvalidConfig(
            "config.json", [Problem("/root/path", found, "a directory that this user may enter")]
        ) from None
    if rootfs == "/":
        raise InvalidConfig(
            "config.json", [Problem("/root/path", f"{path!r}, the host's own root", "a directory of its own")]
        )
    return rootfs


def enforces_devices(host: Host, manager: Manager) -> bool:
    """Tell whether device rules are enforced.

    The devices controller of v1 does it, or on v2 a program that only root may load.
    """
    return (
        host.privileged
        and not host.in_user_namespace
        and ("devices" in manager.paths or manager.mode == "v2")
    )


def listen_fds() -> int:
    """Return how many descriptors our caller passes on by the LISTEN_FDS protocol (sd_listen_fds(3)); 0 without it."""
    value = os.environ.get("LISTEN_FDS", "")
    return int(value) if value.isascii() and value.isdigit() else 0
