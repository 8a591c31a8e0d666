"""init started by somebody else: it must do nothing, whatever it is handed (2021-43784 class: the protocol)."""

from __future__ import annotations

import array
import fcntl
import os
import socket
import subprocess

import pytest

from libcontainer.plan import operations as do
from libcontainer.plan.encode import encode
from libcontainer.sealed import PROGRAM, sealed_bytes

PLAN = [do.SetUmask(pointer="", mask=0o77), do.Sync(pointer="", point=do.SYNC_READY)]
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def start(kind: int, argument: str | None = None) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with theirs:
        words = [PROGRAM, str(theirs.fileno()) if argument is None else argument]
        process = subprocess.Popen(words, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, env={})
    ours.settimeout(10)
    return process, ours


def send(channel: socket.socket, *fds: int) -> None:
    rights = array.array("i", fds)
    channel.sendmsg([b"plan"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if fds else [])


def memory_file(data: bytes, seals: int) -> int:
    fd = os.memfd_create("plan", os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def end(process: subprocess.Popen[bytes]) -> int:
    process.communicate(timeout=10)
    return process.returncode


def test_sealed_plan_is_carried_out() -> None:
    """What the refusals below are measured against: the same plan, handed over as the runtime does."""
    process, channel = start(socket.SOCK_SEQPACKET)
    fd = sealed_bytes("plan", encode(PLAN, 0))
    with channel:
        send(channel, fd)
        os.close(fd)
        assert channel.recv(2000)[8:12] == b"\x02\0\0\0", "the sync point of the plan"
    assert end(process) == 1


@pytest.mark.parametrize(
    "seals", [0, fcntl.F_SEAL_WRITE, SEALS & ~fcntl.F_SEAL_WRITE, SEALS & ~fcntl.F_SEAL_SHRINK]
)
def test_plan_that_could_still_change_is_refused(seals: int) -> None:
    """What init has checked must be what it carries out; a file that is not sealed could change in between."""
    process, channel = start(socket.SOCK_SEQPACKET)
    fd = memory_file(encode(PLAN, 0), seals)
    with channel:
        send(channel, fd)
        os.close(fd)
        assert b"not a plan" in channel.recv(2000)
    assert end(process) == 1


@pytest.mark.parametrize("argument", ["", "0", "2", "-1", "999999", "x", "99999999999999999999"])
def test_number_that_is_no_channel_is_refused(argument: str) -> None:
    """A terminal or a file of the caller's must not be taken for the runtime's socket."""
    process, channel = start(socket.SOCK_SEQPACKET, argument)
    with channel:
        assert end(process) == 1


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_socket_of_another_kind_is_refused(kind: int) -> None:
    """On a stream, a message could be cut where it is checked."""
    process, channel = start(kind)
    with channel:
        assert end(process) == 1


def test_messages_that_are_no_plan_are_refused() -> None:
    """No descriptor, one too many, none that holds a plan: each ends init without a step being done."""
    sealed = sealed_bytes("plan", encode(PLAN, 0))
    null = os.open("/dev/null", os.O_RDONLY)
    empty = sealed_bytes("plan", b"")
    cut = sealed_bytes("plan", encode(PLAN, 0)[:-1])
    try:
        for fds in ((), (null,), (empty,), (cut,), (sealed, null), (sealed,) * 250):
            process, channel = start(socket.SOCK_SEQPACKET)
            with channel:
                send(channel, *fds)
                assert b"not a plan" in channel.recv(2000)
            assert end(process) == 1
    finally:
        for fd in (sealed, null, empty, cut):
            os.close(fd)


def test_init_ends_with_the_runtime() -> None:
    """A runtime that is killed leaves nobody behind who waits for a plan."""
    process, channel = start(socket.SOCK_SEQPACKET)
    channel.close()
    assert end(process) == 1
