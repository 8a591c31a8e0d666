"""The benchmark runs. What it measures is a matter of the machine and not of a test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the containers are made without a user namespace")
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the floor")
def test_quick_benchmark_prints_ratios_and_leaves_nothing() -> None:
    """Whoever changes the library must be able to say what it costs, against the floor at least."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--json"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["ratios"]) == {"alone", "in a row"}
    assert all(ratios["libcontainer / floor"] > 0 for ratios in found["ratios"].values())
    assert all(found["seconds"][regime]["libcontainer exec"] for regime in found["seconds"])
    assert list(Path("/sys/fs/cgroup").glob("*/bench-*")) == []
