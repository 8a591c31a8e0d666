"""Who the payload is: config.md "User" on the real kernel. uid, gid, groups, umask, the owner of its stdio."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from libcontainer import InvalidConfig

if TYPE_CHECKING:
    from .conftest import Bundle


def status_of(text: str) -> dict[str, str]:
    """The fields of /proc/self/status."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def test_all_four_user_and_group_ids_are_the_requested_ones(bundle: Bundle) -> None:
    """Real, effective, saved and file system id: a saved id of root would be a way back."""
    bundle.process["user"] = {"uid": 1000, "gid": 1001}

    status = status_of(bundle.run("cat", "/proc/self/status").stdout)

    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["1001"] * 4


def test_additional_groups_are_exactly_the_listed_ones(bundle: Bundle) -> None:
    """The listed ones, duplicates included as the kernel keeps them, and no other."""
    bundle.process["user"] = {"uid": 10, "gid": 10, "additionalGids": [7, 5, 4000000]}

    status = status_of(bundle.run("cat", "/proc/self/status").stdout)

    assert status["Groups"].split() == ["5", "7", "4000000"]


SCRIPT = """
import os, sys
os.setgroups([4242, 27])
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("user", [{"uid": 0, "gid": 0}, {"uid": 1000, "gid": 1000}])
def test_the_callers_groups_are_dropped(bundle: Bundle, user: dict[str, int]) -> None:
    """A caller in the group of disks or of docker must not take the container along (youki leaks them)."""
    from .conftest import YOUKI

    bundle.process["user"] = user
    bundle.process["args"] = ["cat", "/proc/self/status"]
    bundle.save()

    command = [sys.executable, "-c", SCRIPT, str(YOUKI), "--root", str(bundle.root), "run", bundle.id]
    done = subprocess.run(command, cwd=bundle.path, text=True, capture_output=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert status_of(done.stdout)["Groups"] == ""


@pytest.mark.parametrize(("given", "seen"), [(None, "0022"), (0o077, "0077"), (0, "0000")])
def test_umask_is_the_requested_one_or_022(bundle: Bundle, given: int | None, seen: str) -> None:
    """Whatever the caller's umask is."""
    if given is not None:
        bundle.process["user"]["umask"] = given
    former = os.umask(0o111)
    try:
        result = bundle.run("cat", "/proc/self/status")
    finally:
        os.umask(former)

    assert status_of(result.stdout)["Umask"] == seen


@pytest.mark.parametrize("field", ["uid", "gid"])
def test_the_id_that_means_no_change_to_the_kernel_is_refused(bundle: Bundle, field: str) -> None:
    """setresuid(-1) changes nothing: the payload would stay root."""
    bundle.process["user"][field] = 4294967295

    with pytest.raises(InvalidConfig, match=f"/process/user/{field}"):
        bundle.build("true")


def test_a_user_that_is_not_root_can_reopen_its_pipes(bundle: Bundle) -> None:
    """Programs write their log to /dev/stdout; the pipe was made by root."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    reader, writer = os.pipe()
    try:
        with bundle.build(
            "sh", "-c", "echo out >/dev/stdout; echo err >/dev/stderr", stdout=writer, stderr=writer
        ) as container:
            container.start()
            assert container.wait(10).code == 0
            assert os.read(reader, 100) == b"out\nerr\n"
    finally:
        os.close(reader)
        os.close(writer)


def test_devices_files_and_named_fifos_among_stdio_keep_their_owner(bundle: Bundle) -> None:
    """They are the host's: a chown would outlive the container and give its user a file of the host."""
    fifo, plain = bundle.path / "fifo", bundle.path / "plain"
    os.mkfifo(fifo, 0o600)
    plain.touch(0o600)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    opened = [os.open("/dev/zero", os.O_RDWR), os.open(fifo, os.O_RDWR), os.open(plain, os.O_RDWR)]
    try:
        with bundle.build("true", stdin=opened[0], stdout=opened[1], stderr=opened[2]) as container:
            container.start()
            container.wait(10)
    finally:
        for fd in opened:
            os.close(fd)

    owners = [os.stat(path).st_uid for path in ("/dev/zero", fifo, plain)]
    assert owners == [0, 0, 0]


def test_the_hosts_null_device_is_never_given_away(bundle: Bundle) -> None:
    """Every program of the host needs it (a chown of it is a known fault of runtimes)."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    null = os.open("/dev/null", os.O_RDWR)
    try:
        with bundle.build("true", stdin=null, stdout=null, stderr=null) as container:
            container.start()
            container.wait(10)
    finally:
        os.close(null)

    status = os.stat("/dev/null")
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o666)
