"""Docker: exec, stop, kill, pause, restart, copies, health."""

from __future__ import annotations

import io
import tarfile
import time
from typing import TYPE_CHECKING, Any

import pytest

from .engine import eventually

if TYPE_CHECKING:
    from .docker import Docker

# Ends by SIGTERM, if it comes, with an exit code of its own, and says when it is ready for that.
OBEDIENT = "trap 'exit 3' TERM; touch /ready; while :; do sleep 0.05; done"
DEAF = "trap '' TERM; touch /ready; while :; do sleep 0.05; done"


def start(docker: Docker, script: str, *options: str) -> str:
    """Start a container that is ready when /ready is there."""
    container = docker.detached("sh", "-c", script, options=options)
    eventually(lambda: docker("exec", container, "ls", "/ready", check=False).code == 0)
    return container


def test_exec(docker: Docker, observed: list[Any]) -> None:
    """A second process, with streams and an exit code of its own."""
    done = docker.inside(docker.detached(), "echo out; echo err >&2; exit 5", check=False)
    observed.append((done.code, done.stdout, done.stderr))
    assert observed == [(5, "out\n", "err\n")]


def test_exec_options(docker: Docker) -> None:
    """`-u`, `-w`, `-e` and the container's environment."""
    container = docker.detached(options=("-e", "SHAPE=round"))
    done = docker.inside(
        container, "id -un; pwd; echo $SHAPE $TASTE", "-u", "alice", "-w", "/tmp", "-e", "TASTE=sour"
    )
    assert done.lines == ["alice", "/tmp", "round sour"]


def test_exec_stdin(docker: Docker) -> None:
    """`-i` hands standard input on, and its end."""
    assert docker("exec", "-i", docker.detached(), "cat", input="hello").stdout == "hello"


def test_exec_at_a_terminal(docker: Docker) -> None:
    """`-it` gives the process a terminal of its own."""
    container = docker.detached()
    done = docker.at_terminal(
        "exec", "-it", container, "sh", send=b"tty; test -t 0 && echo is''atty; exit 6\n"
    )
    assert done.code == 6
    assert "/dev/pts/0" in done.stdout
    assert "isatty" in done.stdout


@pytest.mark.slow
def test_exec_in_the_background(docker: Docker) -> None:
    """`-d` returns at once."""
    container = docker.detached()
    docker("exec", "-d", container, "sh", "-c", "echo here >/said")
    eventually(lambda: docker("exec", container, "cat", "/said", check=False).stdout == "here\n")


@pytest.mark.parametrize(
    ("program", "words"), [("/missing", "no such file or directory"), ("/etc/passwd", "permission denied")]
)
def test_exec_that_cannot_execute(docker: Docker, observed: list[Any], program: str, words: str) -> None:
    """Docker finds the exit code by the words of the runtime's error; the container runs on."""
    container = docker.detached()
    done = docker("exec", container, program, check=False)
    observed.append(done.code)
    assert done.code in (126, 127)
    assert words in done.stdout + done.stderr
    assert docker.status(container) == "running"


@pytest.mark.slow
def test_exec_privileged(docker: Docker, observed: list[Any]) -> None:
    """`--privileged` gives the process every capability."""
    container = docker.detached(options=("--cap-drop", "ALL"))
    script = "grep ^Cap /proc/self/status"
    observed += [docker.inside(container, script, *options).lines for options in ((), ("--privileged",))]
    assert observed[0] != observed[1]


def test_exec_has_the_profile(docker: Docker, observed: list[Any]) -> None:
    """The container's seccomp profile and no_new_privs hold for what is executed later."""
    container = docker.detached(options=("--security-opt", "no-new-privileges"))
    observed.append(docker.inside(container, "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status").lines)
    assert observed == [["NoNewPrivs:\t1", "Seccomp:\t2"]]


def test_exec_is_in_the_cgroup(docker: Docker) -> None:
    """What is executed later counts against the same limits."""
    container = docker.detached()
    script = "diff /proc/1/cgroup /proc/self/cgroup && echo same"
    assert docker.inside(container, script).stdout == "same\n"


def test_stop(docker: Docker, observed: list[Any]) -> None:
    """`stop` sends SIGTERM, and the payload may end by itself."""
    container = start(docker, OBEDIENT)
    docker("stop", container)
    observed.append((docker.status(container), docker.inspect(container, ".State.ExitCode")))
    assert observed == [("exited", "3")]


def test_stop_with_a_timeout(docker: Docker, observed: list[Any]) -> None:
    """What does not listen is killed when the time is over."""
    container = start(docker, DEAF)
    docker("stop", "--time", "1", container)
    observed.append((docker.status(container), docker.inspect(container, ".State.ExitCode")))
    assert observed == [("exited", "137")]


@pytest.mark.slow
def test_stop_signal(docker: Docker) -> None:
    """`--stop-signal` is what `stop` sends."""
    container = start(docker, OBEDIENT.replace("TERM", "USR1"), "--stop-signal", "SIGUSR1")
    docker("stop", container)
    assert docker.inspect(container, ".State.ExitCode") == "3"


def test_kill(docker: Docker, observed: list[Any]) -> None:
    """`kill` sends SIGKILL, or what it is told."""
    container = docker.detached()
    docker("kill", container)
    other = start(docker, OBEDIENT)
    docker("kill", "--signal", "TERM", other)
    docker("wait", other)
    observed.append([docker.inspect(each, ".State.ExitCode") for each in (container, other)])
    assert observed == [["137", "3"]]


@pytest.mark.slow
def test_kill_of_what_has_ended(docker: Docker, observed: list[Any]) -> None:
    """It is refused."""
    container = docker.detached("true")
    docker("wait", container)
    done = docker("kill", container, check=False)
    observed.append(done.stderr.replace(container, "ID"))
    assert "is not running" in done.stderr


def test_pause(docker: Docker) -> None:
    """A paused container does nothing until it goes on, and takes no other process."""
    container = docker.detached()
    docker("pause", container)
    assert docker.status(container) == "paused"
    assert docker("exec", container, "true", check=False).code == 1
    docker("unpause", container)
    assert docker.status(container) == "running"
    assert docker("exec", container, "true").code == 0


@pytest.mark.slow
def test_stop_of_what_is_paused(docker: Docker, observed: list[Any]) -> None:
    """It ends."""
    container = docker.detached()
    docker("pause", container)
    docker("stop", "--time", "1", container)
    observed.append((docker.status(container), docker.inspect(container, ".State.ExitCode")))
    assert observed == [("exited", "137")]


@pytest.mark.slow
def test_restart(docker: Docker) -> None:
    """The same container starts anew, and keeps its files."""
    container = docker.detached("sh", "-c", "echo x >>/starts; sleep 1000")
    docker("restart", "--time", "0", container)
    eventually(lambda: docker("exec", container, "cat", "/starts").stdout == "x\nx\n")


@pytest.mark.slow
def test_restart_policy(docker: Docker, observed: list[Any]) -> None:
    """`--restart on-failure:2` starts it twice more."""
    container = docker.detached("false", options=("--restart", "on-failure:2"))
    eventually(lambda: docker.status(container) == "exited")
    observed.append(docker.inspect(container, ".RestartCount"))
    assert observed == ["2"]


@pytest.mark.slow
def test_restart_policy_after_a_kill(docker: Docker) -> None:
    """`--restart always`: what is killed from outside comes back."""
    container = docker.detached(options=("--restart", "always"))
    first = docker.pid(container)
    docker.daemon.host.run("kill", "-KILL", str(first))
    eventually(lambda: docker.status(container) == "running" and docker.pid(container) not in (0, first))


@pytest.mark.slow
def test_start_again(docker: Docker) -> None:
    """A container that has ended can be started, and waited for, again."""
    container = docker.detached("sh", "-c", "exit 4")
    assert docker("wait", container).stdout == "4\n"
    docker("start", container)
    assert docker("wait", container).stdout == "4\n"


def test_attach(docker: Docker) -> None:
    """`start --attach` shows the output, and returns the exit code."""
    container = docker.create("sh", "-c", "echo out; exit 9")
    done = docker("start", "--attach", container, check=False)
    assert (done.code, done.stdout) == (9, "out\n")


@pytest.mark.slow
def test_copies(docker: Docker) -> None:
    """`cp` into a running container and out of it."""
    container, source = docker.detached(), docker.daemon.directory / "copied"
    source.write_text("by hand\n")
    docker("cp", str(source), f"{container}:/tmp/copied")
    assert docker("exec", container, "cat", "/tmp/copied").stdout == "by hand\n"
    docker("cp", f"{container}:/tmp/copied", f"{source}-back")
    assert (source.parent / "copied-back").read_text() == "by hand\n"


@pytest.mark.slow
def test_changes(docker: Docker) -> None:
    """`diff` tells what the payload has changed, and nothing that the runtime did."""
    container = docker.detached("touch", "/made")
    docker("wait", container)
    assert docker("diff", container).lines == ["A /made"]


@pytest.mark.slow
def test_commit(docker: Docker) -> None:
    """`commit` makes an image of a container, and it runs."""
    container = docker.detached("sh", "-c", "echo more >/more")
    docker("wait", container)
    image = docker("commit", container).stdout.strip()
    try:
        assert docker("run", "--rm", *docker.place(), image, "cat", "/more").stdout == "more\n"
    finally:
        docker("image", "rm", image)


@pytest.mark.slow
def test_export(docker: Docker) -> None:
    """`export` writes the container's files."""
    container, archive = docker.detached(), docker.daemon.directory / "export.tar"
    docker("export", "--output", str(archive), container)
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as tar:
        assert {"bin/busybox", "etc/passwd", "proc"} <= set(tar.getnames())


@pytest.mark.slow
def test_health(docker: Docker) -> None:
    """A health check is a process that docker executes from time to time."""
    options = ("--health-cmd", "test -e /well", "--health-interval", "500ms", "--health-retries", "1")
    container = docker.detached(options=options)
    eventually(lambda: docker.inspect(container, ".State.Health.Status") == "unhealthy")
    docker("exec", container, "touch", "/well")
    eventually(lambda: docker.inspect(container, ".State.Health.Status") == "healthy")


@pytest.mark.slow
def test_events(docker: Docker) -> None:
    """A container's life in events."""
    container = docker.detached("sh", "-c", "exit 2")
    docker("wait", container)
    until = f"{time.time() + 1:.0f}"
    chosen = ("--filter", f"container={container}", "--format", "{{.Action}}")
    told = docker("events", "--since", "10m", "--until", until, *chosen)
    assert told.lines == ["create", "start", "die"]


def test_removed_by_force(docker: Docker) -> None:
    """`rm --force` of a running container; the runtime forgets it."""
    container = docker.detached()
    docker("rm", "--force", container)
    assert container not in docker("ps", "--all", "--quiet", "--no-trunc").stdout
    eventually(lambda: container not in docker.runtime_state())


@pytest.mark.slow
def test_renamed(docker: Docker) -> None:
    """A name is the engine's; the container is the same."""
    container = docker.detached()
    docker("rename", container, "other")
    assert docker("exec", "other", "echo", "here").stdout == "here\n"
