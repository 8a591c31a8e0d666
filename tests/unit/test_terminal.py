"""terminal.py: a container's terminal on the caller's one, with two real ptys and real processes.

The caller is a process of its own (a fork) whose terminal is the outer pty; the container is a shell on the
inner one.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from libcontainer import forwarding, terminal
from libcontainer.errors import InvalidArgument

DEADLINE_S = 20
TAKE_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv('/bin/sh', ['sh', '-c', sys.argv[1]])
"""


class Payload:
    """A shell script that runs on the slave of a pty of its own, as a container's process does."""

    def __init__(self, script: str) -> None:
        self.master, slave = os.openpty()
        command = [sys.executable, "-I", "-S", "-c", TAKE_TERMINAL, script]
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.pidfd = os.pidfd_open(self.process.pid)

    def end(self) -> int:
        self.process.kill()
        os.close(self.pidfd)
        os.close(self.master)
        return self.process.wait()


@pytest.fixture
def payload() -> Iterator[Callable[[str], Payload]]:
    started: list[Payload] = []

    def start(script: str) -> Payload:
        started.append(Payload(script))
        return started[-1]

    yield start
    for each in started:
        each.end()


class Caller:
    """A process whose terminal is the outer pty, and that runs `work` there; the test sits at `screen`."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.screen, self.tty = os.openpty()
        termios.tcsetwinsize(self.tty, (33, 111))
        self.before = termios.tcgetattr(self.tty)
        self.seen = b""
        self.pid = os.fork()
        if self.pid == 0:
            self._child(work)

    def _child(self, work: Callable[[], None]) -> None:
        status = 99
        try:
            os.setsid()
            os.close(os.open(os.ttyname(self.tty), os.O_RDWR))  # becomes the controlling terminal
            os.dup2(self.tty, 0)
            os.dup2(self.tty, 1)
            work()
            status = 0
        except KeyboardInterrupt:
            status = 50
        except RuntimeError:
            status = 51
        finally:
            os._exit(status)

    def read_until(self, wanted: bytes) -> None:
        """Read what the caller's terminal shows until `wanted` has appeared."""
        deadline = time.monotonic() + DEADLINE_S
        while wanted not in self.seen:
            ready, _, _ = select.select([self.screen], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{wanted!r} did not appear in {self.seen!r}"
            self.seen += os.read(self.screen, 65536)

    def type(self, text: bytes) -> None:
        os.write(self.screen, text)

    def wait(self) -> int:
        """Wait for the end of the process, reading what it shows. Gives its exit code."""
        pidfd = os.pidfd_open(self.pid)
        deadline = time.monotonic() + DEADLINE_S
        ended = False
        while not ended:
            ready, _, _ = select.select([self.screen, pidfd], [], [], max(0, deadline - time.monotonic()))
            assert ready, "the caller did not end"
            ended = pidfd in ready
            if self.screen in ready:
                self.seen += os.read(self.screen, 65536)
        os.close(pidfd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def is_restored(self) -> bool:
        return termios.tcgetattr(self.tty) == self.before

    def close(self) -> None:
        os.close(self.screen)
        os.close(self.tty)


@pytest.fixture
def caller() -> Iterator[Callable[[Callable[[], None]], Caller]]:
    started: list[Caller] = []

    def start(work: Callable[[], None]) -> Caller:
        started.append(Caller(work))
        return started[-1]

    yield start
    for each in started:
        each.close()


Start = Callable[[str], Payload]
Call = Callable[[Callable[[], None]], Caller]


def test_keys_reach_the_container_and_its_output_the_screen(payload: Start, caller: Call) -> None:
    """The terminal works both ways, and it is as before when the container has ended."""
    inner = payload("echo ready; read line; echo got $line")
    outer = caller(lambda: terminal.proxy(inner.master, inner.pidfd))
    outer.read_until(b"ready\r\n")
    assert not outer.is_restored()
    outer.type(b"some words\r")
    outer.read_until(b"got some words\r\n")

    assert outer.wait() == 0
    assert outer.is_restored()


def test_control_keys_act_in_the_container_and_not_on_the_caller(payload: Start, caller: Call) -> None:
    """In raw mode ^C is a byte; the container's own terminal makes it a SIGINT for its process."""
    inner = payload("trap 'echo interrupted; exit 4' INT; echo ready; while :; do read line; done")
    outer = caller(lambda: terminal.proxy(inner.master, inner.pidfd))
    outer.read_until(b"ready")
    outer.type(b"\x03")
    outer.read_until(b"interrupted")

    assert outer.wait() == 0
    assert inner.process.wait() == 4


def test_the_container_has_the_window_size_and_follows_its_changes(payload: Start, caller: Call) -> None:
    """Full-screen programs draw for the size they are told, from the start and after each SIGWINCH."""
    inner = payload("stty size; trap 'stty size; exit' WINCH; echo ready; while :; do read line; done")
    outer = caller(lambda: terminal.proxy(inner.master, inner.pidfd))
    outer.read_until(b"ready")
    termios.tcsetwinsize(outer.screen, (44, 122))
    outer.read_until(b"44 122")

    assert outer.wait() == 0
    assert termios.tcgetwinsize(inner.master) == (44, 122)


def test_the_size_at_the_start_is_that_of_the_callers_terminal(payload: Start, caller: Call) -> None:
    """Without it every program would believe in the size that the pty was made with."""
    inner = payload("read go; stty size")
    outer = caller(lambda: terminal.proxy(inner.master, inner.pidfd))
    outer.type(b"\n")
    outer.read_until(b"33 111")
    assert outer.wait() == 0


def test_everything_written_is_shown_though_the_container_has_ended(payload: Start) -> None:
    """The last lines, often the error that matters, stand in the pty when the process is gone."""
    inner = payload("seq 1 20000; echo the last line")
    reader, writer = os.pipe()
    collected: list[bytes] = []

    def collect() -> None:
        with open(reader, "rb") as output:
            collected.append(output.read())

    thread = threading.Thread(target=collect)
    thread.start()
    with open(os.devnull, "rb") as empty:
        terminal.proxy(inner.master, inner.pidfd, stdin=empty.fileno(), stdout=writer)
    os.close(writer)
    thread.join()
    lines = collected[0].replace(b"^D\b\b", b"").split(b"\r\n")

    assert lines[:20000] == [str(number).encode() for number in range(1, 20001)]
    assert lines[-2:] == [b"the last line", b""]


def test_the_end_of_a_piped_stdin_is_end_of_file_inside(payload: Start) -> None:
    """`echo … | youki run` ends as it does without a terminal: the container's reader sees end of file."""
    inner = payload("stty -echo; echo ready; cat; echo after")
    given, giver = os.pipe()
    shown, show = os.pipe()
    os.write(giver, b"one\ntwo")
    os.close(giver)
    terminal.proxy(inner.master, inner.pidfd, stdin=given, stdout=show)
    os.close(show)
    with open(shown, "rb") as output:
        text = output.read()
    os.close(given)

    assert text.endswith(b"one\r\ntwoafter\r\n")
    assert inner.process.wait() == 0


def test_a_reader_that_has_gone_does_not_stop_the_container(payload: Start) -> None:
    """`youki run … | head -1`: output is dropped then, and the container can end by itself."""
    inner = payload("seq 1 50000; exit 3")
    reader, writer = os.pipe()
    os.close(reader)
    with open(os.devnull, "rb") as empty:
        terminal.proxy(inner.master, inner.pidfd, stdin=empty.fileno(), stdout=writer)
    os.close(writer)
    assert inner.process.wait() == 3


def test_a_terminal_closed_and_opened_again_inside_stays_connected(
    payload: Start, caller: Call, tmp_path: Path
) -> None:
    """EIO on the master means that nobody has the terminal open now; a service may open it later."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    wait = f"read go < {fifo}"
    inner = payload(
        f"tty=$(tty); exec <&- >&- 2>&-; {wait}; exec <$tty >$tty; echo again; read line; echo $line"
    )
    outer = caller(lambda: terminal.proxy(inner.master, inner.pidfd))
    # Opening succeeds once the script reads, which is after it has closed its terminal.
    os.close(os.open(fifo, os.O_WRONLY))
    outer.read_until(b"again")
    outer.type(b"typed\r")
    outer.read_until(b"typed")
    assert outer.wait() == 0


def test_the_terminal_is_restored_after_an_exception(payload: Start, caller: Call) -> None:
    """A raw terminal left behind makes the caller's shell unusable."""

    def fail() -> None:
        with terminal.Terminal():
            os.write(1, b"raw")
            raise RuntimeError

    outer = caller(fail)
    outer.read_until(b"raw")

    assert outer.wait() == 51
    assert outer.is_restored()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1]
)
def test_a_signal_goes_to_the_container_and_the_terminal_is_restored(
    payload: Start, caller: Call, number: int
) -> None:
    """A runtime told to end hands that on; it does not die itself and leave a raw terminal."""
    inner = payload(f"trap 'echo caught; exit 6' {number}; echo ready; while :; do read line; done")
    outer = caller(lambda: terminal.proxy(inner.master, inner.pidfd))
    outer.read_until(b"ready")
    os.kill(outer.pid, number)
    outer.read_until(b"caught")

    assert outer.wait() == 0
    assert outer.is_restored()
    assert inner.process.wait() == 6


def test_the_callers_descriptors_stay_blocking(payload: Start, caller: Call) -> None:
    """O_NONBLOCK is shared with the caller's shell, whose reads would fail after us."""
    inner = payload("echo ready; read line")
    outer = caller(lambda: terminal.proxy(inner.master, inner.pidfd))
    outer.read_until(b"ready")
    assert os.get_blocking(outer.tty)
    outer.type(b"\r")
    assert outer.wait() == 0


def test_a_proxy_in_another_thread_works_and_follows_the_size(payload: Start, caller: Call) -> None:
    """Python gives signals to the main thread only; elsewhere the size is looked up, and nothing fails."""
    # The first size that it hears of may be the one that the terminal begins with.
    on_change = 'stty size; [ "$(stty size)" != "44 122" ] || exit 0'
    script = f"trap '{on_change}' WINCH; echo ready; while :; do read line; done"
    inner = payload(script)

    def work() -> None:
        thread = threading.Thread(target=terminal.proxy, args=(inner.master, inner.pidfd))
        thread.start()
        thread.join()

    outer = caller(work)
    outer.read_until(b"ready")
    termios.tcsetwinsize(outer.screen, (44, 122))
    outer.read_until(b"44 122")
    assert outer.wait() == 0


def test_no_descriptor_stays_open(payload: Start) -> None:
    """A program that runs containers all day must not run out of descriptors."""
    inner = payload("exit 0")
    before = os.listdir("/proc/self/fd")
    with open(os.devnull, "r+b", buffering=0) as null:
        terminal.proxy(inner.master, inner.pidfd, stdin=null.fileno(), stdout=null.fileno())
    assert os.listdir("/proc/self/fd") == before


def test_forwarded_signals_reach_the_process_while_waiting() -> None:
    """A foreground container without a terminal: a signal sent to the runtime ends up in the container."""
    script = "trap 'exit 12' TERM; echo ready; while :; do read line; done"
    pipe = subprocess.PIPE
    with subprocess.Popen(["sh", "-c", script], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        pidfd = os.pidfd_open(process.pid)
        with forwarding.forward_signals(pidfd) as forwarded:
            os.kill(os.getpid(), signal.SIGTERM)
            forwarded.wait()
            os.kill(os.getpid(), signal.SIGTERM)  # it has ended: nothing to forward to, and nothing happens
            assert forwarded.dispatch() == [signal.SIGTERM]
        os.close(pidfd)
        assert process.wait() == 12


def test_signals_ignored_on_entry_stay_ignored_and_dispositions_come_back() -> None:
    """Below nohup(1) SIGHUP means nothing; and afterwards the program's own handlers are in place."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
            pidfd = os.pidfd_open(process.pid)
            with forwarding.forward_signals(pidfd) as forwarded:
                os.kill(os.getpid(), signal.SIGHUP)
                assert forwarded.dispatch() == []
                assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
                assert process.poll() is None
            os.close(pidfd)
    finally:
        signal.signal(signal.SIGHUP, former)
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before


def test_the_wakeup_descriptor_of_an_event_loop_comes_back() -> None:
    """asyncio has a wakeup descriptor of its own; a container in the foreground must not take it for good."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    former = signal.set_wakeup_fd(writer)
    pidfd = os.pidfd_open(os.getpid())
    try:
        with forwarding.forward_signals(pidfd):
            pass
        assert signal.set_wakeup_fd(former) == writer
    finally:
        for fd in (reader, writer, pidfd):
            os.close(fd)


def test_what_concerns_the_runtime_alone_is_not_forwarded() -> None:
    """Its children, pipes, job control and faults are the runtime's own; all else is for the container."""
    numbers = set(forwarding.forwardable())
    own = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG, signal.SIGSEGV}
    own |= {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT, signal.SIGWINCH}
    theirs = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}

    assert not numbers & own
    assert numbers >= theirs | {signal.SIGRTMIN + 3}


def test_signals_cannot_be_forwarded_from_another_thread() -> None:
    """Asked for explicitly and impossible is an error, with the descriptors closed again."""
    caught: list[BaseException] = []
    pidfd = os.pidfd_open(os.getpid())
    before = os.listdir("/proc/self/fd")

    def work() -> None:
        try:
            with forwarding.forward_signals(pidfd):
                pass
        except InvalidArgument as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(caught) == 1
    assert os.listdir("/proc/self/fd") == before
    os.close(pidfd)


def test_a_proxy_inside_forwarded_signals_leaves_them_in_place(payload: Start, caller: Call) -> None:
    """A runtime forwards from before the start until after the end; the proxy takes over in between only."""
    inner = payload("trap 'echo caught; exit' TERM; echo ready; while :; do read line; done")

    def work() -> None:
        with forwarding.forward_signals(inner.pidfd) as forwarded:
            terminal.proxy(inner.master, inner.pidfd)
            os.kill(os.getpid(), signal.SIGTERM)
            if forwarded.dispatch() != [signal.SIGTERM]:
                raise RuntimeError

    outer = caller(work)
    outer.read_until(b"ready")
    os.kill(outer.pid, signal.SIGTERM)
    outer.read_until(b"caught")
    assert outer.wait() == 0
