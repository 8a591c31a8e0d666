"""The payload's environment: config.md "env", on the real kernel."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Bundle


def environment(bundle: Bundle) -> list[str]:
    """Run the container and return its first process's environment as the kernel has it."""
    return bundle.run("cat", "/proc/self/environ").stdout.rstrip("\0").split("\0")


def test_the_environment_is_exactly_the_configured_one(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the runtime's own, where secrets may be; values may be anything but NUL."""
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "s3cret")
    bundle.process["env"] = ["PATH=/bin", "HOME=/here", "EMPTY=", "LINES=one\ntwo", "SIGN=a=b", "UML=ä€"]

    assert environment(bundle) == bundle.process["env"]


def test_of_a_name_that_comes_twice_the_last_one_counts(bundle: Bundle) -> None:
    """Engines append what the user asked for to what the image says."""
    bundle.process["env"] = ["PATH=/bin", "HOME=/", "A=1", "B=2", "A=3"]

    assert environment(bundle) == ["PATH=/bin", "HOME=/", "B=2", "A=3"]


@pytest.mark.parametrize(("uid", "home"), [(0, "/root"), (1000, "/home/alice"), (1001, "/")])
def test_home_comes_from_the_containers_passwd(bundle: Bundle, uid: int, home: str) -> None:
    """Of the user that the payload is, not of the caller; `/` for a user that nobody knows."""
    bundle.process["user"] = {"uid": uid, "gid": uid}

    assert f"HOME={home}" in environment(bundle)


def test_an_empty_home_counts_as_none(bundle: Bundle) -> None:
    """As runc has it: an image with HOME= in its configuration means no home."""
    bundle.process["env"] = ["PATH=/bin", "HOME="]

    assert environment(bundle) == ["PATH=/bin", "HOME=/root"]


def test_a_home_that_was_set_is_kept(bundle: Bundle) -> None:
    """The configuration is the user's word."""
    bundle.process["env"] = ["PATH=/bin", "HOME=/elsewhere"]

    assert environment(bundle) == ["PATH=/bin", "HOME=/elsewhere"]


def test_a_last_line_without_an_end_counts(bundle: Bundle) -> None:
    """Images are made by many tools."""
    (bundle.rootfs / "etc/passwd").write_text("x:x:1:1::/one:/bin/sh\nroot:x:0:0:root:/last:/bin/sh")

    assert "HOME=/last" in environment(bundle)


@pytest.mark.parametrize(
    "line",
    [
        "root:x:00000000000000000000000000000000000:0::/wrong",
        "root:x:0x0:0:root:/wrong:/bin/sh",
        "root:x:-0:0:root:/wrong:/bin/sh",
        "root:x:4294967296:0:root:/wrong:/bin/sh",
        "root:x:0:0:root:relative:/bin/sh",
        "root:x:0",
        ":::::",
        "",
    ],
)
def test_lines_of_passwd_that_are_not_understood_are_passed_over(bundle: Bundle, line: str) -> None:
    """A user id is digits and nothing else (CVE-2016-3697), and a home an absolute path."""
    (bundle.rootfs / "etc/passwd").write_text(line + "\nroot:x:0:0:root:/right:/bin/sh\n")

    home = next(item for item in environment(bundle) if item.startswith("HOME="))

    assert home in ("HOME=/right", "HOME=/wrong" if line.startswith("root:x:000") else "HOME=/right")


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "endless line", "huge", "link to a device"])
def test_a_hostile_passwd_neither_hangs_nor_fills_memory(bundle: Bundle, kind: str) -> None:
    """CVE-2024-9676: the image decides what /etc/passwd is; the home is `/` then, and the container runs."""
    passwd = bundle.rootfs / "etc/passwd"
    passwd.unlink()
    if kind == "directory":
        passwd.mkdir()
    elif kind == "fifo":
        os.mkfifo(passwd)
    elif kind == "endless line":
        passwd.write_bytes(b"x" * (2 << 20) + b"\nroot:x:0:0:root:/late:/bin/sh\n")
    elif kind == "huge":
        with open(passwd, "wb") as file:
            file.truncate(1 << 40)
    elif kind == "link to a device":
        passwd.symlink_to("/dev/zero")

    assert "HOME=/" in environment(bundle)


def test_a_link_to_passwd_stays_inside_the_container(bundle: Bundle) -> None:
    """An absolute link means the container's own file, not the host's."""
    passwd = bundle.rootfs / "etc/passwd"
    passwd.rename(bundle.rootfs / "etc/real")
    passwd.symlink_to("/etc/real")
    (bundle.rootfs / "etc/real").write_text("root:x:0:0:root:/linked:/bin/sh\n")

    assert "HOME=/linked" in environment(bundle)


def test_nothing_of_ours_is_in_sight_while_a_container_is_created(bundle: Bundle) -> None:
    """The environment and arguments of init are world-readable on some hosts, and in the container's /proc."""
    with bundle.build("true") as container, open(f"/proc/{container.pid}/environ", "rb") as file:
        assert file.read() == b""


@pytest.mark.parametrize("length", [10_000, 40_000, 100_000])
def test_an_environment_of_any_length_arrives_whole(bundle: Bundle, length: int) -> None:
    """A plan that fits no message goes to init in a file."""
    bundle.process["env"] = [f"LONG{number}={'x' * length}" for number in range(3)] + ["PATH=/bin"]

    assert bundle.sh("echo ${#LONG0} ${#LONG2}").stdout == f"{length} {length}\n"
