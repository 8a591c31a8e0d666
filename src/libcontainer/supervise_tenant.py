"""The making of a tenant: the conversation with its init, up to the execution of its payload.

Nothing is recorded about a tenant but the pid file that was asked for, and nothing is left of one that failed.
On the hot path.
"""

from __future__ import annotations

import os
import time

from libcontainer import channel, state
from libcontainer.cgroup_errors import CgroupErrors
from libcontainer.conversation import Conversation, kill, send_pidfd
from libcontainer.plan import operations as do

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Sequence
    from typing import Any

    from libcgroups.manager import Manager
    from libcontainer.channel import Channel
    from libcontainer.conversation import Request
    from libcontainer.host import Host
    from libcontainer.plan.context import Descriptor, Options, Plan
    from libcontainer.seccomp.notify import Agent
    from libcontainer.target import Target
else:
    import _signal  # what the signal module is made of; the module itself builds enumerations

DEATH_S = 1.0


class TenantCreation(Conversation):
    """The making of one tenant: `prepare`, then `release`; or `run`, which is both."""

    GOAL = "it could execute the payload"

    def __init__(
        self,
        spec: dict[str, Any],
        plan: Plan,
        manager: Manager,
        target: Target,
        hook_state: Callable[[str], dict[str, Any]],
        host: Host,
        options: Options,
        request: Request,
    ) -> None:
        super().__init__(spec, plan, host, options, request)
        self.manager = manager
        self.target = target
        self.hook_state = hook_state
        self.has_pid_file = False

    def run(self) -> None:
        """Make the tenant; on any failure remove what was made and raise the error."""
        self.prepare()
        self.release()

    def prepare(self) -> None:
        """Bring init into the container, up to the moment before it executes the payload."""
        try:
            self._spawn()
            self._converse()
        except BaseException as error:
            self.abort(error)
            raise

    def release(self) -> None:
        """Let init execute the payload, and wait until it has."""
        assert self.channel is not None
        try:
            self._go_on()
            self._await_payload(self.channel)
        except BaseException as error:
            self.abort(error)
            raise
        finally:
            self.channel.close()

    def _await_payload(self, connection: Channel) -> None:
        last = connection.await_payload(self._agent)
        if last is None:
            raise self._died()
        if last.kind == channel.FAILED:
            raise self._failure(last)

    def _agent(self) -> Agent:
        """Return the agent that gets the listener of the payload's filter."""
        from libcontainer.seccomp.notify import Agent

        return Agent(self.spec["linux"]["seccomp"], self.hook_state("running"), self.pid)

    @property
    def has_console_size(self) -> bool:
        """Whether the process object sets the size of its terminal."""
        return bool(self.spec["process"].get("consoleSize"))

    # The conversation

    def _enter_cgroup(self) -> None:
        process = self.spec["process"]
        if process.get("execCPUAffinity"):
            from libcontainer import affinity

            affinity.set_initial(self.stage_one, process)
        if self.options.self_join:
            return
        with CgroupErrors():
            self.manager.add_process(self.stage_one)
            for cgroup in self.options.cgroups:
                if cgroup not in self.manager.cgroups:  # one below the container's
                    cgroup.write("cgroup.procs", str(self.stage_one))

    def _open(self, descriptor: Descriptor) -> int:
        if descriptor.kind == "process":
            return os.dup(self.target.pidfd)
        if descriptor.kind == "process namespace":
            return self.target.open_namespace(descriptor.detail)
        if descriptor.kind == "process root":
            return self.target.open_root()
        return super()._open(descriptor)

    def _reached(self, point: int) -> bool:
        """Do what the sync point asks for; True when only the execution is left, which awaits `release`."""
        assert self.channel is not None
        if point == do.SYNC_READY:
            self._finish()
            return True
        if point == do.SYNC_RLIMITS:
            self._set_rlimits()
        # SYNC_LIMITS asks for nothing: the container's cgroup has its limits.
        self._go_on()
        return False

    def _finish(self) -> None:
        self._set_rlimits()
        if self.request.pid_file is not None:
            state.write_pid_file(self.request.pid_file, self.pid)
            self.has_pid_file = True
        send_pidfd(self.request, self.pidfd)

    def close(self) -> None:
        """Close the descriptors of the tenant, where no handle holds them."""
        self._close_descriptors()

    # Failure

    def _cleanups(self) -> Sequence[Callable[[], None]]:
        return (self._end_processes, self._close_descriptors, self._remove_pid_file)

    def _end_processes(self) -> None:
        """Kill what there is of the tenant and reap it, unless its cgroup is frozen.

        A process that the v1 freezer stopped dies when it is thawed: nobody waits for that here.
        """
        if self.stage_one:
            kill(self.stage_one)
            _reap_soon(self.stage_one)
        if self.pidfd >= 0:
            _end(self.pidfd)
        elif self.pid and not self.ended and not self.options.as_sibling:
            kill(self.pid)  # no descriptor was free for a pidfd; nobody has waited for our child
            _reap_soon(self.pid)

    def _remove_pid_file(self) -> None:
        if self.has_pid_file and self.request.pid_file is not None:
            try:
                os.unlink(self.request.pid_file)
            except FileNotFoundError:
                pass


def _reap_soon(child: int) -> None:
    deadline = time.monotonic() + DEATH_S
    try:
        while os.waitpid(child, os.WNOHANG)[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.002)
    except ChildProcessError:
        pass  # not ours to wait for


def _end(pidfd: int) -> None:
    from libcontainer.errors import Timeout
    from libcontainer.exit_status import await_exit, exit_status

    try:
        _signal.pidfd_send_signal(pidfd, _signal.SIGKILL)
    except ProcessLookupError:
        return
    try:
        await_exit(pidfd, DEATH_S, "the tenant")
    except Timeout:
        return
    exit_status(pidfd)
