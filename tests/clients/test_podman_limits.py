"""Limits: by what they do to the payload, and by what the kernel was told."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from libcgroups import detect

if TYPE_CHECKING:
    from .podman import Podman

EATER = "x=x; while :; do x=$x$x; done"
MIB = 1 << 20
UNIFIED = detect().mode == "v2"
DISK = next((path for path in ("/dev/vda", "/dev/sda", "/dev/loop0") if os.path.exists(path)), "/dev/vda")

# What podman is asked for, and what then stands in which file of the cgroup. A row takes seconds with software
# emulation, where v2 is tested: so one has all that can be asked for at once.
TOLD_V1 = [
    (("--memory", "32m"), {"memory.limit_in_bytes": str(32 * MIB)}),
    (("--memory", "32m", "--memory-swap", "64m"), {"memory.memsw.limit_in_bytes": str(64 * MIB)}),
    (("--memory-reservation", "16m"), {"memory.soft_limit_in_bytes": str(16 * MIB)}),
    (("--memory", "32m", "--memory-swappiness", "10"), {"memory.swappiness": "10"}),
    (("--oom-kill-disable", "--memory", "32m"), {"memory.oom_control": "oom_kill_disable 1"}),
    (("--cpus", "0.5"), {"cpu.cfs_quota_us": "50000"}),
    (("--cpu-period", "50000", "--cpu-quota", "25000"), {"cpu.cfs_period_us": "50000"}),
    (("--cpu-shares", "512"), {"cpu.shares": "512"}),
    (("--cpuset-cpus", "0"), {"cpuset.cpus": "0"}),
    (("--cpuset-mems", "0"), {"cpuset.mems": "0"}),
    (("--pids-limit", "37"), {"pids.max": "37"}),
    (("--device-read-bps", f"{DISK}:1mb"), {"blkio.throttle.read_bps_device": "1048576"}),
    (("--device-write-iops", f"{DISK}:77"), {"blkio.throttle.write_iops_device": "77"}),
    (("--device-cgroup-rule", "c 42:* rw"), {"devices.list": "c 42:* rw"}),
]
# Swappiness, and whether memory that has run out kills, are not a v2 cgroup's to say; devices have no file.
# The most shares are the greatest weight in every version of every runtime; between, the curve has been changed.
TOLD_V2 = [
    (
        (
            *("--memory", "32m", "--memory-swap", "48m", "--memory-reservation", "16m"),
            *("--cgroup-conf", f"memory.high={24 * MIB}", "--pids-limit", "37"),
        ),
        {
            "memory.max": str(32 * MIB),
            "memory.swap.max": str(16 * MIB),
            "memory.low": str(16 * MIB),
            "memory.high": str(24 * MIB),
            "pids.max": "37",
        },
    ),
    (
        ("--cpus", "0.5", "--cpu-shares", "262144", "--cpuset-cpus", "0", "--cpuset-mems", "0"),
        {"cpu.max": "50000 100000", "cpu.weight": "10000", "cpuset.cpus": "0", "cpuset.mems": "0"},
    ),
    (
        (
            *("--cpu-period", "50000", "--cpu-quota", "25000"),
            *("--device-read-bps", f"{DISK}:1mb", "--device-write-iops", f"{DISK}:77"),
        ),
        {"cpu.max": "25000 50000", "io.max": "rbps=1048576 wbps=max riops=max wiops=77"},
    ),
]
TOLD = TOLD_V2 if UNIFIED else TOLD_V1


def test_memory(rootful: Podman, observed: list[Any]) -> None:
    """Who takes more memory than allowed is killed; podman knows why where it does with runc."""
    options = ("--memory", "16m", "--memory-swap", "16m")
    container = rootful.detached("sh", "-c", EATER, options=options)
    observed.append(rootful("wait", container).stdout)
    observed.append(rootful.inspect(container, ".State.OOMKilled"))
    assert observed[0] == "137\n"


@pytest.mark.parametrize(("options", "told"), TOLD)
def test_what_the_kernel_is_told(
    rootful: Podman, observed: list[Any], options: tuple[str, ...], told: dict[str, str]
) -> None:
    """The container's cgroup has the values; the whole files are the same as with runc."""
    container = rootful.detached(options=options)
    for file, value in told.items():
        content = rootful.cgroup(container, file)
        observed.append(comparable(content))
        assert any(line == value or line.endswith(f" {value}") for line in content.splitlines())


def test_pids(rootful: Podman) -> None:
    """Past the limit no process can be made."""
    done = rootful.sh("for i in 1 2 3 4 5 6 7 8; do sleep 5 & done", "--pids-limit", "4", check=False)
    assert "can't fork" in done.stderr


def test_cpu_set(rootful: Podman) -> None:
    """The payload may run on the CPUs that it was given."""
    done = rootful.sh("grep Cpus_allowed_list /proc/self/status", "--cpuset-cpus", "0")
    assert done.stdout.split() == ["Cpus_allowed_list:", "0"]


def test_device(rootful: Podman, observed: list[Any]) -> None:
    """A device of the host is in the container, and may be used as its letters say."""
    script = ": </dev/fuse && echo read; : >/dev/fuse && echo written"
    observed.append(rootful.sh(script, "--device", "/dev/fuse:/dev/fuse:r", check=False).stdout)
    observed.append(rootful.sh(script, "--device", "/dev/fuse").stdout)
    assert observed == ["read\n", "read\nwritten\n"]


def test_device_not_given(rootful: Podman, observed: list[Any]) -> None:
    """A device that the container makes itself cannot be opened."""
    done = rootful.sh("mknod /tmp/kmsg c 1 11 && head -c1 /tmp/kmsg", "--cap-add", "MKNOD", check=False)
    observed.append((done.code, done.stderr))
    assert "Operation not permitted" in done.stderr


@pytest.mark.skipif(UNIFIED, reason="cgroup v2 has no list of devices: a program decides")
def test_default_device_rules(rootful: Podman, observed: list[Any]) -> None:
    """The list of allowed devices is the same as with runc."""
    container = rootful.detached()
    observed.append(comparable(rootful.cgroup(container, "devices.list")))
    assert "c 1:3 rwm" in observed[0]


UPDATES_V1 = [
    (("--memory", "48m"), {"memory.limit_in_bytes": str(48 * MIB)}),
    (("--memory-reservation", "20m"), {"memory.soft_limit_in_bytes": str(20 * MIB)}),
    (("--cpus", "0.25"), {"cpu.cfs_quota_us": "25000"}),
    (("--cpu-shares", "300"), {"cpu.shares": "300"}),
    (("--cpuset-cpus", "1"), {"cpuset.cpus": "1"}),
]
UPDATES_V2 = [
    (
        (
            *("--memory", "48m", "--memory-reservation", "20m", "--cpus", "0.25"),
            *("--cpu-shares", "262144", "--cpuset-cpus", "1"),
        ),
        {
            "memory.max": str(48 * MIB),
            "memory.low": str(20 * MIB),
            "cpu.max": "25000 100000",
            "cpu.weight": "10000",
            "cpuset.cpus": "1",
        },
    ),
]


@pytest.mark.parametrize(("options", "told"), UPDATES_V2 if UNIFIED else UPDATES_V1)
def test_update(rootful: Podman, observed: list[Any], options: tuple[str, ...], told: dict[str, str]) -> None:
    """`update` changes limits of a running container."""
    container = rootful.detached()
    rootful("update", *options, container)
    observed.append({file: rootful.cgroup(container, file) for file in told})
    assert observed == [told]


def test_update_memory_again(rootful: Podman, observed: list[Any]) -> None:
    """A limit may be written again unchanged, raised, and lowered."""
    container = rootful.detached(options=("--memory", "32m"))
    for limit in ("32m", "64m", "64m", "24m"):
        rootful("update", "--memory", limit, container)
        observed.append(rootful.cgroup(container, "memory.max" if UNIFIED else "memory.limit_in_bytes"))
    assert observed == [str(number * MIB) for number in (32, 64, 64, 24)]


def comparable(content: str) -> list[str]:
    """Return the lines of a cgroup's file in order; crun and youki allow /dev/console, runc does not."""
    return sorted(line for line in content.splitlines() if line != "c 5:1 rwm")
