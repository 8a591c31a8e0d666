"""The `youki` launcher: which Python and which code it takes, and what it does with a hostile environment.

Each test builds a prefix of its own around a copy of the launcher. Its interpreter is a shell script that
prints what it was given; the code is an empty file. What the real pair does is tested in test_wheel.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHER = Path(sys.executable).with_name("youki")
OPTIONS = ["-I", "-S", "-X", "utf8"]
ECHO = '#!/bin/sh\nfor word in "$0" "$@"; do echo "$word"; done\n'


class Prefix:
    """A directory laid out as an installation."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.launcher = directory / "bin" / "youki"
        self.launcher.parent.mkdir(parents=True)
        shutil.copy(LAUNCHER, self.launcher)

    def add_interpreter(self, name: str = "python3") -> Path:
        """Add a program that prints its arguments."""
        path = self.directory / "bin" / name
        path.write_text(ECHO)
        path.chmod(0o755)
        return path

    def add_code(self, library: str) -> Path:
        """Add an entry point below a library directory such as lib/python3.11/site-packages."""
        path = self.directory / library / "youki" / "__main__.py"
        path.parent.mkdir(parents=True)
        path.touch()
        return path

    def run(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run the launcher."""
        return subprocess.run([self.launcher, *arguments], capture_output=True, text=True, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def prefix(tmp_path: Path) -> Prefix:
    """Return an installation without interpreter and code."""
    return Prefix(tmp_path / "prefix")


def test_interpreter_beside_it_gets_the_code_and_every_argument(prefix: Prefix) -> None:
    """Arguments pass unchanged, whatever is in them, and the interpreter is isolated."""
    python, code = prefix.add_interpreter(), prefix.add_code("lib/python3.11/site-packages")
    arguments = ["run", "--", "a b", "", "-c", "ä"]
    done = prefix.run(*arguments)
    assert done.stdout.split("\n")[:-1] == [os.fspath(python), *OPTIONS, os.fspath(code), *arguments]


@pytest.mark.parametrize(
    "library",
    [
        "lib/python3.11/site-packages",
        "lib64/python3.12/site-packages",
        "lib/python3.13/dist-packages",
        "lib/python3/dist-packages",
        ".",
    ],
)
def test_code_is_found_in_every_layout_that_installers_use(prefix: Prefix, library: str) -> None:
    """Virtual environments, Fedora's lib64, Debian's dist-packages and `pip install --target` differ."""
    prefix.add_interpreter()
    code = prefix.add_code(library)
    assert os.fspath(code.resolve()) in [os.path.realpath(line) for line in prefix.run().stdout.splitlines()]


def test_newest_code_is_taken_by_number_not_by_name(prefix: Prefix) -> None:
    """python3.9 comes after python3.11 in the alphabet."""
    prefix.add_interpreter()
    prefix.add_code("lib/python3.9/site-packages")
    newest = prefix.add_code("lib/python3.11/site-packages")
    assert os.fspath(newest) in prefix.run().stdout.splitlines()


def test_link_to_the_launcher_leads_to_its_own_installation(prefix: Prefix, tmp_path: Path) -> None:
    """A link in /usr/local/bin is how tools put a virtual environment's program on everybody's PATH."""
    prefix.add_interpreter()
    code = prefix.add_code("lib/python3.11/site-packages")
    link = tmp_path / "youki"
    link.symlink_to(prefix.launcher)
    done = subprocess.run([link], capture_output=True, text=True)
    assert os.fspath(code) in done.stdout.splitlines()


def test_path_and_working_directory_choose_nothing(prefix: Prefix, tmp_path: Path) -> None:
    """A `python3` that the caller's PATH or directory offers must not run with the runtime's privileges."""
    hostile = Prefix(tmp_path / "hostile")
    hostile.add_interpreter()
    hostile.add_interpreter("python3.99")
    hostile.add_code("lib/python3.99/site-packages")
    prefix.add_code("lib/python3.99/site-packages")
    binaries = hostile.directory / "bin"
    done = prefix.run(cwd=binaries, env={"PATH": os.fspath(binaries)}, executable=prefix.launcher)
    assert done.returncode == 1
    assert done.stdout == ""


def test_python_variables_choose_nothing(prefix: Prefix, tmp_path: Path) -> None:
    """PYTHONPATH, PYTHONHOME and their kind are the caller's; the real interpreter must not obey them."""
    (tmp_path / "os.py").write_text("raise SystemExit('the hostile module was imported')")
    (tmp_path / "libcontainer").mkdir()
    variables = {
        "PYTHONPATH": tmp_path,
        "PYTHONSTARTUP": tmp_path / "os.py",
        "PYTHONINSPECT": "1",
        "PATH": "/",
    }
    environment = {name: os.fspath(value) for name, value in variables.items()}
    done = subprocess.run(
        [LAUNCHER, "--version"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("youki version ")


def test_nothing_found_names_every_place(prefix: Prefix) -> None:
    """The message must be enough to repair the installation: where it looked, and what works meanwhile."""
    done = prefix.run()
    assert done.returncode == 1
    directory = os.fspath(prefix.directory)
    for place in (
        f"{directory}/{{lib,lib64}}/python3*",
        f"{directory}/youki/__main__.py",
        f"{directory}/bin",
        "/usr/bin",
    ):
        assert place in done.stderr
    assert "python3 -m youki" in done.stderr
    assert done.stderr.count("\n") == 1


def test_interpreter_that_cannot_run_is_named(prefix: Prefix) -> None:
    """A half-removed Python shows as what it is: the interpreter's path and the reason."""
    python = prefix.add_interpreter()
    prefix.add_code("lib/python3.11/site-packages")
    python.write_text("#!/nonexistent/interpreter\n")
    done = prefix.run()
    assert done.returncode == 1
    assert f"{python}: No such file or directory" in done.stderr


def test_closed_standard_streams_become_the_null_device(prefix: Prefix) -> None:
    """Otherwise the next file that is opened would be written into as if it were standard output or error."""
    python = prefix.add_interpreter()
    prefix.add_code("lib/python3.11/site-packages")
    report = prefix.directory / "report"
    targets = " ".join(f"$(readlink /proc/$$/fd/{fd})" for fd in range(3))
    python.write_text(f'#!/bin/sh\ntargets="{targets}"\necho "$targets" > {report}\n')
    subprocess.run(["/bin/sh", "-c", 'exec "$0" <&- >&- 2>&-', prefix.launcher], check=True)
    assert report.read_text().split() == ["/dev/null"] * 3
