"""Starting a created container: its init is told to go on, then the poststart hooks run.

runtime.md "Start" and "Lifecycle" 6 to 9. On the hot path.
"""

from __future__ import annotations

from libcontainer import channel
from libcontainer.errors import Error, SetupError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.channel import Channel
    from libcontainer.container import Container
    from libcontainer.seccomp.notify import Agent
    from libcontainer.state import Directory

ANSWER_S = 1.0  # after that a start looks whether init is frozen; a startContainer hook may take longer, too
_REASONS = {
    "running": "cannot start an already running container",
    "paused": "cannot start an already running container",
    "stopped": "cannot start a container that has stopped",
    "creating": "cannot start a container that was never completely created",
}


def start(container: Container, begun: Channel | None = None) -> None:
    """Execute the payload and run the poststart hooks.

    `begun` is a connection to init by which it has been told to go on already. Raises StateError, ExecError,
    HookError, SetupError.
    """
    with container._locked() as directory:
        connection = begun or _tell_to_go_on(container, directory)
        try:
            if not connection.answers_within(ANSWER_S) and container._cgroup_is_frozen():
                raise StateError(
                    f"{container.id} is paused: it starts when it is resumed", remedy=f"resume {container.id}"
                )
            _await_payload(container, connection)
        finally:
            connection.close()
        directory.remove_file("start.sock")
    if container._record["hooks"].get("poststart"):
        run_poststart(container)


def _tell_to_go_on(container: Container, directory: Directory) -> Channel:
    """Return the connection by which init was told. Whether it waits for us is asked by asking it to go on."""
    recorded = "startTime" in container._record
    connection = channel.connect(directory.address("start.sock")) if recorded else None
    if connection is None:
        raise _not_created(container)
    try:
        if not container._record["hasProcess"]:
            raise StateError(
                f"cannot start {container.id}: its configuration has no process", pointer="/process"
            )
        connection.send(channel.START)
    except BaseException:
        connection.close()
        raise
    return connection


def _await_payload(container: Container, connection: Channel) -> None:
    """Wait until init has executed the payload; whatever goes wrong, the container has ended then."""
    try:
        last = connection.await_payload(lambda: _agent(container))
        if last is None:
            raise SetupError(
                f"init of {container.id} ended before it could execute the payload", step="start"
            )
        if last.kind == channel.FAILED:
            raise _failure(container, last)
    except (Error, OSError):
        from libcontainer.deletion import end

        connection.close()
        end(container)
        raise


def _agent(container: Container) -> Agent:
    """Return the agent that gets the listener of the payload's filter."""
    from libcontainer.seccomp.notify import Agent

    seccomp = container.spec()["linux"]["seccomp"]
    return Agent(seccomp, container._hook_state("created"), container._record["pid"])


def run_poststart(container: Container) -> None:
    """Run the poststart hooks; a failed one is an error, and the container is stopped (Lifecycle 9)."""
    from libcontainer.deletion import end
    from libcontainer.errors import HookError
    from libcontainer.hooks import run

    try:
        run(
            container._record["hooks"]["poststart"],
            "poststart",
            container._hook_state("running"),
            cwd=container.bundle,
            pointer="/hooks/poststart",
        )
    except HookError:
        try:
            container.kill("KILL")
        except StateError:
            pass  # it has ended by itself
        end(container)
        raise


def _not_created(container: Container) -> StateError:
    """Return the error for a container that is not in the state in which it can be started."""
    reason = _REASONS.get(container.status, "cannot start the container")
    return StateError(f"{reason}: {container.id}", remedy=f"youki state {container.id}")


def _failure(container: Container, report: Any) -> Error:
    """Return the error for a step that failed after `start`; the plan is compiled again to name it."""
    from libcontainer.failure import setup_error
    from libcontainer.host import Host
    from libcontainer.plan.compile import tail_of_plan
    from libcontainer.plan.context import Options, Plan

    spec = container.spec()
    ops = tail_of_plan(spec, Host(), Options(container_id=container.id, bundle=container.bundle))
    report.step -= container._record["steps"] - len(ops)
    return setup_error(report, Plan(ops, []), spec)
