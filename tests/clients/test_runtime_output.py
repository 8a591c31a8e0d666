"""What engines read of a runtime itself: exit codes, the words that they look for, state and log as JSON, the pid file.

Recorded from conmon, podman, containerd's shim and Docker; here each is asked of the runtime without an engine.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..integration.conftest import SPEC, make_rootfs
from . import runtimes
from .engine import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

    from .privatehost import PrivateHost


class Container:
    """A container that a runtime's command makes of a bundle."""

    def __init__(self, host: PrivateHost, runtime: str, directory: Path) -> None:
        self.host = host
        self.program = str(runtimes.program(runtime))
        self.directory = directory
        self.id = f"{host.name}-{runtime}"
        # A version that crun 1.8 knows.
        self.spec: dict[str, Any] = json.loads(json.dumps(SPEC | {"ociVersion": "1.0.2"}))
        self.spec["process"]["args"] = ["sleep", "1000"]
        self.spec["linux"]["cgroupsPath"] = f"/{self.id}"
        del self.spec["process"]["rlimits"]

    def call(self, *words: str, check: bool = True) -> CompletedProcess[str]:
        """Call the runtime as podman does, without --root. Its output goes to files: a container keeps them open."""
        with open(self.directory / "out", "w+") as out, open(self.directory / "err", "w+") as err:
            done = self.host.run(
                self.program, *words, check=False, capture_output=False, stdout=out, stderr=err
            )
            done.stdout, done.stderr = ((out.seek(0), out.read())[1], (err.seek(0), err.read())[1])
        assert not check or done.returncode == 0, f"{words}: {done.stderr}"
        return done

    def create(self, *options: str, check: bool = True) -> CompletedProcess[str]:
        """Create the container; `options` stand before the command."""
        (self.directory / "config.json").write_text(json.dumps(self.spec))
        words = (
            "create",
            "--bundle",
            str(self.directory),
            "--pid-file",
            str(self.directory / "pid"),
            self.id,
        )
        return self.call(*options, *words, check=check)

    def state(self) -> dict[str, Any]:
        """Return what `state` prints."""
        found: dict[str, Any] = json.loads(self.call("state", self.id).stdout)
        return found

    def code(self, *words: str) -> int:
        """Return the exit code of a command about the container."""
        return self.call(*words, self.id, check=False).returncode

    def log(self) -> list[dict[str, str]]:
        """Return the lines of the log."""
        return [json.loads(line) for line in (self.directory / "log").read_text().splitlines()]


@pytest.fixture
def container(private_host: PrivateHost, runtime: str, tmp_path: Path) -> Iterator[Container]:
    """A container to be; afterwards it is deleted."""
    make_rootfs(tmp_path / "rootfs")
    made = Container(private_host, runtime, tmp_path)
    yield made
    made.call("delete", "--force", made.id, check=False)
    private_host.remove_cgroups(private_host.cgroups())


@pytest.fixture
def running(container: Container) -> Container:
    """The container, which runs."""
    container.create()
    container.call("start", container.id)
    return container


def test_state(container: Container, observed: list[Any]) -> None:
    """`state` in each of its states: the same members, of the same types, and the same values but for ids and times."""
    container.create()
    for words in (("start",), ("pause",), ("resume",), ("kill",)):
        observed.append(comparable(container.state()))
        container.call(*words, container.id, *(["9"] if words == ("kill",) else []))
    eventually(lambda: container.state()["status"] == "stopped")
    observed.append(comparable(container.state()))
    assert [state["status"] for state in observed] == ["created", "running", "paused", "running", "stopped"]


def comparable(state: dict[str, Any]) -> dict[str, Any]:
    """Return the members that the specification names, and pid as whether there is one."""
    named = ("ociVersion", "id", "status", "pid", "bundle", "annotations")
    left = {"ociVersion", "id", "bundle"}
    return {
        key: type(state[key]).__name__ if key in left else state[key] for key in named if key in state
    } | {"pid": state.get("pid", 0) > 0}


def test_pid_file(container: Container) -> None:
    """The number alone, without a newline; the process is in the container's cgroup."""
    container.create()
    pid = (container.directory / "pid").read_text()
    assert pid == str(container.state()["pid"])
    assert container.id in Path(f"/proc/{pid}/cgroup").read_text()


@pytest.mark.parametrize("spelling", [("--log-format=json",), ("--log-format", "json")])
def test_log(container: Container, observed: list[Any], spelling: tuple[str, ...]) -> None:
    """An error is one line of JSON with level, msg and time, and the exit code is the same."""
    container.spec["process"]["args"] = ["/missing"]
    done = container.create(*spelling, "--log", str(container.directory / "log"), check=False)
    if done.returncode == 0:  # crun finds out at start
        done = container.call(
            *spelling, "--log", str(container.directory / "log"), "start", container.id, check=False
        )
    (line,) = [line for line in container.log() if line["level"] == "error"]
    observed.append((done.returncode, sorted(line)))
    assert "no such file or directory" in line["msg"].lower()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("missing", "executable file not found in $PATH"),
        ("/missing", "no such file"),
        ("/etc/passwd", "permission denied"),
    ],
)
def test_words_about_the_executable(container: Container, program: str, words: str) -> None:
    """Docker and containerd find exit codes 127 and 126 by these words."""
    container.spec["process"]["args"] = [program]
    done = container.create(check=False)
    assert done.returncode != 0
    assert words in done.stderr.lower().replace("$path", "$PATH")


def test_words_about_a_missing_container(container: Container, observed: list[Any]) -> None:
    """Every command about no container fails, with the words `does not exist`; but `delete --force` does not."""
    for words in (("state",), ("start",), ("kill",), ("delete",), ("pause",), ("resume",), ("ps",)):
        done = container.call(*words, container.id, check=False)
        observed.append((words, done.returncode))
        assert "does not exist" in done.stderr
    observed.append(container.code("delete", "--force"))
    assert observed[-1] == 0


def test_words_about_a_stopped_container(running: Container, observed: list[Any]) -> None:
    """It cannot be killed again, `container not running`; with --all it can, as engines call it when in doubt."""
    running.call("kill", running.id, "9")
    eventually(lambda: running.state()["status"] == "stopped")
    done = running.call("kill", running.id, "15", check=False)
    observed.append(done.returncode)
    assert "not running" in done.stderr
    observed.append(running.code("start"))
    observed.append(running.code("pause"))
    observed.append(running.code("delete"))
    observed.append(running.code("delete", "--force"))
    assert observed[-2:] == [0, 0]


def test_words_about_a_running_container(running: Container, observed: list[Any]) -> None:
    """It is not deleted without --force, not created again and not started again."""
    observed += [running.code("delete"), running.code("start"), running.create(check=False).returncode]
    assert running.state()["status"] == "running"
    assert all(item != 0 for item in observed)


@pytest.mark.parametrize("signal", ["TERM", "SIGTERM", "15", "USR1", "63", "0", "NO", "99"])
def test_signals(running: Container, observed: list[Any], signal: str) -> None:
    """Numbers and names, 0 to look whether it runs; what is no signal is refused."""
    observed.append(running.call("kill", running.id, signal, check=False).returncode)
    assert running.state()["status"] == "running"


def test_kill_all(running: Container, observed: list[Any]) -> None:
    """`kill --all` reaches every process of the cgroup."""
    observed.append(running.call("kill", "--all", running.id, "9", check=False).returncode)
    eventually(lambda: running.state()["status"] == "stopped")
    assert observed == [0]


def test_ps(running: Container, observed: list[Any]) -> None:
    """`ps --format json` is a list of numbers, as the host sees them."""
    found = json.loads(running.call("ps", "--format", "json", running.id).stdout)
    assert found == [running.state()["pid"]]


def test_update_from_standard_input(running: Container, observed: list[Any]) -> None:
    """`update --resources -` reads JSON; everything is sent again each time, and nothing of it fails."""
    for limit in (64, 64, 128, 32):
        resources = {"memory": {"limit": limit << 20, "swap": limit << 20}, "cpu": {"shares": 512}}
        done = running.host.run(
            running.program,
            "update",
            "--resources",
            "-",
            running.id,
            input=json.dumps(resources),
            check=False,
        )
        observed.append(done.returncode)
        file = running.host.path(f"/sys/fs/cgroup/memory/{running.id}/memory.limit_in_bytes")
        observed.append(file.read_text())
    assert observed == [0, f"{64 << 20}\n", 0, f"{64 << 20}\n", 0, f"{128 << 20}\n", 0, f"{32 << 20}\n"]


def test_preserved_descriptors(container: Container) -> None:
    """`--preserve-fds` and LISTEN_FDS hand files on."""
    container.spec["process"]["args"] = ["sh", "-c", "readlink /proc/self/fd/3 >/tmp/found; sleep 1000"]
    (container.directory / "config.json").write_text(json.dumps(container.spec))
    words = [
        container.program,
        "run",
        "-d",
        "--preserve-fds",
        "1",
        "--bundle",
        str(container.directory),
        container.id,
    ]
    script = f'exec 3<{container.directory}/config.json >/dev/null 2>&1; exec "$@"'
    container.host.run("sh", "-c", script, "sh", *words)
    found = container.directory / "rootfs/tmp/found"
    eventually(lambda: found.exists() and "config.json" in found.read_text())


def test_version(container: Container, observed: list[Any]) -> None:
    """The first line is the name, the word `version` and a number: engines show it."""
    name, word, number = container.call("--version").stdout.splitlines()[0].split()[:3]
    observed.append((word, number[0].isdigit()))
    assert name == os.path.basename(container.program)
