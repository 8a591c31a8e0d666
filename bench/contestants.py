"""Who is measured: each contestant makes one container from the bundle and removes it again.

One more process is started in a container that each has prepared for that.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from libcontainer import Container, ContainerBuilder

from .bundle import Bundle

YOUKI = str(Path(sys.executable).with_name("youki"))
_numbers = itertools.count()


def fresh_id() -> str:
    """Return an id that no other container of this benchmark has."""
    return f"bench-{os.getpid()}-{next(_numbers)}"


class ContainerError(Exception):
    """A contestant could not make its container."""


class Runtime:
    """A command line: `name` for the tables, `words` with the options that every command takes."""

    def __init__(self, name: str, program: str, bundle: Bundle, directory: Path) -> None:
        self.name = name
        self.words = [program, "--root", str(directory / name)]
        self.bundle = bundle
        self.errors = directory / f"{name}.stderr"
        self.program = program
        self.waiting = ""

    @property
    def version(self) -> str:
        """The first line of `--version`."""
        done = subprocess.run([self.program, "--version"], text=True, capture_output=True, check=True)
        return done.stdout.splitlines()[0]

    def run(self) -> float:
        """Return the seconds that `run` takes."""
        return timed(lambda: self.call("run", "--bundle", str(self.bundle.path), fresh_id()))

    def lifecycle(self) -> float:
        """Return the seconds that create, start and delete --force take, one after the other."""
        return timed(lambda: self._lifecycle(fresh_id()))

    def _lifecycle(self, container_id: str) -> None:
        self.call("create", "--bundle", str(self.bundle.path), container_id)
        self.call("start", container_id)
        self.call("delete", "--force", container_id)

    def prepare(self) -> None:
        """Start the container that `exec` is measured in. Raises ContainerError."""
        self.waiting = fresh_id()
        self.call("create", "--bundle", str(self.bundle.waiting), self.waiting)
        self.call("start", self.waiting)

    def exec(self) -> float:
        """Return the seconds that `exec` of /bin/true takes."""
        return timed(lambda: self.call("exec", self.waiting, "/bin/true"))

    def close(self) -> None:
        """Remove the prepared container."""
        if self.waiting:
            self.call("delete", "--force", self.waiting)

    def call(self, *words: str) -> None:
        """Call the command and wait for it. Raises ContainerError."""
        pid = self.spawn(*words)
        if os.waitpid(pid, 0)[1] != 0:
            told = self.errors.read_text(errors="replace").strip().splitlines() or ["(nothing)"]
            raise ContainerError(f"{self.name} {words[0]} failed and said: {told[-1]}")

    def spawn(self, *words: str) -> int:
        """Start the command and return its pid. posix_spawn(3) costs less than subprocess and varies less."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, str(self.errors), flags, 0o600),
        ]
        return os.posix_spawn(self.words[0], [*self.words, *words], os.environ, file_actions=actions)

    def at_once(self, count: int) -> float:
        """Return the seconds until `count` containers, all started together, have been run and removed."""

        def together() -> None:
            pids = [self.spawn("run", "--bundle", str(self.bundle.path), fresh_id()) for _ in range(count)]
            failed = [pid for pid in pids if os.waitpid(pid, 0)[1] != 0]
            if failed:
                raise ContainerError(f"{self.name}: {len(failed)} of {count} containers at once failed")

        return timed(together)


class Library:
    """This library, in the process of the benchmark: no command, no start of Python."""

    name = "libcontainer"

    def __init__(self, bundle: Bundle, directory: Path) -> None:
        self.bundle = bundle
        self.root = directory / self.name
        self.null = os.open("/dev/null", os.O_RDWR)
        self.waiting: Container | None = None

    def run(self) -> float:
        """Return the seconds that create, start, wait and delete take."""
        return timed(self.make)

    def run_limited(self) -> float:
        """Return the same for a container with limits."""
        return timed(lambda: self.make(self.bundle.limited))

    def prepare(self) -> None:
        """Start the container that `exec` is measured in."""
        self.waiting = self._builder().as_init(self.bundle.waiting).build()
        self.waiting.start()

    def exec(self) -> float:
        """Return the seconds that /bin/true as a tenant takes, until its end."""
        return timed(self._exec)

    def _exec(self) -> None:
        assert self.waiting is not None
        null = self.null
        with self.waiting.exec(["/bin/true"], stdin=null, stdout=null, stderr=null) as process:
            status = process.wait()
        if status.code != 0:
            raise ContainerError(f"{self.name} exec: {status}")

    def close(self) -> None:
        """Remove the prepared container."""
        if self.waiting is not None:
            self.waiting.delete(force=True)

    def _builder(self) -> ContainerBuilder:
        builder = ContainerBuilder(fresh_id()).with_root_path(self.root)
        return builder.with_stdin(self.null).with_stdout(self.null).with_stderr(self.null)

    def make(self, bundle: Path | None = None) -> None:
        """Make a container, run it to its end and remove it. Raises ContainerError."""
        with self._builder().as_init(bundle or self.bundle.path).build() as container:
            container.start()
            status = container.wait()
        if status.code != 0:
            raise ContainerError(f"{self.name}: {status}")

    def at_once(self, count: int) -> float:
        """Return the seconds until `count` containers of as many threads have been run and removed."""
        from concurrent.futures import ThreadPoolExecutor

        def together() -> None:
            with ThreadPoolExecutor(count) as pool:
                for done in [pool.submit(self.make) for _ in range(count)]:
                    done.result()

        return timed(together)


class Floor:
    """bench/floor.c: the kernel's own work, measured by the program itself."""

    name = "floor"

    def __init__(self, bundle: Bundle) -> None:
        words = [str(bundle.floor), "0", str(bundle.rootfs), "bench", *_cgroups(f"bench-{os.getpid()}-floor")]
        self.process = subprocess.Popen(words, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self) -> float:
        """Return the seconds that it takes, without any start of a program."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise ContainerError("floor ended: see its message above")
        return int(line) / 1e9

    def close(self) -> None:
        """End the program."""
        self.process.communicate()


def _cgroups(name: str) -> list[str]:
    """Return the cgroups that the floor makes: those that this library would make."""
    from libcgroups import new

    words = []
    for cgroup in new(None, container_id=name).cgroups:
        kind = "cgroup" if cgroup.controllers else "cgroup2"
        words.append(f"{kind}:{cgroup.mount_data}:{cgroup.directory}")
    return words


def installed(bundle: Bundle, directory: Path) -> list[Runtime]:
    """Return this project's command, and crun and runc where they are installed."""
    found = [Runtime("youki", YOUKI, bundle, directory)]
    for name in ("crun", "runc"):
        program = shutil.which(name)
        if program is not None:
            found.append(Runtime(name, program, bundle, directory))
    return found


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that `action` takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def smallest_limit(runtime: Runtime, step: int, steps: int, tries: int) -> int | None:
    """Return the smallest memory limit, in bytes and a multiple of `step`, with which `runtime` starts.

    It must do so `tries` times in a row. None when not even `steps` times `step` suffices.
    """
    low, high = 0, steps + 1
    while high - low > 1:
        middle = (low + high) // 2
        runtime.bundle.write(middle * step)
        if all(_starts(runtime) for _ in range(tries)):
            high = middle
        else:
            low = middle
    runtime.bundle.write(None)
    return None if high > steps else high * step


def _starts(runtime: Runtime) -> bool:
    container_id = fresh_id()
    try:
        runtime.call("run", "--bundle", str(runtime.bundle.path), container_id)
    except ContainerError:
        subprocess.run([*runtime.words, "delete", "--force", container_id], capture_output=True, check=False)
        return False
    return True


Measurement = tuple[str, Callable[[], float]]


def measurements(library: Library, floor: Floor, runtimes: Sequence[Runtime]) -> list[Measurement]:
    """Return what is measured in turn, by the name of its row."""
    rows: list[Measurement] = [("floor", floor.run), ("libcontainer", library.run)]
    rows.append(("libcontainer, limits", library.run_limited))
    rows += [(f"{runtime.name} run", runtime.run) for runtime in runtimes]
    rows += [(f"{runtime.name} lifecycle", runtime.lifecycle) for runtime in runtimes]
    rows.append(("libcontainer exec", library.exec))
    rows += [(f"{runtime.name} exec", runtime.exec) for runtime in runtimes]
    return rows
