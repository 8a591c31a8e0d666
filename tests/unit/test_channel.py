"""channel.py: how a plan gets to init."""

from __future__ import annotations

import array
import fcntl
import os
import resource
import socket
from struct import pack
from typing import TYPE_CHECKING

import pytest

from libcontainer.channel import CONTINUE, FAILED, Channel
from libcontainer.plan.build_id import BUILD_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    """The runtime's end, and init's."""
    channel, theirs = Channel.pair()
    with socket.socket(fileno=theirs) as other:
        yield channel, other
    channel.close()


def received(end: socket.socket) -> tuple[bytes, list[int]]:
    """Return a message with its descriptors."""
    data, ancillary, _, _ = end.recvmsg(1 << 20, socket.CMSG_SPACE(4 * 64))
    fds = array.array("i")
    for _, _, content in ancillary:
        fds.frombytes(content)
    return data, list(fds)


def test_small_plan_is_in_the_message(ends: tuple[Channel, socket.socket]) -> None:
    """No file is made for it; the descriptors are those that it names."""
    channel, end = ends
    with open("/dev/null") as one, open("/dev/zero") as other:
        channel.send_plan(b"small", [one.fileno(), other.fileno()])
    data, fds = received(end)

    assert data == b"plan" + b"small"
    assert [os.readlink(f"/proc/self/fd/{fd}") for fd in fds] == ["/dev/null", "/dev/zero"]
    for fd in fds:
        os.close(fd)


def test_plan_without_descriptors_is_in_the_message_too(ends: tuple[Channel, socket.socket]) -> None:
    """Then there is no control message at all."""
    channel, end = ends
    channel.send_plan(b"small", [])

    assert received(end) == (b"plansmall", [])


@pytest.mark.parametrize("narrow", [False, True], ids=["long", "hardly any room in the socket"])
def test_large_plan_is_in_a_sealed_file_before_the_descriptors(
    ends: tuple[Channel, socket.socket], narrow: bool
) -> None:
    """No message takes it, and what was checked must not change."""
    channel, end = ends
    plan = b"x" * (20_000 if narrow else 1 << 20)
    if narrow:
        channel.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel's least
    with open("/dev/null") as null:
        channel.send_plan(plan, [null.fileno()])
    data, (file, other) = received(end)

    assert data == b"plan"
    assert os.pread(file, 2 << 20, 0) == plan
    assert fcntl.fcntl(file, fcntl.F_GET_SEALS) & SEALS == SEALS
    assert os.readlink(f"/proc/self/fd/{other}") == "/dev/null"
    for fd in (file, other):
        os.close(fd)


def test_sending_leaves_no_descriptor_behind(ends: tuple[Channel, socket.socket]) -> None:
    """Neither when it works nor when nobody is there any more."""
    channel, end = ends
    before = os.listdir("/proc/self/fd")
    channel.send_plan(bytes(1 << 20), [])
    os.close(received(end)[1][0])
    end.shutdown(socket.SHUT_RDWR)
    for plan in (b"small", bytes(1 << 20)):
        with pytest.raises(BrokenPipeError):
            channel.send_plan(plan, [])

    assert os.listdir("/proc/self/fd") == before


def test_last_report_of_an_init_that_read_no_further_is_heard(ends: tuple[Channel, socket.socket]) -> None:
    """A step failed while the next part of the plan was waiting: the kernel then says "connection reset" first."""
    channel, end = ends
    channel.send_plan(b"unread", [])
    end.send(pack("<QIIiIq24s", BUILD_ID, FAILED, 3, 13, 0, 0, b"mount") + b"on /proc")
    end.close()
    report = channel.receive()

    assert report is not None
    assert (report.kind, report.step, report.errno, report.call, report.detail) == (
        FAILED,
        3,
        13,
        "mount",
        "on /proc",
    )
    assert channel.receive() is None
    with pytest.raises(ConnectionError):
        channel.send(CONTINUE)


def test_report_without_its_descriptor_is_an_error() -> None:
    """The kernel leaves it out where no number is free: a terminal must not be missing in silence."""
    channel, theirs = Channel.pair()
    end = socket.socket(fileno=theirs)
    socket.send_fds(end, [b"x" * 64], [0])
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            channel.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        channel.close()
        end.close()
