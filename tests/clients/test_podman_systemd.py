"""podman where systemd makes the cgroups: limits as properties of a scope and in the kernel's files."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from . import images, runtimes
from .conftest import SUBORDINATES, with_runtime
from .engine import eventually
from .podman import Podman
from .systemdhost import SystemdHost, lacking

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
# A user whose systemd runs all the time (loginctl enable-linger); tests/vm has one.
LINGERING = os.environ.get("LINGERING")

LIMITS = ("--memory", "64m", "--cpus", "0.5", "--pids-limit", "37")
FILES = {
    "cpu.max": "50000 100000",
    "cpu.weight": "100",
    "memory.low": "0",
    "memory.max": str(64 * MIB),
    "pids.max": "37",
}
PROPERTIES = {
    "AllowedCPUs": "",
    "CPUQuotaPerSecUSec": "500ms",
    "CPUWeight": "[not set]",
    "MemoryLow": "0",
    "MemoryMax": str(64 * MIB),
    "TasksMax": "37",
}
# The most shares are the greatest weight in every version of every runtime; between, the curve has been changed.
UPDATE = ("--cpus", "0.25", "--cpu-shares", "262144", "--memory-reservation", "16m")
UPDATED_FILES = {"cpu.max": "25000 100000", "cpu.weight": "10000", "memory.low": str(16 * MIB)}
UPDATED_PROPERTIES = {"CPUQuotaPerSecUSec": "250ms", "CPUWeight": "10000", "MemoryLow": str(16 * MIB)}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def systemd_host(request: pytest.FixtureRequest) -> Iterator[SystemdHost]:
    """The private host below systemd."""
    reason = lacking()
    if reason:
        pytest.skip(reason)
    host = SystemdHost(LINGERING)
    try:
        yield host
        left = host.processes()
    finally:
        host.close()
    assert runtimes.outcomes(request.session).complaint() is None
    assert left == []


@pytest.fixture(scope="module")
def engines(systemd_host: SystemdHost) -> Iterator[dict[str, Podman]]:
    """podman as root, and as the lingering user where there is one; each with the image."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    archive = images.docker_archive(systemd_host.make_directory("image"))
    found = {"rootful": Podman(systemd_host, "rootful")}
    known = systemd_host.lingering
    if known:
        for table in ("subuid", "subgid"):
            with open(systemd_host.path(f"/etc/{table}"), "a") as file:
                file.write(f"{known.pw_name}:{SUBORDINATES}\n")
        # A user's overlay needs attributes that not every file system has: tmpfs only since Linux 6.6.
        found["rootless"] = Podman(systemd_host, "rootless", systemd_host.user, driver="vfs")
    for podman in found.values():
        podman("load", "--input", str(archive))
    yield found
    if known:
        found["rootless"]("system", "migrate")  # ends the process that keeps the user's namespaces


@pytest.fixture(params=("rootful", "rootless"))
def podman(request: pytest.FixtureRequest, engines: dict[str, Podman], runtime: str) -> Iterator[Podman]:
    """podman with the runtime; afterwards neither a cgroup nor a unit of its containers may be left."""
    if request.param not in engines:
        pytest.skip("needs a user with a systemd of its own, named in LINGERING")
    found = engines[request.param]
    yield from with_runtime(found, runtime)
    eventually(lambda: units(found) == [])


def test_limits(podman: Podman, observed: list[Any]) -> None:
    """They are in the container's cgroup; systemd knows them too, and so does not undo them."""
    container = podman.detached(options=LIMITS)

    told, known = files(podman, container), properties(podman, container)

    assert told == FILES
    if podman.runtime != "crun":  # it limits a cgroup of its own below the scope
        assert known == PROPERTIES
    observed.append((told, known))


def test_update(podman: Podman, observed: list[Any]) -> None:
    """`update` changes the kernel's limits and the unit's; what it does not name stays."""
    container = podman.detached(options=LIMITS)

    for memory in (48, 96):  # lowered and raised
        podman("update", "--memory", f"{memory}m", *UPDATE, container)
        told, known = files(podman, container), properties(podman, container)
        assert told == {**FILES, **UPDATED_FILES, "memory.max": str(memory * MIB)}
        if podman.runtime != "crun":
            assert known == {**PROPERTIES, **UPDATED_PROPERTIES, "MemoryMax": str(memory * MIB)}
        observed.append((told, known))

    (stats,) = podman.json("stats", "--no-stream", "--format", "json", container)
    # podman 4.3 prints the limit that the container was made with, whatever the runtime.
    observed.append(stats["mem_usage"].partition(" / ")[2])
    assert (stats["id"], stats["pids"]) == (container[:12], "1")


def test_failed_update(podman: Podman, observed: list[Any]) -> None:
    """A limit that cannot be set leaves the others as they were, with the kernel and with systemd."""
    container = podman.detached(options=LIMITS)
    if "cpuset" in (podman.cgroup_directory(container) / "cgroup.controllers").read_text().split():
        pytest.skip("every limit can be set here")

    observed.append(podman("update", "--memory", "48m", "--cpuset-cpus", "1", container, check=False).code)

    assert observed[0] != 0
    if podman.runtime == runtimes.OURS:  # runc leaves in the unit what systemd has taken
        assert (files(podman, container), properties(podman, container)) == (FILES, PROPERTIES)


def test_life(podman: Podman, observed: list[Any]) -> None:
    """exec, top, pause, stop; started again, the container has its limits again; then nothing is left of it."""
    container = podman.detached("sh", "-c", "sleep 1000 & exec sleep 2000", options=LIMITS)
    directory = podman.cgroup_directory(container)
    observed.append(
        podman.inside(container, "cat /proc/self/cgroup /sys/fs/cgroup/pids.max; exit 4", check=False)
    )
    assert (observed[0].code, observed[0].stdout) == (4, "0::/\n37\n")
    observed[0] = observed[0].stdout
    observed.append(sorted(line.split() for line in podman("top", container, "user", "args").lines))
    assert observed[1] == [["USER", "COMMAND"], ["root", "sleep", "1000"], ["root", "sleep", "2000"]]

    podman("pause", container)
    observed.append(podman.status(container))
    assert "frozen 1" in (directory / "cgroup.events").read_text().splitlines()
    podman("unpause", container)
    assert "frozen 0" in (directory / "cgroup.events").read_text().splitlines()

    podman("stop", "-t0", container)
    observed.append((podman.status(container), podman.inspect(container, ".State.ExitCode")))
    eventually(lambda: units(podman) == [])
    assert not directory.exists()
    podman("start", container)  # in a scope of the same name
    assert files(podman, container) == FILES
    podman("rm", "-f", "-t0", container)
    assert observed[2:] == ["paused", ("exited", "137")]


def test_pod(podman: Podman, observed: list[Any]) -> None:
    """The scopes of a pod's containers lie in the pod's slice, each with its limits; both go with the pod."""
    pod = podman("pod", "create", "--network=none", "--share=ipc,net,uts").stdout.strip()
    container = podman.detached(options=("--pod", pod, *LIMITS))
    parts = podman.cgroup_directory(container).parts
    around = "user" if podman.user else "machine"

    assert f"{around}-libpod_pod_{pod}.slice" in parts
    assert files(podman, container) == FILES
    observed.append(properties(podman, container))
    podman("pod", "rm", "--force", "--time=0", pod)
    eventually(lambda: units(podman) == [])


def files(podman: Podman, container: str) -> dict[str, str]:
    """Return what the kernel was told."""
    directory = podman.cgroup_directory(container)
    return {name: (directory / name).read_text().strip() for name in FILES}


def properties(podman: Podman, container: str) -> dict[str, str]:
    """Return what systemd was told."""
    host = podman.host
    assert isinstance(host, SystemdHost)
    return host.shown(f"libpod-{container}.scope", *PROPERTIES, user=podman.user)


def units(podman: Podman) -> list[str]:
    """Return the units of podman's containers."""
    host = podman.host
    assert isinstance(host, SystemdHost)
    return host.units(podman.user)
