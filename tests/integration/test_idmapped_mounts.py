"""Id-mapped mounts: files of one owner appear as another's. config.md "uidMappings", mount_setattr(2)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from .boxes import Box, host_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .boxes import HostDirectory
    from .conftest import Bundle


@pytest.fixture
def host(bundle: Bundle, tmp_path: Path) -> Iterator[HostDirectory]:
    """A directory of the host with a tree of files: two owners, and another mount below."""
    for directory in host_directory(tmp_path / "host"):
        top = directory.mount("tree")
        below = directory.mount("tree/below")
        for path, owner in ((top / "zero", 0), (top / "one", 1), (below / "zero", 0)):
            path.write_text("")
            os.chown(path, owner, owner)
        yield directory


@pytest.fixture
def box(bundle: Bundle) -> Box:
    """A container; id mappings need the newer mount calls."""
    for name in ("plain", "mapped"):
        (bundle.rootfs / name).mkdir()
    return Box(bundle, "new")


def mapping(host_id: int, size: int = 10) -> list[dict[str, int]]:
    """Map ids from 0 on."""
    return [{"containerID": 0, "hostID": host_id, "size": size}]


def both(host_id: int, size: int = 10) -> dict[str, Any]:
    """Return the mappings of a mount."""
    return {"uidMappings": mapping(host_id, size), "gidMappings": mapping(host_id, size)}


@pytest.mark.parametrize("options", [("bind",), ("bind", "idmap"), ("rbind", "ridmap")])
def test_mount_shows_the_mapped_owners(box: Box, host: HostDirectory, options: tuple[str, ...]) -> None:
    """The mappings alone ask for it; the option says how far it reaches."""
    box.mount("/plain", str(host / "tree"), "bind", "rbind")
    box.mount("/mapped", str(host / "tree"), "bind", *options, **both(5000))

    run = box.sh("stat -c '%n %u:%g' /plain/zero /plain/one /mapped/zero /mapped/one")

    assert run.lines == [
        "/plain/zero 0:0",
        "/plain/one 1:1",
        "/mapped/zero 5000:5000",
        "/mapped/one 5001:5001",
    ]


@pytest.mark.parametrize(("option", "owner"), [("idmap", 0), ("ridmap", 5000)])
def test_only_ridmap_reaches_the_mounts_below(box: Box, host: HostDirectory, option: str, owner: int) -> None:
    """`idmap` is for the top mount."""
    box.mount("/mapped", str(host / "tree"), "bind", "rbind", option, **both(5000))

    assert box.sh("stat -c '%u' /mapped/zero /mapped/below/zero").lines == ["5000", str(owner)]


def test_what_is_written_belongs_to_the_owner_on_disk(box: Box, host: HostDirectory) -> None:
    """The mapping works in both directions: a volume keeps its owners whatever range the container has."""
    (host / "tree").chmod(0o777)
    box.mount("/mapped", str(host / "tree"), "bind", "bind", **both(5000))
    box.spec["process"]["user"] = {"uid": 5003, "gid": 5004}

    assert box.sh("echo x > /mapped/new").code == 0
    status = (host / "tree/new").stat()
    assert (status.st_uid, status.st_gid) == (3, 4)


def test_option_without_mappings_takes_those_of_the_container(box: Box, host: HostDirectory) -> None:
    """So a volume that belongs to root outside belongs to root inside, without a chown."""
    box.add_userns()
    box.mount("/plain", str(host / "tree"), "bind", "bind")
    box.mount("/mapped", str(host / "tree"), "bind", "bind", "idmap")

    run = box.sh("stat -c '%u' /plain/zero /mapped/zero /mapped/one; echo x > /mapped/zero")

    assert (run.lines, run.code) == (["65534", "0", "1"], 0)


def test_mappings_of_the_mount_may_differ_from_the_containers(box: Box, host: HostDirectory) -> None:
    """Explicit mappings are of host ids, not of the container's."""
    box.add_userns()
    box.mount("/mapped", str(host / "tree"), "bind", "bind", "idmap", **both(100007))

    assert box.sh("stat -c '%u' /mapped/zero /mapped/one").lines == ["7", "8"]


def test_id_without_a_mapping_shows_as_nobodys(box: Box, host: HostDirectory) -> None:
    """And cannot be written to by anybody."""
    box.mount("/mapped", str(host / "tree"), "bind", "bind", **both(5000, size=1))

    assert box.sh("stat -c '%u' /mapped/zero /mapped/one").lines == ["5000", "65534"]


def test_two_mounts_with_the_same_mappings_work(box: Box, host: HostDirectory) -> None:
    """One user namespace is made for both; different ones get their own."""
    for name, host_id in (("a", 5000), ("b", 5000), ("c", 6000)):
        (box.rootfs / name).mkdir()
        box.mount(f"/{name}", str(host / "tree"), "bind", "bind", **both(host_id))

    assert box.sh("stat -c '%u' /a/zero /b/zero /c/zero").lines == ["5000", "5000", "6000"]


def test_readonly_and_id_mapped_go_together(box: Box, host: HostDirectory) -> None:
    """The attributes of the mount are set beside its mapping."""
    box.mount("/mapped", str(host / "tree"), "bind", "bind", "ro", "nosuid", **both(5000))

    assert {"ro", "nosuid", "idmapped"} <= box.mounts()["/mapped"].options


@pytest.mark.parametrize(
    ("options", "more", "words"),
    [
        (("bind", "idmap"), {}, "uidMappings and gidMappings, or a user namespace"),
        (("bind",), {"uidMappings": mapping(5)}, "/mounts/4/gidMappings"),
        (("idmap",), both(5), "only beside bind or rbind"),
        ((), both(5), "only on a bind mount"),
    ],
    ids=["no mapping", "one half", "no bind", "tmpfs"],
)
def test_id_mapping_that_cannot_be_meant_is_refused(
    box: Box, host: HostDirectory, options: tuple[str, ...], more: dict[str, Any], words: str
) -> None:
    """Each names its place before anything is made."""
    box.mount("/mapped", str(host / "tree"), "tmpfs", *options, **more)

    assert words in box.refusal()


def test_file_system_without_id_mappings_is_an_error(box: Box) -> None:
    """Not every file system can; then the files would have the wrong owners, so the container is not made."""
    box.mount("/mapped", "/proc/sys", "bind", "bind", **both(5000))

    text = box.refusal()

    assert "config.json /mounts/4: mount bind /proc/sys on /mapped failed: Invalid argument (EINVAL)" in text
    assert "not every file system does" in text


def test_id_mapping_on_an_old_kernel_is_refused(bundle: Bundle, host: HostDirectory) -> None:
    """Before Linux 5.12 there are none; the volume is not shown with the wrong owners instead."""
    bundle.mount("/mapped", str(host / "tree"), "bind", "bind", **both(5000))

    assert "need Linux 5.12" in Box(bundle, "classic").refusal()
