"""CVE-2025-31133, CVE-2025-62161: /dev/null, which is bound over what is masked, is a file of the image's choice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from libcontainer import Container

from ..integration.boxes import mounts_of
from ..integration.conftest import Bundle
from .hostile import Rounds, refusal, remove_mount, swapping, tree

ROUNDS = 25


@pytest.fixture
def dev(bundle: Bundle, tmp_path: Path) -> Path:
    """A directory that the container gets as /dev; another container may have it, too."""
    path = tmp_path / "dev"
    path.mkdir()
    remove_mount(bundle, "/dev")
    bundle.mount("/dev", str(path), "bind", "rbind")
    bundle.linux["maskedPaths"] = ["/proc/kcore", "/proc/keys", "/sys/firmware"]
    return path


def make(path: Path, kind: str, victim: Path) -> None:
    """Make a false /dev/null."""
    if kind == "link":
        path.symlink_to("/proc/sys/kernel/core_pattern")
    elif kind == "link to the host":
        path.symlink_to(victim / "secret")
    elif kind == "file":
        path.touch()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "other device":
        os.mknod(path, 0o020666, os.makedev(1, 5))
    elif kind == "block device":
        os.mknod(path, 0o060666, os.makedev(1, 3))


KINDS = ("link", "link to the host", "file", "fifo", "directory", "other device", "block device", "missing")


@pytest.mark.parametrize("kind", KINDS)
def test_false_null_device_is_refused(bundle: Bundle, dev: Path, victim: Path, kind: str) -> None:
    """Whatever is there instead of character device 1:3, the container is not made without its masks."""
    make(dev / "null", kind, victim)
    before = tree(victim)
    error = refusal(bundle)
    assert error is not None
    assert "/dev/null" in str(error)
    assert Container.list(bundle.root) == []
    assert tree(victim) == before


def test_masks_are_null_devices_while_null_is_exchanged(attacker: Bundle, dev: Path, victim: Path) -> None:
    """What was verified is what is bound: a container that comes into being has every file mask on 1:3."""
    os.mknod(dev / "null", 0o020666, os.makedev(1, 3))
    (dev / "evil").symlink_to("/proc/sys/kernel/core_pattern")
    seen = set()

    def attempt() -> None:
        with attacker.build("sleep", "1000") as container:
            mounts = mounts_of(container)
            for path in ("/proc/kcore", "/proc/keys"):
                if os.path.exists(path):
                    seen.add((mounts[path].root, os.lstat(f"/proc/{container.pid}/root{path}").st_rdev))

    with swapping(attacker, dev / "null", dev / "evil"):
        rounds = Rounds(ROUNDS, attempt)  # type: ignore[arg-type]
    assert {device for _, device in seen} <= {os.makedev(1, 3)}, (rounds, seen)
    assert len(rounds.ran) + len(rounds.refused) == ROUNDS


def test_masked_path_that_is_a_link_is_refused(bundle: Bundle) -> None:
    """Where it leads now would be masked, and where it leads later would not."""
    (bundle.rootfs / "etc/secrets").symlink_to("/etc/passwd")
    bundle.linux["maskedPaths"] = ["/etc/secrets"]
    error = refusal(bundle)
    assert error is not None
    assert "/linux/maskedPaths/0" in str(error)
