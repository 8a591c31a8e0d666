"""CVE-2026-88264: /dev/console of the image is a link, and the runtime makes a file of root's where it leads."""

from __future__ import annotations

from pathlib import Path

import pytest

from libcontainer import Error

from ..integration.conftest import Bundle
from .hostile import remove_mount, tree
from .terminals import console


def devpts_only(bundle: Bundle) -> None:
    """Leave /dev to the image, with a devpts in it."""
    pts = next(item for item in bundle.spec["mounts"] if item["destination"] == "/dev/pts")
    remove_mount(bundle, "/dev")
    bundle.spec["mounts"].append(pts)


@pytest.mark.parametrize("name", ["new", "secret"])
@pytest.mark.parametrize("link", ["{victim}", "../../../../../../../..{victim}"])
def test_console_is_never_made_through_a_link(bundle: Bundle, victim: Path, link: str, name: str) -> None:
    """Neither a file that is missing on the host is made, nor one that exists is changed or shown."""
    devpts_only(bundle)
    (bundle.rootfs / "dev/console").symlink_to(f"{link.format(victim=victim)}/{name}")
    before = tree(victim)
    refused = "it was made elsewhere than at /dev/console"
    try:
        with console(bundle, "sleep", "1000") as (container, _):
            container.start()
    except Error as error:
        refused = str(error)
    assert "/dev/console" in refused
    assert tree(victim) == before


def test_target_of_the_link_inside_the_image_is_not_made_either(bundle: Bundle) -> None:
    """The link is not followed at all: not even a file of the image appears."""
    devpts_only(bundle)
    (bundle.rootfs / "dev/console").symlink_to("/etc/console")
    refused = "it was made elsewhere than at /dev/console"
    try:
        with console(bundle, "sleep", "1000") as (container, _):
            container.start()
    except Error as error:
        refused = str(error)
    assert "/dev/console" in refused
    assert not (bundle.rootfs / "etc/console").exists()
