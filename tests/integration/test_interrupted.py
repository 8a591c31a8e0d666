"""kill -9 of the runtime at any moment: the payload never runs without a record, and `delete --force` always
cleans up.

strace(1) delivers the signal at the n-th system call of the command, so that each moment is met exactly and
again.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from libcontainer import Container, NotFound

from .conftest import YOUKI, traces

if TYPE_CHECKING:
    from .conftest import Bundle

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

STRIDE = 9  # every ninth system call is met; with SETTLED that is a few seconds


def killed(bundle: Bundle, call: int, *words: str) -> bool:
    """Run the command and kill it at its system call number `call`.

    False when it ended before it got there.
    """
    command = ["strace", "-qq", "-o", "/dev/null", "-e", f"inject=all:signal=KILL:when={call}"]
    youki = [str(YOUKI), "--root", str(bundle.root), *words]
    quiet = {stream: subprocess.DEVNULL for stream in ("stdin", "stdout", "stderr")}
    done = subprocess.run([*command, *youki], cwd=bundle.path, timeout=60, check=False, **quiet)
    return done.returncode == -9


def settle(bundle: Bundle) -> None:
    """Wait until no init of this bundle is left that has not been released.

    It ends when it sees its channel closed.
    """
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not inits():
            return
        time.sleep(0.005)
    raise AssertionError(f"init outlives its runtime: {inits()}")


def inits() -> list[str]:
    """Return the processes that still run the init program."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if b"libcontainer-init" in (entry / "cmdline").read_bytes():
                    found.append(entry.name)
            except OSError:
                continue
    return found


def alive_payloads(marker: str) -> list[str]:
    """Return the processes with `marker` among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if marker.encode() in words:
                found.append(entry.name)
    return found


def test_create_killed_at_any_system_call_leaves_only_what_delete_force_removes(bundle: Bundle) -> None:
    """runtime.md: an operation that fails leaves the environment as if it was never attempted.

    With kill -9, delete --force does.
    """
    before = traces()
    bundle.process["args"] = ["sleep", "1000"]
    bundle.save()
    call, moments = 1, 0
    while killed(bundle, call, "create", bundle.id):
        moments += 1
        call += STRIDE
        bundle.youki("delete", "--force", bundle.id)
        assert traces() == before, f"killed at system call {call - STRIDE}"
        with pytest.raises(NotFound):
            Container.load(bundle.root, bundle.id)
    bundle.youki("delete", "--force", bundle.id)

    assert moments > 20
    assert traces() == before
    settle(bundle)


def test_start_killed_at_any_system_call_leaves_a_container_that_can_be_deleted(bundle: Bundle) -> None:
    """Whether the payload runs already or not, the record names it and `delete --force` ends it."""
    bundle.process["args"] = ["sleep", "4242.5"]
    bundle.save()
    call, moments = 1, 0
    while True:
        bundle.youki("create", bundle.id)
        interrupted = killed(bundle, call, "start", bundle.id)
        assert Container.load(bundle.root, bundle.id).status in ("created", "running")
        bundle.youki("delete", "--force", bundle.id)
        assert alive_payloads("4242.5") == []
        if not interrupted:
            break
        moments += 1
        call += 2 * STRIDE
    assert moments > 5


def test_delete_killed_at_any_system_call_can_be_repeated(bundle: Bundle) -> None:
    """Half a delete is finished by another one."""
    before = traces()
    bundle.process["args"] = ["sleep", "1000"]
    bundle.save()
    call, moments = 1, 0
    while True:
        bundle.youki("create", bundle.id)
        interrupted = killed(bundle, call, "delete", "--force", bundle.id)
        bundle.youki("delete", "--force", bundle.id)
        assert traces() == before, f"killed at system call {call}"
        if not interrupted:
            break
        moments += 1
        call += 2 * STRIDE
    assert moments > 5


def test_id_of_an_interrupted_create_is_taken_and_the_error_says_how_to_free_it(bundle: Bundle) -> None:
    """A left-over must not be mistaken for a container, nor for nothing."""
    bundle.save()
    call = 1
    while (
        killed(bundle, call, "create", bundle.id) and not (bundle.root / bundle.id / "intent.json").exists()
    ):
        bundle.youki("delete", "--force", bundle.id)
        call += STRIDE
    settle(bundle)

    again = bundle.youki("create", bundle.id, check=False)
    assert again.returncode == 1
    assert "interrupted" in again.stderr
    assert f"youki delete --force {bundle.id}" in again.stderr
    assert bundle.youki("start", bundle.id, check=False).returncode == 1
    assert '"status": "creating"' in bundle.youki("state", bundle.id).stdout
    bundle.youki("delete", "--force", bundle.id)
