"""kill -9 of the runtime at any moment: the payload never runs without a record, and `delete --force` always
cleans up.

strace(1) delivers the signal at a certain system call of the command, so that each moment is met exactly
and again.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import Container, NotFound

from .conftest import YOUKI, traces

if TYPE_CHECKING:
    from .conftest import Bundle

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

STRIDE = 9  # every ninth system call of a command is met: a few seconds for all


def moments(bundle: Bundle, *words: str) -> list[tuple[str, int]]:
    """Return the system calls that the command makes, in their order, each with its how-manieth of that name it is.

    That is how strace counts for an injection.
    """
    trace = bundle.path / "trace"
    strace(bundle, ["-o", str(trace)], *words)
    counts: Counter[str] = Counter()
    found = []
    for line in trace.read_text().splitlines():
        name = line.partition("(")[0]
        if name.isidentifier() and name not in ("execve", "exit_group"):
            counts[name] += 1
            found.append((name, counts[name]))
    return found


def strace(bundle: Bundle, options: list[str], *words: str) -> int:
    """Run the command under strace and return its return code."""
    youki = [str(YOUKI), "--root", str(bundle.root), *words]
    null = subprocess.DEVNULL
    done = subprocess.run(
        ["strace", "-qq", *options, *youki],
        cwd=bundle.path,
        timeout=60,
        check=False,
        stdin=null,
        stdout=null,
        stderr=null,
    )
    return done.returncode


def killed(bundle: Bundle, moment: tuple[str, int], *words: str) -> bool:
    """Run the command and kill it at that system call; False when it ended before it got there."""
    name, count = moment
    options = ["-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={count}"]
    return strace(bundle, options, *words) == -9


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


def test_create_killed_at_any_moment_leaves_only_what_delete_force_removes(bundle: Bundle) -> None:
    """runtime.md: an operation that fails leaves the environment as it was; with kill -9, delete --force does."""
    before = traces()
    bundle.process["args"] = ["sleep", "1000"]
    bundle.save()
    met = moments(bundle, "create", bundle.id)
    assert len(met) > 10 * STRIDE
    bundle.youki("delete", "--force", bundle.id)
    interrupted = 0
    for moment in met[::STRIDE]:
        interrupted += killed(bundle, moment, "create", bundle.id)
        bundle.youki("delete", "--force", bundle.id)
        assert traces() == before, moment
        with pytest.raises(NotFound):
            Container.load(bundle.root, bundle.id)
    assert interrupted > 0.8 * len(met[::STRIDE])
    settle(bundle)


@pytest.mark.parametrize(("hooks", "stride"), [({}, 1), ({"poststart": [{"path": "/bin/true"}]}, 2 * STRIDE)])
def test_start_killed_at_any_moment_leaves_a_container_that_can_be_deleted(
    bundle: Bundle, hooks: dict[str, Any], stride: int
) -> None:
    """Whether the payload runs already or not, the record names it and `delete --force` ends it.

    Without a hook the launcher starts it by a handful of calls, with one Python does (youki/start.c).
    """
    bundle.process["args"] = ["sleep", "4242.5"]
    bundle.spec["hooks"] = hooks
    bundle.save()
    bundle.youki("create", bundle.id)
    met = moments(bundle, "start", bundle.id)
    bundle.youki("delete", "--force", bundle.id)
    assert len(met[::stride]) > 10
    interrupted = 0
    for moment in met[::stride]:
        bundle.youki("create", bundle.id)
        interrupted += killed(bundle, moment, "start", bundle.id)
        assert Container.load(bundle.root, bundle.id).status in ("created", "running")
        bundle.youki("delete", "--force", bundle.id)
        assert alive_payloads("4242.5") == []
    assert interrupted > 0.8 * len(met[::stride])


def test_delete_killed_at_any_moment_can_be_repeated(bundle: Bundle) -> None:
    """Half a delete is finished by another one."""
    before = traces()
    bundle.process["args"] = ["sleep", "1000"]
    bundle.save()
    bundle.youki("create", bundle.id)
    met = moments(bundle, "delete", "--force", bundle.id)
    assert len(met) > 10 * STRIDE
    interrupted = 0
    for moment in met[:: 2 * STRIDE]:
        bundle.youki("create", bundle.id)
        interrupted += killed(bundle, moment, "delete", "--force", bundle.id)
        bundle.youki("delete", "--force", bundle.id)
        assert traces() == before, moment
    assert interrupted > 0.8 * len(met[:: 2 * STRIDE])


def test_id_of_an_interrupted_create_is_taken_and_the_error_says_how_to_free_it(bundle: Bundle) -> None:
    """A left-over must not be mistaken for a container, nor for nothing."""
    bundle.save()
    # The runtime tells init where the start socket is by listen(2): the intent is written, the state is not.
    assert killed(bundle, ("listen", 1), "create", bundle.id)
    settle(bundle)
    assert (bundle.root / bundle.id / "intent.json").exists()

    again = bundle.youki("create", bundle.id, check=False)
    assert again.returncode == 1
    assert "interrupted" in again.stderr
    assert f"youki delete --force {bundle.id}" in again.stderr
    assert bundle.youki("start", bundle.id, check=False).returncode == 1
    assert '"status": "creating"' in bundle.youki("state", bundle.id).stdout
    bundle.youki("delete", "--force", bundle.id)
