"""The blocks of docs/tutorial.md run, in their order, in one directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import YOUKI, traces

ROOT = Path(__file__).resolve().parents[2]


def blocks(path: Path) -> list[tuple[str, str]]:
    """Return (language, text) of every fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def script(found: list[tuple[str, str]]) -> str:
    """Join the blocks into one Python program.

    Shell blocks become calls of the shell that fail when it does.
    """
    lines = ["import subprocess"]
    for language, text in found:
        if language == "sh":
            lines.append(f"subprocess.run(['sh', '-euc', {text!r}], check=True)")
        elif language == "python":
            lines.append(text)
    return "\n".join(lines)


def test_tutorial_runs_as_it_stands(tmp_path: Path) -> None:
    """Whoever follows the tutorial must get what it says."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the tutorial makes containers without a user namespace")
    before = traces()
    hello = tmp_path / "hello"
    source = ROOT / "examples" / "hello" / "hello.c"
    subprocess.run(["cc", "-static", "-Os", "-o", str(hello), str(source)], check=True)
    environment = {
        "PATH": f"{YOUKI.parent}:{os.environ['PATH']}",
        "HELLO": str(hello),
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
    }
    text = script(blocks(ROOT / "docs" / "tutorial.md"))
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert "hello from the host" in done.stdout
    assert "through the volume, and back over the loopback interface" in done.stdout
    assert "hello from user 1000 in /mnt" in done.stdout
    assert "/process/cwd" in done.stdout
    assert traces() == before


def test_tutorial_of_cgroups_runs_as_it_stands(tmp_path: Path) -> None:
    """The library of cgroups, used alone: no container is made."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the tutorial makes cgroups")
    before = traces()
    text = script(blocks(ROOT / "docs" / "libcgroups.md"))
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert "/tutorial-of-libcgroups" in done.stdout
    assert traces() == before


def test_page_about_filters_runs_as_it_stands(tmp_path: Path) -> None:
    """A filter, and an agent."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the page makes containers without a user namespace")
    before = traces()
    agent = ROOT / "examples" / "seccomp-agent" / "agent.py"
    text = script(blocks(ROOT / "docs" / "seccomp.md"))
    done = subprocess.run(
        [sys.executable, "-c", f"AGENT, DIRECTORY = {str(agent)!r}, {str(tmp_path)!r}\n{text}"],
        cwd=tmp_path,
        env={"PATH": f"{YOUKI.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert "still here" in done.stdout
    assert "PrepareFilter" in done.stdout
    assert "/tmp/new.by-the-agent" in done.stdout
    assert "Operation not permitted" in done.stderr
    assert traces() == before


LIMIT = ROOT / "examples" / "limit_process" / "limit.py"


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--pids", "8", "--", "sh", "-c", "echo $$; exit 3"], 3, "CPU time: "),
        (["--memory", "32M", "--", "tail", "/dev/zero"], 137, "killed for want of memory: 1"),
        (["--pids", "1", "--", "sh", "-c", "true | true"], 2, "forks refused: "),
        (["--cpus", "0.0001", "--", "true"], 125, "/cpu/quota"),
        (["--", "/nowhere/command"], 127, "No such file or directory"),
    ],
)
def test_example_limits_an_ordinary_process(arguments: list[str], status: int, told: str) -> None:
    """The command ends as the limit says, and no cgroup is left."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes cgroups")
    before = traces()
    done = subprocess.run(
        [sys.executable, str(LIMIT), *arguments], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == status, done.stderr
    assert told in done.stderr
    assert traces() == before


def test_seeds_example_configuration_runs_as_it_is(tmp_path: Path) -> None:
    """The example of youki's introduction, with its null device fields, is accepted and runs."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the configuration has no user namespace")
    bundle = tmp_path / "bundle"
    (bundle / "rootfs" / "bin").mkdir(parents=True)
    (bundle / "config.json").write_bytes((ROOT / "examples" / "hello" / "config.json").read_bytes())
    subprocess.run(
        [
            "cc",
            "-static",
            "-Os",
            "-o",
            str(bundle / "rootfs/bin/hello"),
            str(ROOT / "examples/hello/hello.c"),
        ],
        check=True,
    )
    done = subprocess.run(
        [str(YOUKI), "--root", str(tmp_path / "state"), "run", "-b", str(bundle), "hello"],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert "hello" in done.stdout.lower()
