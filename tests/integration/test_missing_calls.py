"""Kernels and filters that lack a system call: each is hidden in turn, and the container is made all the same.

tests/tools/enosys.c hides them. ENOSYS is what an old kernel says; EPERM what filters say that predate a call.
"""

from __future__ import annotations

import errno
import subprocess
from typing import TYPE_CHECKING

import pytest

from ..tools.enosys import GROUPS, without
from .conftest import YOUKI

if TYPE_CHECKING:
    from .conftest import Bundle

# Those for which EPERM is understood as "not there"; of a mount call it may be the true answer, and of clone3 the C
# library's posix_spawn(3) takes it for one.
FILTERED = ("openat2", "close_range")


def run_without(bundle: Bundle, calls: tuple[str, ...], error: int) -> subprocess.CompletedProcess[str]:
    """Run a container with mounts, masks and a copied tmpfs where `calls` fail with `error`."""
    bundle.mount("/t", "tmpfs", "tmpfs", "tmpcopyup", "ro")
    (bundle.rootfs / "t").mkdir(mode=0o711)
    (bundle.rootfs / "t/file").write_text("copied")
    bundle.process["args"] = ["/bin/sh", "-c", "cat /t/file; stat -c ' %a' /t; cat /proc/kcore; touch /t/a"]
    bundle.save()
    command = [*without(*calls, error=error), str(YOUKI), "--root", str(bundle.root), "run", bundle.id]
    return subprocess.run(
        command,
        cwd=bundle.path,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("call", [*GROUPS["all"], "fchmodat2", "all"])
def test_container_is_made_without(bundle: Bundle, call: str) -> None:
    """An older kernel is a slower one, never a weaker one: the masks and the read-only mount are there."""
    done = run_without(bundle, (call,), errno.ENOSYS)

    assert done.stdout == "copied 711\n", done.stderr
    assert "Read-only file system" in done.stderr


@pytest.mark.parametrize("call", FILTERED)
def test_container_is_made_where_a_filter_forbids(bundle: Bundle, call: str) -> None:
    """nspawn and older engines answer EPERM for what they do not know (bubblewrap 0.12 broke on that)."""
    done = run_without(bundle, (call,), errno.EPERM)

    assert done.stdout == "copied 711\n", done.stderr


def test_wrapper_hides_a_call(bundle: Bundle) -> None:
    """The negative: without this, the tests above would pass with every call in place."""
    program = (
        "import ctypes as c; c.CDLL(None, use_errno=True).syscall(437, 0, 0, 0, 0); print(c.get_errno())"
    )
    for error in (errno.ENOSYS, errno.EPERM):
        done = subprocess.run(
            [*without("openat2", error=error), "python3", "-c", program],
            text=True,
            capture_output=True,
            check=True,
        )
        assert int(done.stdout) == error
