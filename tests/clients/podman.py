"""podman on the private host: one runtime, storage of its own, `cgroupfs`, and no network but the host's loopback."""

from __future__ import annotations

import json
import os
import pty
import resource
import select
import subprocess
import time
from typing import TYPE_CHECKING, Any

from . import runtimes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .privatehost import PrivateHost

IMAGE = "localhost/busybox"
# A host that may not raise limits (no CAP_SYS_RESOURCE) refuses podman's defaults for root.
LIMITS = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}


class PodmanError(AssertionError):
    """A command of podman failed; the message is what it said."""


class Done:
    """How a command of podman ended: exit code and output."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code = code
        self.stdout = stdout
        self.stderr = stderr

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    def __repr__(self) -> str:
        return f"Done({self.code}, {self.stdout!r}, {self.stderr!r})"


class Podman:
    """Call podman: `podman("ps", "-a")`, `podman.run("true")`. A failure raises unless `check` is false.

    `user` are the words that make a program run as an unprivileged user, none for root.
    """

    def __init__(self, host: PrivateHost, directory: Path, user: tuple[str, ...] = ()) -> None:
        self.host = host
        self.directory = directory
        self.user = user
        self.runtime = "runc"
        self.runtime_dir = "/run/podman"  # short: podman refuses more than 50 characters
        host.path(self.runtime_dir).mkdir(mode=0o700)
        self._write_configuration()

    def _write_configuration(self) -> None:
        ulimits = ",".join(f'"{name}={_limit(number)}"' for name, number in LIMITS.items())
        programs = "\n".join(f'{name} = ["{path}"]' for name, path in runtimes.installed().items())
        (self.directory / "containers.conf").write_text(
            f'[containers]\nnetns = "none"\nseccomp_profile = "unconfined"\ndefault_ulimits = [{ulimits}]\n'
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\n'
            f"[engine.runtimes]\n{programs}\n"
        )
        (self.directory / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.directory}/storage"\n'
            f'runroot = "{self.runtime_dir}/storage"\n'
        )

    def command(self, *words: str) -> list[str]:
        """Return podman's command line, for the private host."""
        places = ("--root", f"{self.directory}/storage", "--runroot", f"{self.runtime_dir}/storage")
        tmp = ("--tmpdir", f"{self.runtime_dir}/libpod")
        return [
            *self.user,
            "env",
            *self._environment(),
            "podman",
            *places,
            *tmp,
            "--runtime",
            self.runtime,
            *words,
        ]

    def _environment(self) -> list[str]:
        return [
            f"CONTAINERS_CONF={self.directory}/containers.conf",
            f"CONTAINERS_STORAGE_CONF={self.directory}/storage.conf",
            f"XDG_RUNTIME_DIR={self.runtime_dir}",
            f"HOME={self.directory}",
            f"TMPDIR={self.directory}",
        ]

    def __call__(self, *words: str, check: bool = True, **more: Any) -> Done:
        """Run a command of podman."""
        ended = self.host.run(*self.command(*words), check=False, cwd=self.directory, **more)
        done = Done(ended.returncode, ended.stdout, ended.stderr)
        if check and done.code != 0:
            raise PodmanError(f"podman {words[0]} ended with {done.code}: {done.stderr.strip()}")
        return done

    def run(self, *words: str, options: tuple[str, ...] = (), check: bool = True, **more: Any) -> Done:
        """Run a container of the image to its end: `run --rm OPTIONS IMAGE WORDS`."""
        return self("run", "--rm", *self.place(), *options, IMAGE, *words, check=check, **more)

    def sh(self, script: str, *options: str, check: bool = True) -> Done:
        """Run a shell script in a new container."""
        return self.run("sh", "-c", script, options=options, check=check)

    def detached(self, *words: str, options: tuple[str, ...] = ()) -> str:
        """Start a container in the background and return its id; `sleep` unless told otherwise."""
        command = words or ("sleep", "1000")
        return self("run", "-d", *self.place(), *options, IMAGE, *command).stdout.strip()

    def create(self, *words: str, options: tuple[str, ...] = ()) -> str:
        """Create a container and return its id."""
        return self("create", *self.place(), *options, IMAGE, *words).stdout.strip()

    def inside(self, container: str, script: str, *options: str, check: bool = True) -> Done:
        """Run a shell script in a running container."""
        return self("exec", *options, container, "sh", "-c", script, check=check)

    def inspect(self, container: str, field: str) -> str:
        """Return a field of `inspect`, such as `.State.Status`."""
        return self("inspect", "--format", f"{{{{{field}}}}}", container).stdout.strip()

    def status(self, container: str) -> str:
        """Return the status that podman asks the runtime for."""
        return self.inspect(container, ".State.Status")

    def pid(self, container: str) -> int:
        """Return the first process of a container."""
        return int(self.inspect(container, ".State.Pid"))

    def json(self, *words: str) -> Any:
        """Return what a command prints as JSON."""
        return json.loads(self(*words).stdout)

    def at_terminal(self, *words: str, send: bytes = b"", timeout: float = 60) -> Done:
        """Run a command of podman at a terminal; `send` is typed once it has written something."""
        master, slave = pty.openpty()
        try:
            process = subprocess.Popen(
                self.host(*self.command(*words)), stdin=slave, stdout=slave, stderr=slave, cwd=self.directory,
                start_new_session=True,
            )  # fmt: skip
            os.close(slave)
            said = _converse(master, send, timeout)
            return Done(process.wait(timeout), said.decode().replace("\r\n", "\n"), "")
        finally:
            os.close(master)

    def place(self) -> tuple[str, ...]:
        """Return the options that put a container below our name; without root there is no cgroup."""
        return () if self.user else ("--cgroup-parent", f"/{self.host.name}")

    def remove_all(self) -> None:
        """Remove every pod, container and volume."""
        if self("ps", "--all", "--quiet").stdout:
            self("pod", "rm", "--all", "--force", "--time=0")
            self("rm", "--all", "--force", "--time=0")
        self("volume", "prune", "--force")

    def runtime_state(self) -> list[str]:
        """Return what the runtime keeps about containers, in the place that it chooses when podman names none."""
        root = self.host.path(f"{self.runtime_dir}/{self.runtime}" if self.user else f"/run/{self.runtime}")
        return sorted(entry.name for entry in root.iterdir()) if root.is_dir() else []


def _limit(number: int) -> str:
    soft, hard = resource.getrlimit(number)
    return f"{min(1024, soft)}:{min(4096, hard)}" if hard >= 0 else "1024:4096"


def _converse(master: int, send: bytes, timeout: float) -> bytes:
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
