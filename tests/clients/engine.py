"""An engine's client with one runtime, which podman and Docker write alike: run, exec, inspect, and the rest."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from typing import TYPE_CHECKING, Any

from . import images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .privatehost import PrivateHost


class EngineError(AssertionError):
    """A command failed; the message is what it said."""


class Done:
    """How a command ended: exit code and output."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code = code
        self.stdout = stdout
        self.stderr = stderr

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    def __repr__(self) -> str:
        return f"Done({self.code}, {self.stdout!r}, {self.stderr!r})"


class Engine:
    """Call an engine: `engine("ps", "-a")`, `engine.run("true")`. A failure raises unless `check` is false."""

    name: str
    host: PrivateHost

    def command(self, *words: str) -> list[str]:
        """Return the client's command line, for the private host."""
        raise NotImplementedError

    def place(self) -> tuple[str, ...]:
        """Return the options that every container is made with."""
        raise NotImplementedError

    def __call__(self, *words: str, check: bool = True, **more: Any) -> Done:
        """Run a command."""
        ended = self.host.run(*self.command(*words), check=False, **more)
        done = Done(ended.returncode, ended.stdout, ended.stderr)
        if check and done.code != 0:
            raise EngineError(f"{self.name} {words[0]} ended with {done.code}: {done.stderr.strip()}")
        return done

    def run(self, *words: str, options: tuple[str, ...] = (), check: bool = True, **more: Any) -> Done:
        """Run a container of the image to its end: `run --rm OPTIONS IMAGE WORDS`."""
        return self("run", "--rm", *self.place(), *options, images.NAME, *words, check=check, **more)

    def sh(self, script: str, *options: str, check: bool = True) -> Done:
        """Run a shell script in a new container."""
        return self.run("sh", "-c", script, options=options, check=check)

    def detached(self, *words: str, options: tuple[str, ...] = ()) -> str:
        """Start a container in the background and return its id; `sleep` unless told otherwise."""
        command = words or ("sleep", "1000")
        return self("run", "-d", *self.place(), *options, images.NAME, *command).stdout.strip()

    def create(self, *words: str, options: tuple[str, ...] = ()) -> str:
        """Create a container and return its id."""
        return self("create", *self.place(), *options, images.NAME, *words).stdout.strip()

    def inside(self, container: str, script: str, *options: str, check: bool = True) -> Done:
        """Run a shell script in a running container."""
        return self("exec", *options, container, "sh", "-c", script, check=check)

    def inspect(self, container: str, field: str) -> str:
        """Return a field of `inspect`, such as `.State.Status`."""
        return self("inspect", "--format", f"{{{{{field}}}}}", container).stdout.strip()

    def status(self, container: str) -> str:
        """Return the status that the engine tells."""
        return self.inspect(container, ".State.Status")

    def pid(self, container: str) -> int:
        """Return the first process of a container."""
        return int(self.inspect(container, ".State.Pid"))

    def at_terminal(self, *words: str, send: bytes = b"", timeout: float = 60) -> Done:
        """Run a command at a terminal; `send` is typed once it has written something."""
        master, slave = pty.openpty()
        try:
            process = subprocess.Popen(
                self.host(*self.command(*words)),
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
            os.close(slave)
            said = converse(master, send, timeout)
            return Done(process.wait(timeout), said.decode().replace("\r\n", "\n"), "")
        finally:
            os.close(master)


def converse(master: int, send: bytes, timeout: float) -> bytes:
    """Read a terminal to its end, typing `send` after the first words."""
    said, deadline = b"", time.monotonic() + timeout
    while time.monotonic() < deadline:
        ready, _, _ = select.select([master], [], [], 1)
        if not ready:
            continue
        try:
            data = os.read(master, 65536)
        except OSError:  # EIO: nobody has it open any more
            return said
        said += data
        if send:
            os.write(master, send)
            send = b""
    raise AssertionError(f"the terminal was still open after {timeout} seconds; it said {said!r}")


def eventually(condition: Callable[[], object], timeout: float = 30) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def commands_of(page: Path, section: str) -> list[str]:
    """Return the commands that a section of a page shows."""
    text = page.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
