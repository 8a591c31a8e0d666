"""Devices: the default nodes, those of linux.devices, the links of /dev, and the terminal.

config-linux.md "Devices", "Default Devices"; config.md "/dev symbolic links". CVE-2026-41579, CVE-2026-88264.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from .boxes import MODES, Box, host_directory, mounts_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .boxes import HostDirectory
    from .conftest import Bundle

DEFAULTS = {
    "null": "1:3",
    "zero": "1:5",
    "full": "1:7",
    "random": "1:8",
    "urandom": "1:9",
    "tty": "5:0",
}
LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
if os.path.exists("/proc/kcore"):
    LINKS["core"] = "/proc/kcore"


@pytest.fixture(params=MODES)
def box(bundle: Bundle, request: pytest.FixtureRequest) -> Box:
    """A container, made with the newer mount calls or with the classic ones."""
    return Box(bundle, request.param)


@pytest.fixture
def host(bundle: Bundle, tmp_path: Path) -> Iterator[HostDirectory]:
    """A directory of the host."""
    yield from host_directory(tmp_path / "host")


def without_mounts_on_dev(box: Box) -> None:
    """Leave /dev to the image."""
    box.spec["mounts"] = [item for item in box.spec["mounts"] if not item["destination"].startswith("/dev")]


def device(
    path: str, kind: str, major: int | None = None, minor: int | None = None, **more: int
) -> dict[str, object]:
    """Return an entry of linux.devices."""
    numbers = {} if major is None else {"major": major, "minor": minor}
    return {"path": path, "type": kind, **numbers, **more}


def test_default_devices_have_their_numbers_and_modes(box: Box) -> None:
    """Programs open them without asking; 0666 and root, whatever the caller's umask is."""
    previous = os.umask(0o077)
    try:
        run = box.sh("cd /dev; stat -c '%n %t:%T %a %u:%g %F' " + " ".join(DEFAULTS))
    finally:
        os.umask(previous)

    expected = [f"{name} {number} 666 0:0 character special file" for name, number in DEFAULTS.items()]
    assert run.lines == expected


def test_dev_holds_nothing_else(box: Box) -> None:
    """No console without a terminal, and none of the host's disks."""
    run = box.sh("ls /dev")

    assert set(run.lines) == {*DEFAULTS, *LINKS, "pts"}


def test_links_of_dev_are_there(box: Box) -> None:
    """Shell scripts write to /dev/stderr, and posix_openpt(3) opens /dev/ptmx."""
    run = box.sh(
        "cd /dev; for i in " + " ".join(LINKS) + "; do echo $i $(readlink $i); done; echo out >> /dev/stdout"
    )

    assert run.lines == [*[f"{name} {target}" for name, target in LINKS.items()], "out"]


def test_listed_devices_are_made_as_asked_for(box: Box) -> None:
    """Every type, with mode and owner; `u` is a character device, too."""
    box.linux["devices"] = [
        device("/dev/char", "c", 1, 5, fileMode=0o640, uid=1000, gid=7),
        device("/dev/block", "b", 7, 200, fileMode=0o600),
        device("/dev/unbuffered", "u", 1, 3),
        device("/dev/sub/pipe", "p", fileMode=0o622, uid=5),
        device("/outside/of/dev", "c", 1, 7, fileMode=0o4755),
    ]

    run = box.sh(
        "stat -c '%n|%F|%t:%T|%a|%u:%g' /dev/char /dev/block /dev/unbuffered /dev/sub/pipe /outside/of/dev"
    )

    assert run.lines == [
        "/dev/char|character special file|1:5|640|1000:7",
        "/dev/block|block special file|7:c8|600|0:0",
        "/dev/unbuffered|character special file|1:3|666|0:0",
        "/dev/sub/pipe|fifo|0:0|622|5:0",
        "/outside/of/dev|character special file|1:7|4755|0:0",
    ]


def test_listed_device_replaces_the_default_of_its_name(box: Box) -> None:
    """The spec's own entry comes before the default: here with a tighter mode."""
    box.linux["devices"] = [device("/dev//tty", "c", 5, 0, fileMode=0o600)]

    assert box.sh("stat -c %a /dev/tty").stdout == "600\n"


def test_device_that_is_there_already_is_taken(box: Box) -> None:
    """An image with the right node is fine; mode and owner become those of the spec."""
    node = box.rootfs / "node"
    os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    os.mkfifo(box.rootfs / "pipe", 0o600)
    box.linux["devices"] = [device("/node", "c", 1, 5, fileMode=0o644, uid=3), device("/pipe", "p", uid=4)]

    assert box.sh("stat -c '%a %u' /node /pipe").lines == ["644 3", "666 4"]


@pytest.mark.parametrize("kind", ["other number", "file", "symlink", "block"])
def test_something_else_in_the_place_of_a_device_is_refused(box: Box, host: HostDirectory, kind: str) -> None:
    """config-linux.md: an error. A link is not followed: its target would get the device's mode and owner."""
    node = box.rootfs / "node"
    target = host / "target"
    os.mknod(target, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    match kind:
        case "other number":
            os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(1, 7))
        case "block":
            os.mknod(node, stat.S_IFBLK | 0o600, os.makedev(1, 5))
        case "file":
            node.write_text("")
        case "symlink":
            node.symlink_to(target)
    box.linux["devices"] = [device("/node", "c", 1, 5)]

    text = box.refusal()

    assert "config.json /linux/devices/0: making the device /node failed: File exists (EEXIST)" in text
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_devices_in_a_user_namespace_are_the_hosts(box: Box) -> None:
    """mknod(2) makes no usable node there, so the host's are bound; a fifo needs no privilege."""
    box.add_userns()
    box.linux["devices"] = [
        device("/dev/kmsg", "c", 1, 11),
        device("/dev/pipe", "p", fileMode=0o600),
    ]

    with box.build() as container:
        mounts = mounts_of(container)
    run = box.sh(
        "head -c 3 /dev/zero | wc -c; echo x > /dev/null; stat -c %F /dev/pipe; stat -c %t:%T /dev/kmsg"
    )

    assert {f"/dev/{name}" for name in DEFAULTS} | {"/dev/kmsg"} <= mounts.keys()
    assert run.lines == ["3", "fifo", "1:b"]


def test_device_that_the_host_lacks_is_refused_in_a_user_namespace(box: Box) -> None:
    """It cannot be made, and is not left out in silence."""
    box.add_userns()
    box.linux["devices"] = [device("/dev/nosuchdevice", "c", 240, 7)]

    text = box.refusal()

    assert "config.json /linux/devices/0" in text
    assert "No such file or directory" in text


def test_ptmx_is_that_of_the_containers_own_devpts(box: Box) -> None:
    """An image's own ptmx would be the host's multiplexor."""
    without_mounts_on_dev(box)
    os.mknod(box.rootfs / "dev/ptmx", stat.S_IFCHR | 0o666, os.makedev(5, 2))
    box.mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666")

    assert box.sh("readlink /dev/ptmx; ls /dev/pts").lines == ["pts/ptmx", "ptmx"]


def test_dev_of_the_image_is_filled_where_nothing_is_mounted_on_it(box: Box) -> None:
    """The nodes are made in the root file system itself."""
    without_mounts_on_dev(box)

    assert box.sh("stat -c %t:%T /dev/null").stdout == "1:3\n"
    assert stat.S_ISCHR((box.rootfs / "dev/null").stat().st_mode)
    assert os.readlink(box.rootfs / "dev/fd") == "/proc/self/fd"


def test_dev_that_is_bound_from_the_host_is_left_alone(box: Box, host: HostDirectory) -> None:
    """Privileged containers bind it; a link or node made there would be made on the host."""
    os.mknod(host / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (host / "ptmx").write_text("of the host")
    without_mounts_on_dev(box)
    box.mount("/dev", str(host.path), "bind", "rbind")
    box.linux["devices"] = [device("/dev/mine", "c", 1, 5)]

    assert box.sh("ls /dev").lines == ["null", "ptmx"]
    assert sorted(item.name for item in host.path.iterdir()) == ["null", "ptmx"]
    assert (host / "ptmx").read_text() == "of the host"


@pytest.mark.parametrize("mounted", [False, True], ids=["image", "tmpfs"])
def test_dev_as_a_link_to_the_host_touches_nothing_there(
    box: Box, host: HostDirectory, mounted: bool
) -> None:
    """CVE-2026-41579: the links of /dev were unlinked and made below a directory of the host."""
    victim = host / "victim"
    victim.mkdir()
    (victim / "ptmx").write_text("of the host")
    if not mounted:
        without_mounts_on_dev(box)
    (box.rootfs / "dev").rmdir()
    (box.rootfs / "dev").symlink_to(victim)

    run = box.sh("readlink /dev/fd")

    assert (victim / "ptmx").read_text() == "of the host"
    assert [item.name for item in victim.iterdir()] == ["ptmx"]
    assert run.stdout == "/proc/self/fd\n"


def with_terminal(bundle: Bundle) -> None:
    """Ask for a terminal in a /dev of the image, where a console may stand already."""
    box = Box(bundle, "new")
    without_mounts_on_dev(box)
    box.mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666", "mode=0620")
    bundle.process["terminal"] = True
    bundle.process["args"] = ["/bin/sh", "-c", "tty; ls -l /dev/console"]
    bundle.save()


def test_console_is_bound_in_the_image(bundle: Bundle) -> None:
    """/dev/console is the terminal of the payload, and the file below it is an empty one."""
    with_terminal(bundle)

    with bundle.builder().as_init(bundle.path).with_detach(False).build() as container:
        assert "/dev/console" in mounts_of(container)

    assert (bundle.rootfs / "dev/console").stat().st_size == 0


def test_console_as_a_link_touches_nothing_on_the_host(bundle: Bundle, host: HostDirectory) -> None:
    """CVE-2026-88264, CVE-2025-52565: following the link made a file at a path of the image's choice."""
    with_terminal(bundle)
    (bundle.rootfs / "dev/console").symlink_to(host / "made")
    (bundle.rootfs / str(host.path)[1:]).mkdir(parents=True)

    with bundle.builder().as_init(bundle.path).with_detach(False).build() as container:
        assert "/dev/console" in mounts_of(container)

    assert not (host / "made").exists()
    assert not (bundle.rootfs / str(host / "made")[1:]).exists()
    assert (bundle.rootfs / "dev/console").is_symlink()
