"""`youki install` and `youki doctor` with a real containerd and a real dockerd, each with a socket of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from . import runtimes
from .engine import eventually
from .privatehost import PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .privatehost import PrivateHost

YOUKI = str(runtimes.program("youki"))
CONTAINERD = {"CONTAINERD_ADDRESS": "/run/installed/containerd.sock"}
DOCKER = {"DOCKER_HOST": "unix:///run/installed/docker.sock"}


@pytest.fixture
def host(private_host: PrivateHost) -> Iterator[PrivateHost]:
    """The private host, where the engines are installed; their configuration is afterwards as it was."""
    for program in ("containerd", "dockerd", "ctr", "docker"):
        if shutil.which(program, path=PATH) is None:
            pytest.skip(f"{program} is not installed")
    before = configuration(private_host)
    yield private_host
    for engine in ("containerd", "docker"):
        private_host.run(YOUKI, "install", engine, "--remove")
    assert configuration(private_host) == before
    private_host.remove_cgroups(private_host.cgroups())


def test_containerd(host: PrivateHost) -> None:
    """Its CRI plugin knows the runtime beside runc, and still loads; the doctor's container works."""
    host.run(YOUKI, "install", "containerd")
    known = host.run("containerd", "config", "dump").stdout
    assert all(f"containerd.runtimes.{name}]" in known for name in ("runc", "youki"))
    with containerd(host):
        plugins = host.run("ctr", "plugins", "ls", env=CONTAINERD).stdout.splitlines()
        assert [line.split()[-1] for line in plugins if " cri " in line] == ["ok"]
        assert works(host, "containerd", CONTAINERD)


def test_docker(host: PrivateHost) -> None:
    """dockerd reads the merged file, and runs the doctor's container; without it the doctor says what is to be done."""
    with containerd(host), dockerd(host):
        done = host.run(YOUKI, "doctor", "docker", env=DOCKER)
        assert "does not know youki" in done.stdout
        assert "youki install docker" in done.stdout
    host.run(YOUKI, "install", "docker", "--default")
    with containerd(host), dockerd(host):
        assert host.run("docker", "info", "--format", "{{.DefaultRuntime}}", env=DOCKER).stdout == "youki\n"
        assert works(host, "docker", DOCKER)
        assert host.run("docker", "images", "--quiet", env=DOCKER).stdout == ""


def test_no_daemon(host: PrivateHost) -> None:
    """An engine whose daemon does not run is no fault, and the doctor says how it is started."""
    done = host.run(YOUKI, "doctor", "docker", "containerd", env=CONTAINERD | DOCKER)
    assert "systemctl start docker" in done.stdout
    assert "systemctl start containerd" in done.stdout


def works(host: PrivateHost, engine: str, env: dict[str, str]) -> bool:
    """Whether the doctor finds that the engine works, and leaves nothing."""
    done = host.run(YOUKI, "doctor", "--json", engine, env=env, check=False)
    (finding,) = json.loads(done.stdout)["findings"]
    assert finding["status"] == "works", finding
    return done.returncode == 0


@contextmanager
def containerd(host: PrivateHost) -> Iterator[None]:
    """containerd with the host's configuration."""
    address = CONTAINERD["CONTAINERD_ADDRESS"]
    root = str(host.directory / "installed-containerd")
    words = ("--root", root, "--state", "/run/installed/containerd", "--address", address)
    with daemon(host, ("ctr", "version"), "containerd", *words, env=CONTAINERD):
        yield


@contextmanager
def dockerd(host: PrivateHost) -> Iterator[None]:
    """dockerd with the host's configuration."""
    places = ("--data-root", str(host.directory / "installed-docker"), "--exec-root", "/run/installed/docker")
    sockets = ("--host", DOCKER["DOCKER_HOST"], "--containerd", CONTAINERD["CONTAINERD_ADDRESS"])
    words = (*places, *sockets, "--pidfile", "/run/installed/docker.pid", "--bridge=none", "--iptables=false")
    with daemon(host, ("docker", "version"), "dockerd", *words, env=DOCKER):
        yield


@contextmanager
def daemon(host: PrivateHost, asked: tuple[str, ...], *words: str, env: dict[str, str]) -> Iterator[None]:
    """A daemon that answers what it is asked; it is ended afterwards."""
    with open(host.directory / f"installed-{words[0]}.log", "w") as log:
        process = host.start(*words, stdout=log, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: host.run(*asked, env=env, check=False).returncode == 0)
        yield
    finally:
        process.terminate()
        process.wait(60)


def configuration(host: PrivateHost) -> dict[str, str]:
    """Return the engines' files."""
    directories = (host.path(f"/etc/{name}") for name in ("containerd", "docker"))
    files = (path for directory in directories for path in directory.rglob("*") if path.is_file())
    return {path.name: path.read_text() for path in files if path.name != "key.json"}
