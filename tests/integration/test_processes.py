"""Container.processes, `youki ps` and signals to every process: who belongs to a container, and who is reached."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from libcontainer import Container, InvalidArgument, StateError

from .holders import holder, namespace_path

if TYPE_CHECKING:
    from .conftest import Bundle

# Starts two that outlive it, each with a mark in its name, says so, and waits.
FAMILY = "sleep 1001 & sleep 1002 & echo ready; wait"


def started(bundle: Bundle, script: str = FAMILY) -> Container:
    """A running container whose script has written a line."""
    reader, writer = os.pipe()
    try:
        container = bundle.build("sh", "-c", script, stdout=writer)
        os.close(writer)
        container.start()
        assert os.read(reader, 100) == b"ready\n"
        return container
    finally:
        os.close(reader)


def arguments(pid: int) -> str:
    """The command line of a process, its words joined by spaces."""
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()


def runs(pid: int) -> bool:
    """Whether a process has not ended; what the host's init has not reaped yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def family(container: Container) -> list[str]:
    """The command lines of its processes, once the two that FAMILY starts have executed their program."""
    deadline = time.monotonic() + 10
    while True:
        found = sorted(arguments(pid) for pid in container.processes())
        if found[-2:] == ["sleep 1001", "sleep 1002"] or time.monotonic() > deadline:
            return found


def leave_children_behind(container: Container) -> None:
    """End only the first process, in a pid namespace that is not its own."""
    pid = container.pid
    assert pid
    os.kill(pid, signal.SIGTERM)
    container.wait(10)
    assert container.status == "stopped"


def test_every_process_is_listed_by_its_number_on_the_host(bundle: Bundle) -> None:
    """Ascending, whoever of the container started them."""
    with started(bundle) as container:
        assert family(container)[1:] == ["sleep 1001", "sleep 1002"]
        pids = container.processes()
        assert container.pid in pids
        assert pids == sorted(pids)


def test_a_process_in_a_cgroup_below_is_listed_unless_asked_otherwise(bundle: Bundle) -> None:
    """A service manager in a container puts its services there."""
    with started(bundle) as container:
        primary = container._manager().primary
        assert primary is not None
        below = Path(primary.directory, "service")
        below.mkdir()
        family(container)
        moved = next(pid for pid in container.processes() if arguments(pid) == "sleep 1001")
        (below / "cgroup.procs").write_text(str(moved))

        assert moved in container.processes()
        assert moved not in container.processes(all=False)


def test_a_stopped_container_has_no_processes(bundle: Bundle) -> None:
    """Its pid namespace took them with it."""
    with started(bundle) as container:
        container.kill("KILL")
        container.wait(10)
        assert container.processes() == []
        assert json.loads(bundle.youki("ps", "-f", "json", bundle.id).stdout) == []


def test_ps_shows_the_lines_of_the_container_only(bundle: Bundle) -> None:
    """With ps's own heading and the arguments for it behind the id, as runc does it."""
    with started(bundle) as container:
        family(container)
        heading, *lines = bundle.youki("ps", bundle.id).stdout.splitlines()
        assert heading.split()[:2] == ["UID", "PID"]
        assert sorted(int(line.split()[1]) for line in lines) == container.processes()

        heading, *lines = bundle.youki("ps", bundle.id, "-eo", "ppid,pid,args").stdout.splitlines()
        assert heading.split() == ["PPID", "PID", "COMMAND"]
        assert [line.split()[2:] for line in lines][1:] == [["sleep", "1001"], ["sleep", "1002"]]

        assert json.loads(bundle.youki("ps", "--format=json", bundle.id).stdout) == container.processes()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("ID", "-eo", "comm"), "no column PID"),
        (("ID", "-eo", "args,pid"), "no column PID before the command"),
        (("ID", "--no-such"), "ps --no-such:"),
        (("-f", "yaml", "ID"), "expected table or json"),
    ],
)
def test_what_ps_cannot_show_is_one_clear_error(bundle: Bundle, words: tuple[str, ...], error: str) -> None:
    """Never a list that looks complete and is not."""
    with started(bundle):
        result = bundle.youki("ps", *[bundle.id if word == "ID" else word for word in words], check=False)

    assert (result.returncode, result.stdout) == (1, "")
    assert error in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_missing_ps_is_named(bundle: Bundle) -> None:
    """Small hosts have none; the list of numbers needs none."""
    with started(bundle) as container:
        environment = {"PATH": str(bundle.path)}
        result = bundle.youki("ps", bundle.id, check=False, env=environment)
        assert result.returncode == 1
        assert "the program ps is not installed" in result.stderr
        pids = bundle.youki("ps", "-f", "json", bundle.id, env=environment).stdout
        assert json.loads(pids) == container.processes()


def test_kill_all_reaches_processes_that_init_does_not_know(bundle: Bundle) -> None:
    """With any signal; without --all only the first process gets it."""
    loop = "while :; do sleep 0.01; done"
    child = f"trap 'echo child; exit' USR1; echo ready; {loop}"
    reader, writer = os.pipe()
    with bundle.build("sh", "-c", f"trap 'echo init' USR1; ({child}) & {loop}", stdout=writer) as container:
        os.close(writer)
        container.start()
        assert os.read(reader, 100) == b"ready\n"
        container.kill("USR1")
        assert os.read(reader, 100) == b"init\n"
        container.kill("USR1", all=True)
        said = b""
        while len(said) < len(b"init\nchild\n"):
            said += os.read(reader, 100)
        assert sorted(said.split()) == [b"child", b"init"]
    os.close(reader)


def test_kill_of_a_container_in_the_hosts_pid_namespace_ends_all_of_it(bundle: Bundle) -> None:
    """No kernel does it there: the first process is nobody's init."""
    bundle.remove_namespace("pid")
    with started(bundle) as container:
        pids = container.processes()
        container.kill("KILL")
        assert container.wait(10).signal == signal.SIGKILL
        assert container.processes() == []
        assert not any(runs(pid) for pid in pids)


def test_kill_of_a_container_in_a_joined_pid_namespace_ends_all_of_it(bundle: Bundle) -> None:
    """As the containers of a pod share one: what it left behind would keep the pod alive."""
    with holder("pid") as keeper:
        bundle.set_namespace("pid", namespace_path("pid", keeper))
        with started(bundle) as container:
            container.kill("KILL")
            container.wait(10)
            assert container.processes() == []
            assert os.path.exists(f"/proc/{keeper}")


def test_what_a_stopped_container_left_behind_is_killed_and_deleted(bundle: Bundle) -> None:
    """The first process is gone, the others go on in the host's pid namespace: --all, SIGKILL and delete reach them."""
    bundle.remove_namespace("pid")
    with started(bundle) as container:
        leave_children_behind(container)
        assert family(container) == ["sleep 1001", "sleep 1002"]
        with pytest.raises(StateError, match="container not running"):
            container.kill("TERM")
        container.kill("TERM", all=True)
        while container.processes():
            pass  # ends at once, or the test runs into its time limit

    with started(bundle) as container:
        leave_children_behind(container)
        container.kill("KILL")
        assert container.processes() == []

    container = started(bundle)
    leave_children_behind(container)
    left = container.processes()
    container.delete()
    assert not any(runs(pid) for pid in left)


def test_kill_all_of_an_ended_container_has_nothing_to_do(bundle: Bundle) -> None:
    """As runc: callers make sure with it that nothing is left."""
    with started(bundle) as container:
        container.kill("KILL")
        container.wait(10)
        container.kill("KILL", all=True)
        bundle.youki("kill", "--all", bundle.id, "KILL")
        bundle.youki("kill", "-a", bundle.id, "9")
        result = bundle.youki("kill", bundle.id, "KILL", check=False)
        assert (result.returncode, "container not running" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    "name", ["", "SIGNONE", "0x9", "-1", "65", "kill -9", "9 ", "SIGSIGTERM", "RTMAX+1", "1.5"]
)
def test_a_signal_that_does_not_exist_reaches_nobody(bundle: Bundle, name: str) -> None:
    """The container goes on."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        with pytest.raises(InvalidArgument):
            container.kill(name, all=True)
        assert container.status == "running"
