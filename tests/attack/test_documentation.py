"""docs/security.md promises what a test holds, and tells of every attack."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[a-z0-9_/]+\.py)`")
ABOUT_THE_TESTS = {"test_documentation.py", "test_mutants.py"}


def test_each_promise_names_a_test_that_exists() -> None:
    """A row without its test would be a claim; an attack without its row would be unknown to who reads."""
    text = (ROOT / "docs/security.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|") and "`tests/" in line]
    named = {path for row in rows for path in NAMED.findall(row)}
    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []
    attacks = {path.name for path in Path(__file__).parent.glob("test_*.py")} - ABOUT_THE_TESTS
    assert attacks - {Path(path).name for path in named} == set()


def test_each_cve_of_a_file_name_is_in_its_row() -> None:
    """The table is read by number."""
    rows = (ROOT / "docs/security.md").read_text().splitlines()
    for path in Path(__file__).parent.glob("test_cve_*.py"):
        year, number = path.name.split("_")[2:4]
        row = next(line for line in rows if path.name in line)
        assert f"CVE-{year}-{number}" in row
