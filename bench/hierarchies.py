"""A private mount namespace for the benchmark, with the cgroup hierarchies that every runtime accepts.

The records are in memory there, as they are below /run wherever an init system has mounted that. crun refuses a v1
host whose `hugetlb` controller is not mounted. It is mounted for the benchmark, and then all runtimes and the floor
join it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from libcgroups import host

MARK = "BENCH_MOUNT_NAMESPACE"
HUGETLB = Path("/sys/fs/cgroup/hugetlb")


def enter_private_namespace() -> None:
    """Start this program again in a mount namespace of its own; return when it is there already."""
    if os.environ.pop(MARK, None) == str(os.getpid()):
        return
    os.environ[MARK] = str(os.getpid())  # unshare(1) executes without forking: the number stays
    words = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "bench", *sys.argv[1:]]
    try:
        os.execvp(words[0], words)
    except FileNotFoundError:
        raise SystemExit("bench: unshare is not installed (Debian: util-linux)") from None


@contextlib.contextmanager
def in_memory(directory: str) -> Iterator[None]:
    """Mount a tmpfs on `directory`, and take it away again."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "bench", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


@contextlib.contextmanager
def complete_hierarchies() -> Iterator[None]:
    """Mount `hugetlb` where a v1 host lacks it, and take it away again."""
    setup = host.detect()
    if setup.mode not in ("v1", "hybrid") or not _is_missing(setup):
        yield
        return
    made = not HUGETLB.exists()
    HUGETLB.mkdir(exist_ok=True)
    try:
        # It fails where the unified hierarchy has the controller; crun is then left out.
        done = subprocess.run(["mount", "-t", "cgroup", "-o", "hugetlb", "hugetlb", HUGETLB], check=False)
        try:
            yield
        finally:
            if done.returncode == 0:
                subprocess.run(["umount", HUGETLB], check=True)
    finally:
        if made:
            with contextlib.suppress(FileNotFoundError):
                HUGETLB.rmdir()


def _is_missing(setup: host.Setup) -> bool:
    if any("hugetlb" in hierarchy.controllers for hierarchy in setup.hierarchies):
        return False
    with open("/proc/cgroups") as table:
        return any(line.startswith("hugetlb\t") for line in table)
