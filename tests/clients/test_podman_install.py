"""`youki install podman` and `youki doctor podman`, with the real podman."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

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


def test_doctor(engines: dict[str, Podman]) -> None:
    """The doctor has podman make a container with youki, in storage that it removes."""
    podman = engines["rootful"]
    done = podman.host.run(YOUKI, "doctor", "--json", "podman", env=podman.environment())
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["name"], finding["status"]) == ("podman", "works")


def test_doctor_finds_a_fault(engines: dict[str, Podman]) -> None:
    """What podman says is told, and the exit code is 1."""
    podman = engines["rootful"]
    environment = podman.environment() | {"CONTAINERS_CONF": "/missing"}
    done = podman.host.run(YOUKI, "doctor", "podman", env=environment, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("FAILS   podman")
    assert "/missing" in done.stdout
