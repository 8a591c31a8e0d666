"""CVE-2019-19921, lost in a refactoring and back as CVE-2023-27561 and CVE-2023-28642; CVE-2025-54867: /proc or
/sys of the image is a link, so that masks and labels hit another place than the procfs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from libcontainer import Container

from ..integration.conftest import Bundle
from .hostile import Rounds, refusal, swapping, tree

ROUNDS = 20


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize(
    "target", ["/tmp", "tmp", "..", "{victim}", "../../../../../../..{victim}", "/nowhere", "self"]
)
def test_link_in_place_of_the_directory_is_refused(
    bundle: Bundle, victim: Path, name: str, target: str
) -> None:
    """Wherever it leads; and nothing appears there."""
    (bundle.rootfs / name).rmdir()
    (bundle.rootfs / name).symlink_to(target.format(victim=victim) if target != "self" else name)
    before = tree(victim)
    error = refusal(bundle)
    assert error is not None
    assert f"/{name}" in str(error)
    assert Container.list(bundle.root) == []
    assert tree(victim) == before


def test_procfs_is_never_mounted_through_a_link(attacker: Bundle) -> None:
    """A directory that is exchanged for a link all the time is mounted on, or the creation is refused: the place
    that the link leads to stays as it is.
    """
    decoy, fake = attacker.rootfs / "decoy", attacker.rootfs / "tmp/fake"
    fake.mkdir()
    decoy.symlink_to("/tmp/fake")
    with swapping(attacker, attacker.rootfs / "proc", decoy):
        rounds = Rounds(ROUNDS, lambda: attacker.sh("stat -f -c %T /tmp/fake; ls -A /tmp/fake"))
    assert len(rounds.ran) + len(rounds.refused) == ROUNDS
    assert all("proc" not in result.lines and len(result.lines) == 1 for result in rounds.ran), rounds
    assert list(fake.iterdir()) == []
