"""Parts of the attacks: what an attacker's container is like, and how to look at what came of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from libcontainer import Container, Error
from libcontainer.capabilities import NAMES

from ..integration.conftest import Bundle, Result
from ..integration.holders import beside, namespace_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def grant(bundle: Bundle, *capabilities: str) -> None:
    """Give the payload exactly these capabilities and let it gain privileges: what an attacker would like."""
    names = list(capabilities)
    bundle.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), names)
    bundle.process["noNewPrivileges"] = False


def grant_all(bundle: Bundle) -> None:
    """Give the payload every capability."""
    grant(bundle, *NAMES)


def remove_mount(bundle: Bundle, destination: str) -> None:
    """Take a mount, and those below it, out of the configuration."""
    bundle.spec["mounts"] = [
        item
        for item in bundle.spec["mounts"]
        if item["destination"] != destination and not item["destination"].startswith(destination + "/")
    ]


def neighbour(bundle: Bundle, name: str, container: Container, *kinds: str) -> Bundle:
    """Return a bundle on the same image whose container joins these namespaces of `container`."""
    made = beside(bundle, name)
    for kind in kinds:
        made.set_namespace(kind, namespace_path(kind, container.pid or 0))
    return made


def errnos(text: str) -> dict[str, int]:
    """Read the attacker's lines, "<attempt> <errno or number>"."""
    pairs = [line.rsplit(" ", 1) for line in text.splitlines()]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def until(condition: Callable[[], object], what: str, timeout: float = 20.0) -> None:
    """Wait until `condition` holds; fail with `what` when it does not come to that."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.001)


def await_file(path: Path, content: str = "") -> None:
    """Wait until a file is there and holds `content`."""
    until(lambda: path.exists() and content in path.read_text(), f"{path} did not come to hold {content!r}")


def refusal(bundle: Bundle, *args: str) -> Error | None:
    """Create, start and delete the container; return the error, None when it ran."""
    try:
        bundle.run(*(args or ("true",)), timeout=20)
    except Error as error:
        return error
    return None


def tree(path: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Return all that can be told of a directory: each entry's mode, owner, link count and content."""
    found = {}
    for entry in [path, *sorted(path.rglob("*"))]:
        status = entry.lstat()
        content = os.readlink(entry).encode() if entry.is_symlink() else b""
        if entry.is_file() and not entry.is_symlink():
            content = entry.read_bytes()
        key = str(entry.relative_to(path))
        found[key] = (status.st_mode, status.st_uid, status.st_nlink, content)
    return found


def inner_pid(container: Container) -> int:
    """Return the first process's number in its own pid namespace (proc_pid_status(5), NSpid)."""
    with open(f"/proc/{container.pid}/status") as file:
        return next(int(line.split()[-1]) for line in file if line.startswith("NSpid:"))


def python_youki(
    bundle: Bundle, *words: str, prefix: tuple[str, ...] = (), **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command line by this Python, under the command `prefix`; output through files, as a container
    keeps its creator's.
    """
    bundle.save()
    command = [*prefix, sys.executable, "-m", "youki", "--root", str(bundle.root), *words]
    with open(bundle.path / "cli.out", "w+") as out, open(bundle.path / "cli.err", "w+") as err:
        streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, **more}
        done = subprocess.run(command, cwd=bundle.path, timeout=60, check=False, **streams)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())


@contextmanager
def swapping(bundle: Bundle, first: Path, second: Path) -> Iterator[None]:
    """Exchange two names over and over, by a process that does nothing else, while the block runs.

    `bundle` is one with the attacker's program.
    """
    command = [str(bundle.rootfs / "attacker"), "swap", str(first), str(second)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "swap 0\n"
        yield
        assert process.poll() is None, "the names were not exchanged to the end"
    finally:
        process.kill()
        process.communicate()


class Rounds:
    """How the rounds of a race ended: `ran` holds the results, `refused` the errors."""

    def __init__(self, count: int, attempt: Callable[[], Result]) -> None:
        self.ran: list[Result] = []
        self.refused: list[Error] = []
        for _ in range(count):
            try:
                self.ran.append(attempt())
            except Error as error:
                self.refused.append(error)

    def __repr__(self) -> str:
        reasons = {str(error) for error in self.refused}
        return f"{len(self.ran)} ran, {len(self.refused)} were refused: {reasons}"
