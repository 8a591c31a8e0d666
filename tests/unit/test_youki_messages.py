"""What a person who is new to it reads after a mistake: what failed, and what to do about it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import youki

MAIN = Path(youki.__file__).with_name("__main__.py")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with a bundle and a file that is no archive."""
    (tmp_path / "bundle" / "rootfs").mkdir(parents=True)
    (tmp_path / "text").write_text("no archive\n")
    return tmp_path


def told(here: Path, *words: str) -> str:
    """Return what the command says; it must fail, in one line."""
    command = [sys.executable, "-I", "-S", str(MAIN), "--root", str(here / "root"), *words]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create", "-b", "bundle", ""), "a container id is required: it is empty – use 1 to"),
        (
            ("create", "-b", "absent", "x"),
            "No such file or directory (ENOENT) – name the directory of the bundle",
        ),
        (
            ("create", "-b", "bundle", "-f", "absent", "x"),
            "(ENOENT) – give the path of a configuration that exists",
        ),
        (
            ("bundle", "--from", "tar:absent", "new"),
            "there is no archive absent – give the path of a file after tar:",
        ),
        (
            ("bundle", "--from", "tar:text", "new"),
            "text cannot be read as a tar archive: file could not be opened",
        ),
        (("bundle", "/proc/new"), "(ENOENT)"),
        (("kill", "--signal", "TERM", "x"), "unknown option --signal – see 'youki kill --help'"),
        (("create", "--bundel", "x"), "unknown option --bundel (did you mean --bundle?)"),
        (("crate", "x"), "unknown command 'crate' (did you mean create?)"),
    ],
)
def test_mistake_is_named_with_its_remedy(here: Path, words: tuple[str, ...], message: str) -> None:
    """One line each, without the words of Python's own exceptions."""
    text = told(here, *words)
    assert message in text
    assert "Error(" not in text


def test_list_that_may_not_be_empty_wants_one_entry(here: Path) -> None:
    """Not "1 entries"."""
    (here / "bundle/config.json").write_text(
        '{"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "process": {"cwd": "/", "args": []}}'
    )
    assert "/process/args: found an empty list, expected at least 1 entry" in told(
        here, "create", "-b", "bundle", "x"
    )
