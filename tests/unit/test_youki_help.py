"""Help, manual page and completion: they say what the parser does, because they come from the same tables."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import youki
from youki import options
from youki.options import Command

MAIN = Path(youki.__file__).with_name("__main__.py")
NAMES = [command.name for command in options.COMMANDS]
each_command = pytest.mark.parametrize("command", options.COMMANDS, ids=NAMES)


def run(*words: str) -> str:
    return subprocess.run(
        [sys.executable, "-I", "-S", MAIN, *words], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def test_help_lists_every_command_and_every_global_option() -> None:
    """What is not listed cannot be found."""
    text = run("--help")

    for command in options.COMMANDS:
        assert f"\n  {command.name} " in text
    for option in options.GLOBALS:
        assert option.names[-1] in text


@each_command
def test_the_help_of_a_command_lists_its_options_and_arguments(command: Command) -> None:
    """`help COMMAND` and `COMMAND --help` are the same text, and complete."""
    text = run("help", command.name)

    assert text == run(command.name, "--help")
    assert f"Usage: {options.usage(command)}" in text
    for option in command.shown:
        assert all(name in text for name in option.names)
    for argument in command.arguments:
        assert f"\n  {argument.metavar} " in text


@each_command
def test_every_row_has_a_module(command: Command) -> None:
    """A command in the table that nobody wrote would fail in the user's hands."""
    assert MAIN.with_name("commands").joinpath(f"{command.name}.py").is_file()


def test_every_module_has_a_row() -> None:
    """A command that nobody can call is dead code."""
    modules = {path.stem for path in MAIN.with_name("commands").glob("[!_]*.py")}

    assert modules == set(NAMES)


@each_command
def test_a_command_is_parse_call_print(command: Command) -> None:
    """A command file over sixty lines hides library code."""
    source = MAIN.with_name("commands").joinpath(f"{command.name}.py").read_text()

    assert source.count("\n") <= 60


def test_help_of_an_unknown_command_is_an_error() -> None:
    """Otherwise a typing error looks like a command without help."""
    result = subprocess.run(
        [sys.executable, "-I", "-S", MAIN, "help", "crate"], capture_output=True, text=True
    )

    assert result.returncode == 1
    assert "did you mean create?" in result.stderr


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_the_manual_page_is_clean_troff() -> None:
    """groff has no warning about it, and every command and option is in what it shows."""
    result = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbou"],
        input=run("man"),
        capture_output=True,
        text=True,
        check=True,
    )
    shown = " ".join(result.stdout.split())

    assert result.stderr == ""
    for command in options.COMMANDS:
        assert f"youki {command.name} " in shown
        for option in command.shown:
            assert ", ".join(option.names) in shown


def complete(line: str, tmp_path: Path, current: str | None = None) -> list[str]:
    """What bash offers at the end of `line`, whose last word is `current`, with the script loaded."""
    program = tmp_path / "youki"
    program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-I", "-S", str(MAIN)])} "$@"\n')
    program.chmod(0o755)
    # readline splits at "=" as well (COMP_WORDBREAKS).
    words = shlex.split(line.replace("=", " = ")) + ([""] if line.endswith((" ", "=")) else [])
    script = f"""
        source <(youki completion bash)
        COMP_WORDS=({shlex.join(words)})
        COMP_CWORD={len(words) - 1}
        _youki
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{tmp_path}:{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={"PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr == ""
    return sorted(result.stdout.split())


needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@needs_bash
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("youki ", sorted(NAMES)),
        ("youki cr", ["create"]),
        ("youki --root /tmp k", ["kill"]),
        ("youki --root=/tmp --debug k", ["kill"]),
        ("youki --log-format ", ["json", "text"]),
        ("youki --log-format=j", ["json"]),
        ("youki list --format=", ["json", "table"]),
        ("youki list -f t", ["table"]),
        ("youki create --no-", ["--no-new-keyring", "--no-pivot", "--no-subreaper"]),
        ("youki create --bundle ", ["inner"]),
        ("youki create --pid-file ", ["inner", "youki"]),
        ("youki create --bundle=in", ["inner"]),
        ("youki bundle ", ["inner"]),
        ("youki help st", ["start", "state", "stats"]),
        ("youki completion ", ["bash", "fish", "zsh"]),
        ("youki kill job-7 K", ["KILL"]),
        ("youki kill --all job-7 K", ["KILL"]),
        ("youki bundle DIR -- --", []),
        ("youki create ", []),
    ],
)
def test_bash_offers_what_the_parser_accepts(line: str, offered: list[str], tmp_path: Path) -> None:
    """Commands, options, values, files: at each place what can stand there, and nothing else."""
    (tmp_path / "inner").mkdir()

    assert complete(line, tmp_path) == offered


@needs_bash
@each_command
def test_bash_offers_every_option_of_a_command(command: Command, tmp_path: Path) -> None:
    """No option of the tables is missing."""
    names = {name for option in command.shown for name in option.names}

    assert set(complete(f"youki {command.name} -", tmp_path)) == names | {"-h", "--help"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_accepts_its_script(shell: str) -> None:
    """A quote in a help text must not end a string of the script."""
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    subprocess.run([shell, "-n"], input=run("completion", shell), text=True, check=True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_knows_every_command_and_option(shell: str) -> None:
    """All three scripts come from the same tables."""
    script = run("completion", shell)

    for command in options.COMMANDS:
        assert command.name in script
        for option in command.shown:
            name = option.names[-1]
            assert (f"-l {name[2:]} " if shell == "fish" else name) in script
