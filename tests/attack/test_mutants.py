"""The attacks notice a lost defence: tools/mutants.py breaks each in a copy of the tree. Opt-in: it takes minutes."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PATCHES = sorted((Path(__file__).with_name("mutants")).glob("*.patch"))


def tool() -> ModuleType:
    """Import tools/mutants.py, which is no package."""
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "tools/mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("patch", PATCHES, ids=lambda path: path.stem)
def test_mutant_names_a_test_that_exists(patch: Path) -> None:
    """A patch whose test was renamed would never be noticed to be unnoticed."""
    path, _, name = tool().test_of(patch).partition("::")
    assert f"def {name}(" in (ROOT / path).read_text()


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch(1) is not installed")
@pytest.mark.parametrize("patch", PATCHES, ids=lambda path: path.stem)
def test_mutant_applies(patch: Path) -> None:
    """A patch that lags behind the code proves nothing."""
    command = ["patch", "--strip=1", "--batch", "--dry-run", f"--input={patch}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.skipif("MUTANTS" not in os.environ, reason="takes minutes: set MUTANTS=1")
@pytest.mark.parametrize("patch", PATCHES, ids=lambda path: path.stem)
def test_lost_defence_is_noticed(patch: Path) -> None:
    """The patch applies, and the test that it names fails under it."""
    tool().check_mutant(patch)
