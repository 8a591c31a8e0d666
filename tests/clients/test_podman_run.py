"""podman run: attached, detached and at a terminal; exit codes and errors as with runc."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .engine import eventually
from .podman import IMAGE

if TYPE_CHECKING:
    from .podman import Podman


def test_attached(podman: Podman, observed: list[Any]) -> None:
    """What the payload writes reaches the caller, each stream its own; the exit code is the payload's."""
    done = podman.sh("echo out; echo err >&2; exit 7", check=False)
    observed.append((done.code, done.stdout, done.stderr))
    assert (done.code, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_stdin(podman: Podman) -> None:
    """`-i` hands standard input on."""
    assert podman.run("cat", options=("-i",), input="hello").stdout == "hello"


def test_at_a_terminal(podman: Podman) -> None:
    """With `-it` the payload has a terminal of its own, in its session's foreground."""
    words = ("run", "--rm", "-it", IMAGE, "sh")
    done = podman.at_terminal(*words, send=b"tty; test -t 0 && echo is''atty; exit 5\n")
    assert done.code == 5
    assert "/dev/pts/0" in done.stdout
    assert "isatty" in done.stdout


def test_detached(podman: Podman) -> None:
    """`-d` returns at once with the id, and the container runs on."""
    container = podman.detached("sh", "-c", "echo hello; exec sleep 1000")
    assert podman.status(container) == "running"
    eventually(lambda: podman("logs", container).stdout == "hello\n")
    podman("rm", "-f", "-t0", container)
    assert podman("ps", "-aq").stdout == ""


def test_wait(podman: Podman) -> None:
    """`wait` prints the exit code of a detached container."""
    container = podman.detached("sh", "-c", "exit 9")
    assert podman("wait", container).stdout == "9\n"


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("missing", 127, "attempted to invoke a command that was not found"),
        ("/missing/program", 127, "attempted to invoke a command that was not found"),
        ("/etc/passwd", 126, "OCI permission denied"),
    ],
)
def test_cannot_execute(podman: Podman, observed: list[Any], program: str, code: int, words: str) -> None:
    """podman finds the exit code, and its own words, by the words of the runtime's error."""
    done = podman.run(program, check=False)
    observed.append(done.code)
    assert done.code == code
    assert words in done.stderr


def test_killed_by_a_signal(podman: Podman, observed: list[Any]) -> None:
    """The exit code is 128 and the signal."""
    done = podman.sh("kill -9 $$; sleep 5", "--init", check=False)
    observed.append(done.code)
    assert done.code == 137


def test_working_directory(podman: Podman) -> None:
    """`-w` is where the payload starts."""
    assert podman.run("pwd", options=("-w", "/tmp")).stdout == "/tmp\n"


def test_environment(podman: Podman) -> None:
    """The image's environment and `-e` reach the payload."""
    done = podman.run("env", options=("-e", "SHAPE=round"))
    assert {"COLOUR=blue", "SHAPE=round", "container=podman"} <= set(done.lines)


def test_hostname(podman: Podman) -> None:
    """`--hostname` holds, in a UTS namespace of the container's own."""
    assert podman.run("hostname", options=("--hostname", "box")).stdout == "box\n"


def test_first_process(podman: Podman) -> None:
    """The payload is number one of a pid namespace of its own, and alone there."""
    assert podman.sh("echo $$; echo /proc/[0-9]*").stdout == "1\n/proc/1\n"


def test_pid_file(podman: Podman) -> None:
    """`--pidfile` has the number of the payload, without a newline."""
    path = podman.directory / "pid"
    container = podman.detached(options=("--pidfile", str(path)))
    assert path.read_text() == str(podman.pid(container))
