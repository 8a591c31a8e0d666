"""youki restore CONTAINER: make a container from a checkpoint; in the foreground the exit code is the container's."""

from __future__ import annotations

from libcontainer.builder import ContainerBuilder
from youki.commands.run import delete
from youki.settings import state_root, systemd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, settings: Arguments) -> int:
    container = (
        ContainerBuilder(args.id)
        .with_root_path(state_root(settings))
        .with_pid_file(args.pid_file)
        .with_console_socket(args.console_socket)
        .as_restored(args.bundle, args.image_path)
        .with_work_path(args.work_path)
        .with_systemd(systemd(settings))
        .with_detach(args.detach)
        .with_tcp_established(args.tcp_established)
        .with_ext_unix_sk(args.ext_unix_sk)
        .with_shell_job(args.shell_job)
        .with_file_locks(args.file_locks)
        .with_auto_dedup(args.auto_dedup)
        .with_lazy_pages(args.lazy_pages)
        .with_empty_ns(args.empty_ns)
        .with_manage_cgroups_mode(args.manage_cgroups_mode)
        .with_lsm_profile(args.lsm_profile)
        .with_lsm_mount_context(args.lsm_mount_context)
        .build()
    )
    if args.detach:
        return 0
    code = container.run().returncode
    delete(container)
    return 1 if code is None else code  # None: somebody else has waited for our child
