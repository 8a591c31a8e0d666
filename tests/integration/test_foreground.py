"""A container in the foreground: `youki run` and `Container.run`, under a real terminal and with real signals."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING

import pytest

from libcontainer import Container, ExitStatus, HookError

from .conftest import YOUKI

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Bundle

DEADLINE_S = 20


class Terminal:
    """`youki run` as the leader of a session with a terminal of its own; the test sits in front of it."""

    def __init__(self, bundle: Bundle, *args: str, size: tuple[int, int] = (33, 111)) -> None:
        bundle.process.update(terminal=True, args=list(args))
        bundle.save()
        self.screen, self.tty = os.openpty()
        termios.tcsetwinsize(self.tty, size)
        self.before = termios.tcgetattr(self.tty)
        self.seen = b""
        command = ["setsid", "--ctty", *self.command(bundle)]
        self.process = subprocess.Popen(
            command, cwd=bundle.path, stdin=self.tty, stdout=self.tty, stderr=self.tty
        )

    def command(self, bundle: Bundle) -> list[str]:
        return [str(YOUKI), "--root", str(bundle.root), "run", bundle.id]

    def read_until(self, wanted: bytes) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while wanted not in self.seen:
            ready, _, _ = select.select([self.screen], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{wanted!r} did not appear in {self.seen!r}"
            self.seen += os.read(self.screen, 65536)

    def type(self, text: bytes) -> None:
        os.write(self.screen, text)

    def wait(self) -> int:
        return self.process.wait(DEADLINE_S)

    @property
    def is_restored(self) -> bool:
        return termios.tcgetattr(self.tty) == self.before

    @property
    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.tty)[3] & (termios.ICANON | termios.ECHO)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.screen)
        os.close(self.tty)


@pytest.fixture
def terminal(bundle: Bundle) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*args: str, **more: tuple[int, int]) -> Terminal:
        opened.append(Terminal(bundle, *args, **more))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_keys_and_output_pass_and_the_terminal_is_restored(terminal: Callable[..., Terminal]) -> None:
    """Raw meanwhile: the echo comes from the container's terminal."""
    run = terminal("sh", "-c", "echo ready; read line; echo got $line; exit 7")
    run.read_until(b"ready\r\n")
    assert run.is_raw
    run.type(b"a word\r")
    run.read_until(b"got a word\r\n")

    assert run.wait() == 7
    assert run.is_restored
    assert run.seen == b"ready\r\na word\r\ngot a word\r\n"


def test_the_window_size_is_the_callers_and_follows_it(terminal: Callable[..., Terminal]) -> None:
    """SIGWINCH of the caller becomes SIGWINCH in the container."""
    run = terminal(
        "sh", "-c", "stty size; trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done"
    )
    run.read_until(b"ready\r\n")
    assert run.seen.startswith(b"33 111\r\n")
    termios.tcsetwinsize(run.screen, (44, 155))
    run.read_until(b"44 155\r\n")

    assert run.wait() == 0


def test_the_configured_size_counts_until_the_window_changes(
    bundle: Bundle, terminal: Callable[..., Terminal]
) -> None:
    """consoleSize is the user's word; a new window size is newer."""
    bundle.process["consoleSize"] = {"height": 12, "width": 34}
    run = terminal(
        "sh", "-c", "stty size; trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done"
    )
    run.read_until(b"ready\r\n")
    assert run.seen.startswith(b"12 34\r\n")
    termios.tcsetwinsize(run.screen, (44, 155))
    run.read_until(b"44 155\r\n")

    assert run.wait() == 0


def test_control_c_goes_to_the_container_and_not_to_the_runtime(terminal: Callable[..., Terminal]) -> None:
    """A shell inside survives it, and so does the runtime."""
    run = terminal("sh", "-c", "trap 'echo interrupted' INT; echo ready; read line; read line; exit 3")
    run.read_until(b"ready\r\n")
    run.type(b"\x03")
    run.read_until(b"interrupted")
    run.type(b"\r\r")

    assert run.wait() == 3
    assert run.is_restored


@pytest.mark.parametrize("name", ["TERM", "HUP", "QUIT", "USR1"])
def test_the_terminal_is_restored_when_a_signal_ends_all(
    terminal: Callable[..., Terminal], name: str
) -> None:
    """The signal is the container's; the runtime ends in its wake, with 128+n, and tidily."""
    run = terminal("sh", "-c", f"trap 'exit 55' {name}; echo ready; while :; do sleep 0.1; done")
    run.read_until(b"ready\r\n")
    run.process.send_signal(getattr(signal, f"SIG{name}"))

    assert run.wait() == 55
    assert run.is_restored


def test_the_terminal_is_restored_when_the_container_is_killed(
    bundle: Bundle, terminal: Callable[..., Terminal]
) -> None:
    """From outside, as `youki kill` does."""
    run = terminal("sh", "-c", "echo ready; sleep 1000")
    run.read_until(b"ready\r\n")
    Container.load(bundle.root, bundle.id).kill("KILL")

    assert run.wait() == 128 + 9
    assert run.is_restored


def test_the_terminal_is_restored_when_start_fails(bundle: Bundle, terminal: Callable[..., Terminal]) -> None:
    """A failure after the terminal has become raw: the message is readable, and the shell usable."""
    (bundle.rootfs / "bin/bad").write_text("#!/no/such/interpreter\n")
    (bundle.rootfs / "bin/bad").chmod(0o755)
    run = terminal("bad")

    assert run.wait() != 0
    run.read_until(b"no such file or directory")
    assert run.is_restored


def test_all_output_is_shown_though_the_container_has_ended(terminal: Callable[..., Terminal]) -> None:
    """Nothing is cut off at the end."""
    run = terminal("sh", "-c", "seq 1 5000")
    run.read_until(b"\r\n5000\r\n")

    assert run.wait() == 0
    assert run.seen.split() == [b"%d" % number for number in range(1, 5001)]


def foreground(bundle: Bundle, *args: str) -> subprocess.Popen[str]:
    """Start `youki run` without a terminal."""
    bundle.process["args"] = list(args)
    bundle.save()
    command = [str(YOUKI), "--root", str(bundle.root), "run", bundle.id]
    return subprocess.Popen(command, cwd=bundle.path, text=True, stdout=subprocess.PIPE)


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 42", 42), ("kill -9 $$", 137), ("kill -TERM $$", 0)]
)
def test_the_exit_status_is_that_of_the_payload(bundle: Bundle, script: str, status: int) -> None:
    """128+n for a signal, as shells and runc have it."""
    if "kill" in script:
        # The first process of a pid namespace cannot be ended by a signal from inside.
        bundle.remove_namespace("pid")
        status = status or 128 + 15
    with foreground(bundle, "sh", "-c", script) as run:
        assert run.wait(DEADLINE_S) == status


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "USR2", "RTMIN"])
def test_signals_of_the_runtime_are_forwarded(bundle: Bundle, name: str) -> None:
    """Whoever stops the runtime means the container."""
    number = int(getattr(signal, f"SIG{name}"))
    script = f"trap 'echo caught; exit 9' {number}; echo ready; while :; do sleep 0.1; done"
    with foreground(bundle, "sh", "-c", script) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        run.send_signal(number)
        assert run.stdout.readline() == "caught\n"
        assert run.wait(DEADLINE_S) == 9


def test_the_container_is_gone_afterwards(bundle: Bundle) -> None:
    """`youki run` deletes what it made."""
    with foreground(bundle, "true") as run:
        run.wait(DEADLINE_S)

    assert Container.list(bundle.root) == []


def test_run_works_in_another_thread_without_forwarding(bundle: Bundle) -> None:
    """Signal handlers belong to the main thread; the container is served all the same."""
    container = bundle.build("sh", "-c", "exit 6")
    result: list[ExitStatus] = []
    thread = threading.Thread(target=lambda: result.append(container.run()))
    thread.start()
    thread.join(DEADLINE_S)
    container.delete()
    container.close()

    assert result == [ExitStatus(6, None)]


def test_run_leaves_the_callers_signal_handlers_as_they_were(bundle: Bundle) -> None:
    """A library must not keep what is the program's."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    with bundle.build("sh", "-c", "exit 6") as container:
        assert container.run() == ExitStatus(6, None)

    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before


def test_run_raises_what_start_raises(bundle: Bundle) -> None:
    """And the handlers are back, too."""
    before = signal.getsignal(signal.SIGTERM)
    bundle.spec["hooks"] = {"poststart": [{"path": "/bin/false"}]}
    with bundle.build("sleep", "1000") as container:
        with pytest.raises(HookError):
            container.run()
        assert container.status == "stopped"

    assert signal.getsignal(signal.SIGTERM) == before


def test_a_controlling_terminal_of_the_caller_is_not_the_containers(bundle: Bundle) -> None:
    """Without a terminal of its own it has none, even when its stdio is one (CVE-2017-5226)."""
    screen, tty = os.openpty()
    bundle.process["args"] = ["sh", "-c", "cat /proc/1/stat; (echo </dev/tty) 2>&1; echo end"]
    bundle.save()
    command = ["setsid", "--ctty", str(YOUKI), "--root", str(bundle.root), "run", bundle.id]
    with subprocess.Popen(command, cwd=bundle.path, stdin=tty, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        lines = run.stdout.read().decode().splitlines()
    os.close(screen)
    os.close(tty)

    assert lines[0].rpartition(")")[2].split()[4] == "0"
    assert "can't open /dev/tty" in lines[1]


def test_a_script_that_runs_containers_needs_no_more_than_the_library(bundle: Bundle) -> None:
    """As a program of its own: import, build, run, delete."""
    bundle.process["args"] = ["echo", "hello"]
    bundle.save()
    program = (
        "import sys\n"
        "from libcontainer import ContainerBuilder\n"
        "builder = ContainerBuilder(sys.argv[1]).with_root_path(sys.argv[2]).as_init(sys.argv[3])\n"
        "with builder.build() as container: sys.exit(container.run().returncode)\n"
    )
    command = [sys.executable, "-c", program, bundle.id, str(bundle.root), str(bundle.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


def test_a_signal_that_comes_before_the_payload_is_ready_to_be_served_is_not_lost(bundle: Bundle) -> None:
    """It is caught from before the start, and handed on once the container can have it: none ends the runtime."""
    shared = bundle.path / "shared"
    shared.mkdir()
    bundle.mount("/shared", str(shared), "bind", "bind")
    # While `start` is under way (a poststart hook runs), the runtime gets the signal.
    hook = f"until [ -e {shared}/ready ]; do sleep 0.01; done; kill -TERM $PPID"
    bundle.spec["hooks"] = {
        "poststart": [{"path": "/bin/sh", "args": ["sh", "-c", hook], "env": ["PATH=/usr/bin:/bin"]}]
    }
    script = "trap 'exit 9' TERM; touch /shared/ready; while :; do sleep 0.1; done"
    with foreground(bundle, "sh", "-c", script) as run:
        assert run.wait(DEADLINE_S) == 9


ASYNCIO = """
import asyncio, sys
from libcontainer.aio import ContainerBuilder

async def main():
    builder = ContainerBuilder(sys.argv[1]).with_root_path(sys.argv[2]).as_init(sys.argv[3]).with_detach(False)
    async with await builder.build() as container:
        running = asyncio.create_task(container.run())
        if sys.argv[4] == "cancel":
            while container.status != "running":
                await asyncio.sleep(0.01)
            running.cancel()
            try:
                await running
            except asyncio.CancelledError:
                return 77 if container.status == "running" else 78
        return (await running).returncode

sys.exit(asyncio.run(main()))
"""


class AsyncioTerminal(Terminal):
    """The same with a program of asyncio instead of the command."""

    how = "finish"

    def command(self, bundle: Bundle) -> list[str]:
        words = [bundle.id, str(bundle.root), str(bundle.path), self.how]
        return [sys.executable, "-c", ASYNCIO, *words]


class CancelledTerminal(AsyncioTerminal):
    """The same, cancelled while the container runs."""

    how = "cancel"


def test_a_terminal_is_served_from_asyncio(bundle: Bundle) -> None:
    """The twin of `run`: keys, output, exit status, and the terminal restored."""
    run = AsyncioTerminal(bundle, "sh", "-c", "stty size; echo ready; read line; echo got $line; exit 7")
    try:
        run.read_until(b"ready\r\n")
        run.type(b"a word\r")
        run.read_until(b"got a word\r\n")
        assert run.wait() == 7
        assert run.is_restored
        assert run.seen.startswith(b"33 111\r\n")
    finally:
        run.close()


def test_a_cancelled_service_gives_the_terminal_back(bundle: Bundle) -> None:
    """And the container goes on."""
    run = CancelledTerminal(bundle, "sh", "-c", "sleep 1000")
    try:
        assert run.wait() == 77
        assert run.is_restored
    finally:
        run.close()
