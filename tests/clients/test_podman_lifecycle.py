"""The life of a container: create, start, stop, kill, pause, restart, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from libcgroups import detect

from .engine import eventually

if TYPE_CHECKING:
    from .podman import Podman

PATIENT = "trap 'echo got it; exit 3' TERM USR1; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def patient(podman: Podman) -> str:
    """A container whose process ends with 3 on SIGTERM and SIGUSR1, and is ready for them."""
    container = podman.detached("sh", "-c", PATIENT)
    eventually(lambda: "ready" in podman("logs", container).stdout)
    return container


def test_create_and_start(podman: Podman, observed: list[Any]) -> None:
    """A created container runs nothing before `start`."""
    container = podman.create("sh", "-c", "echo ran; exit 2")
    observed.append(podman.status(container))
    assert podman("logs", container).stdout == ""
    observed.append(podman("start", "--attach", container, check=False).code)
    assert podman.status(container) == "exited"
    assert observed[1] == 2


def test_init_and_start(podman: Podman, observed: list[Any]) -> None:
    """`init` calls the runtime's create: the process waits, and `start` lets it go."""
    container = podman.create("sleep", "1000")
    podman("init", container)
    observed.append(podman.status(container))
    assert podman.pid(container) > 0
    podman("start", container)
    observed.append(podman.status(container))
    assert observed == ["initialized", "running"]


def test_stop(podman: Podman, patient: str, observed: list[Any]) -> None:
    """`stop` sends SIGTERM, which the process may heed."""
    podman("stop", patient)
    observed.append((podman.status(patient), podman.inspect(patient, ".State.ExitCode")))
    assert observed == [("exited", "3")]


def test_stop_kills_after_the_timeout(podman: Podman, observed: list[Any]) -> None:
    """Who ignores SIGTERM, as the first process without a handler does, is killed."""
    container = podman.detached()
    podman("stop", "-t", "1", container)
    observed.append(podman.inspect(container, ".State.ExitCode"))
    assert observed == ["137"]


@pytest.mark.parametrize("signal", ["USR1", "SIGUSR1", "10"])
def test_kill(podman: Podman, patient: str, signal: str) -> None:
    """`kill` sends any signal."""
    podman("kill", "--signal", signal, patient)
    assert podman("wait", patient).stdout == "3\n"
    assert "got it" in podman("logs", patient).stdout


def test_kill_without_a_signal(podman: Podman) -> None:
    """`kill` alone is SIGKILL."""
    container = podman.detached()
    podman("kill", container)
    assert podman("wait", container).stdout == "137\n"


def test_kill_a_stopped_container(podman: Podman, observed: list[Any]) -> None:
    """It is an error, with podman's own words."""
    container = podman.detached("true")
    podman("wait", container)
    done = podman("kill", container, check=False)
    observed.append((done.code, done.stderr.replace(container, "ID")))
    assert done.code != 0


def test_pause(rootful: Podman, observed: list[Any]) -> None:
    """A paused container does nothing; unpaused it goes on."""
    container = rootful.detached("sh", "-c", "while :; do echo x; sleep 0.05; done")
    eventually(lambda: rootful("logs", container).stdout)
    rootful("pause", container)
    observed.append(rootful.status(container))
    first = rootful("logs", container).stdout
    if detect().mode == "v2":
        assert "frozen 1" in rootful.cgroup(container, "cgroup.events").splitlines()
    else:
        assert rootful.cgroup(container, "freezer.state") == "FROZEN"
    assert rootful("logs", container).stdout == first
    rootful("unpause", container)
    observed.append(rootful.status(container))
    eventually(lambda: len(rootful("logs", container).stdout) > len(first))
    assert observed == ["paused", "running"]


def test_exec_in_a_paused_container(rootful: Podman, observed: list[Any]) -> None:
    """It is refused."""
    container = rootful.detached()
    rootful("pause", container)
    observed.append(rootful.inside(container, "true", check=False).code)
    assert observed[0] != 0


def test_remove_a_paused_container(rootful: Podman) -> None:
    """`rm -f` thaws and kills it."""
    container = rootful.detached()
    rootful("pause", container)
    rootful("rm", "-f", "-t0", container)
    assert rootful("ps", "-aq").stdout == ""


def test_restart(podman: Podman, observed: list[Any]) -> None:
    """`restart` makes the container anew, with the same id and files."""
    container = podman.detached("sh", "-c", "echo x >> /tmp/starts; exec sleep 1000")
    eventually(lambda: podman.pid(container))
    first = podman.pid(container)
    podman("restart", "-t0", container)
    assert podman.pid(container) not in (0, first)
    podman("stop", "-t0", container)
    podman("cp", f"{container}:/tmp/starts", f"{podman.directory}/starts")
    observed.append((podman.directory / "starts").read_text())
    (podman.directory / "starts").unlink()
    assert observed == ["x\nx\n"]


def test_restart_policy(podman: Podman) -> None:
    """`--restart on-failure:2` starts a container that fails twice more."""
    container = podman.detached("sh", "-c", "echo x; exit 1", options=("--restart", "on-failure:2"))
    eventually(lambda: podman("logs", container).stdout == "x\n" * 3)
    eventually(lambda: podman.status(container) == "exited")


def test_remove_a_running_container(podman: Podman, observed: list[Any]) -> None:
    """Without force it is refused, with it done."""
    container = podman.detached()
    observed.append(podman("rm", container, check=False).code)
    podman("rm", "-f", "-t0", container)
    assert observed[0] != 0
    assert podman("ps", "-aq").stdout == ""


def test_cleanup_after_the_end(podman: Podman) -> None:
    """With `--rm` a detached container goes away by itself."""
    podman.detached("true", options=("--rm",))
    eventually(lambda: podman("ps", "-aq").stdout == "")


def test_rename_and_inspect(podman: Podman, observed: list[Any]) -> None:
    """podman names the runtime that made the container."""
    container = podman.detached(options=("--name", "first"))
    podman("rename", "first", "second")
    assert podman.inspect("second", ".Id") == container
    assert podman.inspect("second", ".OCIRuntime") == podman.runtime


def test_many_at_once(podman: Podman) -> None:
    """Containers start and end side by side."""
    containers = [podman.detached("sh", "-c", f"exit {code}") for code in range(5)]
    assert podman("wait", *containers).lines == [str(code) for code in range(5)]
