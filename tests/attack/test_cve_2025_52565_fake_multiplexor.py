"""CVE-2025-52565: what the image has at /dev/pts is bound at /dev/console, before the masks are made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from libcontainer import Container, Error

from ..integration.conftest import Bundle
from .hostile import remove_mount, tree
from .terminals import console


def make(path: Path, kind: str, victim: Path) -> None:
    """Make a false multiplexor."""
    if kind == "link":
        path.symlink_to("/proc/sys/kernel/core_pattern")
    elif kind == "link to the host":
        path.symlink_to(victim / "secret")
    elif kind == "file":
        path.touch()
    elif kind.startswith("device"):
        os.mknod(path, 0o020666, os.makedev(5, 2))
    elif kind == "null":
        os.mknod(path, 0o020666, os.makedev(1, 3))


@pytest.mark.parametrize(
    "kind", ["link", "link to the host", "file", "device", "device beside a devpts", "null", "missing"]
)
def test_multiplexor_must_be_the_one_of_a_devpts(bundle: Bundle, victim: Path, kind: str) -> None:
    """Not even device 5:2 will do where it is no file of a devpts: its terminals would be the host's."""
    remove_mount(bundle, "/dev/pts")
    remove_mount(bundle, "/dev")
    (bundle.rootfs / "dev/pts").mkdir()
    make(bundle.rootfs / "dev/pts/ptmx", kind, victim)
    for number in range(4):
        (bundle.rootfs / f"dev/pts/{number}").symlink_to("/proc/sys/kernel/core_pattern")
    if kind == "device beside a devpts":  # such a one works, and its terminals are those of that devpts
        bundle.mount("/dev/pts/pts", "devpts", "devpts")
    before = tree(victim)
    with pytest.raises(Error) as caught, console(bundle, "sleep", "1000"):
        pass
    assert "/dev/pts/ptmx" in str(caught.value)
    assert Container.list(bundle.root) == []
    assert tree(victim) == before


def test_console_is_the_terminal_that_was_handed_over(bundle: Bundle) -> None:
    """What is at /dev/console is found by no name: it is the other end of the very master that the caller got."""
    script = "tty <&1; stat -c %t:%T /dev/console; stat -L -c %t:%T /proc/self/fd/1; echo hello >/dev/console"
    with console(bundle, "/bin/sh", "-c", script) as (container, master):
        container.start()
        container.wait(20)
        seen = os.read(master, 4096).decode().split()
    assert seen[1] == seen[2]
    assert seen[3] == "hello"
