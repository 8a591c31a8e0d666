"""CVE-2026-41579, CVE-2026-47766: /dev of the image is a link to a directory of the host, where the runtime
would remove `ptmx` and make its nodes and links.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ..integration.conftest import Bundle
from .hostile import refusal, remove_mount, tree


@pytest.mark.parametrize("userns", [False, True])
@pytest.mark.parametrize("link", ["{victim}", "../../../../../../../..{victim}", "/proc/1/root{victim}"])
def test_nothing_is_made_or_removed_where_the_link_would_lead(
    bundle: Bundle, victim: Path, link: str, userns: bool
) -> None:
    """Without a file system on /dev the nodes are made in the image: below the link as seen from inside."""
    remove_mount(bundle, "/dev")
    (victim / "ptmx").touch()
    (victim / "console").touch()
    (bundle.rootfs / "dev").rmdir()
    (bundle.rootfs / "dev").symlink_to(link.format(victim=victim))
    if userns:
        bundle.add_userns()
    before = tree(victim)
    refusal(bundle)
    assert tree(victim) == before


@pytest.mark.parametrize("name", ["ptmx", "null", "fd", "core", "stdin"])
def test_entry_that_is_a_link_to_the_host_is_not_followed(bundle: Bundle, victim: Path, name: str) -> None:
    """The entries themselves, too, may be links: no file of the host is removed, made, or given another mode."""
    remove_mount(bundle, "/dev")
    (bundle.rootfs / "dev" / name).symlink_to(victim / "secret")
    before = tree(victim)
    refusal(bundle)
    assert tree(victim) == before
