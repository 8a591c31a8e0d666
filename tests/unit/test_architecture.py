"""docs/architecture.md tells the truth about where things are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text()
ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", TEXT, flags=re.MULTILINE)[2:]
HOT = [
    "builder",
    "channel",
    "container",
    "deletion",
    "devices",
    "exit_status",
    "kill",
    "mount_options",
    "mounts",
    "namespaces",
    "release",
    "sealed",
    "spawn",
    "state",
    "supervise",
]


@pytest.mark.parametrize(("behaviour", "decides", "acts"), ROWS, ids=[row[0] for row in ROWS])
def test_behaviour_is_in_the_file_that_the_table_names(behaviour: str, decides: str, acts: str) -> None:
    """Someone who looks a behaviour up must find it there."""
    for name in re.findall(r"`([^`]+)`", decides + acts):
        path = ROOT / name if name.startswith("src/") else ROOT / "src" / "libcontainer" / name
        assert path.is_file(), f"{behaviour}: {name} does not exist"


def test_library_of_cgroups_knows_no_container() -> None:
    """Arrows point one way: youki → libcontainer → libcgroups."""
    for path in (ROOT / "src" / "libcgroups").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) (libcontainer|youki)", path.read_text(), re.MULTILINE), path
    for path in (ROOT / "src" / "libcontainer").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) youki", path.read_text(), re.MULTILINE), path


@pytest.mark.parametrize("module", HOT)
def test_hot_path_imports_nothing_heavy(module: str) -> None:
    """Each of these costs milliseconds, and a cold command pays for them every time."""
    listed = TEXT.partition("do not import: ")[2].partition(".\n")[0]
    heavy = re.findall(r"`(\w+)`", listed)
    text = (ROOT / "src" / "libcontainer" / f"{module}.py").read_text()
    top = re.sub(r"if TYPE_CHECKING:\n(?:    .*\n|\n)+", "", text)
    found = [name for name in heavy if re.search(rf"^(from|import) {name}\b", top, re.MULTILINE)]

    assert len(heavy) > 15
    assert found == []
