"""`youki install docker`, `youki doctor docker` and docs/how-to/docker.md, with a real daemon."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import images, runtimes
from .docker import Docker, Dockerd
from .engine import commands_of, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .containerd import Containerd

YOUKI = str(runtimes.program("youki"))
PAGE = Path(__file__).parents[2] / "docs/how-to/docker.md"


@pytest.fixture(scope="module")
def docker(containerd: Containerd, image_archive: Path) -> Iterator[Docker]:
    """docker with a daemon that knows no runtime but its own. Its configuration is /etc/docker/daemon.json."""
    daemon = Dockerd(containerd.host, "docker")
    try:
        daemon.load(image_archive)
        yield Docker(daemon, "youki")
    finally:
        daemon.stop()
        for path in daemon.configuration.parent.glob("daemon.json*"):  # and what `install` kept of it
            path.unlink()


def install(docker: Docker, *options: str) -> None:
    """Call `youki install docker` on the private host, and wait until the daemon has read its configuration again."""
    docker.host.run(YOUKI, "install", "docker", *options)
    docker.daemon.tell(signal.SIGHUP)
    eventually(lambda: "youki" in docker("info", "--format", "{{json .Runtimes}}").stdout)


def test_install(docker: Docker) -> None:
    """After one command, and a reload, docker knows the runtime, or uses it by default; --remove undoes it."""
    before = docker.daemon.configuration.read_text()
    assert "youki" in docker.run("true", check=False).stderr
    install(docker)
    assert docker.run("echo", "hello").stdout == "hello\n"
    install(docker, "--default")
    eventually(lambda: docker("info", "--format", "{{.DefaultRuntime}}").stdout == "youki\n")
    container = docker("create", "--network", "none", images.NAME).stdout.strip()
    assert docker.inspect(container, ".HostConfig.Runtime") == "youki"
    docker("rm", container)
    install(docker, "--remove")  # Docker forgets the runtime when it starts anew
    assert docker.daemon.configuration.read_text() == before


def test_doctor(docker: Docker) -> None:
    """The doctor has Docker make a container with youki, of an image that it removes."""
    install(docker)
    env = {"DOCKER_HOST": docker.daemon.socket, "HOME": str(docker.daemon.directory)}
    done = docker.host.run(YOUKI, "doctor", "--json", "docker", env=env, check=False)
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["name"], finding["status"]) == ("docker", "works"), finding
    assert docker("images", "--quiet").lines == docker("images", "--quiet", images.NAME).lines


def test_how_to(docker: Docker) -> None:
    """The commands of docs/how-to/docker.md for who has no registry."""
    install(docker)
    lines = commands_of(PAGE, "Without a registry")
    assert lines[-1] == "docker run --runtime youki --rm -it busybox sh"
    lines[-1] = "docker run --runtime youki --network none --rm busybox sh -c 'echo hello'"
    client = " ".join(docker.daemon.command())
    script = "\n".join(["set -e", f'docker() {{ {client} "$@"; }}', *lines])
    directory = docker.daemon.directory / "how-to"
    directory.mkdir()
    done = docker.host.run("bash", "-c", script, cwd=directory)
    assert done.stdout.endswith("hello\n")
    docker("rmi", "busybox")
