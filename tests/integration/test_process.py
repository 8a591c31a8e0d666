"""The payload's process as a whole: what a created container does with signals, and what configurations without
a process mean. runtime.md, config.md "Process".
"""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from libcontainer import Container, ExitStatus, StateError

from .conftest import YOUKI
from .test_user import status_of

if TYPE_CHECKING:
    from .conftest import Bundle

SIGRTMIN_3 = int(signal.SIGRTMIN) + 3


@pytest.mark.parametrize("number", [15, 2, 1, 3, 10, 12, 24, SIGRTMIN_3, int(signal.SIGRTMAX)])
@pytest.mark.parametrize("pid_namespace", [True, False])
def test_a_created_container_ends_by_the_signals_that_end_processes(
    bundle: Bundle, number: int, pid_namespace: bool
) -> None:
    """The kernel drops them for the first process of a pid namespace; an engine that stops one expects its end."""
    if not pid_namespace:
        bundle.remove_namespace("pid")
    with bundle.build("sleep", "1000") as container:
        settled(container)
        container.kill(number)
        assert container.wait(10) in (ExitStatus(128 + number, None), ExitStatus(None, number))
        assert container.status == "stopped"


def settled(container: Container) -> None:
    """Wait until init waits for `start`: it has set its handlers before."""
    while True:
        with open(f"/proc/{container.pid}/status") as file:
            if int(status_of(file.read())["SigCgt"], 16) & 1 << 14:
                return
        os.sched_yield()


@pytest.mark.parametrize("number", [17, 18, 28])
def test_a_created_container_goes_on_after_harmless_signals(bundle: Bundle, number: int) -> None:
    """SIGCHLD, SIGCONT and SIGWINCH end no process by default."""
    with bundle.build("sh", "-c", "exit 3") as container:
        settled(container)
        container.kill(number)
        assert container.status == "created"
        container.start()
        assert container.wait(10).code == 3


def test_a_created_container_is_ended_by_kill(bundle: Bundle) -> None:
    """SIGKILL needs no handler."""
    with bundle.build("sleep", "1000") as container:
        container.kill("KILL")
        assert container.wait(10) == ExitStatus(None, 9)


def test_the_payload_has_the_default_action_again(bundle: Bundle) -> None:
    """What init sets for itself ends with execve(2): a payload that handles nothing ignores SIGTERM as pid 1."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        with open(f"/proc/{container.pid}/status") as file:
            assert int(status_of(file.read())["SigCgt"], 16) == 0


def test_signal_0_looks_whether_it_runs(bundle: Bundle) -> None:
    """kill(2): nothing is sent; who has ended cannot be reached."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        container.kill(0)
        assert container.status == "running"
        container.kill("KILL")
        container.wait(10)
        with pytest.raises(StateError, match="container not running"):
            container.kill(0)


def test_a_stopped_container_cannot_be_killed(bundle: Bundle) -> None:
    """runtime.md: kill of a container that neither is created nor runs is an error without effect."""
    with bundle.build("true") as container:
        container.start()
        container.wait(10)
        with pytest.raises(StateError, match="not running"):
            container.kill("TERM")
        assert container.status == "stopped"


def test_a_container_without_a_process_is_created_and_never_started(bundle: Bundle) -> None:
    """config.md: `process` is required when `start` is called, and not before."""
    del bundle.spec["process"]
    bundle.save()
    with bundle.builder().as_init(bundle.path).build() as container:
        assert container.status == "created"
        with pytest.raises(StateError, match="no process"):
            container.start()
        assert container.status == "created"


def test_the_first_process_cannot_be_looked_into_before_it_is_the_payload(bundle: Bundle) -> None:
    """CVE-2016-9962: what joins the container meanwhile must find nothing to trace or read."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    with bundle.build("sleep", "1000") as container:
        # Of a process that is not dumpable the files in /proc are root's, whoever its user is.
        assert os.stat(f"/proc/{container.pid}/environ").st_uid == 0
        container.start()
        assert os.stat(f"/proc/{container.pid}/environ").st_uid == 1000


def test_init_outside_of_its_conversation_does_nothing(bundle: Bundle) -> None:
    """A container that finds the program, through /proc/PID/exe, gets a refusal (CVE-2019-5736)."""
    with bundle.build("true") as container:
        done = subprocess.run([f"/proc/{container.pid}/exe", "3"], capture_output=True, text=True, timeout=10)

        assert done.returncode == 1
        assert "part of libcontainer" in done.stderr
        with pytest.raises(OSError, match=r"Text file busy|Operation not permitted|Permission denied"):
            open(f"/proc/{container.pid}/exe", "r+b").close()


def test_capability_warnings_are_printed_by_the_command(bundle: Bundle) -> None:
    """config.md: what cannot be granted MUST be logged as a warning; the container runs."""
    bundle.process["capabilities"]["bounding"] = ["CAP_FLY"]
    bundle.process["args"] = ["echo", "ran"]
    bundle.save()
    command = [str(YOUKI), "--root", str(bundle.root), "run", bundle.id]
    done = subprocess.run(command, cwd=bundle.path, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "CAP_FLY" in done.stderr


def test_a_paused_container_is_ended_by_kill(bundle: Bundle) -> None:
    """A frozen process of cgroup v1 dies only when it is thawed: SIGKILL does both."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        container._manager().freeze()
        assert container.status == "paused"
        container.kill("KILL")
        assert container.wait(10) == ExitStatus(None, 9)


def test_other_signals_wait_until_a_paused_container_goes_on(bundle: Bundle) -> None:
    """They are not lost, and do not make it go on (youki's kill changes its state)."""
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    reader, writer = os.pipe()
    with bundle.build("sh", "-c", script, stdout=writer) as container:
        os.close(writer)
        container.start()
        assert os.read(reader, 100) == b"ready\n"
        container._manager().freeze()
        container.kill("TERM")
        assert container.status == "paused"
        container._manager().thaw()
        assert container.wait(10).code == 5
    os.close(reader)


def test_a_paused_container_is_deleted_by_force(bundle: Bundle) -> None:
    """What is frozen cannot resist."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        container._manager().freeze()
        container.delete(force=True)
    assert Container.list(bundle.root) == []
