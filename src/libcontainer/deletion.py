"""Deleting a container: its processes are ended, its cgroup and records removed, then the poststop hooks run.

runtime.md "Delete" and "Lifecycle" 10 to 13. On the hot path.
"""

from __future__ import annotations

from libcontainer.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any

    from libcontainer.container import Container
    from libcontainer.state import Directory
else:
    import _signal  # what the signal module is made of; the module itself builds enumerations

KILL_TIMEOUT_S = 10.0


def delete(container: Container, directory: Directory, *, force: bool) -> None:
    """Remove the container whose `directory` is locked and its record up to date; see Container.delete."""
    _require_deletable(container, force)
    end(container)
    _remove_cgroup(container)
    _leave_class(container)
    hooks = (container._record.get("hooks") or {}).get("poststop")
    last = dict(container.state(), status="stopped") if hooks else {}
    directory.remove()
    if hooks:
        _run_poststop(container, hooks, last)


def end(container: Container) -> None:
    """Kill the first process if it still runs, and wait until it is gone.

    A process of ours is reaped, its status kept for `wait`.
    """
    if "startTime" not in container._record:
        return
    try:
        pidfd = container._open_pidfd()
    except StateError:
        return
    from libcontainer.cgroup_errors import CgroupErrors
    from libcontainer.exit_status import await_exit, exit_status

    try:
        _signal.pidfd_send_signal(pidfd, _signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has ended and was waited for
    else:
        with CgroupErrors():
            container._manager().thaw_for_kill()
        await_exit(pidfd, KILL_TIMEOUT_S, f"container {container.id}")
    if container._exit is None:
        container._exit = exit_status(pidfd)


def _require_deletable(container: Container, force: bool) -> None:
    status = container.status
    if force or status in ("stopped", "created"):
        return
    if status == "creating":
        raise StateError(
            f"cannot delete container {container.id}: its create was interrupted",
            remedy=f"youki delete --force {container.id}",
        )
    raise StateError(
        f"cannot delete container {container.id} that is not stopped: {status}",
        remedy=f"stop it first, or youki delete --force {container.id}",
    )


def _remove_cgroup(container: Container) -> None:
    if not container._record.get("cgroup"):
        return
    from libcontainer.cgroup_errors import CgroupErrors

    with CgroupErrors():
        manager = container._manager()
        # Who is not in it cannot fork in it, so that an empty one stays empty.
        if manager.populated():
            manager.kill_all()
        manager.remove()


def _leave_class(container: Container) -> None:
    """Remove the class of service that was made for the container (linux.intelRdt)."""
    if container._record.get("rdt"):
        from libcontainer import rdt

        container.warnings += tuple(rdt.Group.from_state(container._record["rdt"]).remove())


def _run_poststop(container: Container, hooks: list[dict[str, Any]], last: dict[str, Any]) -> None:
    """Run the poststop hooks; one that fails is told in `warnings`, and the others run (Lifecycle 13)."""
    from libcontainer.hooks import run

    failures = run(
        hooks,
        "poststop",
        container._hook_state("stopped", last),
        cwd=container.bundle,
        pointer="/hooks/poststop",
        keep_going=True,
    )
    container.warnings += tuple([str(failure) for failure in failures])
