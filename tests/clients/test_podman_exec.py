"""podman exec: a second process in a running container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .engine import eventually

if TYPE_CHECKING:
    from .podman import Podman


@pytest.fixture
def box(podman: Podman) -> str:
    """A container that runs."""
    return podman.detached()


def test_output_and_exit_code(podman: Podman, box: str, observed: list[Any]) -> None:
    """Each stream reaches the caller; the exit code is the process's."""
    done = podman.inside(box, "echo out; echo err >&2; exit 4", check=False)
    observed.append((done.code, done.stdout))
    assert (done.code, done.stdout, "err" in done.stderr) == (4, "out\n", True)


def test_stdin(podman: Podman, box: str) -> None:
    """`-i` hands standard input on."""
    assert podman("exec", "-i", box, "cat", input="hello").stdout == "hello"


def test_at_a_terminal(podman: Podman, box: str) -> None:
    """With `-it` the process has a terminal of its own, as large as the caller's."""
    script = "tty; while [ \"$(stty size)\" != '33 99' ]; do sleep 0.1; done; echo siz''ed; exit 6\n"
    done = podman.at_terminal("exec", "-it", box, "sh", send=script.encode(), size=(33, 99))
    assert done.code == 6
    assert "/dev/pts/0" in done.stdout
    assert "sized" in done.stdout


@pytest.mark.parametrize("user", ["alice", "1000", "1000:50", "0:0"])
def test_user(podman: Podman, box: str, observed: list[Any], user: str) -> None:
    """`--user` by name and number; the groups follow /etc/group."""
    observed.append(podman.inside(box, "id -u; id -g; id -G", "--user", user).lines)
    assert observed[0][0] == ("0" if user == "0:0" else "1000")


def test_user_has_no_capabilities(podman: Podman, box: str, observed: list[Any]) -> None:
    """Whoever is not root has none in effect."""
    observed.append(podman.inside(box, "grep ^Cap /proc/self/status", "--user", "alice").stdout)
    assert "CapEff:\t0000000000000000" in observed[0]


def test_capabilities(podman: Podman, box: str, observed: list[Any]) -> None:
    """Root has those of the container; `--privileged` gives every one."""
    script = "grep ^Cap /proc/self/status"
    observed.append(podman.inside(box, script).stdout)
    observed.append(podman.inside(box, script, "--privileged").stdout)
    assert observed[0] != observed[1]


def test_working_directory(podman: Podman, box: str, observed: list[Any]) -> None:
    """`--workdir` is where it starts; one that is missing is an error."""
    assert podman("exec", "-w", "/tmp", box, "pwd").stdout == "/tmp\n"
    observed.append(podman("exec", "-w", "/missing", box, "pwd", check=False).code)


def test_environment(podman: Podman, box: str) -> None:
    """The container's environment and `-e` hold."""
    lines = podman("exec", "-e", "SHAPE=round", box, "env").lines
    assert {"COLOUR=blue", "SHAPE=round"} <= set(lines)


def test_detached(podman: Podman, box: str) -> None:
    """`-d` returns at once; the process runs on in the container."""
    podman("exec", "-d", box, "sh", "-c", "sleep 0.3; echo later > /tmp/file; sleep 1000")
    eventually(lambda: podman.inside(box, "cat /tmp/file", check=False).stdout == "later\n")


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("missing", 127, "attempted to invoke a command that was not found"),
        ("/missing/program", 127, "attempted to invoke a command that was not found"),
        ("/etc/passwd", 126, "OCI permission denied"),
    ],
)
def test_cannot_execute(
    podman: Podman, box: str, observed: list[Any], program: str, code: int, words: str
) -> None:
    """podman finds the exit code, and its own words, by the words of the runtime's error."""
    done = podman("exec", box, program, check=False)
    observed.append(done.code)
    assert done.code == code
    assert words in done.stderr


def test_killed_by_a_signal(podman: Podman, box: str, observed: list[Any]) -> None:
    """The exit code is 128 and the signal."""
    observed.append(podman.inside(box, "kill -9 $$", check=False).code)
    assert observed == [137]


def test_is_in_the_namespaces_and_the_cgroup(podman: Podman, box: str) -> None:
    """It shares the first process's namespaces, and its cgroup."""
    script = "for x in /proc/1 /proc/self; do readlink $x/ns/* | sort; cat $x/cgroup; echo; done"
    first, second = podman.inside(box, script).stdout.strip().split("\n\n")
    assert first == second


def test_stopped_container(podman: Podman, observed: list[Any]) -> None:
    """There is nothing to enter."""
    container = podman.create("true")
    done = podman("exec", container, "true", check=False)
    observed.append((done.code, done.stderr.replace(container, "ID")))
    assert done.code != 0


def test_ends_with_the_container(podman: Podman, box: str, observed: list[Any]) -> None:
    """`rm -f` ends what was executed beside the first process too."""
    podman("exec", "-d", box, "sleep", "1000")
    podman("rm", "-f", "-t0", box)
    assert [line for line in podman.host.processes() if "sleep 1000" in line] == []
