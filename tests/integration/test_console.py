"""A terminal that is handed over: config.md "terminal", "consoleSize"; the console socket of runc, on real ptys."""

from __future__ import annotations

import array
import os
import select
import socket
import stat
import termios
import time
from typing import TYPE_CHECKING

import pytest

from libcontainer import Container, InvalidArgument, SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Bundle

DEADLINE_S = 20


class Receiver:
    """What an engine does: listens on a socket and receives the master of a terminal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()
        self.listener.settimeout(DEADLINE_S)
        self.master = -1
        self.seen = b""

    def receive(self) -> tuple[bytes, int]:
        """Accept, take the one message, and return its text and the number of descriptors that came with it."""
        connection, _ = self.listener.accept()
        with connection:
            data, control, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(16))
            fds = array.array("i")
            for level, kind, content in control:
                assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                fds.frombytes(content)
            self.master = fds[0]
            assert connection.recv(1) == b""  # the runtime has closed its end
        return data, len(fds)

    def read_until(self, wanted: bytes) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while wanted not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{wanted!r} did not appear in {self.seen!r}"
            self.seen += os.read(self.master, 65536)

    def close(self) -> None:
        self.listener.close()
        if self.master >= 0:
            os.close(self.master)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    made = Receiver(tmp_path / "tty.sock")
    yield made
    made.close()


def build(bundle: Bundle, receiver: Receiver, *args: str) -> Container:
    """Create the container with a terminal that `receiver` gets."""
    bundle.process.update(terminal=True, args=list(args))
    bundle.save()
    return bundle.builder().with_console_socket(receiver.path).as_init(bundle.path).build()


def test_the_receiver_gets_the_master_before_start(bundle: Bundle, receiver: Receiver) -> None:
    """One message, one descriptor: the protocol of every engine."""
    with build(bundle, receiver, "sh", "-c", "read line; echo got $line") as container:
        text, count = receiver.receive()
        assert (len(text) > 0, count) == (True, 1)
        container.start()
        os.write(receiver.master, b"a word\n")
        receiver.read_until(b"got a word\r\n")
        assert container.wait(10).code == 0


def test_the_terminal_is_the_controlling_one_and_all_three_streams(
    bundle: Bundle, receiver: Receiver
) -> None:
    """Job control works inside, and /dev/tty."""
    script = "tty; tty <&1; tty <&2; echo through >/dev/tty; ps -o pid,tty | grep -c ' 136,0'; echo end"
    with build(bundle, receiver, "sh", "-c", script) as container:
        receiver.receive()
        container.start()
        receiver.read_until(b"end\r\n")

    lines = receiver.seen.decode().split()
    assert lines[:4] == ["/dev/pts/0", "/dev/pts/0", "/dev/pts/0", "through"]


def test_the_console_is_the_same_terminal(bundle: Bundle, receiver: Receiver) -> None:
    """/dev/console of the container is its pty, by its number, and works."""
    script = "stat -c %t:%T /dev/console /dev/pts/0; echo to the console >/dev/console; echo end"
    with build(bundle, receiver, "sh", "-c", script) as container:
        receiver.receive()
        container.start()
        receiver.read_until(b"end\r\n")

    lines = receiver.seen.decode().split("\r\n")
    assert lines[0] == lines[1]
    assert lines[2] == "to the console"


def test_the_size_is_the_requested_one(bundle: Bundle, receiver: Receiver) -> None:
    """Before the first byte, so that full-screen programs start right."""
    bundle.process["consoleSize"] = {"height": 12, "width": 34}
    with build(bundle, receiver, "sh", "-c", "stty size; echo end") as container:
        receiver.receive()
        assert termios.tcgetwinsize(receiver.master) == (12, 34)
        container.start()
        receiver.read_until(b"end\r\n")

    assert receiver.seen.startswith(b"12 34\r\n")


def test_the_terminal_belongs_to_the_containers_user(bundle: Bundle, receiver: Receiver) -> None:
    """Else a user that is not root could not open its own terminal; the group stays that of terminals."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    script = "stat -c '%u %g %a' /dev/pts/0; echo through >/dev/pts/0; echo too >/dev/console; echo end"
    with build(bundle, receiver, "sh", "-c", script) as container:
        receiver.receive()
        container.start()
        receiver.read_until(b"end\r\n")

    assert receiver.seen == b"1000 5 620\r\nthrough\r\ntoo\r\nend\r\n"


def test_the_end_of_the_container_hangs_its_terminal_up(bundle: Bundle, receiver: Receiver) -> None:
    """The runtime keeps no copy of the slave, or the engine would never see the end."""
    with build(bundle, receiver, "true") as container:
        receiver.receive()
        container.start()
        container.wait(10)
        ready, _, _ = select.select([receiver.master], [], [], DEADLINE_S)
        assert ready
        with pytest.raises(OSError, match="Input/output error"):
            os.read(receiver.master, 1)


@pytest.mark.parametrize(
    ("terminal", "given", "words"),
    [(True, False, "cannot allocate tty"), (False, True, "cannot use console")],
)
def test_a_terminal_and_a_socket_come_together_or_not_at_all(
    bundle: Bundle, receiver: Receiver, terminal: bool, given: bool, words: str
) -> None:
    """In the words of runc; nothing was made."""
    bundle.process["terminal"] = terminal
    bundle.save()
    builder = bundle.builder().with_console_socket(receiver.path if given else None)

    with pytest.raises(InvalidArgument, match=words):
        builder.as_init(bundle.path).build()

    assert not bundle.root.exists()


def test_a_socket_that_nobody_listens_on_fails_create_and_leaves_nothing(
    bundle: Bundle, receiver: Receiver
) -> None:
    """The error has the path and what to do."""
    receiver.listener.close()

    with pytest.raises(InvalidArgument, match="console socket") as caught:
        build(bundle, receiver, "true")

    assert caught.value.path == str(receiver.path)
    assert Container.list(bundle.root) == []


def test_a_receiver_with_a_very_long_path_is_reached(bundle: Bundle, tmp_path: Path) -> None:
    """sun_path takes 108 bytes (unix(7)); engines' directories are longer."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    here = os.getcwd()
    os.chdir(deep)
    try:
        made = Receiver(type(deep)("tty.sock"))
    finally:
        os.chdir(here)
    made.path = deep / "tty.sock"
    try:
        with build(bundle, made, "true"):
            made.receive()
    finally:
        made.close()


@pytest.mark.parametrize("trap", ["link to a file of the host", "fake multiplexor"])
def test_a_trap_of_the_image_catches_no_terminal(
    bundle: Bundle, receiver: Receiver, tmp_path: Path, trap: str
) -> None:
    """CVE-2025-52565, CVE-2026-88264: /dev/console or the pty's multiplexor of the image's making."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    device = bundle.rootfs / "dev"
    if trap == "link to a file of the host":
        bundle.spec["mounts"] = [item for item in bundle.spec["mounts"] if item["destination"] != "/dev"]
        (device / "console").symlink_to(victim)
        (device / "pts").mkdir()
    else:
        bundle.spec["mounts"] = [
            item for item in bundle.spec["mounts"] if not item["destination"].startswith("/dev")
        ]
        (device / "pts").mkdir()
        os.mknod(device / "pts/ptmx", 0o666 | stat.S_IFCHR, os.makedev(5, 2))

    try:
        with build(bundle, receiver, "sh", "-c", "echo into the trap >/dev/console") as container:
            receiver.receive()
            container.start()
            container.wait(10)
    except SetupError:
        pass  # refused: the trap was seen

    assert victim.read_text() == "untouched"
    assert stat.S_ISREG(victim.lstat().st_mode)
