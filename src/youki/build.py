"""From the options of `create` and `run` to a container.

On the hot path: imports the library's builder only.
"""

from __future__ import annotations

import os

from libcontainer.builder import ContainerBuilder
from youki import log
from youki.settings import state_root, systemd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.container import Container
    from youki.parser import Arguments


def build(args: Arguments, settings: Arguments, detach: bool) -> Container:
    """Create the container that the command line describes; raises what the library raises."""
    builder = (
        ContainerBuilder(args.id)
        .with_root_path(state_root(settings))
        .with_pid_file(args.pid_file)
        .with_console_socket(args.console_socket)
        .with_preserved_fds(args.preserve_fds)
        .as_init(args.bundle)
        .with_systemd(systemd(settings))
        .with_detach(detach)
        .with_no_pivot(args.no_pivot)
        .with_no_new_keyring(args.no_new_keyring)
        .with_config(args.config)
        .with_pidfd_socket(args.pidfd_socket)
        .with_notify_socket(os.environ.get("NOTIFY_SOCKET"))
    )
    if settings.rootless != "auto":
        builder = builder.with_rootless(settings.rootless == "true")
    container = builder.build()
    for warning in container.warnings:
        log.warning(warning)
    if container.without_cgroup is not None:
        log.debug(f"{args.id} is neither limited nor measured: {container.without_cgroup}")
    return container
