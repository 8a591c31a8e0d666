"""The source release and the wheel, built once, and an installation of the wheel far from the source tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

CLEAN = {"LANG": "C.UTF-8", "HOME": "/nonexistent"}
# Building without isolation needs the programs beside this Python.
BUILD = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


class Installation(NamedTuple):
    """A virtual environment that holds nothing but the wheel, and variables that lead to no compiler."""

    directory: Path
    environment: dict[str, str]

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program of this installation from outside any source tree."""
        return subprocess.run(command, env=self.environment, cwd="/", capture_output=True, text=True)


def check_call(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a command; its output is the failure's message."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=BUILD,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-8000:]}"


def tree_files(source_tree: Path) -> list[str]:
    """Return what belongs to the source: tracked files, and new ones that are not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=source_tree, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (source_tree / name).is_file()]


@pytest.fixture(scope="session")
def checkout(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fresh clone of the source as it is now, with nothing that a build has left behind."""
    if not shutil.which("git") or not (source_tree / ".git").exists():
        pytest.skip("needs git and a clone")
    clone = tmp_path_factory.mktemp("checkout")
    for name in tree_files(source_tree):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source_tree / name, clone / name)
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "core.hooksPath=/dev/null"]
    check_call("git", "init", "--quiet", cwd=clone)
    check_call("git", "add", "--all", cwd=clone)
    check_call("git", *author, "commit", "--quiet", "--message=all", cwd=clone)
    return clone


@pytest.fixture(scope="session")
def source_release(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the source release that the clone makes."""
    directory = tmp_path_factory.mktemp("sdist")
    check_call(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", directory, checkout)
    return next(directory.glob("*.tar.gz"))


@pytest.fixture(scope="session")
def wheel(source_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel that `pip wheel .` makes in the unpacked source release, so that both are complete."""
    unpacked, directory = tmp_path_factory.mktemp("unpacked"), tmp_path_factory.mktemp("wheel")
    shutil.unpack_archive(source_release, unpacked)
    tree = next(unpacked.iterdir())
    check_call(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", directory, ".", cwd=tree)
    return next(directory.glob("*.whl"))


@pytest.fixture(scope="session")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Return an installation of the wheel in an empty virtual environment, with no compiler on PATH."""
    directory = tmp_path_factory.mktemp("installed") / "venv"
    check_call(sys.executable, "-m", "venv", directory)
    check_call(directory / "bin" / "pip", "install", "--quiet", "--no-index", "--no-deps", wheel)
    return Installation(directory, {**CLEAN, "PATH": os.fspath(directory / "bin")})
