"""The directory of the records decides which processes are killed and what is removed: youki took `../` in ids,
LXC followed links in a directory that others could write to (CVE-2015-1331).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from libcontainer import Container, ContainerBuilder, Error
from libcontainer.errors import InvalidArgument, NotFound

from ..integration.conftest import Bundle
from .hostile import python_youki, tree

IDS = (
    "", ".", "..", "../victim", "a/b", "/etc", "a/../../victim", ".hidden", "-rf", "--force", "a b", "a\n", "a\0b",
    "x" * 241, "é", "\u0661", "a;b", "$(id)", "*", "a\\b", "%2e%2e",
)  # fmt: skip


@pytest.mark.parametrize("container_id", IDS, ids=repr)
def test_id_is_never_a_path(bundle: Bundle, victim: Path, container_id: str) -> None:
    """The same rule in every command, before anything is opened: what lies beside the root is left alone."""
    root = victim / "root"
    root.mkdir(mode=0o700)
    (victim / "victim").mkdir()
    before = tree(victim)
    for call in (ContainerBuilder, lambda name: Container.load(root, name)):
        with pytest.raises(InvalidArgument):
            call(container_id)  # type: ignore[operator]
    with pytest.raises(InvalidArgument):
        Container(str(root), container_id, {}).delete(force=True)
    if container_id in ("..", "../victim", "a/b", ""):
        bundle.root = root
        for command in (("state",), ("kill",), ("delete", "--force"), ("start",)):
            assert python_youki(bundle, *command, "--", container_id).returncode != 0
    assert tree(victim) == before


def test_link_in_place_of_a_containers_directory_is_not_followed(bundle: Bundle, victim: Path) -> None:
    """A name below the root that leads elsewhere is no container, and deleting it deletes nothing."""
    bundle.root.mkdir(mode=0o700)
    link = bundle.root / "evil"
    link.symlink_to(victim)
    before = tree(victim)
    assert Container.list(bundle.root) == []
    with pytest.raises(NotFound):
        Container.load(bundle.root, "evil")
    Container(str(bundle.root), "evil", {}).delete(force=True)
    bundle.save()
    builder = ContainerBuilder("evil").with_root_path(bundle.root).as_init(bundle.path)
    with pytest.raises(Error):
        builder.build()
    assert tree(victim) == before
    link.unlink()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_root_that_others_may_change_is_refused(bundle: Bundle, mode: int) -> None:
    """Whoever can write there chooses whom the runtime kills."""
    bundle.root.mkdir()
    bundle.root.chmod(mode)
    with pytest.raises(InvalidArgument, match="other users may change it"):
        bundle.build("true")
    with pytest.raises(InvalidArgument, match="other users may change it"):
        Container.load(bundle.root, "x")


@pytest.mark.parametrize("kind", ["link", "file", "somebody else's"])
def test_root_that_is_no_directory_of_ours_is_refused(bundle: Bundle, victim: Path, kind: str) -> None:
    """A link in its place would let its owner exchange all records at once."""
    if kind == "link":
        bundle.root.symlink_to(victim)
    elif kind == "file":
        bundle.root.touch()
    else:
        bundle.root.mkdir(mode=0o700)
        os.chown(bundle.root, 1000, 1000)
    before = tree(victim)
    with pytest.raises(InvalidArgument):
        bundle.build("true")
    assert tree(victim) == before
    if kind != "somebody else's":
        bundle.root.unlink()
