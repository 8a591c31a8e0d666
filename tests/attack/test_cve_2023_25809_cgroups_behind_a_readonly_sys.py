"""CVE-2023-25809: the host's cgroups, bound with /sys, are writable although /sys is read-only."""

from __future__ import annotations

import pytest

from ..integration.boxes import mounts_of
from ..integration.conftest import Bundle
from .hostile import grant_all

WRITE = """
for directory in $(grep ' /sys' /proc/self/mountinfo | cut -d ' ' -f 5); do
  mount -o remount,bind,rw $directory 2>/dev/null && echo remounted $directory
  mkdir $directory/evil 2>/dev/null && echo made $directory/evil
  umount $directory 2>/dev/null && echo unmounted $directory
done
echo done
"""


@pytest.mark.parametrize("capable", [False, True])
def test_no_cgroup_of_the_host_is_writable_in_a_user_namespace(bundle: Bundle, capable: bool) -> None:
    """A user namespace without a network namespace gets the host's /sys; what it asked for, read-only, holds
    for all that is mounted below. Its root, even with CAP_SYS_ADMIN over its own mounts, makes no cgroup there.
    """
    bundle.remove_namespace("network")
    bundle.remove_namespace("cgroup")
    bundle.add_userns()
    if capable:
        grant_all(bundle)
    with bundle.build("sleep", "1000") as container:
        below = [mount for mount in mounts_of(container).lines if mount.point.startswith("/sys")]
        assert len(below) > 3, "the host's cgroups are not there at all"
        assert [mount for mount in below if "ro" not in mount.options] == []
    lines = bundle.sh(WRITE).lines
    assert [line for line in lines if line.startswith("made")] == []
    assert capable or lines == ["done"]


@pytest.mark.parametrize("userns", [False, True])
@pytest.mark.parametrize("cgroupns", [False, True])
def test_readonly_cgroup_mount_is_readonly_throughout(bundle: Bundle, userns: bool, cgroupns: bool) -> None:
    """A mount of type cgroup is one for each hierarchy: none of them may be forgotten."""
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid", "nodev", "noexec")
    if userns:
        bundle.add_userns()
    if not cgroupns:
        bundle.remove_namespace("cgroup")
    with bundle.build("sleep", "1000") as container:
        below = [mount for mount in mounts_of(container).lines if mount.point.startswith("/sys/fs/cgroup")]
        assert below
        assert [mount for mount in below if "ro" not in mount.options] == []
    assert bundle.sh(WRITE).stdout == "done\n"
