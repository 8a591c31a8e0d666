"""What the tests of cgroups share: a cgroup on the host's hierarchies, and programs that run in it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libcgroups import Hierarchy, Manager, detect, new

# A line of a container's shell: 64 MiB in a pipe to something that keeps them all, and then says how many bytes
# they were. While the kernel still takes the memory of the first victim of a limit it may choose another: never
# that shell, as all of the pipe stand before it (proc_pid_oom_score_adj(5)).
HOARD = "(echo 1000 >/proc/self/oom_score_adj; head -c 67108864 /dev/zero | tail -c 67108864 | wc -c)"


def offered(unified: Hierarchy | None) -> list[str]:
    """The controllers of the unified hierarchy."""
    return Path(unified.mount_point, "cgroup.controllers").read_text().split() if unified else []


def needs(controller: str) -> pytest.MarkDecorator:
    """Skip where the manager cannot limit this resource, neither on v1 nor on v2."""
    setup = detect()
    found = {name for hierarchy in setup.hierarchies for name in hierarchy.controllers}
    if setup.mode == "v2":
        found = {"devices", *offered(setup.unified_hierarchy)}
    return pytest.mark.skipif(controller not in found, reason=f"this host has no {controller} controller")


def needs_v1(controller: str) -> pytest.MarkDecorator:
    """Skip where a v1 controller, whose files the test reads, is not mounted."""
    mounted = any(controller in hierarchy.controllers for hierarchy in detect().hierarchies)
    return pytest.mark.skipif(not mounted, reason=f"the {controller} controller is not mounted as cgroup v1")


@contextlib.contextmanager
def made(name: str) -> Iterator[Manager]:
    """A created cgroup of this test run, gone with all its processes afterwards."""
    manager = new(f"/libcontainer-test-{name}-{os.getpid()}", container_id=name)
    manager.create()
    try:
        yield manager
    finally:
        manager.kill_all()
        manager.remove()
    assert not manager.exists()


def run_inside(manager: Manager, program: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a Python program in the cgroup from its first line on."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read(1)\n" + program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    ) as process:
        manager.add_process(process.pid)
        output, _ = process.communicate("x", timeout=30)
        return subprocess.CompletedProcess(program, process.returncode, output)
