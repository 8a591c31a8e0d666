"""`youki install podman` and `youki doctor podman`, with the real podman."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import runtimes
from .podman import IMAGE

if TYPE_CHECKING:
    from .podman import Podman

YOUKI = str(runtimes.program("youki"))


def test_install(engines: dict[str, Podman]) -> None:
    """After one command podman finds the runtime by name, or uses it by default; after --remove it does not."""
    podman = engines["rootful"]
    run = [*podman.storage(), "--cgroup-manager=cgroupfs", "run", "--rm", "--network=none", *podman.ulimits()]
    named = ["podman", "--runtime=youki", *run, IMAGE, "echo", "hello"]
    assert "not found" in podman.host.run(*named, check=False).stderr
    podman.host.run(YOUKI, "install", "podman")
    assert podman.host.run(*named).stdout == "hello\n"
    podman.host.run(YOUKI, "install", "podman", "--default")
    assert podman.host.run("podman", "info", "--format", "{{.Host.OCIRuntime.Name}}").stdout == "youki\n"
    podman.host.run(YOUKI, "install", "podman", "--remove")
    assert "not found" in podman.host.run(*named, check=False).stderr


def test_install_for_a_user(engines: dict[str, Podman]) -> None:
    """A user's own configuration is written, and read by the user's podman."""
    podman = engines["rootless"]
    environment = {"HOME": str(podman.directory), "XDG_RUNTIME_DIR": podman.runtime_dir}
    as_user = podman.become()
    run = [*podman.storage(), "--cgroup-manager=cgroupfs", "run", "--rm", "--network=none", *podman.ulimits()]
    named = [*as_user, "podman", "--runtime=youki", *run, IMAGE, "echo", "hello"]
    podman.host.run(*as_user, YOUKI, "install", "podman", env=environment)
    assert podman.host.run(*named, env=environment, cwd=podman.directory).stdout == "hello\n"
    podman.host.run(*as_user, YOUKI, "install", "podman", "--remove", env=environment)
    assert not (podman.directory / ".config/containers/containers.conf.d/50-youki.conf").exists()


@pytest.mark.parametrize("name", ["rootful", "rootless"])
def test_doctor(engines: dict[str, Podman], name: str) -> None:
    """The doctor has podman make a container with youki, in storage that it removes."""
    podman = engines[name]
    before = sorted(podman.directory.rglob("*"))
    words = [*podman.become(), YOUKI, "doctor", "--json", "podman"]
    done = podman.host.run(*words, env=podman.environment(), cwd=podman.directory)
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["name"], finding["status"]) == ("podman", "works")
    assert sorted(podman.directory.rglob("*")) == before


def test_how_to(engines: dict[str, Podman]) -> None:
    """The commands of docs/how-to/podman.md for who has no registry."""
    podman = engines["rootful"]
    directory = podman.make_directory("how-to")
    page = (Path(__file__).parents[2] / "docs/how-to/podman.md").read_text()
    section = page.partition("## Without a registry")[2].partition("```console\n")[2].partition("```")[0]
    lines = [line.removeprefix("$ ") for line in section.splitlines()]
    assert lines[-1] == "podman --runtime youki run --rm -it busybox sh"
    script = "\n".join([*lines[:-1], lines[-1].replace("-it busybox sh", "busybox sh -c 'echo hello'")])
    options = f"--root {directory}/root --runroot /run/how-to --storage-driver vfs --cgroup-manager cgroupfs"
    shell = f'set -e; podman() {{ command podman {options} "$@"; }}\n{script}'
    done = podman.host.run("bash", "-c", shell, env=podman.environment(), cwd=directory)
    assert done.stdout.endswith("hello\n")


def test_doctor_finds_a_fault(engines: dict[str, Podman]) -> None:
    """What podman says is told, and the exit code is 1."""
    podman = engines["rootful"]
    environment = podman.environment() | {"CONTAINERS_CONF": "/missing"}
    done = podman.host.run(YOUKI, "doctor", "podman", env=environment, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("FAILS   podman")
    assert "/missing" in done.stdout
