"""`youki stats`: the table on a real terminal, plain columns, and JSON lines."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import pytest

from libcontainer import Container

from .conftest import YOUKI

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Bundle

MIB = 1 << 20
HIDDEN, SHOWN, UP = b"\x1b[?25l", b"\x1b[?25h", b"\x1b[1A"


@contextmanager
def running(bundle: Bundle, script: str = "sleep 1000") -> Iterator[Container]:
    """A running container with limits of every kind that the table shows."""
    bundle.linux["resources"] = {
        "memory": {"limit": 64 * MIB},
        "pids": {"limit": 20},
        "cpu": {"quota": 20000, "period": 100000},
    }
    with bundle.build("sh", "-c", script) as container:
        container.start()
        yield container


class Terminal:
    """A process on a pseudo-terminal of its own, and what it wrote there."""

    def __init__(self, bundle: Bundle, *words: str, command: tuple[str, ...] = (str(YOUKI),)) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 120, 0, 0))
        self.process = subprocess.Popen(
            [*command, "--root", str(bundle.root), "stats", *words],
            stdin=slave, stdout=slave, stderr=slave,
            env={"PATH": "/usr/bin:/bin", "TERM": "xterm"}, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.text = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    def read_until(self, done: Callable[[bytes], Any]) -> None:
        """Read until `done` is true of all that was written."""
        deadline = time.monotonic() + 30
        while not done(self.text):
            assert time.monotonic() < deadline, self.text
            if select.select([self.master], [], [], 1)[0]:
                try:
                    self.text += os.read(self.master, 1 << 16)
                except OSError:  # EIO: nobody has the terminal open any more
                    assert done(self.text), self.text
                    return

    def end(self) -> int:
        """Read to the end and return the exit status."""
        with contextlib.suppress(AssertionError):
            self.read_until(lambda _: False)
        return self.process.wait(30)


def frames(text: bytes) -> int:
    """How often the table was drawn."""
    return text.count(b"THROTTLED %")


def test_the_table_is_refreshed_in_place_until_it_is_interrupted(bundle: Bundle) -> None:
    """It goes up and writes over itself; afterwards the cursor is there again."""
    pytest.importorskip("rich")
    with running(bundle), Terminal(bundle, "--interval", "50ms") as terminal:
        terminal.read_until(lambda text: frames(text) >= 3)
        plain = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", terminal.text)
        assert re.search(
            rb"ID +CPU % +MEMORY +LIMIT +PEAK +PIDS +READ +WRITTEN +PRESSURE % +THROTTLED %", plain
        )
        assert re.search(bundle.id[:20].encode() + rb".* 64m .* 1/20 ", plain)
        assert terminal.text.count(UP) >= frames(terminal.text) - 1
        assert HIDDEN in terminal.text

        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 0
        assert terminal.text.rindex(SHOWN) > terminal.text.rindex(HIDDEN)
        assert b"Traceback" not in terminal.text


@pytest.mark.parametrize("named", [True, False])
def test_the_table_follows_what_runs(bundle: Bundle, named: bool) -> None:
    """Of named containers it ends with the last; of all, it stays for the next."""
    pytest.importorskip("rich")
    words = ("--interval=50ms", *([bundle.id] if named else []))
    with running(bundle) as container, Terminal(bundle, *words) as terminal:
        terminal.read_until(lambda text: frames(text) >= 2)
        container.kill("KILL")
        if named:
            assert terminal.end() == 0
        else:
            terminal.read_until(lambda text: bundle.id[:20].encode() not in text.split(b"THROTTLED %")[-2])
            seen = frames(terminal.text)
            terminal.read_until(lambda text: frames(text) > seen + 1)


def test_a_terminated_table_leaves_the_terminal_usable(bundle: Bundle) -> None:
    """SIGTERM, too, shows the cursor again."""
    pytest.importorskip("rich")
    with running(bundle), Terminal(bundle) as terminal:
        terminal.read_until(lambda text: frames(text) >= 1)
        terminal.process.terminate()
        terminal.end()
        assert terminal.text.rindex(SHOWN) > terminal.text.rindex(HIDDEN)


def test_without_rich_the_error_names_it_and_the_rest_works(bundle: Bundle) -> None:
    """The package is wanted on a terminal only."""
    hide = "import sys; sys.modules['rich'] = None; from youki.main import main; sys.exit(main(sys.argv[1:]))"
    command = (sys.executable, "-c", hide)
    with running(bundle):
        with Terminal(bundle, command=command) as terminal:
            assert terminal.end() == 1
            assert b"needs the Python package rich" in terminal.text
            assert b"pip install 'libcontainer[stats]'" in terminal.text
        with Terminal(bundle, "--no-stream", "--interval=10ms", command=command) as terminal:
            assert terminal.end() == 0
            assert bundle.id.encode() in terminal.text
            assert b"\x1b" not in terminal.text


def test_plain_columns_where_there_is_no_terminal(bundle: Bundle) -> None:
    """One table after one interval, without a byte of control."""
    with running(bundle, "while :; do :; done") as container:
        container.update({"cpu": {"quota": 1000}})  # so little that it is throttled on a busy machine, too
        for _ in range(40):  # a busy machine may not let it run at all for an interval
            heading, line = bundle.youki("stats", "--no-stream", "--interval=500ms").stdout.splitlines()
            assert heading.startswith("ID   ")
            cells = line.split()
            assert cells[0] == bundle.id
            if float(cells[1]) > 0:
                break
        assert 0 < float(cells[1]) < 100
        assert (cells[3], cells[5]) == ("64m", "1/20")
        assert float(cells[9]) > 0


def test_the_list_of_no_containers_is_a_heading(bundle: Bundle) -> None:
    """As with `list`."""
    assert len(bundle.youki("stats", "--no-stream", "--interval=10ms").stdout.splitlines()) == 1
    assert bundle.youki("stats", "--json", "--no-stream", "--interval=10ms").stdout == ""


def test_json_lines_are_for_machines(bundle: Bundle) -> None:
    """One container on a line, again and again; it ends with the containers that were named."""
    with running(bundle) as container:
        command = [str(YOUKI), "--root", str(bundle.root), "stats", bundle.id, "--json", "--interval=20ms"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            for _ in range(3):
                found = json.loads(process.stdout.readline())
                assert found["id"] == bundle.id
                assert found["memory"]["limit"] == 64 * MIB
                assert found["pids"] == {"current": 1, "limit": 20}
                assert isinstance(found["cpu_percent"], float)
            container.kill("KILL")
            process.communicate(timeout=30)
            assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("absent",), "container absent does not exist"),
        (("ID", "absent", "--json"), "container absent does not exist"),
        (("../x",), "invalid container id"),
        (("--interval", "0s"), "expected a duration"),
        (("--interval", "5"), "expected a duration"),
        (("--interval=",), "expected a duration"),
        (("--json=maybe",), "expected true or false"),
        (("--no-streem",), "did you mean --no-stream"),
        (("--stats",), "unknown option --stats"),
        (("--interval",), "needs a value"),
    ],
)
def test_a_wrong_command_line_is_one_clear_error(bundle: Bundle, words: tuple[str, ...], error: str) -> None:
    """Before anything is shown."""
    with running(bundle):
        words = tuple(bundle.id if word == "ID" else word for word in words)
        result = bundle.youki("stats", *words, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert error in result.stderr


def test_an_ended_container_cannot_be_watched(bundle: Bundle) -> None:
    """Named, it is an error; of all, it is left out."""
    with running(bundle, "exit 0") as container:
        container.wait(10)
        result = bundle.youki("stats", "--no-stream", bundle.id, check=False)
        assert (result.returncode, "container not running" in result.stderr) == (1, True)
        assert len(bundle.youki("stats", "--no-stream", "--interval=10ms").stdout.splitlines()) == 1
