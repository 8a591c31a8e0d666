"""spec/load.py: from a bundle to a checked configuration, or to one error that says everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from tests.strategies import patched, specs

from libcontainer import spec as spec_package
from libcontainer.errors import InvalidArgument, InvalidConfig
from libcontainer.spec import load as loader
from libcontainer.spec.check import check
from libcontainer.spec.defaults import default_spec
from libcontainer.spec.load import drop_nulls, load, load_process, load_shared
from libcontainer.strictjson import dumps

# The parts of the example of the libcontainer documentation that differ from the default configuration.
EXAMPLE = {
    "/ociVersion": "1.0.2-dev",
    "/process/terminal": False,
    "/process/args": ["/bin/hello"],
    "/process/capabilities/inheritable": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"],
    "/process/capabilities/ambient": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"],
    "/annotations": {},
    "/linux/resources/devices": [
        {"allow": False, "type": None, "major": None, "minor": None, "access": "rwm"}
    ],
    "/linux/namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount")],
}


def write(directory: Path, value: object, name: str = "config.json") -> bytes:
    """Write `value` into the bundle and return the bytes."""
    data = json.dumps(value, indent=1).encode()
    (directory / name).write_bytes(data)
    return data


def test_a_bundle_gives_its_configuration_and_the_bytes_as_read(tmp_path: Path) -> None:
    """The bytes are kept with the container: a later change of the file must not change it (runtime.md)."""
    data = write(tmp_path, default_spec())
    assert load(str(tmp_path)) == (default_spec(), data)


def test_another_file_is_taken_relative_to_the_bundle_or_absolute(tmp_path: Path) -> None:
    """One root file system may have several configurations."""
    data = write(tmp_path, patched({"/hostname": "other"}), "other.json")
    assert load(str(tmp_path), "other.json")[1] == data
    assert load("/nowhere", str(tmp_path / "other.json"))[0]["hostname"] == "other"


def test_the_documented_example_with_its_nulls_is_accepted_and_the_nulls_are_gone(tmp_path: Path) -> None:
    """A device rule with null means any device; nobody after the loader has to know both spellings."""
    write(tmp_path, patched(EXAMPLE))
    spec, _ = load(str(tmp_path))
    assert spec["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert None not in spec["linux"]["resources"]["devices"][0].values()


def test_every_problem_is_in_the_error_and_the_file_is_named(tmp_path: Path) -> None:
    """The message alone is enough to correct the file."""
    write(tmp_path, patched({"/ociVersion": "9", "/process/cwd": "x"}))
    with pytest.raises(InvalidConfig) as caught:
        load(str(tmp_path))
    assert [problem.pointer for problem in caught.value.problems] == ["/ociVersion", "/process/cwd"]
    assert str(caught.value).startswith(
        f"{tmp_path}/config.json is not valid (2 problems): /ociVersion: found"
    )


@pytest.mark.parametrize("text", ["", "[]", "null", '{"ociVersion": "1.0.0", "ociVersion": "1.0.0"}', "\0"])
def test_what_is_no_configuration_is_an_invalid_configuration(tmp_path: Path, text: str) -> None:
    """Whatever is in the file, it is one kind of error."""
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InvalidConfig):
        load(str(tmp_path))


def test_a_bundle_without_configuration_says_how_to_get_one(tmp_path: Path) -> None:
    """The commonest mistake of all has a remedy in its message."""
    for bundle in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InvalidArgument, match="youki spec") as caught:
            load(str(bundle))
        assert caught.value.path == f"{bundle}/config.json"


def test_a_configuration_that_is_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    """A bundle must not be able to hold the runtime."""
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(InvalidArgument, match="not a regular file"):
        load(str(tmp_path))


def test_a_process_file_is_checked_as_process(tmp_path: Path) -> None:
    """What exec gets is judged like what create gets."""
    path = tmp_path / "process.json"
    write(tmp_path, {"args": ["id"], "cwd": "/", "capabilities": None}, "process.json")
    assert load_process(str(path)) == {"args": ["id"], "cwd": "/"}
    write(tmp_path, {"args": [], "cwd": ""}, "process.json")
    with pytest.raises(InvalidConfig) as caught:
        load_process(str(path))
    assert [problem.pointer for problem in caught.value.problems] == ["/args", "/cwd"]


@given(specs())
def test_a_valid_configuration_comes_back_as_it_was_written(spec: dict[str, Any]) -> None:
    """Nothing is added, lost or changed between the file and the plan."""
    before = dumps(spec)
    drop_nulls(spec)
    assert dumps(spec) == before


def test_a_null_is_dropped_only_after_it_was_accepted() -> None:
    """Dropping first would hide a null that takes protection away."""
    spec = patched({"/linux/seccomp": None, "/process/env": None})
    assert [problem.pointer for problem in check(spec)] == ["/linux/seccomp"]
    drop_nulls(spec)
    assert "env" not in spec["process"]


def test_loading_imports_nothing_heavy(tmp_path: Path) -> None:
    """Every command that starts a container pays for these imports."""
    write(tmp_path, default_spec())
    source = str(Path(spec_package.__file__).parents[2])
    script = f"""
import sys
sys.path.insert(0, {source!r})
from libcontainer.spec.load import load
load({str(tmp_path)!r})
heavy = "typing re json enum dataclasses pathlib subprocess socket signal logging argparse shutil tempfile"
heavy += " contextlib collections functools asyncio ctypes datetime libcontainer.spec.types"
print(sorted(set(heavy.split()) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_one_text_is_read_and_checked_once_for_all(tmp_path: Path) -> None:
    """Wherever it lies; a text that differs is another configuration, also in the same place."""
    one, other = tmp_path / "one", tmp_path / "other"
    for directory in (one, other):
        directory.mkdir()
        write(directory, patched({"/hostname": "shared"}))
    first, _ = load_shared(str(one))
    assert load_shared(str(other))[0] is first
    assert load(str(one))[0] == first
    assert load(str(one))[0] is not first

    data = write(one, patched({"/hostname": "changed"}))
    changed, text = load_shared(str(one))
    assert (changed["hostname"], text) == ("changed", data)
    assert load_shared(str(other))[0] is first


def test_a_refused_text_is_refused_again_with_its_own_place(tmp_path: Path) -> None:
    """Only what was accepted is known."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, {"ociVersion": "1.0.0", "process": {}})
        with pytest.raises(InvalidConfig, match=str(tmp_path / name / "config.json")):
            load_shared(str(tmp_path / name))


def test_neither_many_nor_long_texts_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that makes thousands of configurations must not grow by them."""
    kept: dict[bytes, Any] = {}
    monkeypatch.setattr(loader, "_shared", kept)
    for number in range(3 * loader.MOST_SHARED):
        write(tmp_path, patched({"/hostname": f"host{number}"}))
        load_shared(str(tmp_path))
        assert 0 < len(kept) <= loader.MOST_SHARED
    kept.clear()
    write(tmp_path, patched({"/annotations": {"long": "x" * loader.LONGEST_SHARED}}))
    assert load_shared(str(tmp_path))[0]["annotations"]["long"]
    assert kept == {}
