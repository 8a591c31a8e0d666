"""Making a container from a checkpoint: `ContainerBuilder("id").with_…().as_restored(bundle, images).build()`.

What is to be made is decided here; criu/restore.py does it.
"""

from __future__ import annotations

import os

from libcontainer import state
from libcontainer.builder import InitContainerBuilder, Opened, resolve_rootfs
from libcontainer.container import Container
from libcontainer.conversation import Request
from libcontainer.criu import options, restore, service, spec
from libcontainer.errors import CheckpointError, InvalidArgument, SystemErrors, Unsupported
from libcontainer.host import Host
from libcontainer.plan.context import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

    from libcontainer.builder import ContainerBuilder, Path


class RestoredContainerBuilder:
    """Describes a container that is made from a checkpoint; `build` makes it, and it goes on where it was.

    The bundle is the one that it had: its configuration and its root file system are not in the checkpoint.
    Whoever wrote the images decides what runs, with which privileges: restore only what root has written.
    """

    def __init__(self, common: ContainerBuilder, bundle: Path, image_path: Path) -> None:
        self.common = common
        self.image_path = options.absolute("image_path", image_path)
        self.work_path: str | None = None
        self.flags: dict[str, bool] = {}
        self.manage_cgroups_mode = "soft"
        self.lsm_profile: str | None = None
        self.lsm_mount_context: str | None = None
        self.empty_ns: tuple[str, ...] = ()
        self._init = InitContainerBuilder(common, bundle)

    def with_bundle(self, bundle: Path) -> Self:
        """Use another bundle directory."""
        self._init.with_bundle(bundle)
        return self

    def with_config(self, path: Path | None) -> Self:
        """Read the configuration from `path` instead of the bundle's config.json."""
        self._init.with_config(path)
        return self

    def with_systemd(self, systemd: bool) -> Self:
        """Let systemd manage the cgroup (default: no)."""
        self._init.with_systemd(systemd)
        return self

    def with_detach(self, detach: bool) -> Self:
        """Say whether the caller will leave the container alone (default) or serve it in the foreground with
        `Container.run`.
        """
        self._init.with_detach(detach)
        return self

    def with_pidfd_socket(self, path: Path | None) -> Self:
        """Send a pidfd of the first process to the AF_UNIX socket at `path`."""
        self._init.with_pidfd_socket(path)
        return self

    def with_work_path(self, path: Path | None) -> Self:
        """Let CRIU write its log, restore.log, into this directory instead of that of the images."""
        self.work_path = None if path is None else options.absolute("work_path", path)
        return self

    def with_tcp_established(self, wished: bool) -> Self:
        """Restore TCP connections that were checkpointed with this option."""
        self.flags["tcp_established"] = wished
        return self

    def with_ext_unix_sk(self, wished: bool) -> Self:
        """Restore connections to UNIX sockets of the host that were checkpointed with this option."""
        self.flags["ext_unix_sk"] = wished
        return self

    def with_shell_job(self, wished: bool) -> Self:
        """Restore processes of a session outside of the container: they get this process's terminal."""
        self.flags["shell_job"] = wished
        return self

    def with_file_locks(self, wished: bool) -> Self:
        """Restore file locks that were checkpointed with this option."""
        self.flags["file_locks"] = wished
        return self

    def with_auto_dedup(self, wished: bool) -> Self:
        """Free the pages of the images as they are restored: the checkpoint is gone then."""
        self.flags["auto_dedup"] = wished
        return self

    def with_lazy_pages(self, wished: bool) -> Self:
        """Restore without memory, which comes when it is used: by a daemon, `criu lazy-pages`, in the work path."""
        self.flags["lazy_pages"] = wished
        return self

    def with_empty_ns(self, names: Sequence[str]) -> Self:
        """Make these namespaces without what was in them: `network`, for a hook to fill it again."""
        self.empty_ns = tuple(names)
        return self

    def with_manage_cgroups_mode(self, mode: str) -> Self:
        """Say what CRIU restores of the cgroups: soft (default), full, strict or ignore."""
        self.manage_cgroups_mode = mode
        return self

    def with_lsm_profile(self, profile: str | None) -> Self:
        """Restore with another profile of a security module: `apparmor:NAME` or `selinux:LABEL`."""
        self.lsm_profile = profile
        return self

    def with_lsm_mount_context(self, context: str | None) -> Self:
        """Mount the file systems that have one with another label of SELinux."""
        self.lsm_mount_context = context
        return self

    def build(self) -> Container:
        """Restore the container, which then runs.

        Raises InvalidConfig, InvalidArgument, AlreadyExists, CheckpointError, HookError, CgroupError,
        Unsupported. After an error nothing is left: no process, mount, cgroup, directory or pid file. (A cgroup
        that cannot be removed stays, as `InitContainerBuilder.build` says.)
        """
        from libcontainer.spec.load import load

        wishes = options.request(self.manage_cgroups_mode, self.empty_ns, **self.flags)
        wishes["lsm_profile"] = self.lsm_profile
        wishes["lsm_mount_context"] = self.lsm_mount_context
        if self.common.preserved_fds:
            raise InvalidArgument(
                "with_preserved_fds: a restored process has the descriptors that it had",
                remedy="leave it out",
            )
        config, raw = load(self._init.bundle, self._init.config)
        self._init._check_terminal(config)
        if not config.get("process"):
            raise Unsupported("a container without a process cannot be restored", pointer="/process")
        options.require_root()
        service.require(*(["lazy_pages"] if self.flags.get("lazy_pages") else []))
        images = restore.Images(self.image_path, self.work_path)
        images.check_owner(config)
        manager, resources = self._init._manager(config, Host())
        spec.check(config, manager)
        with SystemErrors(f"cannot restore container {self.common.container_id}", CheckpointError):
            return self._restore(config, raw, images, restore.Plan(manager, resources, wishes))

    def _restore(
        self, config: dict[str, Any], raw: bytes, images: restore.Images, plan: restore.Plan
    ) -> Container:
        common = self.common
        root = common.root_path or state.default_root()
        where = Options(
            container_id=common.container_id,
            bundle=os.path.realpath(self._init.bundle),
            rootfs=resolve_rootfs(self._init.bundle, config["root"]["path"]),
        )
        with Opened(common, root) as opened:
            request = Request(
                stdio=opened.streams.theirs,
                pid_file=common.pid_file,
                console_fd=opened.console,
                pidfd_socket=self._init.pidfd_socket,
            )
            work = restore.Restoration(opened.directory, config, raw, where, request, images, plan)
            work.run()
        container = Container(root, common.container_id, work.record, pidfd=work.pidfd, master=work.master)
        container._restored = True
        container.stdin, container.stdout, container.stderr = opened.streams.files()
        return container
