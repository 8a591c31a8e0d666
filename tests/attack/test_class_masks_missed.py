"""Masks and read-only paths that find nothing: somebody renames /proc and /sys of the image while they are made.

A missing path is no error (config-linux.md), so a name that is gone at the right moment would take the mask away,
and the mount would be back under its name afterwards. The moment is that of the runtime's hooks: the mounts are
made, the masks are not.
"""

from __future__ import annotations

import pytest

from libcontainer import Container

from ..integration.conftest import Bundle

LOOK = """
[ -e /proc/self/stat ] || echo no proc
[ -f /proc/kcore ] && echo kcore is seen
[ -f /proc/keys ] && echo keys are seen
ls /sys/firmware/* >/dev/null 2>&1 && echo firmware is seen
(echo x > /proc/sys/kernel/domainname) 2>/dev/null && echo a parameter was written
echo done
"""
AWAY = 'mv "$1/$2" "$1/$2.away" && mkdir "$1/$2"'
DECOY = AWAY + ' && mkdir -p "$1/$2/sys" "$1/$2/firmware" && touch "$1/$2/kcore" "$1/$2/keys"'


def back(bundle: Bundle, name: str) -> None:
    """Put the directory on which the container's mount is back under its name."""
    decoy = bundle.rootfs / f"{name}.decoy"
    (bundle.rootfs / name).rename(decoy)
    (bundle.rootfs / f"{name}.away").rename(bundle.rootfs / name)


@pytest.mark.parametrize("script", [AWAY, DECOY], ids=["nothing in its place", "a decoy in its place"])
@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("userns", [False, True])
def test_renamed_mount_point_keeps_its_masks(bundle: Bundle, name: str, script: str, userns: bool) -> None:
    """They belong to the mount, whatever it is called."""
    if userns:
        bundle.add_userns()
    bundle.linux["maskedPaths"] = ["/proc/kcore", "/proc/keys", "/sys/firmware"]
    bundle.linux["readonlyPaths"] = ["/proc/sys"]
    bundle.spec["hooks"] = {
        "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script, "sh", str(bundle.rootfs), name]}]
    }
    with (
        open(bundle.path / "out", "w+b") as out,
        bundle.build("sh", "-c", LOOK, stdout=out.fileno()) as container,
    ):
        back(bundle, name)
        container.start()
        container.wait(10)
        out.seek(0)
        assert out.read() == b"done\n"
    assert Container.list(bundle.root) == []


def test_what_is_there_instead_of_the_mount_is_masked_too(bundle: Bundle) -> None:
    """The path leads to it, and nobody looks whether the image or its neighbour has put it there."""
    script = DECOY + ' && touch "$1/$2/firmware/secret"'
    bundle.linux["maskedPaths"], bundle.linux["readonlyPaths"] = ["/sys/firmware"], []
    bundle.spec["hooks"] = {
        "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script, "sh", str(bundle.rootfs), "sys"]}]
    }

    assert bundle.sh("ls -A /sys/firmware /sys.away/firmware").stdout.split() == [
        "/sys.away/firmware:",
        "/sys/firmware:",
    ]


def test_masks_without_the_attack_are_made_once(bundle: Bundle) -> None:
    """A mask over each path, not one by its mount and another by its name."""
    bundle.linux["maskedPaths"] = ["/proc/keys", "/sys/firmware"]
    bundle.linux["readonlyPaths"] = ["/proc/sys"]
    points = [line.split()[4] for line in bundle.sh("cat /proc/self/mountinfo").lines]

    assert [points.count(path) for path in ("/proc/keys", "/sys/firmware", "/proc/sys")] == [1, 1, 1]
