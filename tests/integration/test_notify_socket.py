"""Readiness that the payload tells its service manager: sd_notify(3), with real sockets on both sides."""

from __future__ import annotations

import array
import os
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from libcontainer import Container, ContainerBuilder, notify_socket
from libcontainer.notify_socket import Relay

from .conftest import YOUKI

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Bundle

PYTHON = "/usr/bin/python3"
SAY = "import os, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect(os.environ['NOTIFY_SOCKET'])"

pytestmark = pytest.mark.skipif(
    not os.path.exists(PYTHON), reason="needs /usr/bin/python3 for a payload with sockets"
)


class Manager:
    """A service manager: its socket, and what it was told, in a thread; it closes the descriptor of a barrier."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.messages: list[bytes] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            message, rights, _, _ = self._socket.recvmsg(4096, 64)
            if message == b"END":
                return
            self.messages.append(message)
            for _, _, data in rights:
                for fd in array.array("i", data):
                    os.close(fd)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"END", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "manager.sock"))
    yield made
    made.close()


@pytest.fixture
def box(bundle: Bundle) -> Bundle:
    """A bundle with the host's Python, whose payload says what its service manager shall hear."""
    (bundle.rootfs / "run").mkdir()
    for name in ("lib", "lib64"):
        if os.path.islink(f"/{name}"):
            (bundle.rootfs / name).symlink_to(os.readlink(f"/{name}"))
    bundle.mount("/usr", "/usr", "bind", "rbind", "ro")
    return bundle


def say(box: Bundle, *messages: str, then: str = "") -> None:
    sends = "".join(f"; s.send({message!r}.encode())" for message in messages)
    box.process["args"] = [PYTHON, "-I", "-c", f"{SAY}{sends}\n{then}"]
    box.save()


def youki(box: Bundle, manager: Manager, *words: str) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "NOTIFY_SOCKET": manager.address}
    command = [str(YOUKI), "--root", str(box.root), *words]
    return subprocess.run(command, env=env, cwd=box.path, check=False, timeout=60, stdin=subprocess.DEVNULL)


def test_start_returns_when_the_payload_is_ready(box: Bundle, manager: Manager) -> None:
    """The main process is the payload then: the command ends."""
    say(box, "STATUS=warming up", "READY=1\nSTATUS=ready", then="import time; time.sleep(60)")
    youki(box, manager, "create", box.id)
    assert manager.messages == []
    assert youki(box, manager, "start", box.id).returncode == 0

    container = Container.load(box.root, box.id)
    assert manager.messages == [b"READY=1\nMAINPID=%d" % (container.pid or 0), b"BARRIER=1"]
    assert container.status == "running"
    container.delete(force=True)


def test_run_in_the_foreground_is_the_main_process_itself(box: Bundle, manager: Manager) -> None:
    """It lives as long as the payload and forwards signals to it."""
    say(box, "READY=1", then="import time; time.sleep(0.2); raise SystemExit(7)")
    env = {**os.environ, "NOTIFY_SOCKET": manager.address}
    command = [str(YOUKI), "--root", str(box.root), "run", box.id]
    process = subprocess.Popen(command, env=env, cwd=box.path, stdin=subprocess.DEVNULL)

    assert process.wait(60) == 7
    assert manager.messages == [b"READY=1\nMAINPID=%d" % process.pid, b"BARRIER=1"]


def test_only_readiness_passes(box: Bundle, manager: Manager) -> None:
    """MAINPID and the like would let a payload choose which process of the host is watched, or killed."""
    say(box, "MAINPID=1", "READY=0", "STATUS=READY=1", "STOPPING=1\nFDSTORE=1", "X" * 9000)
    assert youki(box, manager, "run", box.id).returncode == 0
    assert manager.messages == []


def test_payload_that_ends_without_a_word_is_not_waited_for(box: Bundle, manager: Manager) -> None:
    """It will never be ready."""
    say(box)
    assert youki(box, manager, "run", "--detach", box.id).returncode == 0
    assert manager.messages == []
    Container.load(box.root, box.id).delete(force=True)


def test_payload_in_a_user_namespace_reaches_its_socket(box: Bundle, manager: Manager) -> None:
    """As another user than the socket's owner, through a mount that is read-only."""
    box.add_userns()
    os.chown(box.rootfs / "run", 100000, 100000)
    box.process["user"] = {"uid": 1000, "gid": 1000}
    flags = os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC
    say(box, "READY=1", then=f"raise SystemExit(os.statvfs('/run/notify').f_flag & {flags})")

    assert youki(box, manager, "run", box.id).returncode == flags
    assert manager.messages[1:] == [b"BARRIER=1"]


def test_abstract_address(box: Bundle) -> None:
    """NOTIFY_SOCKET=@name, which systemd used before version 213 and others still do."""
    manager = Manager(f"@{box.id}")
    try:
        say(box, "READY=1")
        assert youki(box, manager, "run", box.id).returncode == 0
        assert manager.messages[1:] == [b"BARRIER=1"]
    finally:
        manager.close()


def test_service_manager_that_is_gone_is_a_warning(box: Bundle, tmp_path: Path) -> None:
    """The payload runs already, and goes on."""
    say(box, "READY=1", then="import time; time.sleep(60)")
    builder = ContainerBuilder(box.id).with_root_path(box.root).as_init(box.path)
    with builder.with_notify_socket(str(tmp_path / "nobody")).build() as container:
        notify_socket.start(container)
        assert container.status == "running"
        assert container.warnings == (
            f"the service manager at {tmp_path}/nobody was not told: No such file or directory (ENOENT)",
        )


def test_start_that_failed_can_be_repeated(box: Bundle, manager: Manager) -> None:
    """What it bound is bound anew."""
    say(box, "READY=1", then="import time; time.sleep(60)")
    builder = ContainerBuilder(box.id).with_root_path(box.root).as_init(box.path)
    with builder.with_notify_socket(manager.address).build() as container:
        Relay(container).__exit__()
        notify_socket.start(container)
        assert len(manager.messages) == 2


def test_without_a_service_manager_nothing_is_made(box: Bundle) -> None:
    """Neither the variable nor the mount."""
    result = box.run("sh", "-c", 'echo "[$NOTIFY_SOCKET]"; ls /run')
    assert result.stdout == "[]\n"
    assert not (box.root / box.id / "notify").exists()


def test_container_without_mounts_of_its_own_gets_none(box: Bundle, manager: Manager) -> None:
    """There is no place for it."""
    box.remove_namespace("mount")
    box.spec["mounts"] = []
    box.linux["maskedPaths"] = box.linux["readonlyPaths"] = []
    box.process["args"] = ["sh", "-c", '[ -z "$NOTIFY_SOCKET" ]']
    box.save()
    assert youki(box, manager, "run", box.id).returncode == 0
