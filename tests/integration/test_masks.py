"""Masked and read-only paths: what of the kernel's files a container may not see or change.

config-linux.md "Masked Paths", "Readonly Paths"; CVE-2025-31133, CVE-2026-88265.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from libcontainer import SetupError

from .boxes import MODES, Box, host_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .boxes import HostDirectory
    from .conftest import Bundle


@pytest.fixture(params=MODES)
def box(bundle: Bundle, request: pytest.FixtureRequest) -> Box:
    """A container whose image has a secret file and a secret directory."""
    box = Box(bundle, request.param)
    (box.rootfs / "secret").mkdir()
    (box.rootfs / "secret/key").write_text("secret")
    (box.rootfs / "file").write_text("secret")
    box.linux["maskedPaths"], box.linux["readonlyPaths"] = [], []
    return box


@pytest.fixture
def host(bundle: Bundle, tmp_path: Path) -> Iterator[HostDirectory]:
    """A directory of the host for mounts."""
    yield from host_directory(tmp_path / "host")


def test_unmasked_paths_are_seen(box: Box) -> None:
    """The negative of all below: without the entry the content is there."""
    assert box.sh("cat /file; ls /secret").stdout == "secretkey\n"


@pytest.mark.parametrize("userns", [False, True], ids=["", "userns"])
def test_masked_file_reads_empty(box: Box, userns: bool) -> None:
    """The null device is bound on it, and what is written goes nowhere."""
    if userns:
        box.add_userns()
    box.linux["maskedPaths"] = ["/file"]

    run = box.sh("cat /file; echo overwritten > /file; stat -c %t:%T /file")

    assert (run.stdout, run.code) == ("1:3\n", 0)
    assert (box.rootfs / "file").read_text() == "secret"


@pytest.mark.parametrize("userns", [False, True], ids=["", "userns"])
def test_masked_directory_is_empty_and_cannot_be_written(box: Box, userns: bool) -> None:
    """An empty read-only file system lies on it."""
    if userns:
        box.add_userns()
    box.linux["maskedPaths"] = ["/secret"]

    run = box.sh("ls -A /secret; cat /secret/key; touch /secret/new")

    assert run.stdout == ""
    assert "Read-only file system" in run.stderr


def test_masked_directories_share_one_file_system(bundle: Bundle) -> None:
    """A superblock for each of twenty paths costs memory that a small container does not have."""
    paths = [f"/masked{number}" for number in range(4)]
    for path in paths:
        (bundle.rootfs / path[1:]).mkdir()
    bundle.linux["maskedPaths"] = paths

    devices = Box(bundle, "new").sh(f"stat -c %d {' '.join(paths)}").lines

    assert len(devices) == 4
    assert len(set(devices)) == 1


def test_paths_that_do_not_exist_are_ignored(box: Box) -> None:
    """config-linux.md lists what some kernels have; neither is anything made in their place."""
    missing = ["/missing", "/proc/nosuchfile", "/file/below", "/missing/deep"]
    box.linux["maskedPaths"] = missing
    box.linux["readonlyPaths"] = ["/missing", "/missing/deep"]

    assert box.sh("ls /missing /missing/deep").code != 0
    assert not (box.rootfs / "missing").exists()


def test_symlink_as_masked_path_is_refused(box: Box) -> None:
    """Masking what it points to now would not mask what it points to later."""
    (box.rootfs / "link").symlink_to("file")
    box.linux["maskedPaths"] = ["/link"]

    assert "config.json /linux/maskedPaths/0: masking /link failed: Too many levels" in box.refusal()


def test_masks_cannot_be_taken_off_by_the_containers_root(box: Box) -> None:
    """Nor by writing through another path: the kernel's files stay hidden from root without CAP_SYS_ADMIN."""
    box.linux["maskedPaths"] = ["/file", "/secret"]

    run = box.sh(
        "umount /file; umount /secret; umount -l /file; mount -o remount,rw /secret; cat /file; ls /secret"
    )

    assert run.stdout == ""
    assert "Operation not permitted" in run.stderr or "must be" in run.stderr


def test_masks_of_the_default_configuration_hide_the_kernels_memory(bundle: Bundle) -> None:
    """/proc/kcore is the memory of the host."""
    assert bundle.sh("cat /proc/kcore | wc -c; ls -A /sys/firmware").stdout == "0\n"


@pytest.mark.parametrize("kind", ["file", "symlink", "other device", "missing"])
def test_faked_null_device_is_refused(box: Box, host: HostDirectory, kind: str) -> None:
    """CVE-2025-31133: what is bound on a masked file must be the null device, not what the image calls so."""
    dev = host / "dev"
    dev.mkdir()
    match kind:
        case "file":
            (dev / "null").write_text("")
        case "symlink":
            (dev / "null").symlink_to("/file")
        case "other device":
            os.mknod(dev / "null", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    box.spec["mounts"] = [item for item in box.spec["mounts"] if not item["destination"].startswith("/dev")]
    box.mount("/dev", str(dev), "bind", "bind")
    box.linux["maskedPaths"] = ["/file"]

    text = box.refusal()

    assert "/dev/null" in text
    assert ("is not the null device" in text) == (kind != "missing")


@pytest.mark.parametrize("userns", [False, True], ids=["", "userns"])
def test_readonly_path_cannot_be_written(box: Box, userns: bool) -> None:
    """EROFS, for directories and files; what is beside them stays writable."""
    if userns:
        box.add_userns()
        os.chown(box.rootfs / "secret/key", 100000, 100000)
        os.chown(box.rootfs / "file", 100000, 100000)
    box.linux["readonlyPaths"] = ["/secret", "/file"]

    run = box.sh("cat /secret/key; echo x > /file; echo x > /secret/key; touch /tmp/a")

    assert (run.stdout, run.code) == ("secret", 0)
    assert run.stderr.count("Read-only file system") == 2


def test_readonly_path_includes_the_mounts_below(bundle: Bundle, host: HostDirectory) -> None:
    """A mount below would be a writable hole."""
    top = host.mount("tree")
    host.mount("tree/below")
    bundle.mount("/data", str(top), "bind", "rbind")
    bundle.linux["readonlyPaths"] = ["/data"]

    run = Box(bundle, "new").sh("touch /data/a; touch /data/below/a")

    assert run.stderr.count("Read-only file system") == 2


def test_readonly_path_keeps_the_other_flags(box: Box, host: HostDirectory) -> None:
    """Neither fewer nor, as in youki, more."""
    source = host.mount("source", "nosuid,noatime")
    box.mount("/data", str(source), "bind", "bind")
    box.linux["readonlyPaths"] = ["/data"]

    assert box.mounts()["/data"].options == {"ro", "nosuid", "noatime"}


def test_readonly_symlink_protects_what_it_leads_to(box: Box, host: HostDirectory) -> None:
    """The link is followed inside the root: /proc/sys may be reached by any name, and never the host's."""
    (host / "dir").mkdir()
    (box.rootfs / "link").symlink_to("/secret")
    box.linux["readonlyPaths"] = ["/link"]

    assert "Read-only file system" in box.sh("echo x > /secret/key").stderr


def test_mask_wins_over_readonly(box: Box) -> None:
    """A path in both lists is hidden: it is masked last."""
    box.linux["maskedPaths"] = box.linux["readonlyPaths"] = ["/secret"]

    assert box.sh("ls -A /secret").stdout == ""


def test_faked_null_device_is_refused_with_a_terminal(bundle: Bundle, host: HostDirectory) -> None:
    """Then no standard stream has looked at it before: the mask itself must."""
    for name in ("pts", "console"):
        (host / name).mkdir() if name == "pts" else (host / name).write_text("")
    (host / "null").write_text("of the image")
    (bundle.rootfs / "file").write_text("secret")
    bundle.spec["mounts"] = [item for item in bundle.spec["mounts"] if item["destination"] != "/dev"]
    bundle.spec["mounts"].insert(
        0, {"destination": "/dev", "type": "bind", "source": str(host.path), "options": ["rbind"]}
    )
    bundle.linux["maskedPaths"] = ["/file"]
    bundle.process["terminal"] = True
    bundle.save()

    with pytest.raises(SetupError, match="/dev/null is not the null device") as caught:
        bundle.builder().as_init(bundle.path).with_detach(False).build()

    assert caught.value.pointer == "/linux/maskedPaths/0"


@pytest.mark.parametrize("path", ["/proc/../file", "/sys/../file", "/proc/self/../../file"])
def test_path_that_leaves_proc_again_is_masked_where_it_leads(box: Box, path: str) -> None:
    """It begins as a path in /proc does, and below the mount it would be looked up in vain."""
    box.linux["maskedPaths"] = [path]

    assert box.sh("cat /file").stdout == ""


@pytest.mark.parametrize("path", ["/proc/../sys/kernel", "/proc/../sys/../sys/kernel"])
def test_path_that_leaves_proc_for_a_name_that_is_there_too_is_readonly_where_it_leads(
    box: Box, path: str
) -> None:
    """/proc has a sys/kernel as well: to find that is not enough."""
    box.linux["readonlyPaths"] = [path]

    assert "/sys/kernel" in box.mounts()


def test_mount_over_another_at_proc_is_the_one_that_is_masked(box: Box) -> None:
    """Of two mounts at one place the upper one is seen."""
    box.mount("/proc", "proc", "proc")
    box.linux["maskedPaths"] = ["/proc/version"]

    assert box.sh("cat /proc/version").stdout == ""


def test_links_in_a_directory_at_sys_are_followed_from_the_root(box: Box, host: HostDirectory) -> None:
    """/sys may be anything. Below its mount alone an absolute link would lead to nothing, or to something else."""
    for name in ("secret", "dir"):
        (host / name).mkdir()
    (host / "absolute").symlink_to("/secret")
    (host / "relative").symlink_to("dir")
    (host / "upward").symlink_to("../secret")
    box.spec["mounts"] = [item for item in box.spec["mounts"] if not item["destination"].startswith("/sys")]
    box.mount("/sys", str(host.path), "bind", "bind")
    box.linux["readonlyPaths"] = ["/sys/absolute", "/sys/relative", "/sys/upward"]
    points = [mount.point for mount in box.mounts().lines]

    assert points.count("/sys/dir") == 1
    assert points.count("/secret") == 2


def test_directory_at_sys_is_masked_as_any_other(box: Box, host: HostDirectory) -> None:
    """Files and directories, in it and in what is mounted in it."""
    (host / "key").write_text("secret")
    (host / "below").mkdir()
    box.spec["mounts"] = [item for item in box.spec["mounts"] if not item["destination"].startswith("/sys")]
    box.mount("/sys", str(host.path), "bind", "bind")
    box.mount("/sys/below", "tmpfs", "tmpfs")
    box.linux["maskedPaths"] = ["/sys/key", "/sys/below", "/sys/missing"]

    assert box.sh("cat /sys/key; touch /sys/below/a || echo refused").stdout == "refused\n"
