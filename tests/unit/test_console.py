"""console.py: the terminal's master on its way through a console socket, with real sockets and a real pty."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from libcontainer import console, handover
from libcontainer.errors import InvalidArgument, SetupError, Timeout


def listener(path: Path) -> socket.socket:
    """A console socket as podman or a test tool makes it. Binds through the directory: paths may be long."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = os.open(path.parent, os.O_PATH)
    try:
        sock.bind(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)
    sock.listen()
    return sock


@pytest.mark.parametrize("length", [20, 107, 108, 200, 1500])
def test_the_master_arrives_at_the_other_end_whatever_the_length_of_the_path(
    tmp_path: Path, length: int
) -> None:
    """unix(7) has room for 107 bytes of path; container engines use longer ones below their storage."""
    directory = tmp_path
    while len(str(directory)) + 105 < length:
        directory /= "d" * 100
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "s".ljust(max(1, length - len(str(directory)) - 1), "s")
    master, slave = os.openpty()
    with listener(path) as server:
        sock = console.connect(str(path))
        peer, _ = server.accept()
        with peer:
            console.send_master(sock, master)
            message, descriptors, flags, _ = socket.recv_fds(peer, 100, 4)
    received = descriptors[0]
    try:
        os.write(slave, b"hello")
        assert os.read(received, 100) == b"hello"
        assert (message, len(descriptors), flags) == (b"/dev/ptmx", 1, 0)
    finally:
        for fd in (master, slave, sock, received):
            os.close(fd)


def test_the_descriptor_of_the_connection_is_not_inherited(tmp_path: Path) -> None:
    """No container may find the console socket among its descriptors."""
    with listener(tmp_path / "sock"):
        sock = console.connect(str(tmp_path / "sock"))
        assert os.get_inheritable(sock) is False
        os.close(sock)


def test_a_path_that_is_no_socket_is_refused(tmp_path: Path) -> None:
    """A mistyped path must not be reported as a refused connection, and a FIFO must not block us."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InvalidArgument, match="is not a socket"):
        console.connect(str(tmp_path / "fifo"))


def test_each_way_to_fail_has_its_errno_and_remedy(tmp_path: Path) -> None:
    """Missing, abandoned, and of the wrong type: three faults with three remedies."""
    listener(tmp_path / "abandoned").close()
    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    datagram.bind(str(tmp_path / "datagram"))
    expected = {
        "missing": (errno.ENOENT, "start the program"),
        "abandoned": (errno.ECONNREFUSED, "no longer listens"),
        "datagram": (errno.EPROTOTYPE, "SOCK_STREAM"),
    }
    for name, (number, remedy) in expected.items():
        with pytest.raises(InvalidArgument, match=remedy) as caught:
            console.connect(str(tmp_path / name))
        assert (caught.value.errno, caught.value.path) == (number, str(tmp_path / name))
    datagram.close()


def test_a_socket_that_accepts_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full backlog blocks connect(2) without end; the runtime waits for a bounded time."""
    monkeypatch.setattr(handover, "DEADLINE_S", 1)
    with listener(tmp_path / "sock") as server:
        server.listen(0)
        # A backlog of 0 holds one connection; the next one has to wait for an accept that never comes.
        first = console.connect(str(tmp_path / "sock"))
        with pytest.raises(Timeout, match="accepted no connection"):
            console.connect(str(tmp_path / "sock"))
    os.close(first)


def test_a_closed_other_end_is_an_error_and_no_signal(tmp_path: Path) -> None:
    """The receiver may die in between; SIGPIPE, at its default, would kill the caller."""
    source = os.path.dirname(os.path.dirname(console.__file__))
    code = (
        f"import os, signal, socket, sys; sys.path.insert(0, {source!r})\n"
        "from libcontainer import console, errors\n"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "ours, theirs = socket.socketpair(); theirs.close()\n"
        "try: console.send_master(ours.fileno(), 0)\n"
        "except errors.SetupError as error: print(error)\n"
        "os.fstat(ours.fileno())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0
    assert "Broken pipe (EPIPE)" in done.stdout


def test_sending_a_bad_descriptor_is_an_error() -> None:
    """EBADF of the master is told, and the socket stays open for its owner to close."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(SetupError) as caught:
            console.send_master(ours.fileno(), 1 << 20)
        assert (caught.value.syscall, caught.value.errno) == ("sendmsg", errno.EBADF)
        assert os.fstat(ours.fileno())


@pytest.mark.parametrize(
    ("terminal", "detached", "console_socket", "message"),
    [
        (True, True, None, "cannot allocate tty if youki will detach without setting console socket"),
        (False, True, "/s", "cannot use console socket if youki will not detach or allocate tty"),
        (True, False, "/s", "cannot use console socket if youki will not detach or allocate tty"),
        (False, False, "/s", "cannot use console socket if youki will not detach or allocate tty"),
    ],
)
def test_combinations_that_cannot_work_are_refused(
    terminal: bool, detached: bool, console_socket: str | None, message: str
) -> None:
    """Callers match these texts, which are the same in all runtimes but for their names."""
    with pytest.raises(InvalidArgument) as caught:
        console.check_terminal(terminal, detached, console_socket)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("terminal", "detached", "console_socket"),
    [(True, True, "/s"), (True, False, None), (False, True, None), (False, False, None)],
)
def test_combinations_that_work_are_accepted(
    terminal: bool, detached: bool, console_socket: str | None
) -> None:
    """In particular a terminal in the foreground, which needs no socket."""
    console.check_terminal(terminal, detached, console_socket)
