"""__main__.py, entry.py and main.py: how the command starts, what it loads, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import youki

MAIN = Path(youki.__file__).with_name("__main__.py")
COMMAND = [sys.executable, "-I", "-S", str(MAIN)]

# What `youki state` may load beyond what the bare interpreter has loaded already. A line here costs
# about a tenth of a millisecond at each call; engines call `state` many times for one container.
STATE_IMPORTS = {
    "__future__",
    "_collections_abc",
    "_json",
    "_signal",
    "_stat",
    "errno",
    "fcntl",
    "gc",
    "genericpath",
    "libcgroups",
    "libcontainer",
    "libcontainer.container",
    "libcontainer.errors",
    "libcontainer.state",
    "libcontainer.strictjson",
    "marshal",
    "os",
    "posixpath",
    "stat",
    "time",
    "youki",
    "youki.commands",
    "youki.commands.state",
    "youki.entry",
    "youki.log",
    "youki.main",
    "youki.options",
    "youki.output",
    "youki.parser",
    "youki.settings",
}


def run(*words: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], stdout=stdout, stderr=subprocess.PIPE, text=True)


def imported(*words: str) -> set[str]:
    """The modules that Python reports to have loaded for a command line."""
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", *words], stderr=subprocess.PIPE, text=True
    )
    rows = (line.split("|") for line in result.stderr.splitlines() if line.startswith("import time:"))
    return {row[2].strip() for row in rows if len(row) == 3} - {"imported package"}


def test_state_imports_nothing_beyond_its_list(tmp_path: Path) -> None:
    """The cost of a call is its imports; whoever adds one has to write it down here."""
    loaded = imported(str(MAIN), "--root", str(tmp_path), "state", "absent") - imported("-c", "pass")

    assert loaded <= STATE_IMPORTS
    assert {"youki.commands.state", "libcontainer.container"} <= loaded


@pytest.mark.parametrize(
    "words",
    [
        ("state", "absent"),
        ("kill", "absent"),
        ("delete", "-f", "absent"),
        ("start", "absent"),
        ("list",),
        ("create", "x"),
        ("exec", "absent", "true"),
    ],
)
def test_no_frequent_command_loads_a_heavy_module(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Each of these costs between three and forty milliseconds, more than the whole command."""
    heavy = {
        "argparse",
        "asyncio",
        "contextlib",
        "ctypes",
        "dataclasses",
        "enum",
        "json",
        "logging",
        "pathlib",
        "re",
    }
    heavy |= {
        "shutil",
        "signal",
        "site",
        "socket",
        "subprocess",
        "tempfile",
        "typing",
        "collections",
        "functools",
    }

    assert not imported(str(MAIN), "--root", str(tmp_path), *words) & heavy


def test_only_the_command_that_runs_is_loaded() -> None:
    """Twenty commands must not cost more than one."""
    commands = {name for name in imported(str(MAIN), "man") if name.startswith("youki.commands.")}

    assert commands == {"youki.commands.man"}


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors_are_replaced(tmp_path: Path, closed: str) -> None:
    """Otherwise the log would become descriptor 1 or 2, and what is printed would end in it."""
    script = f'"$@" {closed}'
    log = tmp_path / "log"
    subprocess.run(
        ["sh", "-c", script, "sh", *COMMAND, "--log", str(log), "help"], check=True, stdout=subprocess.DEVNULL
    )

    assert log.read_text() == ""


def test_without_site_packages_the_command_finds_its_own_packages(tmp_path: Path) -> None:
    """The launcher runs Python with -I -S from any directory, also one with a file named like a module."""
    (tmp_path / "os.py").write_text("raise SystemExit('wrong os')")
    result = subprocess.run([*COMMAND, "--version"], cwd=tmp_path, capture_output=True, text=True)

    assert result.returncode == 0
    assert result.stdout.startswith("youki version ")


def test_python_can_run_the_package(tmp_path: Path) -> None:
    """`python -m youki` is how a program without the launcher calls it."""
    source = str(MAIN.parent.parent)
    result = subprocess.run(
        [sys.executable, "-m", "youki", "help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
    )

    assert result.returncode == 0


def test_a_full_disk_is_an_error() -> None:
    """A caller that got half the output must not take it for all of it."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        result = run("--help", stdout=full)
    finally:
        os.close(full)

    assert result.returncode == 1
    assert result.stderr == "youki: cannot write to standard output: No space left on device (ENOSPC)\n"


def test_a_traceback_is_shown_only_on_request(tmp_path: Path) -> None:
    """An error is a sentence; --debug adds where it came from, and the sentence stays the last line."""
    plain = run("--root", str(tmp_path), "state", "absent").stderr
    debug = run("--debug", "--root", str(tmp_path), "state", "absent").stderr

    assert "Traceback" not in plain
    assert "Traceback" in debug
    assert debug.splitlines()[-1] == plain.rstrip("\n")


@pytest.mark.parametrize(
    "words", [(), ("crate",), ("start",), ("--root",), ("create", "--preserve-fds=x", "a")]
)
def test_a_wrong_command_line_ends_with_one_line_and_exit_code_1(words: tuple[str, ...]) -> None:
    """runc's exit code for every failure but that of exec; nothing is printed to standard output."""
    result = run(*words)

    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("youki: ")
    assert result.stderr.count("\n") == 1


def test_the_version_names_the_specification() -> None:
    """Engines show it, and people paste it into reports."""
    first, spec, python = run("--version").stdout.splitlines()

    assert first.startswith("youki version ")
    assert spec == "spec: 1.3.0"
    assert python.startswith("python: 3.")


def test_the_version_is_that_of_the_distribution() -> None:
    """Two files hold it, because asking the installed metadata costs more than the whole command."""
    build_file = Path(__file__).parents[2] / "meson.build"

    assert f"version: '{run('-v').stdout.split()[2]}'" in build_file.read_text()
