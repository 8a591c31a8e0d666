"""`youki exec`: each option, its exit codes, and the foreground, on real containers and ptys."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import libcontainer
from libcontainer import Container

from .conftest import YOUKI
from .test_console import Receiver
from .test_foreground import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Bundle

pytestmark = pytest.mark.root
DEADLINE_S = 20


@pytest.fixture
def box(bundle: Bundle) -> Bundle:
    """A bundle whose container runs, made by the command line as an engine makes it."""
    bundle.process["args"] = ["sleep", "1000"]
    bundle.youki("create", bundle.id)
    bundle.youki("start", bundle.id)
    return bundle


def run(box: Bundle, *words: str, code: int = 0, **more: Any) -> list[str]:
    """Call `youki exec` with options and a command, and return the lines of its output."""
    done = box.youki("exec", *words, check=False, **more)
    assert done.returncode == code, done.stderr
    return done.stdout.splitlines()


# Options


def test_options_reach_the_process(box: Bundle) -> None:
    """As runc and crun write them, short and long."""
    script = "id -u; id -g; id -G; pwd; echo $A$B; grep NoNewPrivs /proc/self/status"
    found = run(
        box,
        *("-u", "5:6", "-g", "7", "--additional-gids", "8", "--cwd", "/tmp", "-e", "A=1", "--env=B=2"),
        *("--no-new-privs=false", box.id, "sh", "-c", script),
    )  # fmt: skip

    assert found == ["5", "6", "6 7 8", "/tmp", "12", "NoNewPrivs:\t0"]


def test_capabilities_are_added(box: Bundle) -> None:
    """--cap may be repeated."""
    plain = run(box, box.id, "grep", "CapEff", "/proc/self/status")
    more = run(box, "-c", "CAP_CHOWN", "--cap", "CAP_FOWNER", box.id, "grep", "CapEff", "/proc/self/status")

    assert int(more[0].split()[1], 16) == int(plain[0].split()[1], 16) | 0b1001


def test_words_after_the_container_are_the_commands(box: Bundle) -> None:
    """Also those that look like options of ours."""
    assert run(box, box.id, "echo", "--help", "-d", "--", "-x") == ["--help -d -- -x"]
    assert run(box, box.id, "--", "echo", "x") == ["x"]


def test_process_object_wins(box: Bundle) -> None:
    """Engines describe all of the process in a file."""
    file = box.path / "process.json"
    file.write_text(
        json.dumps({"args": ["pwd"], "cwd": "/etc", "env": ["PATH=/bin"], "user": {"uid": 5, "gid": 5}})
    )

    assert run(box, "--process", str(file), "--cwd", "/tmp", "--tty", box.id) == ["/etc"]


def test_process_object_may_come_through_a_pipe(box: Bundle) -> None:
    """As `--process <(jq …)` gives it; runc reads it, too."""
    process = {"args": ["pwd"], "cwd": "/etc", "user": {"uid": 0, "gid": 0}}
    script = 'exec "$@" --process <(echo "$PROCESS") "$ID"'
    words = ["bash", "-c", script, "bash", str(YOUKI), "--root", str(box.root), "exec"]
    env = {**os.environ, "PROCESS": json.dumps(process), "ID": box.id}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)

    assert (done.stdout, done.stderr) == ("/etc\n", "")


def test_detached_process_goes_on(box: Bundle) -> None:
    """Its number is in the pid file, and it is nobody's child who waits."""
    pid_file = box.path / "pid"
    run(box, "--detach", "--pid-file", str(pid_file), box.id, "sleep", "1000")
    pid = int(pid_file.read_text())
    try:
        assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x001000\x00"
        assert pid in Container.load(box.root, box.id)._manager().processes()
    finally:
        os.kill(pid, signal.SIGKILL)


def test_pidfd_is_sent(box: Bundle) -> None:
    """--pidfd-socket, as runc has it."""
    receiver = Receiver(box.path / "pidfd.sock")
    try:
        run(box, "-d", "--pidfd-socket", str(receiver.path), box.id, "sleep", "1000")
        receiver.receive()
        signal.pidfd_send_signal(receiver.master, signal.SIGKILL)
    finally:
        receiver.close()


def test_terminal_is_sent_to_the_console_socket(box: Bundle) -> None:
    """As of `create`: one message, one descriptor, a controlling terminal."""
    receiver = Receiver(box.path / "tty.sock")
    try:
        script = "test -t 0 && test -t 1 && test -t 2 && tty && read line && echo got $line"
        run(box, "-d", "-t", "--console-socket", str(receiver.path), box.id, "sh", "-c", script)
        assert receiver.receive()[1] == 1
        receiver.read_until(b"/dev/pts/0\r\n")
        os.write(receiver.master, b"a word\r")
        receiver.read_until(b"got a word\r\n")
    finally:
        receiver.close()


def test_terminal_belongs_to_the_user(box: Bundle) -> None:
    """Who is not root can open it again."""
    receiver = Receiver(box.path / "tty.sock")
    try:
        words = ("sh", "-c", "echo again >$(tty); stat -c %u $(tty)")
        run(box, "-d", "-t", "-u", "1000:1000", "--console-socket", str(receiver.path), box.id, *words)
        receiver.receive()
        receiver.read_until(b"again\r\n1000\r\n")
    finally:
        receiver.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-d", "-t"), "cannot allocate tty if youki will detach without setting console socket"),
        (
            ("-t", "--console-socket", "x"),
            "cannot use console socket if youki will not detach or allocate tty",
        ),
        (
            ("-d", "--console-socket", "x"),
            "cannot use console socket if youki will not detach or allocate tty",
        ),
    ],
)
def test_terminal_and_socket_come_together_or_not_at_all(
    box: Bundle, words: tuple[str, ...], told: str
) -> None:
    """The words of runc."""
    done = box.youki("exec", *words, box.id, "true", check=False)

    assert done.returncode == 255
    assert told in done.stderr


def test_preserved_descriptors_are_passed_on(box: Bundle) -> None:
    """Those from 3 on."""
    with open(box.path / "told", "w") as file:
        youki = f"{YOUKI} --root {box.root} exec --preserve-fds 1 {box.id}"
        script = f'exec {youki} sh -c "echo here >&3" 3>&{file.fileno()}'
        done = subprocess.run(["bash", "-c", script], pass_fds=[file.fileno()], timeout=60, check=False)
    assert done.returncode == 0
    assert (box.path / "told").read_text() == "here\n"


def test_sub_cgroup_is_entered(box: Bundle) -> None:
    """--cgroup, which may name controllers."""
    manager = Container.load(box.root, box.id)._manager()
    directory = Path(manager.primary.directory if manager.primary else "") / "inner"
    directory.mkdir()
    controller = next(iter(manager.primary.controllers), "") if manager.primary else ""
    path = f"{controller}:inner" if controller else "inner"
    try:
        found = run(box, "--cgroup", path, box.id, "sh", "-c", "cat /proc/self/cgroup")
        assert [line for line in found if line.endswith(":/inner")]
    finally:
        for _ in range(100):  # the process is a zombie of nobody for a moment
            try:
                directory.rmdir()
                break
            except OSError:
                time.sleep(0.01)


def test_paused_container_waits_for_resume(box: Bundle) -> None:
    """Refused, unless --ignore-paused: then the process runs when the container does."""
    box.youki("pause", box.id)
    refused = box.youki("exec", box.id, "true", check=False)
    assert refused.returncode == 255
    assert "cannot exec in a paused container (use --ignore-paused to override)" in refused.stderr
    words = [str(YOUKI), "--root", str(box.root), "exec", "--ignore-paused", box.id, "sh", "-c", "exit 9"]
    with subprocess.Popen(words) as waiting:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.3)
        box.youki("resume", box.id)
        assert waiting.wait(DEADLINE_S) == 9


def test_cold_start_loads_nothing_that_only_a_new_container_needs(box: Bundle) -> None:
    """The cost of a call is its imports, from the first to the last: each of these would be a part of it."""
    main = str(Path(libcontainer.__file__).parents[1] / "youki" / "__main__.py")
    words = [
        sys.executable,
        "-I",
        "-S",
        "-X",
        "importtime",
        main,
        "--root",
        str(box.root),
        "exec",
        box.id,
        "true",
    ]
    done = subprocess.run(words, stderr=subprocess.PIPE, text=True, timeout=60, check=True)
    rows = [line.split("|") for line in done.stderr.splitlines() if line.startswith("import time:")]
    loaded = {row[2].strip() for row in rows}

    assert "libcontainer.supervise_tenant" in loaded
    needless = {
        "devices",
        "idmap",
        "mounts",
        "plan.compile",
        "plan.explain",
        "process",
        "spec.check",
        "spec.load",
    }
    needless |= {"supervise", "terminal", "console", "failure"}
    assert not loaded & {f"libcontainer.{name}" for name in needless}
    assert not loaded & {
        "typing",
        "re",
        "json",
        "enum",
        "dataclasses",
        "pathlib",
        "subprocess",
        "socket",
        "signal",
    }
    assert not loaded & {
        "logging",
        "argparse",
        "contextlib",
        "collections",
        "functools",
        "ctypes",
        "tempfile",
    }


def test_explain_shows_the_plan_and_starts_nothing(box: Bundle) -> None:
    """What would be joined and done, without doing it."""
    before = Container.load(box.root, box.id)._manager().processes()
    lines = box.youki("explain", "--exec", box.id, "id", "-u").stdout.splitlines()

    joined = [line.partition("flags=")[2].split()[0] for line in lines if "JoinNamespaces" in line]
    assert set(",".join(joined).split(",")) == {"mount", "cgroup", "uts", "ipc", "pid", "network"}
    assert "Exec args=[id -u]" in lines[-1]
    assert Container.load(box.root, box.id)._manager().processes() == before


# Exit codes


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137)]
)
def test_exit_code_is_the_commands(box: Bundle, script: str, code: int) -> None:
    """128+N where signal N ended it."""
    run(box, box.id, "sh", "-c", script, code=code)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("BOX", "no-such-program"), "executable file not found in $PATH: no such file or directory"),
        (("BOX", "/etc/passwd"), "permission denied"),
        (("BOX",), "/args"),
        (("absent", "true"), "does not exist"),
        (("-u", "root", "BOX", "true"), "--user"),
        (("-u", "1x", "BOX", "true"), "--user"),
        (("-u", "1:", "BOX", "true"), "--user"),
        (("-u", "4294967295", "BOX", "true"), "--user"),
        (("-u", "4294967296", "BOX", "true"), "--user"),
        (("-u", "-1", "BOX", "true"), "--user"),
        (("-g", "wheel", "BOX", "true"), "--additional-gids"),
        (("-e", "NAME", "BOX", "true"), "/env/0"),
        (("-c", "CAP_FLY", "BOX", "true"), "/capabilities/0"),
        (("--cwd", "tmp", "BOX", "true"), "/cwd"),
        (("--cwd", "/absent", "BOX", "true"), "/cwd"),
        (("--cgroup", "../..", "BOX", "true"), ".."),
        (("--cgroup", "absent", "BOX", "true"), "absent"),
        (("--process", "/no/such/file", "BOX"), "/no/such/file"),
        (("--preserve-fds", "5", "BOX", "true"), "file descriptor"),
        (("--pid-file", "/no/such/dir/pid", "BOX", "true"), "pid file"),
    ],
)
def test_errors_of_ours_are_told_and_exit_255(box: Bundle, words: tuple[str, ...], told: str) -> None:
    """As with runc; the container goes on."""
    done = box.youki("exec", *[box.id if word == "BOX" else word for word in words], check=False)

    assert done.returncode == 255
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert Container.load(box.root, box.id).status == "running"


@pytest.mark.parametrize(
    ("state", "told"),
    [("created", "that has not been started"), ("stopped", "cannot exec in a stopped container")],
)
def test_container_that_does_not_run(bundle: Bundle, state: str, told: str) -> None:
    """One sentence, and 255."""
    bundle.process["args"] = ["true"]
    bundle.youki("create", bundle.id)
    if state == "stopped":
        bundle.youki("start", bundle.id)
        container = Container.load(bundle.root, bundle.id)
        while container.status != "stopped":
            time.sleep(0.01)
    done = bundle.youki("exec", bundle.id, "true", check=False)

    assert done.returncode == 255
    assert told in done.stderr


# The foreground


class ExecTerminal(Terminal):
    """`youki exec -t` as the leader of a session with a terminal of its own."""

    def __init__(self, box: Bundle, *args: str, size: tuple[int, int] = (33, 111)) -> None:
        self.args = args
        super().__init__(box, "true", size=size)

    def command(self, bundle: Bundle) -> list[str]:
        return [str(YOUKI), "--root", str(bundle.root), "exec", "-t", bundle.id, *self.args]


@pytest.fixture
def terminal(box: Bundle) -> Iterator[Any]:
    opened: list[ExecTerminal] = []

    def start(*args: str) -> ExecTerminal:
        opened.append(ExecTerminal(box, *args))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_keys_and_output_pass_and_the_terminal_is_restored(terminal: Any) -> None:
    """With the caller's window size; raw meanwhile."""
    shown = terminal("sh", "-c", "stty size; echo ready; read line; echo got $line; exit 7")
    shown.read_until(b"ready\r\n")
    assert shown.is_raw
    shown.type(b"a word\r")
    shown.read_until(b"got a word\r\n")

    assert shown.wait() == 7
    assert shown.is_restored
    assert shown.seen.startswith(b"33 111\r\n")


def test_control_c_goes_to_the_process(terminal: Any) -> None:
    """Through its terminal, and the runtime lives on to tell the status."""
    shown = terminal("sh", "-c", "trap 'exit 5' INT; echo ready; while :; do sleep 0.1; done")
    shown.read_until(b"ready\r\n")
    shown.type(b"\x03")

    assert shown.wait() == 5
    assert shown.is_restored


def test_terminal_is_restored_when_the_program_does_not_exist(terminal: Any) -> None:
    """An error after the terminal was taken."""
    shown = terminal("no-such-program")

    assert shown.wait() == 255
    assert shown.is_restored


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1"])
def test_signals_of_the_runtime_are_forwarded(box: Bundle, name: str) -> None:
    """To this process, not to the first one."""
    script = f"trap 'exit 9' {name}; touch /tmp/ready; while :; do sleep 0.1; done"
    words = [str(YOUKI), "--root", str(box.root), "exec", box.id, "sh", "-c", script]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as running:
        while not (box.rootfs / "tmp/ready").exists():
            time.sleep(0.01)
        running.send_signal(getattr(signal, f"SIG{name}"))
        assert running.wait(DEADLINE_S) == 9
    assert Container.load(box.root, box.id).status == "running"


def test_standard_streams_are_the_callers(box: Bundle) -> None:
    """A pipe in, a pipe out, and their ends."""
    words = [str(YOUKI), "--root", str(box.root), "exec", box.id, "sh", "-c", "cat; echo err >&2"]
    done = subprocess.run(words, input="in\n", capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "in\n", "err\n")


def test_socket_of_the_caller_is_the_commands(box: Bundle) -> None:
    """Whatever the streams are: here one that podman and sshd use."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        words = [str(YOUKI), "--root", str(box.root), "exec", box.id, "cat"]
        with subprocess.Popen(words, stdin=theirs, stdout=theirs) as running:
            theirs.close()
            ours.sendall(b"hello")
            ours.shutdown(socket.SHUT_WR)
            assert ours.recv(100) == b"hello"
            assert running.wait(DEADLINE_S) == 0
