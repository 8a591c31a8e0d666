"""The order of init's reports. Without root, without init: its end of the channel is played."""

from __future__ import annotations

import os
import signal
import socket
from struct import pack
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer.channel import CHILD, DESCRIPTOR, FAILED, NETLINK, SYNC, Channel
from libcontainer.conversation import Request
from libcontainer.errors import SetupError
from libcontainer.plan import operations as do
from libcontainer.plan.build_id import BUILD_ID
from libcontainer.plan.context import Options, Plan
from libcontainer.supervise import Creation

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAN = Plan([do.Clone(pointer="", flags=0, parent=1), do.Sync(pointer="", point=do.SYNC_READY)], [])


def report(kind: int, step: int, value: int = 0, error: int = 0) -> bytes:
    """Return a message as init sends it (init/wire.h)."""
    return pack("<QIIiIq24s", BUILD_ID, kind, step, error, 0, value, b"")


@pytest.fixture
def child() -> Iterator[int]:
    """A process that stands for the second stage."""
    pid = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "1000")
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.fixture
def creation() -> Iterator[tuple[Any, int]]:
    """A creation whose first stage runs, and the descriptor of init's end of its channel."""
    made: Any = Creation(None, {}, b"", PLAN, None, None, Options(), Request())  # type: ignore[arg-type]
    made._stage_record = made._work_beside_init = bool  # not the business of these tests
    made.channel, theirs = Channel.pair()
    made.stage_one = os.spawnlp(os.P_NOWAIT, "true", "true")
    yield made, theirs
    if made.stage_one:
        os.waitpid(made.stage_one, 0)
    if made.pidfd >= 0:
        os.close(made.pidfd)
    made.channel.close()


def send(fd: int, *messages: bytes) -> None:
    """Send the messages and close init's end."""
    for message in messages:
        os.write(fd, message)
    os.close(fd)


def test_second_stage_that_is_heard_first_waits_for_its_introduction(
    creation: tuple[Any, int], child: int
) -> None:
    """Both stages run at once: without this the container would be recorded with process number 0."""
    made, theirs = creation
    send(theirs, report(SYNC, 1, do.SYNC_READY), report(CHILD, 0, child))
    first = next(made._reports())

    assert (first.kind, first.step) == (SYNC, 1)
    assert (made.pid, made.stage_one) == (child, 0)


def test_failure_of_the_second_stage_is_told_after_it_can_be_reaped(
    creation: tuple[Any, int], child: int
) -> None:
    """A failure that overtakes the introduction must not leave a zombie that nobody knows of."""
    made, theirs = creation
    send(theirs, report(FAILED, 1, error=1), report(CHILD, 0, child))

    assert next(made._reports()).kind == FAILED
    assert made.pid == child


def test_failure_of_the_first_stage_needs_no_introduction(creation: tuple[Any, int]) -> None:
    """A step up to the clone is the first stage's own."""
    made, theirs = creation
    send(theirs, report(FAILED, 0, error=1))

    assert next(made._reports()).kind == FAILED


def test_end_of_init_is_an_error(creation: tuple[Any, int]) -> None:
    """Killed before it could say why: the runtime says so, instead of waiting for ever."""
    made, theirs = creation
    send(theirs)
    with pytest.raises(SetupError, match="init ended with status 0"):
        next(made._reports())


def test_second_stage_without_an_introduction_is_not_waited_for_for_ever(
    creation: tuple[Any, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first stage that was killed between its clone and its report must not hang the runtime."""
    made, theirs = creation
    monkeypatch.setattr("libcontainer.conversation.CHILD_TIMEOUT_S", 0.05)
    os.write(theirs, report(SYNC, 1, do.SYNC_READY))
    try:
        with pytest.raises(SetupError, match="before the container was created"):
            made._converse()
    finally:
        os.close(theirs)


@pytest.mark.parametrize("end", ["of the work beside it", "without an introduction"])
def test_descriptor_that_came_too_early_is_closed_after_a_failure(
    creation: tuple[Any, int], child: int, end: str
) -> None:
    """Nobody takes what stage two sent before its introduction, where there is none, or what follows it fails."""
    made, theirs = creation
    reader, writer = os.pipe()
    channel = socket.socket(fileno=theirs)
    socket.send_fds(channel, [report(DESCRIPTOR, 1, NETLINK)], [writer])
    os.close(writer)
    introduction = [report(CHILD, 0, child)] if end == "of the work beside it" else []
    send(channel.detach(), *introduction)
    made._work_beside_init = lambda: 1 // 0
    with pytest.raises((ZeroDivisionError, SetupError)):
        next(made._reports())

    assert os.read(reader, 1) == b"", "somebody still holds the other end"
    os.close(reader)
