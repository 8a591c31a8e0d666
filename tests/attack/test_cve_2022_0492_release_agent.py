"""CVE-2022-0492: a container that can write to release_agent of a v1 hierarchy runs a program on the host."""

from __future__ import annotations

import glob
from pathlib import Path

import pytest

from ..integration.conftest import Bundle
from .hostile import grant_all

ATTACK = """
for file in $(find /sys/fs/cgroup -name release_agent); do
  echo found
  (exec 3>> $file) 2>/dev/null && echo written $file
done
mkdir /tmp/fresh
for controller in rdma misc net_cls perf_event cpuset memory pids; do
  unshare -UrmC mount -t cgroup -o $controller none /tmp/fresh 2>/dev/null && echo mounted $controller
  mount -t cgroup -o $controller none /tmp/fresh 2>/dev/null && (exec 3>> /tmp/fresh/release_agent) 2>/dev/null &&
    echo written $controller
  umount /tmp/fresh 2>/dev/null
done
echo done
"""


@pytest.mark.parametrize("kind", ["usual", "without a cgroup namespace", "capable in a user namespace"])
def test_release_agent_is_out_of_reach(bundle: Bundle, kind: str) -> None:
    """Neither through the cgroups that the container is given, nor through a hierarchy that it mounts itself."""
    agents = glob.glob("/sys/fs/cgroup/*/release_agent")
    if not agents:
        pytest.skip("no v1 hierarchy here")
    if kind == "usual":
        bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid", "nodev", "noexec")
    elif kind == "without a cgroup namespace":
        bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "nodev", "noexec")
        bundle.remove_namespace("cgroup")
    else:
        bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "nodev", "noexec")
        bundle.add_userns()
        grant_all(bundle)
    before = {path: Path(path).read_text() for path in agents}
    lines = bundle.sh(ATTACK).lines
    assert [line for line in lines if line.startswith("written")] == []
    assert lines[-1] == "done"
    assert {path: Path(path).read_text() for path in agents} == before
