"""Docker Swarm: services of which each replica is a container of the daemon's default runtime.

They have the host's network: a kernel may be without what Swarm's own networks need.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from . import images
from .conftest import wait_until_gone
from .docker import Docker, Dockerd, all_runtimes
from .engine import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .containerd import Containerd

NUMBERS = itertools.count(1)
SERVICE = (
    "service",
    "create",
    "--detach",
    "--quiet",
    "--no-resolve-image",
    "--network",
    "host",
    "--name",
    "web",
)


@pytest.fixture
def swarm(containerd: Containerd, image_archive: Path, runtime: str) -> Iterator[Docker]:
    """A swarm of one daemon whose default is the runtime; afterwards nothing may be left of its containers."""
    settings = {"runtimes": all_runtimes(), "default-runtime": runtime}
    daemon = Dockerd(containerd.host, f"swarm{next(NUMBERS)}", **settings)
    try:
        daemon.load(image_archive)
        docker = Docker(daemon, runtime)
        docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")
        yield docker
        docker("swarm", "leave", "--force")
        docker.remove_all()
        wait_until_gone(docker.runtime_state, docker.host)
    finally:
        daemon.stop()


def create(
    swarm: Docker, *options: str, command: tuple[str, ...] = ("sleep", "1000"), replicas: int = 2
) -> None:
    """Create the service and wait until all of its replicas run."""
    swarm(
        *SERVICE,
        f"--replicas={replicas}",
        "--restart-delay=0s",
        "--stop-grace-period=1s",
        *options,
        images.NAME,
        *command,
    )
    eventually(lambda: len(running(swarm)) == replicas)


def running(swarm: Docker) -> list[str]:
    """The containers of the service's replicas that run."""
    return sorted(swarm("ps", "--quiet", "--no-trunc", "--filter", "name=web").lines)


def tasks(swarm: Docker, state: str) -> list[str]:
    """What the swarm says of the tasks that it wants in this state."""
    chosen = ("--filter", f"desired-state={state}", "--format", "{{.CurrentState}}: {{.Error}}", "--no-trunc")
    return swarm("service", "ps", *chosen, "web").lines


def test_replicas(swarm: Docker) -> None:
    """Each replica is a container of the runtime."""
    create(swarm, "--env", "SHAPE=round")
    assert [swarm.inspect(container, ".HostConfig.Runtime") for container in running(swarm)] == [
        swarm.runtime
    ] * 2
    assert [swarm.inside(container, "echo $SHAPE").stdout for container in running(swarm)] == ["round\n"] * 2
    assert swarm("service", "ls", "--format", "{{.Replicas}}").stdout == "2/2\n"


@pytest.mark.slow
def test_scaled(swarm: Docker) -> None:
    """Up and down; what was there goes on."""
    create(swarm, replicas=1)
    first = running(swarm)
    swarm("service", "scale", "--detach", "web=4")
    eventually(lambda: len(running(swarm)) == 4)
    assert set(first) <= set(running(swarm))
    swarm("service", "scale", "--detach", "web=1")
    eventually(lambda: len(running(swarm)) == 1)


@pytest.mark.slow
def test_replica_killed(swarm: Docker, observed: list[Any]) -> None:
    """Another one takes its place, and the swarm knows how the first one ended."""
    create(swarm)
    victim, other = running(swarm)
    swarm.host.run("kill", "-KILL", str(swarm.pid(victim)))
    eventually(lambda: len(running(swarm)) == 2 and victim not in running(swarm))
    assert other in running(swarm)
    eventually(lambda: tasks(swarm, "shutdown"))
    (told,) = tasks(swarm, "shutdown")
    observed.append(told.partition(": ")[2])
    assert observed == ['"task: non-zero exit (137)"']


@pytest.mark.slow
def test_updated(swarm: Docker) -> None:
    """A change of the service replaces the replicas one after the other."""
    create(swarm)
    before = running(swarm)
    swarm(
        "service", "update", "--detach", "--quiet", "--no-resolve-image", "--env-add", "SHAPE=square", "web"
    )
    status = ("service", "inspect", "--format", "{{.UpdateStatus.State}}", "web")
    eventually(lambda: swarm(*status).stdout == "completed\n", timeout=60)
    assert not set(before) & set(running(swarm))
    assert [swarm.inside(container, "echo $SHAPE").stdout for container in running(swarm)] == ["square\n"] * 2


@pytest.mark.slow
def test_limits(swarm: Docker) -> None:
    """`--limit-memory` and `--limit-pids` hold for each replica."""
    create(swarm, "--limit-memory", "64m", "--limit-pids", "30", replicas=1)
    files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max"
    assert swarm.inside(running(swarm)[0], f"cat {files}").lines == [str(64 << 20), "30"]


@pytest.mark.slow
def test_secret(swarm: Docker) -> None:
    """A secret is a file below /run/secrets, on a file system that is not a disk."""
    swarm("secret", "create", "key", "-", input="sesame")
    create(swarm, "--secret", "source=key,target=key,mode=0400", replicas=1)
    assert swarm.inside(running(swarm)[0], "cat /run/secrets/key").stdout == "sesame"


@pytest.mark.slow
def test_drained(swarm: Docker) -> None:
    """A node that is drained ends its replicas; when it is active again they are back."""
    create(swarm)
    (node,) = swarm("node", "ls", "--quiet").lines
    swarm("node", "update", "--availability", "drain", node)
    eventually(lambda: running(swarm) == [])
    swarm("node", "update", "--availability", "active", node)
    eventually(lambda: len(running(swarm)) == 2)
