"""Processes that hold namespaces for a container to join, and containers beside a container."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .conftest import Bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

# Type of a namespace → its name in /proc/PID/ns (namespaces(7)) and the option of unshare(1).
KINDS = {
    "pid": ("pid", "--pid"),
    "network": ("net", "--net"),
    "mount": ("mnt", "--mount"),
    "ipc": ("ipc", "--ipc"),
    "uts": ("uts", "--uts"),
    "user": ("user", "--user"),
    "cgroup": ("cgroup", "--cgroup"),
    "time": ("time", "--time"),
}


def identity(kind: str, pid: int | str = "self") -> str:
    """Return what tells this namespace of a process from others, as readlink(1) shows it: `net:[4026531840]`."""
    return os.readlink(namespace_path(kind, pid))


def namespace_path(kind: str, pid: int | str = "self") -> str:
    """Return the path by which the namespace of a process is joined."""
    return f"/proc/{pid}/ns/{KINDS[kind][0]}"


def show(*kinds: str) -> str:
    """Return the shell commands that print the payload's namespaces of these types, one a line."""
    return "; ".join(f"readlink /proc/self/ns/{KINDS[kind][0]}" for kind in kinds)


@contextmanager
def holder(*kinds: str, options: tuple[str, ...] = ()) -> Iterator[int]:
    """Yield the pid of a process with new namespaces of these types, and end it afterwards."""
    command = ["unshare", *[KINDS[kind][1] for kind in kinds], *options, "--fork", "--kill-child"]
    process = subprocess.Popen(
        [*command, "--", "sh", "-c", 'readlink "/proc/self"; exec sleep 1000'],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield int(_children(process.pid)[0])
    finally:
        process.kill()
        process.communicate()


def _children(pid: int) -> list[str]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


def beside(bundle: Bundle, name: str) -> Bundle:
    """Return another bundle on the same root file system, whose container the fixture removes, too."""
    path = bundle.path.parent / name
    path.mkdir()
    made = Bundle(path, bundle.root, f"{bundle.id}-{name}")
    made.rootfs = bundle.rootfs
    made.spec["root"]["path"] = str(bundle.rootfs)
    return made
