"""CVE-2026-88265 and its kin: standard streams reopened through the image's /dev/null and given to its user."""

from __future__ import annotations

import os
from pathlib import Path

from ..integration.conftest import Bundle
from .hostile import refusal, remove_mount

USER = {"uid": 1000, "gid": 1000}


def test_file_of_the_host_in_place_of_null_is_neither_opened_nor_given_away(
    bundle: Bundle, victim: Path
) -> None:
    """A link of the image to a bind-mounted file of the host would make standard input a writable descriptor of it."""
    dev = bundle.path / "dev"
    dev.mkdir()
    (dev / "null").symlink_to("/mnt/secret")
    remove_mount(bundle, "/dev")
    bundle.linux["maskedPaths"] = []
    bundle.mount("/dev", str(dev), "bind", "bind")
    bundle.mount("/mnt", str(victim), "bind", "bind")
    bundle.process["user"] = USER
    error = refusal(bundle, "/bin/sh", "-c", "echo evil >&0")
    assert error is not None
    assert "/dev/null" in str(error)
    status = (victim / "secret").stat()
    assert (status.st_uid, status.st_gid, (victim / "secret").read_text()) == (0, 0, "the host's\n")


def test_null_device_of_the_host_stays_roots(bundle: Bundle) -> None:
    """A user's standard input is not the host's /dev/null any more when it is given to that user."""
    bundle.process["user"] = USER
    result = bundle.sh("stat -c %u /proc/self/fd/0; stat -L -c %u /proc/self/fd/0")
    assert result.status.code == 0
    assert (os.stat("/dev/null").st_uid, os.stat("/dev/null").st_gid) == (0, 0)


def test_null_device_of_the_host_stays_roots_where_dev_is_the_hosts(bundle: Bundle) -> None:
    """With the host's /dev bound, the null device inside is the host's own."""
    remove_mount(bundle, "/dev")
    bundle.mount("/dev", "/dev", "bind", "rbind", "rslave")
    bundle.process["user"] = USER
    assert bundle.run("true").status.code == 0
    assert (os.stat("/dev/null").st_uid, os.stat("/dev/null").st_gid) == (0, 0)


def test_files_that_are_standard_streams_are_not_given_away(bundle: Bundle) -> None:
    """A log file of the host stays its owner's, whoever the payload is."""
    bundle.process["user"] = USER
    assert bundle.sh("echo out; echo err >&2").status.code == 0
    for name in ("stdout", "stderr"):
        assert (bundle.path / name).stat().st_uid == 0
