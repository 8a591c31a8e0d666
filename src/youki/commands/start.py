"""youki start CONTAINER: let a created container execute its program."""

from __future__ import annotations

from libcontainer.container import Container
from youki.settings import state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, settings: Arguments) -> None:
    start(Container.load(state_root(settings), args.id))


def start(container: Container) -> None:
    """Start the container; one that has a notify socket is waited for until it is ready."""
    if container.notify_socket is None:
        container.start()
        return
    from libcontainer import notify_socket
    from youki import log

    notify_socket.start(container)
    for warning in container.warnings:
        log.warning(warning)
