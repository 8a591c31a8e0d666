"""SCMP_ACT_NOTIFY: the listener reaches the agent, and whatever the agent does nobody hangs. seccomp_unotify(2)."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import ExecError, InvalidArgument, SetupError, Timeout, handover
from libcontainer.seccomp import notify

from .conftest import YOUKI
from .test_capabilities import PROBE as WHOAMI

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Bundle

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/seccomp-agent/agent.py"
RECEIVE, SEND = 0xC0502100, 0xC0182101
CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
EVERYTHING_INIT_NEEDS = [
    "write",
    "sendmsg",
    "recvfrom",
    "execve",
    "exit_group",
    "close",
    "futex",
    "nanosleep",
]


class Agent:
    """An agent at `path` that lets every call go on, unless `answer` says otherwise, and keeps what it was told."""

    def __init__(
        self, path: Path, answer: Callable[[], tuple[int, int] | None] = lambda: (0, CONTINUE)
    ) -> None:
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(path))
        self.server.listen()
        self.answer = answer
        self.states: list[dict[str, Any]] = []
        self.calls: list[int] = []
        self.release = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self.server.accept()
        with connection:
            data, (listener,), _, _ = socket.recv_fds(connection, 1 << 20, 4)
            self.states.append(json.loads(data))
            assert connection.recv(1) == b"", "one message only"
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while not poll.poll()[0][1] & select.POLLHUP:
            notification = bytearray(80)
            try:
                fcntl.ioctl(listener, RECEIVE, notification)
                number, _, _, call = struct.unpack_from("=QIIi", notification)
                self.calls.append(call)
                answer = self.answer()
                if answer is None:
                    self.release.wait(30)
                    break
                fcntl.ioctl(listener, SEND, struct.pack("=QqiI", number, 0, *answer))
            except FileNotFoundError:
                pass
        os.close(listener)

    def close(self) -> None:
        self.release.set()
        self.server.close()


@contextmanager
def agent_at(path: Path, *arguments: Any) -> Iterator[Agent]:
    """An agent for the time of a block."""
    agent = Agent(path, *arguments)
    try:
        yield agent
    finally:
        agent.close()


def notified(path: Path, *names: str, **members: Any) -> dict[str, Any]:
    """A filter that asks the agent at `path`."""
    rule = {"action": "SCMP_ACT_NOTIFY", "names": list(names)}
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(path),
        "syscalls": [rule],
        **members,
    }


@contextmanager
def example_agent(path: Path) -> Iterator[subprocess.Popen[str]]:
    """The agent of examples/, ready."""
    with subprocess.Popen([sys.executable, EXAMPLE, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("userns", [False, True])
def test_the_example_answers_mkdir(
    bundle: Bundle, tmp_path: Path, no_new_privileges: bool, userns: bool
) -> None:
    """It makes the directories of /tmp itself, and refuses all others."""
    bundle.process["noNewPrivileges"] = no_new_privileges
    if userns:
        bundle.add_userns()
    bundle.linux["seccomp"] = notified(tmp_path / "agent", "mkdir", "mkdirat", listenerMetadata="asked")

    with example_agent(tmp_path / "agent"):
        result = bundle.sh("mkdir /tmp/data; mkdir /other; ls -d /tmp/* /other*; ls /proc/self/fd | wc -l")

    assert result.lines == ["/tmp/data.asked", "4"]  # stdio and the directory that ls reads
    assert "/other': Operation not permitted" in result.stderr


def test_the_agent_gets_the_state_of_the_container(bundle: Bundle, tmp_path: Path) -> None:
    """config-linux.md "The Container Process State", in one message with the descriptor."""
    bundle.spec["annotations"] = {"org.example": "x"}
    bundle.linux["seccomp"] = notified(tmp_path / "agent", "mkdir", listenerMetadata="for you")

    with agent_at(tmp_path / "agent") as agent, bundle.build("sleep", "100") as container:
        container.start()
        pid = container.pid

    assert agent.states == [
        {
            "ociVersion": bundle.spec["ociVersion"],
            "fds": ["seccompFd"],
            "pid": pid,
            "metadata": "for you",
            "state": {
                "ociVersion": bundle.spec["ociVersion"],
                "id": bundle.id,
                "status": "created",
                "pid": pid,
                "bundle": str(bundle.path),
                "annotations": {"org.example": "x"},
            },
        }
    ]


@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize(
    "flags", [[], ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"]]
)
def test_every_call_can_be_notified_and_execve_is_the_first(
    bundle: Bundle, tmp_path: Path, flags: list[str], no_new_privileges: bool
) -> None:
    """Nothing that init does is under the filter, so that there is nothing that must not be notified."""
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.linux["seccomp"] = notified(tmp_path / "agent", *EVERYTHING_INIT_NEEDS, flags=flags)

    with agent_at(tmp_path / "agent") as agent:
        result = bundle.run("echo", "hello")

    assert result.lines == ["hello"]
    if os.uname().machine == "x86_64":
        assert agent.calls[0] == 59  # execve
        assert set(agent.calls) >= {59, 1, 231}  # execve, write, exit_group


def test_execve_that_the_agent_refuses_is_an_error(bundle: Bundle, tmp_path: Path) -> None:
    """As if the kernel had refused it; init asks nobody to report that, or to end."""
    bundle.linux["seccomp"] = notified(tmp_path / "agent", *EVERYTHING_INIT_NEEDS)

    with (
        agent_at(tmp_path / "agent", lambda: (-errno.EXDEV, 0)) as agent,
        bundle.build("true") as container,
        pytest.raises(ExecError) as caught,
    ):
        container.start()

    assert caught.value.errno == errno.EXDEV
    assert len(agent.calls) == 1


def test_agent_that_is_absent_fails_create(bundle: Bundle, tmp_path: Path) -> None:
    """There is no socket: nothing is made."""
    bundle.linux["seccomp"] = notified(tmp_path / "agent", "mkdir")

    with pytest.raises(InvalidArgument, match="start the program that listens there") as caught:
        bundle.build("true")

    assert caught.value.pointer == "/linux/seccomp/listenerPath"
    assert not (bundle.root / bundle.id).exists()


def test_agent_that_has_gone_since_fails_start(bundle: Bundle, tmp_path: Path) -> None:
    """The payload does not run without it, and the container is stopped."""
    bundle.linux["seccomp"] = notified(tmp_path / "agent", "mkdir")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "agent"))
    server.listen()

    with bundle.build("touch", "/ran") as container:
        server.close()
        with pytest.raises(InvalidArgument, match="no longer listens") as caught:
            container.start()
        assert container.status == "stopped"

    assert caught.value.pointer == "/linux/seccomp/listenerPath"
    assert not (bundle.rootfs / "ran").exists()


def test_agent_that_accepts_nothing_fails_start(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full backlog would keep connect(2) waiting without end."""
    monkeypatch.setattr(handover, "DEADLINE_S", 1)
    bundle.linux["seccomp"] = notified(tmp_path / "agent", "mkdir")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(str(tmp_path / "agent"))
        server.listen(0)
        first.connect(str(tmp_path / "agent"))
        with bundle.build("true") as container:
            with pytest.raises(Timeout, match="accepted no connection"):
                container.start()
            assert container.status == "stopped"


def test_agent_that_closes_at_once_gets_no_payload_that_it_could_answer(
    bundle: Bundle, tmp_path: Path
) -> None:
    """Either the listener cannot be handed over, or it is closed before the first call: none is let through."""
    bundle.linux["seccomp"] = notified(tmp_path / "agent", "mkdir", "mkdirat")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "agent"))
        server.listen()
        thread = threading.Thread(target=accept_and_close, args=(server,), daemon=True)
        with bundle.build("mkdir", "/x") as container:
            thread.start()
            with suppress(SetupError):
                container.start()
            assert container.wait(30).returncode != 0
            thread.join()

    assert not (bundle.rootfs / "x").exists()


def accept_and_close(server: socket.socket) -> None:
    server.accept()[0].close()


def test_agent_that_dies_leaves_the_call_unknown(bundle: Bundle, tmp_path: Path) -> None:
    """The kernel answers ENOSYS when nobody holds the listener."""
    bundle.linux["seccomp"] = notified(tmp_path / "agent", "mkdir", "mkdirat")

    with agent_at(tmp_path / "agent", lambda: None) as agent:
        agent.release.set()
        result = bundle.sh("mkdir /x; mkdir /y; echo on")

    assert result.lines == ["on"]
    assert "Function not implemented" in result.stderr


def test_agent_that_does_not_let_execve_go_on_is_told(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Start does not wait for ever, and the container can be deleted."""
    monkeypatch.setattr(notify, "EXECUTED_S", 0.5)
    bundle.linux["seccomp"] = notified(tmp_path / "agent", "execve")

    with agent_at(tmp_path / "agent", lambda: None), bundle.build("true") as container:
        with pytest.raises(Timeout, match="has not answered the payload's execve") as caught:
            container.start()
        assert container.status == "stopped"

    assert caught.value.pointer == "/linux/seccomp/listenerPath"


def test_start_that_is_killed_leaves_no_payload(bundle: Bundle, tmp_path: Path) -> None:
    """Init waits for a runtime that is gone: it ends."""
    bundle.linux["seccomp"] = notified(tmp_path / "agent", "mkdir")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(str(tmp_path / "agent"))
        server.listen(0)
        first.connect(str(tmp_path / "agent"))
        with bundle.build("touch", "/ran") as container:
            command = [str(YOUKI), "--root", str(bundle.root), "start", bundle.id]
            with subprocess.Popen(command) as start:
                while not Path(f"/proc/{start.pid}/wchan").read_text().startswith("unix"):
                    assert start.poll() is None
                start.send_signal(signal.SIGKILL)
            assert container.wait(30).code == 1

    assert not (bundle.rootfs / "ran").exists()


def test_a_pids_limit_of_one_leaves_no_room_for_the_listener(bundle: Bundle, tmp_path: Path) -> None:
    """Handing it out takes a second thread for a moment; a filter without a listener does not."""
    bundle.linux["resources"] = {"pids": {"limit": 1}}
    bundle.linux["seccomp"] = notified(tmp_path / "agent", "mkdir")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "agent"))
        server.listen()
        with bundle.build("true") as container:
            with pytest.raises(SetupError, match="a thread for the listener") as caught:
                container.start()
            assert container.status == "stopped"
    assert caught.value.pointer == "/linux/seccomp"
    assert "pids limit" in str(caught.value.remedy)

    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    assert bundle.run("true").status.code == 0


def test_a_set_user_id_program_is_one_with_a_listener_too(bundle: Bundle, tmp_path: Path) -> None:
    """The thread that hands it out shares the file system state, which must not count as foreign (execve(2))."""
    compiler = shutil.which("musl-gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    program = bundle.rootfs / "bin/whoami"
    program.unlink()
    subprocess.run([compiler, "-static", "-x", "c", "-o", program, "-"], input=WHOAMI.encode(), check=True)
    program.chmod(0o4755)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["noNewPrivileges"] = False
    bundle.linux["seccomp"] = notified(tmp_path / "agent", "mkdir")

    with agent_at(tmp_path / "agent"):
        assert bundle.run("whoami").stdout == "1000 0"


def test_listener_of_a_tenant_reaches_the_agent(bundle: Bundle, tmp_path: Path) -> None:
    """Each process has a listener of its own; the state is the running container's, the number the tenant's."""
    path = tmp_path / "agent"
    bundle.linux["seccomp"] = notified(path, "mkdir")
    with agent_at(path) as first, bundle.build("sleep", "1000") as container:
        container.start()
        path.unlink()
        with agent_at(path, lambda: (-errno.EDOM, 0)) as second:
            with container.exec(["mkdir", "/tmp/made"], stderr=subprocess.PIPE) as process:
                stderr = process.communicate(timeout=30)[1]
            assert second.states[0]["pid"] == process.pid
            assert second.states[0]["state"]["pid"] == container.pid
            assert second.states[0]["state"]["status"] == "running"
        path.unlink()
        with pytest.raises(InvalidArgument, match="agent"):
            container.exec(["true"])
    assert stderr is not None
    assert os.strerror(errno.EDOM).encode() in stderr
    assert not first.calls
