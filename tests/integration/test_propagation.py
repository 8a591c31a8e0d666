"""Mount propagation: what of the host's later mounts a container sees, and that its own stay inside.

config-linux.md "Rootfs Mount Propagation", config.md "Mounts", mount_namespaces(7).
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from .boxes import MODES, Box, host_directory, host_mounts, mounts_of, open_to_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .boxes import HostDirectory
    from .conftest import Bundle

# rootfsPropagation → what the container's root shows, where the host's mount is shared.
ROOTFS = {
    None: {"master"},
    "slave": {"master"},
    "rslave": {"master"},
    "private": set(),
    "rprivate": set(),
    "shared": {"shared"},
    "rshared": {"shared"},
    "unbindable": {"unbindable"},
    "runbindable": {"unbindable"},
}


@pytest.fixture(params=MODES)
def box(bundle: Bundle, request: pytest.FixtureRequest) -> Box:
    """A container, made with the newer mount calls or with the classic ones."""
    return Box(bundle, request.param)


@pytest.fixture
def host(bundle: Bundle, tmp_path: Path) -> Iterator[HostDirectory]:
    """A directory of the host with a shared mount `shared`."""
    for directory in host_directory(tmp_path / "host"):
        directory.set(directory.mount("shared", "size=8m"), "--make-shared")
        yield directory


def put_root_on_shared_mount(box: Box, host: HostDirectory) -> Path:
    """Move the root file system to a mount that is shared; beside it is another one with a mount below.

    Were the old root unmounted as a peer of the host's, the mount below would be gone from the host.
    """
    host.set(host.mount("apart"), "--make-shared")
    host.mount("apart/below")
    rootfs = host / "shared/rootfs"
    shutil.copytree(box.rootfs, rootfs, symlinks=True)
    box.spec["root"]["path"] = str(rootfs)
    return rootfs


@pytest.mark.parametrize("propagation", ROOTFS, ids=str)
def test_rootfs_propagation_is_that_of_the_containers_root(
    box: Box, host: HostDirectory, propagation: str | None
) -> None:
    """config-linux.md; without the field the host's mounts reach the container and not the other way."""
    put_root_on_shared_mount(box, host)
    if propagation is not None:
        box.linux["rootfsPropagation"] = propagation

    assert box.mounts()["/"].propagation == ROOTFS[propagation]


@pytest.mark.parametrize("propagation", ROOTFS, ids=str)
def test_root_below_a_shared_mount_leaks_nothing(
    box: Box, host: HostDirectory, propagation: str | None
) -> None:
    """pivot_root(2) refuses a shared parent, and mounts made below one would appear on the host (runc #4417)."""
    put_root_on_shared_mount(box, host)
    if propagation is not None:
        box.linux["rootfsPropagation"] = propagation
    box.mount("/m", "tmpfs", "tmpfs")
    before = host_mounts(box.bundle)

    with box.build():
        assert host_mounts(box.bundle) == before


@pytest.mark.parametrize("no_pivot", [False, True], ids=["pivot", "no-pivot"])
def test_root_below_a_shared_mount_works_with_both_changes_of_root(
    box: Box, host: HostDirectory, no_pivot: bool
) -> None:
    """Both pivot_root(2) and MS_MOVE ask that the parent is not shared."""
    box.no_pivot = no_pivot
    put_root_on_shared_mount(box, host)

    assert box.sh("echo works").stdout == "works\n"


@pytest.mark.parametrize(
    ("options", "arrives"),
    [
        (("rbind",), True),
        (("rbind", "rslave"), True),
        (("rbind", "rprivate"), False),
        (("bind", "private"), False),
    ],
    ids=["default", "rslave", "rprivate", "private"],
)
@pytest.mark.parametrize("userns", [False, True], ids=["", "userns"])
def test_later_mount_of_the_host_arrives_in_a_slave(
    box: Box, host: HostDirectory, options: tuple[str, ...], arrives: bool, userns: bool
) -> None:
    """Volumes that the host mounts later are what `rslave` is for; `rprivate` is a wall."""
    (host / "shared/volume").mkdir()
    (box.rootfs / "data").mkdir()
    if userns:
        box.add_userns()
        # The classic calls reach a source by its path, with the identity of the namespace's root.
        open_to_all(host / "shared")
    box.mount("/data", str(host / "shared/volume"), "bind", *options)

    with box.build() as container:
        host.mount("shared/volume/late")
        assert ("/data/late" in mounts_of(container)) is arrives


@pytest.mark.parametrize(
    ("rootfs", "option", "leaks"),
    [("rshared", "rshared", True), ("rslave", "rshared", False), ("rslave", "rslave", False)],
)
def test_container_mount_reaches_the_host_only_where_both_sides_are_shared(
    box: Box, host: HostDirectory, rootfs: str, option: str, leaks: bool
) -> None:
    """Kubernetes calls it bidirectional; a volume that is shared by mistake must not be a way out."""
    volume = host / "shared/volume"
    (volume / "inner").mkdir(parents=True)
    capabilities = ["CAP_SYS_ADMIN"]
    box.spec["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), capabilities)
    box.linux["rootfsPropagation"] = rootfs
    box.mount("/data", str(volume), "bind", "rbind", option)

    run = box.sh("mount -t tmpfs tmpfs /data/inner")

    assert run.code == 0, run.stderr
    assert (str(volume / "inner") in host_mounts(box.bundle)) is leaks
    if leaks:
        subprocess.run(["umount", str(volume / "inner")], check=True)


def test_early_opened_source_is_no_peer_of_the_hosts_mount(bundle: Bundle, host: HostDirectory) -> None:
    """Cloned in the host's namespace it starts as a peer: what the container mounts there would reach the host."""
    volume = host / "shared/volume"
    (volume / "inner").mkdir(parents=True)
    (bundle.rootfs / "data").mkdir()
    bundle.add_userns()
    capabilities = ["CAP_SYS_ADMIN"]
    bundle.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), capabilities)
    bundle.mount("/data", str(volume), "bind", "rbind")

    run = Box(bundle, "new").sh("mount -t tmpfs tmpfs /data/inner && echo mounted")

    assert run.stdout == "mounted\n"
    assert str(volume / "inner") not in host_mounts(bundle)
