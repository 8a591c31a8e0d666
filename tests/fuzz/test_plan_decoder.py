"""The plan decoder of init under a fuzzer (plan_fuzz.c), for FUZZ_SECONDS seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = int(os.environ.get("FUZZ_SECONDS", "60"))


@pytest.mark.slow
def test_no_plan_makes_the_decoder_read_outside_of_it(source_tree: Path) -> None:
    """A forged length or offset is refused before any step runs: init acts on nothing but the plan."""
    if not shutil.which("make") or not (source_tree / "Makefile").exists():
        pytest.skip("needs make")
    built = subprocess.run(["make", "sanitize"], cwd=source_tree, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    command = [sys.executable, source_tree / "tools" / "fuzz.py", str(SECONDS)]
    fuzzed = subprocess.run(command, cwd=source_tree, capture_output=True, text=True)
    assert fuzzed.returncode == 0, fuzzed.stderr[-4000:]
