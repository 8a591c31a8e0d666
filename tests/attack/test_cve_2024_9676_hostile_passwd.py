"""CVE-2024-9676: /etc/passwd of the image, from which HOME is read, hangs or exhausts whoever reads it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..integration.conftest import Bundle


def make(path: Path, kind: str, victim: Path) -> None:
    """Make a hostile passwd file."""
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "endless device":
        os.mknod(path, 0o020666, os.makedev(1, 5))
    elif kind.startswith("link to "):
        path.symlink_to(kind.removeprefix("link to ").format(victim=victim))
    elif kind == "huge":
        with open(path, "wb") as file:
            file.truncate(1 << 40)
    elif kind == "endless line":
        path.write_bytes(b"x" * (1 << 22) + b":x:1000:1000::/evil:/bin/sh\n")
    elif kind == "behind the limit":
        path.write_bytes(b"a:x:1:1::/:\n" * (1 << 17) + b"u:x:1000:1000::/evil:/bin/sh\n")
    else:
        path.write_text(kind.encode().decode("unicode_escape"))


HOSTILE = (
    *("fifo", "directory", "endless device", "huge", "endless line", "behind the limit"),
    *("link to /dev/zero", "link to /proc/kmsg", "link to /proc/self/mem", "link to passwd"),
    *("link to {victim}/passwd", "link to ../../../../../../../..{victim}/passwd"),
    "link to /proc/1/root{victim}/passwd",
    *("", "\\0\\0\\0", ":::::", "u:x:1000", "u:x:1000:", "u:x:1000x:1000::/evil:"),
    *("u:x:+1000:1:::/evil", "u:x: 1000:1::/evil:", "u:x:1000:1000::evil:/bin/sh", "1000:x:0:0::/evil:"),
    *("u:x:4294968296:1000::/evil:/", "u:x:18446744073709552616:1000::/evil:/"),
)


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_passwd_costs_the_payload_its_home_and_nothing_else(
    bundle: Bundle, victim: Path, kind: str
) -> None:
    """The payload starts; HOME is /, since the file does not say, in a form that counts, where its home is."""
    (victim / "passwd").write_text("u:x:1000:1000::/evil:/bin/sh\n")
    make(bundle.rootfs / "etc/passwd", kind, victim)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    assert bundle.sh("echo $HOME").stdout == "/\n"


def test_honest_passwd_gives_the_home(bundle: Bundle) -> None:
    """What the test above is measured against."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    assert bundle.sh("echo $HOME").stdout == "/home/alice\n"
