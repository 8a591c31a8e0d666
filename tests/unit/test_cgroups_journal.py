"""journal.py on a plain directory tree: all limits of an update, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from libcgroups import CgroupError, Hierarchy, Manager, Setup, new
from libcgroups.journal import previous

FILES = {
    "memory.max": "max\n",
    "memory.swap.max": "max\n",
    "memory.low": "0\n",
    "pids.max": "max\n",
    "cpu.max": "max 100000\n",
    "cpu.weight": "100\n",
}


@pytest.fixture
def manager(tmp_path: Path) -> Manager:
    """A v2 cgroup whose files take what is written."""
    for directory in (tmp_path, tmp_path / "a"):
        directory.mkdir(exist_ok=True)
        for name, text in {"controllers": "cpu memory pids", "subtree_control": "cpu memory pids"}.items():
            (directory / f"cgroup.{name}").write_text(f"{text}\n")
        (directory / "cgroup.type").write_text("domain\n")
    for name, text in FILES.items():
        (tmp_path / "a" / name).write_text(text)
    return new("/a", container_id="a", setup=Setup("v2", (), Hierarchy(str(tmp_path))))


def contents(directory: Path) -> dict[str, str]:
    return {name: (directory / name).read_text().strip() for name in FILES if (directory / name).is_file()}


def test_an_update_that_works_is_what_apply_does(manager: Manager, tmp_path: Path) -> None:
    """And the manager is as before it."""
    before = manager.cgroups
    manager.update({"memory": {"limit": 4096, "swap": 8192}, "pids": {"limit": 5}})

    found = contents(tmp_path / "a")
    assert found["memory.max"].startswith("4096")
    assert found["pids.max"].startswith("5")
    assert manager.cgroups is before


def test_a_refused_write_takes_the_earlier_ones_back(manager: Manager, tmp_path: Path) -> None:
    """pids.max comes last, and cannot be written: it is a directory here."""
    before = {name: text.strip() for name, text in FILES.items() if name != "pids.max"}
    (tmp_path / "a" / "pids.max").unlink()
    (tmp_path / "a" / "pids.max").mkdir()
    resources = {"cpu": {"quota": 5000, "shares": 2}, "memory": {"limit": 123456}, "pids": {"limit": 5}}
    with pytest.raises(CgroupError) as caught:
        manager.update(resources)

    assert caught.value.pointer == "/pids/limit"
    found = contents(tmp_path / "a")
    assert {name: text[: len(before[name])] for name, text in found.items()} == before


def test_a_value_that_is_there_is_not_written_again(manager: Manager, tmp_path: Path) -> None:
    """Some files refuse even what they hold: this one cannot be opened for writing."""
    (tmp_path / "a" / "pids.max").write_text("5\n")
    (tmp_path / "a" / "pids.max").chmod(0o444)
    written = (tmp_path / "a" / "pids.max").stat().st_mtime_ns

    manager.update({"pids": {"limit": 5}})

    assert (tmp_path / "a" / "pids.max").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("file", "value", "text", "expected"),
    [
        ("pids.max", "5", "max\n", "max"),
        ("cpu.max", "5 100", "max 100000\n", "max 100000"),
        ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "0"),
        (
            "io.max",
            "8:0 rbps=5",
            "8:0 rbps=max wbps=7 riops=max wiops=max\n8:16 rbps=1\n",
            "8:0 rbps=max wbps=7 riops=max wiops=max",
        ),
        ("io.max", "8:0 rbps=5", "", "8:0 rbps=max wbps=max riops=max wiops=max"),
        ("io.max", "8:0 rbps=5", "8:01 rbps=1\n", "8:0 rbps=max wbps=max riops=max wiops=max"),
        ("io.weight", "200", "default 100\n8:0 50\n", "default 100"),
        ("io.weight", "8:0 200", "default 100\n", "8:0 default"),
        ("blkio.throttle.read_bps_device", "8:0 5", "8:0 1\n", "8:0 1"),
        ("blkio.throttle.read_bps_device", "8:0 5", "", "8:0 0"),
        ("net_prio.ifpriomap", "lo 5", "lo 0\neth0 2\n", "lo 0"),
        ("rdma.max", "mlx hca_handle=1", "", "mlx hca_handle=max hca_object=max"),
        ("devices.allow", "c 1:3 rwm", "", None),
        ("some.list", "1", "a\nb\n", None),
    ],
)
def test_what_undoes_a_write(file: str, value: str, text: str, expected: str | None) -> None:
    """Most files are written as they read; those with a line for each device need the line's default."""
    assert previous(file, value, text) == expected
