"""log.py: the records that callers of runc parse, and the errors that people read."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import youki
from youki import log

MAIN = Path(youki.__file__).with_name("__main__.py")
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)")


def run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", MAIN, *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_a_json_record_has_the_keys_of_runc_in_its_order(tmp_path: Path) -> None:
    """containerd, podman and CRI-O read level and msg of the last record, whatever the runtime is called."""
    result = run("--log", tmp_path / "log", "--log-format", "json", "crate")
    line = (tmp_path / "log").read_text()
    record = json.loads(line)

    assert result.returncode == 1
    assert line.endswith("}\n")
    assert list(record) == ["level", "msg", "time"]
    assert record["level"] == "error"
    assert record["msg"] == "unknown command 'crate' (did you mean create?) – see 'youki --help'"
    assert RFC3339.fullmatch(record["time"])


def test_a_text_record_is_a_line_of_logrus(tmp_path: Path) -> None:
    """Callers that split text records find time, level and msg where runc puts them."""
    run("--log", tmp_path / "log", "crate")
    line = (tmp_path / "log").read_text()

    assert re.fullmatch(rf'time="{RFC3339.pattern}" level=error msg="unknown command \'crate\' .*"\n', line)


def test_an_error_is_told_on_standard_error_too(tmp_path: Path) -> None:
    """The person at the terminal does not have to look into the log."""
    result = run("--log", tmp_path / "log", "--log-format", "json", "crate")

    assert result.stderr.startswith("youki: unknown command 'crate'")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_without_a_log_json_records_go_to_standard_error() -> None:
    """As with runc, whose log is standard error by default; a second line would hide the record."""
    assert json.loads(run("--log-format=json", "crate").stderr)["level"] == "error"


def test_a_log_is_appended_to(tmp_path: Path) -> None:
    """Several runs, and several programs, share one file."""
    path = tmp_path / "log"
    path.write_text("before\n")
    run("--log", path, "crate")
    run(f"--log=file:{path}", "crate")

    assert path.read_text().startswith("before\n")
    assert path.read_text().count("\n") == 3


def test_a_new_log_is_not_writable_by_others(tmp_path: Path) -> None:
    """Others could otherwise put words into the runtime's mouth."""
    run("--log", tmp_path / "log", "crate")

    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) & 0o022 == 0


def test_a_symbolic_link_is_no_log(tmp_path: Path) -> None:
    """In somebody else's directory a link could make a privileged runtime append to any file."""
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / "log").symlink_to("victim")
    result = run("--log", tmp_path / "log", "list")

    assert result.returncode == 1
    assert f"cannot open the log {tmp_path}/log: Too many levels of symbolic links (ELOOP)" in result.stderr
    assert (tmp_path / "victim").read_text() == "untouched"


def test_a_log_that_cannot_be_opened_stops_the_command(tmp_path: Path) -> None:
    """A caller that reads only the log would otherwise never learn of a failure."""
    result = run("--log", tmp_path / "absent" / "log", "features")

    assert result.returncode == 1
    assert result.stdout == ""
    assert "absent/log: No such file or directory (ENOENT)" in result.stderr


def test_standard_error_can_be_named_as_the_log() -> None:
    """runc's documented default is /dev/stderr, which is a symbolic link; the error is not told twice."""
    result = run("--log=/dev/stderr", "crate")

    assert result.stderr.count("\n") == 1
    assert "level=error" in result.stderr


def test_other_kinds_of_log_are_refused() -> None:
    """crun's journald:ID must not become a file of that name."""
    result = run("--log", "journald:youki", "list")

    assert result.returncode == 1
    assert "cannot log to journald:youki" in result.stderr


def test_a_level_lets_less_through(tmp_path: Path) -> None:
    """--log-level wins over --debug; debug records name the command that runs."""
    run("--log", tmp_path / "all", "--debug", "help")
    run("--log", tmp_path / "few", "--debug", "--log-level=error", "help")

    assert "level=debug msg=" in (tmp_path / "all").read_text()
    assert (tmp_path / "few").read_text() == ""


@pytest.mark.parametrize(("zone", "suffix"), [("UTC0", "Z"), ("XYZ-5:30", "+05:30"), ("XYZ3", "-03:00")])
def test_the_time_carries_the_local_zone(tmp_path: Path, zone: str, suffix: str) -> None:
    """RFC 3339 has a colon in the offset, which strftime(3) does not write."""
    run("--log", tmp_path / "log", "--log-format=json", "crate", TZ=zone)

    assert json.loads((tmp_path / "log").read_text())["time"].endswith(suffix)


def test_a_name_cannot_forge_a_line_or_command_the_terminal(tmp_path: Path) -> None:
    """Names come from strangers: a line feed would make a record, an escape could drive the terminal."""
    evil = 'x\n{"level":"info"}\x1b[2J\u202e\u2028'
    text = run("--log", tmp_path / "text", "start", "a", evil)
    run("--log", tmp_path / "json", "--log-format=json", "start", "a", evil)

    for output in (text.stderr, (tmp_path / "text").read_text(), (tmp_path / "json").read_text()):
        assert output.count("\n") == 1
        assert output.rstrip("\n").isprintable()


@given(st.text())
def test_an_escaped_text_prints_on_one_line(text: str) -> None:
    """Whatever a message carries, what is shown is one printable line; printable text is left alone."""
    shown = log.escape(text)

    assert shown.isprintable()
    assert not text.isprintable() or shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\tb\n", r"a\tb\n"), ("\x1b\x7f", r"\x1b\x7f"), ("\x9b", r"\u009b"), ("\U000e0041", r"\U000e0041")],
)
def test_escapes_are_those_of_go(text: str, shown: str) -> None:
    """The text format is read by programs that unquote it with Go's rules."""
    assert log.escape(text) == shown


def test_a_file_name_that_is_no_utf8_is_shown_by_its_bytes() -> None:
    """A container's files may have any name; the message must still be written."""
    assert log.escape(os.fsdecode(b"a\xff")) == r"a\xff"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("plain-1.2_/@^+", "plain-1.2_/@^+"),
        ("two words", '"two words"'),
        ('a"b\\c', r'"a\"b\\c"'),
        ("ü", '"ü"'),
    ],
)
def test_a_message_is_quoted_when_logrus_quotes_it(message: str, shown: str) -> None:
    """Exactly the plain characters go without quotes; within quotes, quotes and backslashes are escaped."""
    assert log.as_text("error", message).endswith(f" level=error msg={shown}\n")
