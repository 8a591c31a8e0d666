"""checkpoint and restore: what a container keeps, what is left, and what happens when CRIU cannot do it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import (
    PIPE,
    AlreadyExists,
    CheckpointError,
    Container,
    ExitStatus,
    HookError,
    InvalidArgument,
    StateError,
    Unsupported,
    aio,
)
from libcontainer.criu import place, spec

from .boxes import open_to_all
from .conftest import CAPABILITIES
from .holders import holder, identity, namespace_path
from .test_console import Receiver
from .test_keyring import said_after_login

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Bundle

COUNTER = "n=0; while :; do n=$((n+1)); echo $n > /tmp/new; mv /tmp/new /tmp/count; sleep 0.05; done"
DEADLINE_S = 60.0
SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def works() -> bool:
    """Whether CRIU can do its work on this kernel."""
    program = shutil.which("criu", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    return program is not None and subprocess.run([program, "check"], capture_output=True).returncode == 0


def has_feature(name: str) -> bool:
    """Whether CRIU says that it can do this here."""
    return subprocess.run(["criu", "check", "--feature", name], capture_output=True).returncode == 0


needs_criu = pytest.mark.skipif(
    os.geteuid() != 0 or not works(), reason="needs root, and a kernel on which criu check succeeds"
)


class Counter:
    """A bundle whose container counts in its memory, and tells how far it is in a file."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.images = bundle.path / "images"
        self.file = bundle.rootfs / "tmp/count"
        bundle.process["args"] = ["sh", "-c", COUNTER]

    def start(self) -> Container:
        """Run it, with its streams closed to us."""
        self.bundle.save()
        with open("/dev/null", "r+b") as null:
            builder = self.bundle.builder().with_stdin(null).with_stdout(null).with_stderr(null)
            container = builder.as_init(self.bundle.path).build()
        container.start()
        self.wait_beyond(0)
        return container

    def restore(self, images: Path | None = None, **options: Any) -> Container:
        """Make it of the images again."""
        with open("/dev/null", "r+b") as null:
            builder = self.bundle.builder().with_stdin(null).with_stdout(null).with_stderr(null)
            restored = builder.as_restored(self.bundle.path, images or self.images)
            for name, value in options.items():
                getattr(restored, f"with_{name}")(value)
            return restored.build()

    def count(self) -> int:
        """How far it is."""
        return int(self.file.read_text()) if self.file.exists() else 0

    def wait_beyond(self, number: int) -> int:
        """Wait until it has counted further."""
        deadline = time.monotonic() + DEADLINE_S
        while (found := self.count()) <= number:
            assert time.monotonic() < deadline, f"it counts no further than {found}"
            time.sleep(0.02)
        return found


@pytest.fixture
def counter(bundle: Bundle) -> Counter:
    """A bundle that counts."""
    return Counter(bundle)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """What an engine does to get the terminal."""
    made = Receiver(tmp_path / "console.sock")
    yield made
    made.close()


@needs_criu
def test_a_restored_container_goes_on_where_it_was(counter: Counter) -> None:
    """What was in memory is there again; in between nothing of it is on the host."""
    container = counter.start()
    cgroup = container._manager().paths[""]
    container.checkpoint(counter.images)
    reached = counter.count()
    assert Container.list(counter.bundle.root) == []
    assert not os.path.exists(cgroup)
    assert container.wait(10) == ExitStatus(None, 9)
    counter.file.unlink()

    with counter.restore() as restored:
        assert restored.status == "running"
        assert counter.wait_beyond(reached) < reached + 100


@needs_criu
def test_what_a_checkpoint_writes_is_for_its_owner_alone(counter: Counter) -> None:
    """There are keys and passwords in memory. The log goes elsewhere where that is asked for."""
    work = counter.bundle.path / "work"
    with counter.start() as container:
        container.checkpoint(counter.images, work_path=work, leave_running=True)

        assert {counter.images.stat().st_mode & 0o777, work.stat().st_mode & 0o777} == {0o700}
        assert json.loads((counter.images / "descriptors.json").read_text()) == ["/dev/null"] * 3
        assert (counter.images / "pages-1.img").stat().st_size > 4096
        assert (work / "dump.log").exists()
        assert not (counter.images / "dump.log").exists()


@needs_criu
def test_a_container_that_is_left_running_goes_on_and_is_checkpointed_again(counter: Counter) -> None:
    """A copy of it is what it was at that moment; directories may be used again, with a word on who reads them."""
    with counter.start() as container:
        container.checkpoint(counter.images, leave_running=True)
        reached = counter.count()
        assert container.status == "running"
        counter.wait_beyond(reached)
        counter.images.chmod(0o755)
        container.checkpoint(counter.images, leave_running=True)
        assert "others may read" in container.warnings[0]
        counter.wait_beyond(counter.count())

    with counter.restore():
        counter.wait_beyond(reached)


@needs_criu
def test_a_dump_after_a_pre_dump_has_what_has_changed(counter: Counter) -> None:
    """Most of the work is done while the container runs; what is restored has both parts."""
    bundle = counter.bundle
    with counter.start() as container:
        container.checkpoint(bundle.path / "before", pre_dump=True)
        assert container.status == "running"
        counter.wait_beyond(counter.count())
        with pytest.raises(InvalidArgument, match=r"no directory \.\./absent"):
            container.checkpoint(counter.images, parent_path="../absent")
        counter.wait_beyond(counter.count())
        container.checkpoint(counter.images, parent_path="../before")
        reached = counter.count()
    pages = [(bundle.path / name / "pages-1.img").stat().st_size for name in ("before", "images")]
    assert pages[1] < pages[0]
    with pytest.raises(InvalidArgument, match="holds no checkpoint"):
        counter.restore(bundle.path / "before")

    with counter.restore():
        counter.wait_beyond(reached)


@needs_criu
def test_pages_that_are_in_a_later_image_are_freed_in_the_earlier(counter: Counter) -> None:
    """A row of pre-dumps takes no more room than what is needed of each."""
    bundle = counter.bundle
    pages = bundle.path / "before/pages-1.img"
    with counter.start() as container:
        container.checkpoint(bundle.path / "before", pre_dump=True)
        before = pages.stat().st_blocks
        counter.wait_beyond(counter.count() + 5)
        container.checkpoint(counter.images, parent_path="../before", auto_dedup=True)
        reached = counter.count()
    assert pages.stat().st_blocks < before

    with counter.restore(auto_dedup=True):
        counter.wait_beyond(reached)
    assert pages.stat().st_blocks == 0


@pytest.fixture
def page_server(counter: Counter) -> Iterator[int]:
    """A page server that takes the pages into the image path; its port."""
    counter.images.mkdir(mode=0o700)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    words = ["page-server", "--images-dir", str(counter.images), "--port", str(port)]
    with criu_daemon(words, counter.bundle.path / "page-server.log"):
        yield port


@contextmanager
def criu_daemon(words: list[str], log: Path) -> Iterator[None]:
    """Run criu beside us until it ends by itself, or has to be ended."""
    read, write = os.pipe()
    with open(log, "wb") as file:
        options = ["--status-fd", str(write), "-v4"]
        process = subprocess.Popen(["criu", *words, *options], stdout=file, stderr=file, pass_fds=[write])
    os.close(write)
    try:
        assert os.read(read, 1) == b"\0", log.read_text()
        yield
        process.wait(DEADLINE_S)
    finally:
        os.close(read)
        process.kill()
        process.wait()


@needs_criu
def test_memory_goes_to_a_page_server(counter: Counter, page_server: int) -> None:
    """To another host, say; here to the same directory."""
    container = counter.start()
    container.checkpoint(counter.images, page_server=f"127.0.0.1:{page_server}")
    reached = counter.count()
    assert sum(file.stat().st_size for file in counter.images.glob("pages-*.img")) > 0, os.listdir(
        counter.images
    )

    with counter.restore():
        counter.wait_beyond(reached)


@needs_criu
def test_memory_is_fetched_when_it_is_used(counter: Counter) -> None:
    """The container goes on elsewhere at once, and the checkpoint ends when the last page has been fetched."""
    if not has_feature("uffd-noncoop"):
        pytest.skip("criu check --feature uffd-noncoop: no")
    bundle = counter.bundle
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = f"127.0.0.1:{taken.getsockname()[1]}"
    container = counter.start()
    read, write = os.pipe()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(
            container.checkpoint, counter.images, lazy_pages=True, page_server=server, status_fd=write
        )
        assert os.read(read, 1) == b"\0"
        reached = counter.count()
        assert not done.done()
        address, port = server.split(":")
        words = ["lazy-pages", "--page-server", "--address", address, "--port", port]
        words += ["--images-dir", str(counter.images), "--work-dir", str(counter.images)]
        with criu_daemon(words, bundle.path / "lazy-pages.log"):
            bundle.id += "-elsewhere"
            restored = counter.restore(lazy_pages=True)
        with restored:
            counter.wait_beyond(reached)
            done.result(DEADLINE_S)
    for fd in (read, write):
        os.close(fd)
    assert Container.list(bundle.root) == []


@needs_criu
@pytest.mark.parametrize("empty", [False, True])
def test_a_network_namespace_may_be_restored_empty(counter: Counter, empty: bool) -> None:
    """An engine's plugins fill it again, as hooks of the restore do."""
    names = ["network"] if empty else []
    container = counter.start()
    address = ["ip", "address", "add", "192.0.2.7/32", "dev", "lo"]
    subprocess.run(["nsenter", f"--net=/proc/{container.pid}/ns/net", *address], check=True)
    container.checkpoint(counter.images, empty_ns=names)

    with counter.restore(empty_ns=names) as restored:
        show = ["nsenter", f"--net=/proc/{restored.pid}/ns/net", "ip", "address", "show", "lo"]
        found = subprocess.run(show, capture_output=True, text=True, check=True).stdout
        assert ("192.0.2.7" in found) != empty


@needs_criu
def test_a_restored_container_has_the_walls_that_it_had(counter: Counter, tmp_path: Path) -> None:
    """Mounts of the host, read-only ones too, masks and read-only paths; through links of the image's root."""
    bundle = counter.bundle
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("of the host\n")
    (bundle.rootfs / "link").symlink_to("/var")
    bundle.mount("/link/bound", outside, "bind", "rbind", "ro")
    bundle.mount("/etc/one", outside / "file", "bind", "bind")
    bundle.mount("/shm", "tmpfs", "tmpfs", "mode=700")
    bundle.mount("/tmp", outside, "bind", "bind")
    counter.file = outside / "count"
    bundle.spec["root"]["readonly"] = True
    bundle.linux["maskedPaths"] += ["/proc/keys", "/proc/timer_list"]
    for kind in ("bounding", "effective", "permitted"):
        bundle.process["capabilities"][kind] = [*CAPABILITIES, "CAP_MKNOD"]
    with counter.start() as container:
        container.exec(["sh", "-c", "echo kept > /shm/file"]).wait(DEADLINE_S)
        before = walls(container)
        container.checkpoint(counter.images)
    assert before.splitlines()[:4] == ["of the host", "of the host", "kept", "box"]
    assert (before.count("read-only"), before.count("not permitted")) == (3, 1)
    (bundle.rootfs / "var/bound").rmdir()  # the mount points are made again

    with counter.restore() as restored:
        assert walls(restored) == before


def walls(container: Container) -> str:
    """What a process in the container may not do, and what it sees."""
    script = """
        cat /var/bound/file /etc/one /shm/file; hostname
        echo x 2>&- > /var/bound/new || echo the bind is read-only
        echo x 2>&- > /proc/sys/kernel/hostname || echo proc sys is read-only
        touch /root/new 2>&- || echo the root is read-only
        mknod /shm/mem c 1 1; cat /shm/mem 2>&1; rm /shm/mem
        wc -c < /proc/keys; wc -c < /proc/timer_list; ls /sys/firmware | wc -l; ls -l /dev/null | cut -c1-10
        grep -E 'Cap|Seccomp:|NoNewPrivs' /proc/self/status; cat /proc/self/cgroup; ls /proc/self/fd | wc -l
    """
    with container.exec(["sh", "-c", script], stdout=PIPE) as process:
        output, _ = process.communicate(timeout=DEADLINE_S)
        assert output is not None
        return output.decode()


@needs_criu
def test_the_keys_of_the_caller_stay_its_own(counter: Counter) -> None:
    """CRIU keeps the session keyring that it is called with; a container must not get it."""
    bundle = counter.bundle
    bundle.process["args"] = [
        "sh",
        "-c",
        "while :; do cat /proc/keys > /tmp/new; mv /tmp/new /tmp/keys; sleep 0.1; done",
    ]
    keys = bundle.rootfs / "tmp/keys"
    bundle.youki("run", "--detach", bundle.id, **SILENT)
    bundle.youki("checkpoint", bundle.id)
    keys.unlink(missing_ok=True)
    said_after_login(bundle, "restore", "--detach", bundle.id)
    deadline = time.monotonic() + DEADLINE_S
    while not keys.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert f"_ses.{bundle.id}" in keys.read_text()
    assert "callers-keys" not in keys.read_text()


@needs_criu
def test_a_restored_container_answers_as_any_other(counter: Counter) -> None:
    """It has a record, a cgroup with its limits, a pid file; it is waited for, paused, killed and deleted."""
    bundle = counter.bundle
    counter.start().checkpoint(counter.images)
    bundle.linux["resources"] = {"pids": {"limit": 1234}}
    bundle.linux["cgroupsPath"] = f"/test-{os.getpid()}-elsewhere"
    bundle.save()
    pid_file = bundle.path / "pid"

    with open("/dev/null", "r+b") as null:
        builder = (
            bundle.builder().with_stdin(null).with_stdout(null).with_stderr(null).with_pid_file(pid_file)
        )
        restored = builder.as_restored(bundle.path, counter.images).build()
    cgroup = Path(restored._manager().paths[""])
    assert cgroup.name == f"test-{os.getpid()}-elsewhere"
    assert (cgroup / "pids.max").read_text() == "1234\n"
    assert restored.pid in restored.processes()
    assert pid_file.read_text() == str(restored.pid)
    assert json.loads(bundle.youki("state", bundle.id).stdout)["status"] == "running"
    assert restored.exec(["sh", "-c", "exit 7"]).wait(DEADLINE_S) == ExitStatus(7, None)
    restored.pause()
    assert restored.status == "paused"
    restored.resume()
    with pytest.raises(StateError, match="not stopped"):
        restored.delete()
    restored.kill("KILL")
    assert restored.wait(DEADLINE_S) == ExitStatus(None, 9)
    restored.delete()
    assert not cgroup.exists()


@needs_criu
def test_the_commands_do_the_same(counter: Counter) -> None:
    """Detached, and in the foreground, where the exit code is the container's."""
    bundle = counter.bundle
    bundle.process["args"] = ["sh", "-c", "until [ -e /tmp/end ]; do sleep 0.1; done; exit 5"]
    bundle.youki("run", "--detach", bundle.id, **SILENT)
    bundle.youki("checkpoint", bundle.id)
    assert bundle.youki("list", "-q").stdout == ""
    bundle.youki("restore", "--detach", bundle.id)
    taken = bundle.youki("restore", "--detach", bundle.id, check=False)
    assert (taken.returncode, "already exists" in taken.stderr) == (1, True)
    bundle.youki("checkpoint", "--image-path", "again", "--work-path", "log", bundle.id)
    (bundle.rootfs / "tmp/end").touch()

    ended = bundle.youki("restore", "--image-path", "again", bundle.id, check=False)
    assert (ended.returncode, ended.stderr) == (5, "")
    assert bundle.youki("list", "-q").stdout == ""


@needs_criu
def test_pipes_of_the_streams_are_replaced_by_new_ones(counter: Counter) -> None:
    """Nobody holds the other end of the old ones any more."""
    bundle = counter.bundle
    bundle.process["args"] = ["sh", "-c", "n=0; while read x; do n=$((n+1)); echo $n $x; done"]
    bundle.save()
    builder = bundle.builder().with_stdin(PIPE).with_stdout(PIPE).with_stderr(PIPE)
    container = builder.as_init(bundle.path).build()
    container.start()
    assert container.stdin
    assert container.stdout
    container.stdin.write(b"one\n")
    assert container.stdout.readline() == b"1 one\n"
    descriptors = os.listdir(f"/proc/{container.pid}/fd")
    container.checkpoint(counter.images)
    container.close()

    with (
        bundle.builder()
        .with_stdin(PIPE)
        .with_stdout(PIPE)
        .with_stderr(PIPE)
        .as_restored(bundle.path, counter.images)
        .build() as restored
    ):
        assert restored.stdin
        assert restored.stdout
        restored.stdin.write(b"two\n")
        assert restored.stdout.readline() == b"2 two\n"
        assert os.listdir(f"/proc/{restored.pid}/fd") == descriptors


@needs_criu
def test_a_terminal_is_handed_over_again(counter: Counter, receiver: Receiver, tmp_path: Path) -> None:
    """The engine that has the master gets another one."""
    bundle = counter.bundle
    bundle.process["args"] = ["sh", "-c", "while read x; do echo got $x; done"]
    bundle.process["terminal"] = True
    bundle.save()
    container = bundle.builder().with_console_socket(receiver.path).as_init(bundle.path).build()
    receiver.receive()
    container.start()
    os.write(receiver.master, b"one\n")
    receiver.read_until(b"got one")
    container.checkpoint(counter.images)
    other = Receiver(tmp_path / "other.sock")

    with bundle.builder().with_console_socket(other.path).as_restored(bundle.path, counter.images).build():
        other.receive()
        os.write(other.master, b"two\n")
        other.read_until(b"got two")
    other.close()


@needs_criu
def test_namespaces_that_were_joined_are_joined_again(counter: Counter) -> None:
    """They are not the container's to write down; another one of the type may take the place."""
    with holder("network") as one, holder("network") as other:
        counter.bundle.set_namespace("network", namespace_path("network", one))
        counter.start().checkpoint(counter.images)
        reached = counter.count()
        counter.bundle.set_namespace("network", namespace_path("network", other))
        counter.bundle.save()

        with counter.restore() as restored:
            assert restored.pid
            assert identity("network", restored.pid) == identity("network", other)
            counter.wait_beyond(reached)


@needs_criu
def test_a_process_in_a_joined_pid_namespace_gets_its_number_back(bundle: Bundle) -> None:
    """There the others of a pod run on, and know each other by their numbers."""
    with holder("pid") as pid, open("/dev/null", "r+b") as null:
        bundle.set_namespace("pid", namespace_path("pid", pid))
        bundle.process["args"] = ["sleep", "1000"]
        bundle.save()
        builder = bundle.builder().with_stdin(null).with_stdout(null).with_stderr(null)
        container = builder.as_init(bundle.path).build()
        container.start()
        number = number_inside(container)
        container.checkpoint(bundle.path / "images")

        with builder.as_restored(bundle.path, bundle.path / "images").build() as restored:
            assert restored.pid
            assert identity("pid", restored.pid) == identity("pid", pid)
            assert number_inside(restored) == number


def number_inside(container: Container) -> str:
    """The number of the first process in its own pid namespace: proc_pid_status(5), NSpid."""
    lines = Path(f"/proc/{container.pid}/status").read_text().splitlines()
    return next(line.split()[-1] for line in lines if line.startswith("NSpid:"))


@needs_criu
def test_hooks_see_the_restored_process_before_it_goes_on(counter: Counter) -> None:
    """An engine makes the network by them. One that fails ends the restore, and poststop undoes what was done."""
    bundle = counter.bundle
    seen = bundle.path / "seen"
    counter.start().checkpoint(counter.images)
    say = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >> {seen}; echo >> {seen}"]}
    bundle.spec["hooks"] = {"createRuntime": [say], "poststop": [say]}
    bundle.save()
    with counter.restore() as restored:
        state = json.loads(seen.read_text())
        assert (state["status"], state["pid"]) == ("creating", restored.pid)
    bundle.spec["hooks"]["createRuntime"].append({"path": "/bin/false"})
    bundle.save()
    reached = counter.count()

    with pytest.raises(HookError):
        counter.restore()
    assert json.loads(seen.read_text().splitlines()[-1])["status"] == "stopped"
    assert Container.list(bundle.root) == []
    assert counter.count() == reached


@needs_criu
def test_after_a_failed_checkpoint_the_container_runs_on(counter: Counter) -> None:
    """CRIU's own words are told, and where to read on: here a file of the host that is no mount of the container."""
    bundle = counter.bundle
    bundle.save()
    with open(bundle.path / "out", "wb") as out, open("/dev/null", "rb") as null:
        builder = bundle.builder().with_stdin(null).with_stdout(out).with_stderr(out)
        container = builder.as_init(bundle.path).build()
    with container:
        container.start()
        with pytest.raises(CheckpointError, match="cannot checkpoint") as caught:
            container.checkpoint(counter.images)
        assert caught.value.path == f"{counter.images}/dump.log"
        assert "out" in caught.value.message
        assert container.status == "running"
        counter.wait_beyond(counter.count())
        container.pause()
        with pytest.raises(CheckpointError):
            container.checkpoint(counter.images)
        assert container.status == "paused"


@needs_criu
@pytest.mark.parametrize("broken", ["core-1.img", "pstree.img", "mountpoints-", "pid file"])
def test_after_a_failed_restore_nothing_is_left(counter: Counter, broken: str) -> None:
    """Whether CRIU fails early, late, or we do when all processes are there: no process, cgroup, record or mount."""
    counter.start().checkpoint(counter.images)
    reached = counter.count()
    bundle = counter.bundle
    builder = bundle.builder()
    if broken == "pid file":
        builder.with_pid_file("/nonexistent/pid")
    else:
        for path in counter.images.glob(f"{broken}*"):
            path.write_bytes(path.read_bytes()[:-5])
    children = Path("/proc/self/task", str(os.getpid()), "children").read_text()

    with pytest.raises((CheckpointError, InvalidArgument)) as caught:
        builder.as_restored(bundle.path, counter.images).build()
    assert getattr(caught.value, "__notes__", []) == []
    assert Container.list(bundle.root) == []
    assert Path("/proc/self/task", str(os.getpid()), "children").read_text() == children
    assert counter.count() == reached


@needs_criu
def test_a_paused_container_is_checkpointed_and_runs_when_restored(counter: Counter) -> None:
    """As with runc: who pauses it first knows what is in the images."""
    container = counter.start()
    container.pause()
    reached = counter.count()
    container.checkpoint(counter.images)
    assert Container.list(counter.bundle.root) == []

    with counter.restore() as restored:
        if restored.status == "paused":
            restored.resume()
        assert counter.wait_beyond(reached) < reached + 100


@needs_criu
def test_a_tenant_that_nobody_waits_for_does_not_block_a_checkpoint(counter: Counter) -> None:
    """It ends with the container, whose first process, and so CRIU, waits until we have reaped it."""
    container = counter.start()
    with open("/dev/null", "r+b") as null:
        tenant = container.exec(["sleep", "1000"], stdin=null, stdout=null, stderr=null)
    try:
        container.checkpoint(counter.images)
    except CheckpointError:
        assert container.status == "running"
    else:
        assert tenant.wait(DEADLINE_S) == ExitStatus(None, 9)
    tenant.close()


@needs_criu
def test_checkpoint_and_restore_do_not_block_the_loop(counter: Counter) -> None:
    """The asyncio twins do the same."""
    container = counter.start()

    async def work() -> None:
        await aio.Container(container).checkpoint(counter.images)
        with open("/dev/null", "r+b") as null:
            builder = aio.ContainerBuilder(counter.bundle.id).with_root_path(counter.bundle.root)
            builder.with_stdin(null).with_stdout(null).with_stderr(null)
            async with await builder.as_restored(counter.bundle.path, counter.images).build() as restored:
                assert restored.status == "running"

    asyncio.run(work())


@needs_criu
def test_a_user_namespace_is_restored_with_its_ids(counter: Counter) -> None:
    """In it CRIU is the container's root, who must be able to read the images."""
    bundle = counter.bundle
    bundle.add_userns()
    open_to_all(bundle.rootfs)
    (bundle.rootfs / "tmp").chmod(0o1777)
    counter.start().checkpoint(counter.images)
    reached = counter.count()
    assert (counter.images.stat().st_uid, counter.images.stat().st_mode & 0o777) == (100000, 0o700)
    os.chown(counter.images, 100000, 0)
    with pytest.raises(
        InvalidArgument, match="belongs to 100000:0, but the container's root is 100000:100000"
    ):
        counter.restore()
    os.chown(counter.images, 100000, 100000)

    with counter.restore() as restored:
        assert restored.pid
        assert Path(f"/proc/{restored.pid}/uid_map").read_text().split() == ["0", "100000", "65536"]
        counter.wait_beyond(reached)


@needs_criu
@pytest.mark.parametrize("mode", ["ignore", "full"])
def test_modes_of_cgroups_end_in_the_containers_cgroup(counter: Counter, mode: str) -> None:
    """Whatever CRIU restores of cgroups, the processes are where their limits are."""
    counter.start().checkpoint(counter.images, manage_cgroups_mode=mode)
    with counter.restore(manage_cgroups_mode=mode) as restored:
        assert restored.pid in restored.processes()
        counter.wait_beyond(counter.count())


@needs_criu
def test_what_a_killed_restore_leaves_is_deleted(counter: Counter) -> None:
    """By a hook that kills its parent, the restore: half of the processes are there then."""
    bundle = counter.bundle
    counter.start().checkpoint(counter.images)
    reached = counter.count()
    table = Path("/proc/self/mountinfo").read_text()
    bundle.spec["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $PPID"]}]}
    killed = bundle.youki("restore", "--detach", "--image-path", "images", bundle.id, check=False)
    assert killed.returncode == -9
    assert bundle.youki("list", "-q").stdout == f"{bundle.id}\n"
    bundle.youki("delete", "--force", bundle.id)

    assert Container.list(bundle.root) == []
    assert Path("/proc/self/mountinfo").read_text() == table
    time.sleep(1)
    assert counter.count() == reached


@needs_criu
@pytest.mark.skipif(shutil.which("runc") is None, reason="needs runc")
def test_runc_and_youki_restore_what_the_other_has_checkpointed(counter: Counter) -> None:
    """The images have the same names for what is the host's."""
    bundle = counter.bundle
    bundle.spec["ociVersion"] = "1.0.2"
    bundle.mount("/mnt", bundle.path, "bind", "rbind", "ro")
    bundle.linux["maskedPaths"].append("/proc/keys")
    bundle.linux["cgroupsPath"] = f"/{bundle.id}"
    bundle.save()
    runc = ["runc", "--root", str(bundle.path / "runc")]

    def call(*words: str) -> None:
        subprocess.run([*runc, *words], cwd=bundle.path, stdin=subprocess.DEVNULL, check=True, **SILENT)

    call("run", "-d", "theirs")
    counter.wait_beyond(0)
    call("checkpoint", "--image-path", "one", "theirs")
    reached = counter.count()
    container = counter.restore(bundle.path / "one")
    reached = counter.wait_beyond(reached)
    container.checkpoint(bundle.path / "two")
    call("restore", "-d", "--image-path", "two", "theirs")
    try:
        counter.wait_beyond(reached)
    finally:
        call("delete", "--force", "theirs")


# What needs no CRIU that works


@pytest.mark.parametrize("state", ["created", "stopped"])
def test_only_a_running_container_is_checkpointed(bundle: Bundle, state: str) -> None:
    """What has not begun, or has ended, has no memory to keep."""
    with bundle.build("true") as container:
        if state == "stopped":
            container.start()
            container.wait(DEADLINE_S)
        with pytest.raises(StateError, match=f"cannot checkpoint {bundle.id}"):
            container.checkpoint(bundle.path / "images")
        assert not (bundle.path / "images").exists()


def test_without_criu_nothing_is_done(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install; the container runs on."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        monkeypatch.setenv("PATH", str(bundle.path))
        with pytest.raises(Unsupported, match="need the program criu") as caught:
            container.checkpoint(bundle.path / "images")
        assert "install criu" in (caught.value.remedy or "")
        assert container.status == "running"
        assert not (bundle.path / "images").exists()
    with pytest.raises(Unsupported, match="need the program criu"):
        bundle.builder().as_restored(bundle.path, bundle.path).build()
    assert Container.list(bundle.root) == []


def test_criu_gets_a_place_that_the_host_does_not_see(bundle: Bundle, tmp_path: Path) -> None:
    """A mount of the root file system, read-only on request; no link of the image leads what is made out of it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    point = tmp_path / "point"
    point.mkdir()
    (bundle.rootfs / "absolute").symlink_to(outside)
    (bundle.rootfs / "relative").symlink_to("../" * 20 + str(outside))
    (bundle.rootfs / "etc/link").symlink_to("/nowhere")
    table = Path("/proc/self/mountinfo").read_text()
    here = os.getcwd()

    def work() -> tuple[str, str]:
        place.mount_root(str(bundle.rootfs), str(point))
        wanted = [("/absolute/a", False), ("/relative/b/c", True), ("/new/d", False), ("/etc/link", True)]
        with pytest.raises(CheckpointError, match="cannot make the mount point /absolute/a"):
            place.make_points(str(point), wanted)
        points = [(spec.resolve(str(point), path), is_file) for path, is_file in wanted]
        place.make_points(str(point), points)
        place.make_readonly(str(point))
        with pytest.raises(OSError, match="Read-only"):
            (point / "file").touch()
        with pytest.raises(CheckpointError, match="cannot make the mount point /other"):
            place.make_points(str(point), [("/other", False)])
        return Path("/proc/thread-self/mountinfo").read_text(), os.getcwd()

    seen, cwd = place.apart(work)
    assert str(point) in seen
    assert cwd in (here, "/")
    assert Path("/proc/self/mountinfo").read_text() == table
    assert os.getcwd() == here
    assert (list(outside.iterdir()), list(point.iterdir())) == ([], [])
    assert (bundle.rootfs / "new/d").is_dir()
    assert (bundle.rootfs / str(outside)[1:] / "b/c").is_file()
    assert (bundle.rootfs / str(outside)[1:] / "a").is_dir()


@pytest.mark.skipif(shutil.which("criu") is None, reason="needs criu")
@pytest.mark.parametrize("images", ["absent", "empty", "half"])
def test_a_restore_without_a_checkpoint_is_refused(bundle: Bundle, images: str) -> None:
    """Before anything is made."""
    for name in ("empty", "half"):
        (bundle.path / name).mkdir()
    for name in ("inventory.img", "pstree.img"):
        (bundle.path / "half" / name).touch()
    (bundle.path / "half/descriptors.json").write_text('{"not": "ours"}')
    bundle.save()
    result = bundle.youki("restore", "--image-path", images, bundle.id, check=False)

    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert ("cannot use" if images == "absent" else "holds no checkpoint") in result.stderr
    assert Container.list(bundle.root) == []


@pytest.mark.skipif(shutil.which("criu") is None, reason="needs criu")
def test_an_id_that_is_taken_is_not_restored(counter: Counter) -> None:
    """The container that has it is not touched."""
    bundle = counter.bundle
    counter.images.mkdir()
    for name in ("inventory.img", "pstree.img"):
        (counter.images / name).touch()
    (counter.images / "descriptors.json").write_text("[]")
    with bundle.build("sleep", "1000") as container:
        container.start()
        with pytest.raises((AlreadyExists, Unsupported)):  # unsupported without cgroup v2
            counter.restore()
        assert container.status == "running"


@pytest.mark.parametrize("verb", ["checkpoint", "restore"])
@pytest.mark.parametrize(
    "words",
    [
        ("absent",),
        (),
        ("../x",),
        ("a", "--no-such-option"),
        ("a", "--manage-cgroups-mode", "all"),
        ("a", "--empty-ns", "pid"),
    ],
)
def test_a_wrong_command_line_is_one_clear_error(bundle: Bundle, verb: str, words: tuple[str, ...]) -> None:
    """Never a traceback, never success."""
    result = bundle.youki(verb, *words, check=False)

    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "internal error" not in result.stderr
