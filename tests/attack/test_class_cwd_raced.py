"""The working directory is exchanged for a way out while the container comes into being."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..integration.conftest import Bundle
from .hostile import Rounds, errnos, swapping, tree

ROUNDS = 25


@pytest.mark.parametrize("link", ["../../../../../../../..", "/proc/self/cwd", "/proc/1/root", "{victim}"])
def test_working_directory_stays_inside(attacker: Bundle, victim: Path, tmp_path: Path, link: str) -> None:
    """In a volume that another container exchanges its parts of, too."""
    volume = tmp_path / "volume"
    (volume / "a/deep").mkdir(parents=True)
    (volume / "b").symlink_to(link.format(victim=victim))
    attacker.mount("/vol", str(volume), "bind", "bind")
    attacker.process["cwd"] = "/vol/a/deep"
    before = tree(victim)
    with swapping(attacker, volume / "a", volume / "b"):
        rounds = Rounds(ROUNDS, lambda: attacker.run("/attacker", "cwd"))
    for result in rounds.ran:
        assert errnos(result.stdout).get("escaped") == 0, rounds
        assert "cwd /" in result.stdout
    assert tree(victim) == before


def test_working_directory_that_is_removed_is_refused_or_inside(attacker: Bundle) -> None:
    """A directory without a name has no way back to the root: getcwd(2) tells, and it is believed."""
    (attacker.rootfs / "gone").mkdir()
    attacker.process["cwd"] = "/gone"
    rounds = Rounds(3, lambda: attacker.run("/attacker", "cwd"))
    assert [errnos(result.stdout).get("escaped") for result in rounds.ran] == [0, 0, 0]
