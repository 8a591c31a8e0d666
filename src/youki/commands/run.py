"""youki run CONTAINER: create, start, wait and delete; the exit code is the container's."""

from __future__ import annotations

from libcontainer.errors import Error
from youki import log
from youki.build import build
from youki.commands.start import start as start_detached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.container import Container
    from libcontainer.exit_status import ExitStatus
    from youki.parser import Arguments


def run(args: Arguments, settings: Arguments) -> int:
    container = build(args, settings, detach=args.detach)
    try:
        code = start(container, args.detach)
    except BaseException:
        # A container that could not be started is of no use: runc removes it too, whatever --keep says.
        delete(container)
        raise
    if not (args.detach or args.keep):
        delete(container)
    return code


def start(container: Container, detach: bool) -> int:
    """Start the container and, unless it is detached, wait for its end; return the exit code."""
    if detach:
        start_detached(container)
        return 0
    code = serve(container).returncode
    return 1 if code is None else code  # None: somebody else has waited for our child


def serve(container: Container) -> ExitStatus:
    """Serve the container in the foreground until its end, and its notify socket if it has one."""
    if container.notify_socket is None:
        return container.run()
    from libcontainer import notify_socket

    status = notify_socket.run(container)
    for warning in container.warnings:
        log.warning(warning)
    return status


def delete(container: Container) -> None:
    """Delete the container. A failure is told; it hides no earlier error and no exit code (as runc)."""
    try:
        container.delete(force=True)
    except Error as error:
        log.error(str(error))
