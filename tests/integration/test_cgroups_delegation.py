"""A delegated cgroup is divided by its user, who cannot lift its limits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from libcgroups import CgroupError, Manager, Setup, Unsupported, detect, new

from .groups import made

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes cgroups and becomes another user"),
]

NOBODY = 65534
DIVIDE = """
import os, sys
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
sys.stdin.read(1)
os.mkdir("below")
with open("below/cgroup.procs", "w") as file: file.write("0")
print(open("/proc/self/cgroup").read().strip().endswith("/below"))
for file in ("cgroup.freeze", "cgroup.max.depth"):
    try: open(file, "w")
    except PermissionError: print(file)
"""


@pytest.fixture
def manager() -> Iterator[Manager]:
    """A cgroup of the unified hierarchy, which a hybrid host has, too."""
    unified = detect().unified_hierarchy
    if unified is None:
        pytest.skip("this host has no unified hierarchy")
    found = new(
        f"/libcontainer-test-delegation-{os.getpid()}", container_id="d", setup=Setup("v2", (), unified)
    )
    found.create()
    yield found
    found.kill_all()
    found.remove()
    assert not found.exists()


def divide(manager: Manager) -> list[str]:
    """What a process of another user that is in the cgroup can do to it."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", DIVIDE.format(uid=NOBODY)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=manager.paths[""],
    ) as process:
        manager.add_process(process.pid)
        output, _ = process.communicate("x", timeout=30)
    return output.splitlines()


def test_the_user_divides_the_cgroup_and_keeps_its_limits(manager: Manager) -> None:
    """What a container with an init system needs; freezing and depth stay the caller's."""
    manager.delegate(NOBODY)

    assert divide(manager) == ["True", "cgroup.freeze", "cgroup.max.depth"]
    owners = {path.name: path.stat().st_uid for path in Path(manager.paths[""]).iterdir()}
    assert owners["cgroup.procs"] == owners["cgroup.threads"] == owners["cgroup.subtree_control"] == NOBODY
    assert owners["cgroup.max.descendants"] == 0


def test_without_delegation_the_user_can_do_nothing(manager: Manager) -> None:
    """The negative of the above."""
    assert divide(manager) == []


def test_v1_is_not_delegated() -> None:
    """There the owner of the directory could raise every limit in it."""
    with made("no-delegation") as manager:
        if manager.mode == "v2":
            pytest.skip("this host has cgroup v2 only")
        with pytest.raises(Unsupported, match="cannot be delegated"):
            manager.delegate(NOBODY)
        assert all(Path(path).stat().st_uid == 0 for path in manager.paths.values())


def test_a_missing_cgroup_cannot_be_delegated(manager: Manager) -> None:
    """A missing file of a controller is passed over; the cgroup itself is not."""
    manager.remove()
    with pytest.raises(CgroupError, match="cannot chown"):
        manager.delegate(NOBODY)
    manager.create()
