"""CVE-2021-30465 (also CVE-2015-1335, CVE-2019-18837): two containers share a volume, and one exchanges a
directory of it for a link while the other one's mounts are made below it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from libcontainer import Error

from ..integration.conftest import Bundle
from ..integration.holders import beside
from .hostile import Rounds, await_file, tree

ROUNDS = 40


@pytest.fixture
def volume(tmp_path: Path, victim: Path) -> Path:
    """The shared volume: `a`, a directory, and `b`, a link to a directory of the host."""
    path = tmp_path / "volume"
    (path / "a/in").mkdir(parents=True)
    (path / "b").symlink_to(victim)
    (victim / "in").mkdir()
    (victim / "in/host").touch()
    return path


def test_mount_never_lands_outside(
    attacker: Bundle, volume: Path, victim: Path, tmp_path: Path, record_property: pytest.FixtureRequest
) -> None:
    """What the second container mounts at /vol/a/in would, through the link, land on a directory of the host
    that it is given next as another volume: there it must find the host's own file.
    """
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "evil").touch()
    attacker.mount("/vol", str(volume), "bind", "rbind")
    second = beside(attacker, "second")
    for destination, source in (("/vol", volume), ("/vol/a/in", evil), ("/probe", victim / "in")):
        second.mount(destination, str(source), "bind", "rbind")
    before = tree(victim)
    out = attacker.path / "attack"
    with (
        open(out, "wb") as stdout,
        attacker.build("/attacker", "swap", "/vol/a", "/vol/b", stdout=stdout.fileno()) as first,
    ):
        first.start()
        await_file(out, "swap 0")
        rounds = Rounds(ROUNDS, lambda: second.run("/bin/ls", "/probe"))
        assert first.status == "running", "the names were not exchanged to the end"
    assert {result.stdout for result in rounds.ran} <= {"host\n"}, rounds
    assert tree(victim) == before
    assert all(isinstance(error, Error) for error in rounds.refused)
    # The honest container suffers little: it is refused at most when the tree changed at every of 128 tries.
    assert len(rounds.ran) > ROUNDS // 2, rounds
    print(rounds)
