"""CVE-2024-45310 (CVE-2026-87766 in bubblewrap): a missing mount point is made on the host, through a link."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..integration.boxes import MODES, Box
from ..integration.conftest import Bundle
from .hostile import Rounds, refusal, swapping, tree

ROUNDS = 25


@pytest.fixture(params=MODES)
def box(bundle: Bundle, request: pytest.FixtureRequest) -> Box:
    """A container made with the newer mount calls, and with the classic ones only."""
    return Box(bundle, request.param)


@pytest.mark.parametrize(
    "link", ["{victim}", "../../../../../../../..{victim}", "/proc/1/root{victim}", "/proc/self/cwd"]
)
def test_mount_points_below_a_link_are_made_inside(box: Box, victim: Path, link: str) -> None:
    """Directories, files, devices and links of the runtime: whatever is missing is made in the image or nowhere."""
    (box.rootfs / "link").symlink_to(link.format(victim=victim))
    for name in ("directory", "deep/er", "file"):
        source = box.bundle.path / f"source-{name.replace('/', '-')}"
        source.touch() if name == "file" else source.mkdir()
        box.mount(f"/link/{name}", str(source), "bind", "rbind")
    box.mount("/link/tmpfs", kind="tmpfs")
    box.linux["devices"] = [{"path": "/link/device", "type": "c", "major": 1, "minor": 3}]
    box.bundle.process["cwd"] = "/link/cwd"
    before = tree(victim)
    box.bundle.process["args"] = ["true"]
    if box.classic:
        box._youki("run", box.bundle.id)
    else:
        refusal(box.bundle)
    assert tree(victim) == before


def test_nothing_is_made_on_the_host_while_a_parent_is_exchanged(attacker: Bundle, victim: Path) -> None:
    """A parent that was a directory when it was looked at may be a link when something is made in it."""
    (attacker.rootfs / "a").mkdir()
    (attacker.rootfs / "b").symlink_to(victim)
    source = attacker.path / "source"
    source.mkdir()
    for index in range(8):
        attacker.mount(f"/a/{index}/x", str(source), "bind", "bind")
    attacker.process["cwd"] = "/a/cwd"
    before = tree(victim)
    with swapping(attacker, attacker.rootfs / "a", attacker.rootfs / "b"):
        rounds = Rounds(ROUNDS, lambda: attacker.run("true"))
    assert tree(victim) == before, rounds
    assert len(rounds.ran) + len(rounds.refused) == ROUNDS
