"""Containers for the tests of the file system: made with the newer mount calls, or with the classic ones only.

A `Box` runs the same bundle in both ways: in this process, or by `youki` under a filter that hides the calls
that came with Linux 5.2 to 5.12 (tests/tools/enosys.py). So the fallbacks really run.
"""

from __future__ import annotations

import ctypes
import errno
import subprocess
from contextlib import ExitStack
from pathlib import Path
from subprocess import DEVNULL
from typing import IO, TYPE_CHECKING, Any

import pytest

from libcontainer import Container, Error
from libcontainer.host import unescape

from ..tools.enosys import without
from .conftest import YOUKI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Bundle

MODES = ("new", "classic")


class Mount:
    """One line of a mountinfo file (proc_pid_mountinfo(5))."""

    def __init__(self, line: str) -> None:
        head, _, tail = line.partition(" - ")
        fields, kind = head.split(" "), tail.split(" ")
        self.root, self.point = unescape(fields[3]), unescape(fields[4])
        self.options = set(fields[5].split(","))
        self.propagation = {item.split(":")[0] for item in fields[6:]}
        self.fstype, self.source = kind[0], unescape(kind[1])
        self.super_options = set(kind[2].strip().split(","))

    def __repr__(self) -> str:
        return f"Mount({self.point} {sorted(self.options)} {self.fstype} {sorted(self.super_options)})"


class Mounts(dict[str, Mount]):
    """A mount table by mount point; of several mounts on one point the topmost. `lines` has all of them."""

    def __init__(self, text: str) -> None:
        self.lines = [Mount(line) for line in text.splitlines()]
        super().__init__({mount.point: mount for mount in self.lines})


class Run:
    """What a payload left: exit code and output."""

    def __init__(self, code: int | None, stdout: str, stderr: str) -> None:
        self.code = code
        self.stdout = stdout
        self.stderr = stderr

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    def __repr__(self) -> str:
        return f"Run({self.code}, {self.stdout!r}, {self.stderr!r})"


class Box:
    """A bundle, and how its container is made: `new` or `classic`."""

    def __init__(self, bundle: Bundle, mode: str) -> None:
        self.bundle = bundle
        self.mode = mode
        self.spec, self.linux, self.rootfs = bundle.spec, bundle.linux, bundle.rootfs
        self.mount = bundle.mount
        self.wrapper: list[str] = without("all") if mode == "classic" else []
        self.no_pivot = False
        if mode == "new" and not has_new_mount_calls():
            pytest.skip("the newer mount calls are missing here")

    @property
    def classic(self) -> bool:
        return self.mode == "classic"

    def add_userns(self) -> None:
        """Give the container a user namespace."""
        self.bundle.add_userns()

    def sh(self, script: str) -> Run:
        """Run a shell script in the container."""
        if self.classic:
            self.bundle.process["args"] = ["/bin/sh", "-c", script]
            done = self._youki("run", *self._flags(), self.bundle.id)
            assert "youki: " not in done.stderr, done.stderr
            return Run(done.returncode, done.stdout, done.stderr)
        with ExitStack() as stack:
            out, err = (stack.enter_context(open(self.bundle.path / name, "w+")) for name in ("out", "err"))
            container = stack.enter_context(self._build_here(["/bin/sh", "-c", script], out, err))
            container.start()
            status = container.wait(30)
            out.seek(0)
            err.seek(0)
            return Run(status.returncode, out.read(), err.read())

    def build(self, *args: str) -> Container:
        """Create the container; its payload waits."""
        command = list(args or ("sleep", "1000"))
        if not self.classic:
            return self._build_here(command)
        self.bundle.process["args"] = command
        with open(self.bundle.path / "stderr", "w+") as stderr:
            # Not a pipe: the payload keeps the streams and would hold it open.
            words = ("create", *self._flags(), self.bundle.id)
            done = self._youki(*words, stdout=DEVNULL, stderr=stderr)
            stderr.seek(0)
            assert done.returncode == 0, stderr.read()
        return Container.load(self.bundle.root, self.bundle.id)

    def _build_here(
        self, args: list[str], out: IO[str] | None = None, err: IO[str] | None = None
    ) -> Container:
        self.bundle.process["args"] = args
        self.bundle.save()
        builder = (
            self.bundle.builder().with_stdin(DEVNULL).with_stdout(out or DEVNULL).with_stderr(err or DEVNULL)
        )
        return builder.as_init(self.bundle.path).with_no_pivot(self.no_pivot).build()

    def mounts(self) -> Mounts:
        """Create the container, return its mount table, and delete it."""
        with self.build() as container:
            return mounts_of(container)

    def refusal(self) -> str:
        """Create the container, which must fail, and return the words of the error."""
        if not self.classic:
            with pytest.raises(Error) as caught:
                self._build_here(["true"])
            assert Container.list(self.bundle.root) == []
            return str(caught.value)
        self.bundle.process["args"] = ["true"]
        done = self._youki("create", self.bundle.id)
        assert done.returncode != 0
        return done.stderr

    def _flags(self) -> list[str]:
        return ["--no-pivot"] if self.no_pivot else []

    def _youki(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        self.bundle.save()
        command = [*self.wrapper, str(YOUKI), "--root", str(self.bundle.root), *words]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": DEVNULL, **more}
        return subprocess.run(command, cwd=self.bundle.path, text=True, timeout=60, check=False, **streams)


def open_to_all(path: Path) -> None:
    """Let everybody search the directories that lead to `path`: pytest closes them."""
    for directory in (path, *path.parents):
        if directory.stat().st_mode & 0o011 != 0o011:
            directory.chmod(directory.stat().st_mode | 0o011)


class HostDirectory:
    """A directory of the host below which tests mount; everything is unmounted afterwards."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mounted: list[Path] = []

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def mount(self, name: str, *options: str, kind: str = "tmpfs", source: str = "tmpfs") -> Path:
        """Mount a file system on `name`, made when missing."""
        point = self.path / name
        point.mkdir(parents=True, exist_ok=True)
        words = ["-o", ",".join(options)] if options else []
        subprocess.run(["mount", "-t", kind, *words, source, str(point)], check=True)
        self.mounted.append(point)
        return point

    def set(self, point: Path, *words: str) -> None:
        """Call mount(8) on a mount point, for example with `--make-shared`."""
        subprocess.run(["mount", *words, str(point)], check=True)

    def close(self) -> None:
        """Unmount everything that is still there."""
        for point in reversed(self.mounted):
            if point.is_mount():
                subprocess.run(["umount", "--recursive", str(point)], check=True)
        self.mounted.clear()


def host_directory(path: Path) -> Iterator[HostDirectory]:
    """Yield a HostDirectory at `path` and unmount what the test has mounted."""
    path.mkdir()
    directory = HostDirectory(path)
    try:
        yield directory
    finally:
        directory.close()


def host_mounts(bundle: Bundle) -> list[str]:
    """Return the host's mount points, but for those that other tests, running beside this one, have made."""
    mine = str(bundle.path.parent)
    return [
        mount.point
        for mount in Mounts(Path("/proc/self/mountinfo").read_text()).lines
        if "/pytest-" not in mount.point or mount.point.startswith(mine)
    ]


def mounts_of(container: Container) -> Mounts:
    """Return the mount table of a container, as its first process sees it."""
    return Mounts(Path(f"/proc/{container.pid}/mountinfo").read_text())


def has_new_mount_calls() -> bool:
    """Whether open_tree(2) is there: not under `make test-enosys`."""
    libc = ctypes.CDLL(None, use_errno=True)
    open_tree = 428
    return libc.syscall(open_tree, -1, None, 0) >= 0 or ctypes.get_errno() != errno.ENOSYS
