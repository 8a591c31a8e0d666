"""youki start CONTAINER: let a created container execute its program."""

from __future__ import annotations

import sys

from libcontainer.container import Container
from youki.settings import state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, settings: Arguments) -> None:
    container = Container.load(state_root(settings), args.id)
    begun = sys._xoptions.get("youki_start")
    if begun is None:
        start(container)
    else:
        finish(container, str(begun))


def finish(container: Container, begun: str) -> None:
    """Finish a start that the launcher (start.c) has begun, by the numbers of its descriptors."""
    from libcontainer import channel, release

    connection, last_words = begun.split(",")
    release.start(container, channel.adopt(int(connection), int(last_words)))


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
