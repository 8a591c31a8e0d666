"""The commands that need no container: what they print, write and refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import youki
from libcgroups.errors import CgroupError
from libcontainer.errors import Error, InvalidArgument
from youki import output
from youki.main import sentence
from youki.options import GLOBALS
from youki.parser import Arguments
from youki.settings import state_root, systemd

MAIN = Path(youki.__file__).with_name("__main__.py")


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", "-S", MAIN, *words], capture_output=True, text=True)


@pytest.mark.parametrize(
    "words", [("state", "absent"), ("start", "absent"), ("kill", "absent"), ("delete", "absent")]
)
def test_an_unknown_container_does_not_exist(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Engines look for these words to tell a missing container from a broken one."""
    result = run("--root", tmp_path, *words)

    assert result.returncode == 1
    assert result.stdout == ""
    assert "does not exist" in result.stderr
    assert "absent" in result.stderr


def test_forced_deletion_of_an_unknown_container_succeeds_silently(tmp_path: Path) -> None:
    """Callers clean up with it without knowing how far a failed create came."""
    result = run("--root", tmp_path, "delete", "--force", "absent")

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("command", ["state", "start", "kill", "delete"])
@pytest.mark.parametrize("name", ["../x", "..", "a/b", "a b"])
def test_an_id_cannot_leave_the_state_root(tmp_path: Path, command: str, name: str) -> None:
    """`delete ../../etc` must never become a path."""
    result = run("--root", tmp_path / "root", command, name)

    assert result.returncode == 1
    assert "internal error" not in result.stderr


def test_the_list_of_no_containers_is_a_heading(tmp_path: Path) -> None:
    """The columns of runc, in its layout; no state root is made by looking."""
    root = tmp_path / "absent"
    result = run("--root", root, "list")

    assert result.stdout == "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
    assert run("--root", root, "list", "-f", "json").stdout == "[]\n"
    assert run("--root", root, "list", "-q").stdout == ""
    assert not root.exists()


@pytest.mark.parametrize("command", ["kill", "delete"])
def test_a_regular_expression_that_matches_nothing_does_nothing(tmp_path: Path, command: str) -> None:
    """As with crun; a wrong expression is told, not taken as an id."""
    assert run("--root", tmp_path, command, "--regex", "job-.*").returncode == 0

    result = run("--root", tmp_path, command, "--regex", "job-(")
    assert result.returncode == 1
    assert "'job-(' is no regular expression" in result.stderr


def test_spec_writes_a_configuration_and_never_overwrites_one(tmp_path: Path) -> None:
    """The file may be somebody's work."""
    first = run("spec", "-b", tmp_path)
    written = (tmp_path / "config.json").read_text()
    second = run("spec", "--bundle", tmp_path, "--rootless")

    assert (first.returncode, first.stderr) == (0, "")
    assert json.loads(written)["process"]["args"] == ["sh"]
    assert written.startswith('{\n  "')
    assert second.returncode == 1
    assert f"{tmp_path}/config.json exists already" in second.stderr
    assert (tmp_path / "config.json").read_text() == written


def test_spec_does_not_write_through_a_symbolic_link(tmp_path: Path) -> None:
    """A dangling link is an existing file for this purpose."""
    (tmp_path / "config.json").symlink_to(tmp_path / "elsewhere")

    assert run("spec", "-b", tmp_path).returncode == 1
    assert not (tmp_path / "elsewhere").exists()


def test_spec_writes_a_rootless_configuration_to_the_file_named(tmp_path: Path) -> None:
    """The container's root is the caller, and nobody else's id is mapped."""
    assert run("spec", "--rootless", "-b", tmp_path, "-f", "rootless.json").returncode == 0
    linux = json.loads((tmp_path / "rootless.json").read_text())["linux"]

    assert {"type": "user"} in linux["namespaces"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    assert linux["gidMappings"] == [{"containerID": 0, "hostID": os.getegid(), "size": 1}]


def test_spec_names_the_directory_that_is_missing(tmp_path: Path) -> None:
    """The sentence stands alone: what, where, why."""
    result = run("spec", "-b", tmp_path / "absent")

    assert result.returncode == 1
    assert f"cannot write {tmp_path}/absent/config.json: No such file or directory (ENOENT)" in result.stderr


def settings(**values: object) -> Arguments:
    arguments = Arguments(GLOBALS)
    vars(arguments).update(values)
    return arguments


def test_a_relative_state_root_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library and its children may run elsewhere."""
    monkeypatch.chdir(tmp_path)

    assert state_root(settings(root="state/")) == f"{tmp_path}/state"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, False),
        ({"systemd_cgroup": True}, True),
        ({"cgroup_manager": "systemd"}, True),
        ({"cgroup_manager": "cgroupfs"}, False),
        ({"cgroup_manager": "systemd", "systemd_cgroup": True}, True),
    ],
)
def test_both_ways_to_ask_for_systemd_are_heard(values: dict[str, object], expected: bool) -> None:
    """runc has --systemd-cgroup, crun --cgroup-manager as well."""
    assert systemd(settings(**values)) is expected


def test_contradicting_cgroup_options_are_refused() -> None:
    """Obeying one of them silently would be a guess."""
    with pytest.raises(InvalidArgument, match="contradicts"):
        systemd(settings(systemd_cgroup=True, cgroup_manager="cgroupfs"))


def test_columns_are_those_of_runc() -> None:
    """At least twelve wide, three apart, nothing after the last."""
    rows = [["ID", "BUNDLE", "OWNER"], ["a", "/a/long/bundle", "root"]]

    assert output.columns(rows) == "ID          BUNDLE           OWNER\na           /a/long/bundle   root\n"


def test_a_listed_name_cannot_forge_a_line() -> None:
    """Who made the container chose the bundle's name; the reader of the table may be root at a terminal."""
    from youki.commands.list import row

    assert row({"id": "a", "bundle": "/b\nc\x1b"}) == ["a", "0", "", r"/b\nc\x1b", "", ""]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InvalidArgument("no such thing", remedy="try another"), "no such thing – try another"),
        (CgroupError("cannot make it", remedy="ask root"), "cannot make it – ask root"),
        (FileNotFoundError(2, "x", "/a/b"), "/a/b: No such file or directory (ENOENT)"),
        (ValueError("odd"), "internal error: ValueError: odd – run with --debug to see where"),
    ],
)
def test_every_error_becomes_one_sentence(error: Exception, words: str) -> None:
    """What the libraries say stands alone; anything else is owned up to as a fault of ours."""
    assert sentence(error) == words


def test_every_failure_of_a_selection_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    """One container that cannot be killed must not hide the next."""
    from youki.select import each

    def fail(name: str) -> None:
        if name != "b":
            raise Error(f"cannot kill {name}")

    assert each(["a", "b", "c"], fail) == 1
    assert capfd.readouterr().err == "youki: cannot kill a\nyouki: cannot kill c\n"
