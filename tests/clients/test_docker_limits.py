"""Docker: limits on resources, changed and observed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .engine import eventually

if TYPE_CHECKING:
    from .docker import Docker

MEMORY = "/sys/fs/cgroup/memory/memory.limit_in_bytes"


def test_out_of_memory(docker: Docker, observed: list[Any]) -> None:
    """The kernel kills the payload, and docker knows why."""
    container = docker.detached("sh", "-c", "x=aaaaaaaa; while :; do x=$x$x; done", options=("-m", "8m"))
    docker("wait", container)
    eventually(lambda: docker.inspect(container, ".State.OOMKilled") == "true")
    observed.append(docker.inspect(container, ".State.ExitCode"))
    assert observed == ["137"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "file"),
    [
        (("--memory", "64m"), "memory/memory.limit_in_bytes"),
        (("--memory", "64m", "--memory-swap", "96m"), "memory/memory.memsw.limit_in_bytes"),
        (("--memory", "64m", "--memory-reservation", "32m"), "memory/memory.soft_limit_in_bytes"),
        (("--cpus", "0.5"), "cpu/cpu.cfs_quota_us"),
        (("--cpu-shares", "512"), "cpu/cpu.shares"),
        (("--cpu-period", "50000", "--cpu-quota", "25000"), "cpu/cpu.cfs_period_us"),
        (("--cpuset-cpus", "0"), "cpuset/cpuset.cpus"),
        (("--pids-limit", "50"), "pids/pids.max"),
        ((), "devices/devices.list"),
        (("--device-cgroup-rule", "c 1:11 r"), "devices/devices.list"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_limit(docker: Docker, observed: list[Any], options: tuple[str, ...], file: str) -> None:
    """Each limit is what the kernel has, as with runc."""
    observed.append(sorted(docker.run("cat", f"/sys/fs/cgroup/{file}", options=options).lines))
    assert observed != [[]]


def test_limit_of_a_disk(docker: Docker, observed: list[Any]) -> None:
    """`--device-read-bps` names a device by its path."""
    disks = [path for name in os.listdir("/sys/block") if (path := Path("/dev", name)).is_block_device()]
    if not disks:
        pytest.skip("no disk is here")
    file = "/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device"
    observed.append(docker.run("cat", file, options=("--device-read-bps", f"{min(disks)}:1mb")).stdout)
    assert observed[0].endswith(f" {1 << 20}\n")


def test_update(docker: Docker, observed: list[Any]) -> None:
    """`update` changes a running container's limits."""
    container = docker.detached(options=("-m", "64m"))
    docker("update", "-m", "32m", "--memory-swap", "48m", "--cpus", "0.5", "--pids-limit", "30", container)
    files = (MEMORY, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/pids/pids.max")
    observed.append(docker("exec", container, "cat", *files).lines)
    assert observed == [[str(32 << 20), "50000", "30"]]


def test_update_with_the_same(docker: Docker) -> None:
    """The engine sends everything again on each update; nothing of that fails."""
    container = docker.detached(options=("-m", "64m", "--memory-swap", "64m"))
    for _ in range(2):
        docker("update", "-m", "64m", "--memory-swap", "64m", container)
    docker("update", "-m", "128m", "--memory-swap", "128m", container)
    assert docker("exec", container, "cat", MEMORY).stdout == f"{128 << 20}\n"


def test_stats(docker: Docker) -> None:
    """`stats` reads the container's cgroup."""
    container = docker.detached(options=("-m", "64m"))
    row = docker("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", container).stdout.split()
    assert row[1:] == ["/", "64MiB", "1"]


def test_top(docker: Docker, observed: list[Any]) -> None:
    """`top` lists every process, by the host's numbers."""
    container = docker.detached("sh", "-c", "sleep 1000 & wait")
    eventually(lambda: len(docker("top", container).lines) == 3)
    header, *rows = docker("top", container, "-o", "pid,args").lines
    observed.append((header.split(), sorted(row.split(maxsplit=1)[1] for row in rows)))
    assert observed == [(["PID", "COMMAND"], ["sh -c sleep 1000 & wait", "sleep 1000"])]


def test_cgroup_is_removed(docker: Docker) -> None:
    """Nothing of a container's cgroups is left."""
    container = docker.detached()
    docker("rm", "--force", container)
    eventually(lambda: not [path for path in docker.daemon.host.cgroups() if container in path])
