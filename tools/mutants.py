"""Show that the attacks would notice a lost defence: break one defence after the other, in a copy of the source
tree, and run the test that holds it, which must fail.

    python tools/mutants.py [NAME…]

A mutant is a file tests/attack/mutants/NAME.patch: a line `Test: path::name`, a sentence, and the patch. A fix that
was lost silently in a refactoring is how CVE-2019-19921 came back as CVE-2023-27561. Needs root, cc and patch(1).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MUTANTS = ROOT / "tests/attack/mutants"
COPIED = ("src", "tests", "tools", "pyproject.toml", "examples")
PASSED, FAILED = 0, 1  # exit statuses of pytest


class MutantError(Exception):
    """A mutant that cannot be made, or that no test has noticed."""


def test_of(patch: Path) -> str:
    """Return the test that must fail under a patch. Raises MutantError when it names none."""
    for line in patch.read_text().splitlines():
        if line.startswith("Test: "):
            return line.removeprefix("Test: ").strip()
    raise MutantError(f"{patch}: no line `Test: …`")


def copy_tree(target: Path) -> None:
    """Copy what is needed to run the attacks."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, target / name, ignore=shutil.ignore_patterns("__pycache__", ".*"), symlinks=True
            )
        elif source.exists():
            shutil.copy(source, target / name)


def compile_init(tree: Path) -> None:
    """Compile init into the tree, as the build does but for its hardening. Raises MutantError."""
    room = tree / "src/libcontainer"
    sources = sorted(map(str, (room / "init").glob("*.c")))
    (room / "_bin").mkdir(exist_ok=True)
    command = ["cc", "-std=gnu11", "-static", "-Os", "-w", "-o", str(room / "_bin/init"), *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MutantError(f"init does not compile: {done.stderr}")


def run_test(tree: Path, test: str) -> tuple[int, str]:
    """Run one test on the tree's own code; return pytest's exit status and output."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
    env = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=tree, env=env, capture_output=True, text=True, errors="replace", timeout=300, check=False
    )
    return done.returncode, done.stdout + done.stderr


def check_mutant(patch: Path) -> None:
    """Apply the patch to a copy of the tree and run its test. Raises MutantError unless that fails."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        tree = Path(name)
        copy_tree(tree)
        command = ["patch", "--strip=1", "--batch", "--no-backup-if-mismatch", f"--input={patch}"]
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MutantError(f"the patch does not apply any more: {done.stdout}")
        compile_init(tree)
        test = test_of(patch)
        status, output = run_test(tree, test)
        if status != FAILED or f"FAILED {test.partition('[')[0]}" not in output:
            raise MutantError(f"{test} did not notice it (pytest ended with {status}):\n{output}")


def check_unharmed() -> None:
    """Run the tests of all mutants on a copy without any. Raises MutantError unless they pass."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        tree = Path(name)
        copy_tree(tree)
        compile_init(tree)
        for test in sorted({test_of(patch) for patch in MUTANTS.glob("*.patch")}):
            status, output = run_test(tree, test)
            if status != PASSED:
                raise MutantError(f"{test} fails without a mutant:\n{output}")


def main(names: list[str]) -> int:
    """Check the named mutants, or all of them; return the exit status."""
    patches = [MUTANTS / f"{name}.patch" for name in names] or sorted(MUTANTS.glob("*.patch"))
    survivors = 0
    if not names:
        check_unharmed()
    for patch in patches:
        try:
            check_mutant(patch)
        except MutantError as error:
            survivors += 1
            print(f"{patch.stem}: NOT NOTICED: {error}", flush=True)
        else:
            print(f"{patch.stem}: noticed by {test_of(patch)}", flush=True)
    return survivors > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
