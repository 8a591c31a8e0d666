"""init runs from a sealed copy, or from an unlinked file where memory may not be executed: memfd_create(2)."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from .conftest import YOUKI

if TYPE_CHECKING:
    from .conftest import Bundle

SYSCTL = "/proc/sys/vm/memfd_noexec"


@pytest.mark.parametrize("level", [0, 1, 2])
def test_container_runs_whatever_memory_files_may_be_executed(bundle: Bundle, level: int) -> None:
    """vm.memfd_noexec belongs to the pid namespace: 2 forbids to execute any memfd."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed (Debian: util-linux)")
    bundle.process["args"] = ["echo", "ran"]
    bundle.save()
    youki = f"{YOUKI} --root {bundle.root} run {bundle.id}"
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", f"echo {level} > {SYSCTL} && {youki}"],
        cwd=bundle.path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "memfd_noexec" in done.stderr:
        pytest.skip("this kernel does not let a pid namespace choose vm.memfd_noexec")

    assert done.stderr == ""
    assert done.stdout == "ran\n"
