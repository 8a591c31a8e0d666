"""The root file system: which directory, read-only or not, and that the host's is out of reach. config.md "Root",
pivot_root(2), security of `--no-pivot`.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from .boxes import MODES, Box, host_directory, host_mounts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .boxes import HostDirectory
    from .conftest import Bundle

# What a user without capabilities can still try: a user namespace, and in it a fresh procfs.
FRESH_PROC = "unshare -U -r -m -p -f mount -t proc proc /mnt"


@pytest.fixture(params=MODES)
def box(bundle: Bundle, request: pytest.FixtureRequest) -> Box:
    """A container, made with the newer mount calls or with the classic ones."""
    return Box(bundle, request.param)


@pytest.fixture
def host(bundle: Bundle, tmp_path: Path) -> Iterator[HostDirectory]:
    """A directory of the host for mounts."""
    yield from host_directory(tmp_path / "host")


@pytest.mark.parametrize("kind", ["relative", "absolute", "dotted", "symlink"])
def test_root_path_is_taken_below_the_bundle(bundle: Bundle, kind: str) -> None:
    """config.md: a relative path is relative to the bundle; symbolic links are resolved once, on the host."""
    (bundle.rootfs / "marker").write_text("this root\n")
    (bundle.path / "link").symlink_to("rootfs")
    paths = {
        "relative": "rootfs",
        "absolute": str(bundle.rootfs),
        "dotted": "../bundle/./rootfs",
        "symlink": "link",
    }
    bundle.spec["root"]["path"] = paths[kind]

    assert bundle.run("cat", "/marker").stdout == "this root\n"


@pytest.mark.parametrize("path", ["missing", "file", "/"])
def test_root_that_is_no_directory_of_its_own_is_refused(bundle: Bundle, path: str) -> None:
    """Nothing is made in its place, and the host's own root is never a container's."""
    (bundle.path / "file").write_text("")
    bundle.spec["root"]["path"] = path

    assert "/root/path" in Box(bundle, "new").refusal()
    assert not (bundle.path / "missing").exists()


@pytest.mark.parametrize("userns", [False, True], ids=["", "userns"])
def test_readonly_root_cannot_be_written(box: Box, userns: bool) -> None:
    """The root alone is read-only: what is mounted below keeps its own flags."""
    if userns:
        box.add_userns()
    box.spec["root"]["readonly"] = True
    (box.rootfs / "t").mkdir()
    box.mount("/t", "tmpfs", "tmpfs", "mode=777")

    run = box.sh("touch /t/a && touch /file")

    assert run.code == 1
    assert "/file: Read-only file system" in run.stderr


def test_root_is_writable_unless_readonly(box: Box) -> None:
    """The negative of the above: absent means what config.md says, false."""
    del box.spec["root"]["readonly"]

    assert box.sh("echo written > /file").code == 0
    assert (box.rootfs / "file").read_text() == "written\n"


def test_readonly_root_keeps_the_flags_of_its_file_system(box: Box, host: HostDirectory) -> None:
    """A remount that names only `ro` would take nosuid and nodev away."""
    rootfs = host.mount("root", "nosuid,nodev,size=8m") / "rootfs"
    shutil.copytree(box.rootfs, rootfs, symlinks=True)
    box.spec["root"] = {"path": str(rootfs), "readonly": True}

    assert {"ro", "nosuid", "nodev"} <= box.mounts()["/"].options


def test_host_files_are_out_of_reach(box: Box) -> None:
    """After the change of root neither `..` nor a leftover mount leads to the host."""
    marker = box.bundle.path / "marker"
    marker.write_text("")

    run = box.sh(
        f"test -e /../../../..{marker}; echo $?; ls /..; grep -c {box.rootfs.parent} /proc/self/mounts"
    )

    assert run.lines[0] == "1"
    assert "bin" in run.lines
    assert run.lines[-1] == "0"


def test_no_pivot_works_like_pivot(box: Box) -> None:
    """For a root on an initramfs, where pivot_root(2) is refused."""
    box.no_pivot = True
    (box.rootfs / "marker").write_text("this root\n")

    run = box.sh("cat /marker; test -e /work; echo $?; cat /proc/1/comm")

    assert (run.lines[:2], run.code) == (["this root", "1"], 0)


@pytest.mark.parametrize("no_pivot", [False, True], ids=["pivot", "no-pivot"])
def test_unmasked_procfs_cannot_be_had_in_a_nested_user_namespace(box: Box, no_pivot: bool) -> None:
    """With the host's complete /proc left in the mount namespace, the kernel would permit a fresh, unmasked one
    (security note of runc's --no-pivot).
    """
    box.no_pivot = no_pivot
    box.spec["process"]["user"] = {"uid": 1000, "gid": 1000}

    run = box.sh(FRESH_PROC)

    assert "mount: permission denied" in run.stderr


def test_unmasked_container_may_mount_procfs_in_a_nested_user_namespace(box: Box) -> None:
    """The negative of the above: it is the masks that the kernel respects."""
    box.linux["maskedPaths"], box.linux["readonlyPaths"] = [], []
    box.spec["process"]["user"] = {"uid": 1000, "gid": 1000}

    assert box.sh(FRESH_PROC).code == 0


def test_host_sysfs_is_hidden_without_pivot(box: Box) -> None:
    """The same for sysfs: it may be mounted fresh only where a complete one is visible already."""
    box.no_pivot = True
    box.spec["process"]["user"] = {"uid": 1000, "gid": 1000}

    run = box.sh("unshare -U -r -m -n mount -t sysfs sysfs /mnt")

    assert "mount: permission denied" in run.stderr


def without_mount_namespace(box: Box) -> Box:
    """Take the mount namespace away, and what needs one."""
    box.bundle.remove_namespace("mount")
    box.spec["mounts"] = []
    box.linux["maskedPaths"], box.linux["readonlyPaths"] = [], []
    return box


def test_container_without_a_mount_namespace_gets_a_chroot(box: Box) -> None:
    """config.md: the root is changed all the same; nothing is mounted, so nothing reaches the host."""
    before = host_mounts(box.bundle)
    without_mount_namespace(box)
    (box.rootfs / "marker").write_text("this root\n")

    run = box.sh("cat /marker; ls /dev; test -e /work; echo $?")

    assert run.lines == ["this root", "1"]
    assert host_mounts(box.bundle) == before


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("mounts", [{"destination": "/m", "type": "tmpfs", "source": "tmpfs"}]),
        ("maskedPaths", ["/proc/kcore"]),
        ("readonlyPaths", ["/etc"]),
        ("devices", [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}]),
    ],
)
def test_mounts_without_a_mount_namespace_are_refused(bundle: Bundle, pointer: str, value: object) -> None:
    """They would be the host's."""
    box = without_mount_namespace(Box(bundle, "new"))
    (box.spec if pointer == "mounts" else box.linux)[pointer] = value

    text = box.refusal()

    assert pointer in text
    assert "only with a mount namespace" in text


@pytest.mark.parametrize("no_pivot", [False, True], ids=["pivot", "no-pivot"])
def test_root_below_a_closed_directory_is_used_in_a_user_namespace(box: Box, no_pivot: bool) -> None:
    """Engines keep images below directories of mode 0700. The host's /proc, which lends its place, is as before."""
    before = os.listdir("/proc/sys")
    box.add_userns()
    box.bundle.path.chmod(0o700)
    os.chown(box.bundle.path, 4321, 4321)
    box.no_pivot = no_pivot
    run = box.sh("ls -d /bin/busybox; grep -c . /proc/self/mountinfo; stat -f -c %T /proc")
    os.chown(box.bundle.path, 0, 0)

    assert run.lines[0] == "/bin/busybox"
    assert run.lines[2] == "proc"
    assert os.listdir("/proc/sys") == before
