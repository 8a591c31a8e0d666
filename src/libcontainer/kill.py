"""Signals to a container: to its first process, or to all. runtime.md "Kill". On the hot path."""

from __future__ import annotations

from libcontainer.errors import StateError
from libcontainer.signals import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from libcontainer.container import Container
else:
    import _signal  # what the signal module is made of; the module itself builds enumerations

SIGKILL = _signal.SIGKILL


def kill(container: Container, signal: int | str, *, everyone: bool) -> None:
    """See Container.kill."""
    number = parse(signal, allow_zero=True)
    status = container.status
    if status == "creating":
        raise StateError(
            f"cannot kill {container.id}: it is being created",
            remedy=f"youki delete --force {container.id}",
        )
    manager = container._manager()
    # No kernel ends the others with the first process unless that is the init of their pid namespace.
    others = number == SIGKILL and not container._record.get("pidNamespace")
    if status == "stopped" and not ((everyone or others) and manager.populated()):
        if everyone:
            return
        raise StateError(f"cannot kill {container.id}: container not running")
    if everyone or (others and manager.cgroups):
        from libcontainer.cgroup_errors import CgroupErrors

        with CgroupErrors():
            manager.kill_all(number)
    else:
        _signal_init(container, number)
        if others:
            container.warnings += (f"{container.id} has no cgroup: processes of it may go on",)
    if number == SIGKILL and status == "paused":
        manager.thaw_for_kill()


def _signal_init(container: Container, number: int) -> None:
    try:
        _signal.pidfd_send_signal(container._open_pidfd(), number)
    except ProcessLookupError:
        raise StateError(f"cannot kill {container.id}: container not running") from None
    except PermissionError as error:
        raise StateError(
            f"cannot kill {container.id}: {error.strerror}", errno=error.errno, remedy="ask its owner"
        ) from error
