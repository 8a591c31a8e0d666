"""youki checkpoint CONTAINER: write a running container to files, by CRIU, and delete it, or let it go on."""

from __future__ import annotations

from libcontainer.container import Container
from youki import log
from youki.settings import state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, settings: Arguments) -> None:
    container = Container.load(state_root(settings), args.id)
    container.checkpoint(
        args.image_path,
        work_path=args.work_path,
        parent_path=args.parent_path,
        pre_dump=args.pre_dump,
        leave_running=args.leave_running,
        tcp_established=args.tcp_established,
        tcp_skip_in_flight=args.tcp_skip_in_flight,
        ext_unix_sk=args.ext_unix_sk,
        shell_job=args.shell_job,
        file_locks=args.file_locks,
        link_remap=args.link_remap,
        auto_dedup=args.auto_dedup,
        lazy_pages=args.lazy_pages,
        page_server=args.page_server,
        status_fd=args.status_fd,
        empty_ns=args.empty_ns,
        manage_cgroups_mode=args.manage_cgroups_mode,
    )
    for warning in container.warnings:
        log.warning(warning)
