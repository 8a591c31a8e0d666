"""Something runs out in the middle: descriptors, room for records. The error says so, and nothing is left."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from libcgroups import detect, factory
from libcgroups.errors import CgroupError as CgroupFailure
from libcontainer import DEVNULL, PIPE, CgroupError, Container, Error, SetupError, Timeout
from libcontainer.spawn import spawn
from libcontainer.state import start_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from libcgroups.cgroup import Cgroup
    from libcontainer.channel import Channel

    from .conftest import Bundle

QUIET = {"stdin": DEVNULL, "stdout": DEVNULL, "stderr": DEVNULL}


@contextmanager
def descriptors(numbers: int) -> Iterator[None]:
    """Limit the numbers of descriptors in this process."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (numbers, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.fixture
def all_taken() -> Iterator[int]:
    """Return the number from which on all are free."""
    fillers = [os.dup(0)]
    while fillers[-1] < max(_held()):
        fillers.append(os.dup(0))
    yield fillers[-1] + 1
    for fd in fillers:
        os.close(fd)


def _held() -> list[int]:
    return [int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]


def no_child_is_left() -> bool:
    """Tell whether this process has no child, dead or alive."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


@contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """Mount a tmpfs there."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=755,{options}", "records", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("kind", ["plain", "userns", "pipes", "hooks", "idmap"])
def test_life_of_a_container_without_descriptors_left(
    bundle: Bundle, tmp_path: Path, all_taken: int, kind: str
) -> None:
    """A long-lived program may run out of them at any time: with each number that suffices a little longer."""
    pipe = PIPE if kind == "pipes" else None
    if kind == "userns":
        bundle.add_userns()
    elif kind == "hooks":
        hook = [{"path": "/bin/true", "timeout": 10}]
        bundle.spec["hooks"] = {"createRuntime": hook, "poststart": hook, "poststop": hook}
    elif kind == "idmap":
        mapping = [{"containerID": 0, "hostID": 1000, "size": 1}]
        bundle.mount("/mnt", str(tmp_path), "bind", "bind", uidMappings=mapping, gidMappings=mapping)
    try:
        bundle.run("true")  # what is made once and kept, and imported, is there now
    except SetupError as error:
        if kind == "idmap" and "not every file system does" in str(error):
            pytest.skip("the file system of the temporary directory takes no id mappings")
        raise
    builder = bundle.builder().with_stdin(pipe).with_stdout(pipe).as_init(bundle.path)
    before = os.listdir("/proc/self/fd")
    refused = []
    for free in range(100):
        try:
            with descriptors(all_taken + free), builder.build() as container:
                container.start()
                container.wait()
            break
        except Error as error:
            refused.append(error)
        assert Container.list(bundle.root) == []
        assert no_child_is_left()

    assert os.listdir("/proc/self/fd") == before
    assert len(refused) > 3
    assert {error.errno for error in refused} == {errno.EMFILE}
    assert all("ulimit -n" in str(error) for error in refused)


def test_operations_without_descriptors_left(bundle: Bundle, all_taken: int) -> None:
    """Whatever a program asks of a container."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        other = Container.load(bundle.root, bundle.id)
        container.kill(0)  # whose module is there now, and those of the others
        container.pause()
        container.resume()
        container.update({"pids": {"limit": 9}})
        container.stats()
        with pytest.raises(Timeout):
            other.wait(timeout=0)
        other.close()
        for operation in (
            container.kill,
            lambda: other.wait(timeout=1),
            container.pause,
            lambda: container.update({"pids": {"limit": 10}}),
            container.spec,
            container.stats,
            container.processes,
            container.state,
            lambda: container.delete(force=True),
        ):
            with descriptors(all_taken), pytest.raises(Error) as caught:
                operation()
            assert caught.value.errno == errno.EMFILE
            assert "ulimit -n" in str(caught.value)
        assert container.status == "running"


def test_process_that_cannot_be_looked_at_is_not_taken_for_ended(all_taken: int) -> None:
    """A container is found out to be running or stopped by this, and who is stopped is deleted without force."""
    assert start_time(os.getpid()) is not None
    with descriptors(all_taken), pytest.raises(OSError, match="Too many open files"):
        start_time(os.getpid())


def test_tenant_without_descriptors_left(bundle: Bundle, all_taken: int) -> None:
    """So may one that runs commands in a container."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        container.exec(["true"], **QUIET).wait()
        before, children = os.listdir("/proc/self/fd"), len(container.processes())
        refused = []
        for free in range(100):
            try:
                with descriptors(all_taken + free):
                    process = container.exec(["true"], **QUIET)
                break
            except Error as error:
                refused.append(error)
            assert len(container.processes()) == children
        assert process.wait().code == 0
        process.close()

        assert os.listdir("/proc/self/fd") == before
        assert len(refused) > 3
        assert {error.errno for error in refused} == {errno.EMFILE}
        assert all("ulimit -n" in str(error) for error in refused)


@pytest.mark.parametrize("unit", ["nr_inodes={}", "size={}k"])
def test_create_without_room_for_its_records(bundle: Bundle, tmp_path: Path, unit: str) -> None:
    """Whichever file it is that finds no room."""
    small = tmp_path / "small"
    small.mkdir()
    bundle.root = small
    refused = []
    for amount in range(1, 100):
        with mounted(small, unit.format(amount if "inodes" in unit else 4 * amount)):
            try:
                with bundle.build() as container:
                    assert container.status == "created"
                break
            except Error as error:
                refused.append(error)
            assert os.listdir(small) == []
        assert no_child_is_left()

    assert len(refused) > 1
    assert {error.errno for error in refused} == {errno.ENOSPC}
    assert all("root" in str(error) for error in refused)


@pytest.mark.parametrize("failing", ["hook", "pidfd socket"])
def test_cgroup_that_cannot_be_removed_stays_on_record(bundle: Bundle, tmp_path: Path, failing: str) -> None:
    """A create that fails and cannot clean up after it leaves its container to `delete --force`; poststop ran once."""
    cgroup = factory.new(None, container_id=bundle.id).cgroups[0].directory
    in_the_way = f"mount -t tmpfs in-the-way {cgroup}" + ("; exit 7" if failing == "hook" else "")
    bundle.spec["hooks"] = {
        "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", in_the_way]}],
        "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"echo stopped >> {tmp_path}/told"]}],
    }
    bundle.save()
    builder = bundle.builder().with_pid_file(tmp_path / "pid").as_init(bundle.path)
    if failing != "hook":
        builder.with_pidfd_socket(tmp_path / "none")
    try:
        with pytest.raises(Error, match=r"hook|none") as caught:
            builder.build()
    finally:
        subprocess.run(["umount", cgroup], check=False)  # it is not there where the hook did not run
    left = Container.load(bundle.root, bundle.id)

    assert any(cgroup in note for note in caught.value.__notes__)
    assert left.status == "creating"
    assert not (tmp_path / "pid").exists()
    assert no_child_is_left()
    left.delete(force=True)
    assert Container.list(bundle.root) == []
    assert (tmp_path / "told").read_text() == "stopped\n"


@pytest.mark.parametrize("inodes", range(2, 7))
def test_processes_of_others_survive_a_create_that_fails(bundle: Bundle, tmp_path: Path, inodes: int) -> None:
    """A path of a cgroup that is in use is refused; what fails before that has been looked at ends nobody."""
    cgroups = factory.new(f"/{bundle.id}", container_id=bundle.id)
    bundle.linux["cgroupsPath"] = f"/{bundle.id}"
    small = tmp_path / "small"
    small.mkdir()
    bundle.root = small
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        try:
            cgroups.create()
            cgroups.add_process(stranger.pid)
            with mounted(small, f"nr_inodes={inodes}"), pytest.raises(Error, match=r"No space|not empty"):
                bundle.build("true")
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()
            cgroups.remove()


@pytest.mark.skipif(detect().mode == "v2", reason="needs cgroup v1")
def test_half_of_the_cgroups_is_removed_with_the_other(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a hybrid host stage two lives in the unified one when a v1 cgroup turns out not to be made."""

    def refuse(cgroup: Cgroup) -> None:
        raise CgroupFailure(f"{cgroup.path} is refused", errno=errno.ENOSPC)

    monkeypatch.setattr("libcgroups.v1.cpuset.fill", refuse)
    with pytest.raises(CgroupError, match="is refused"):
        bundle.build("true")

    assert not factory.new(None, container_id=bundle.id).exists()
    assert Container.list(bundle.root) == []


def test_helper_that_dies_is_no_wait_for_ever(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that lends an id-mapped mount its user namespace may be killed for want of memory."""

    def spawn_and_kill() -> tuple[int, Channel]:
        pid, channel = spawn()
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return pid, channel

    monkeypatch.setattr("libcontainer.mapping.spawn", spawn_and_kill)
    mapping = [{"containerID": 0, "hostID": 1000, "size": 1}]
    bundle.mount("/mnt", str(tmp_path), "bind", "bind", uidMappings=mapping, gidMappings=mapping)

    with pytest.raises(SetupError, match="cannot make a user namespace"):
        bundle.build("true")
    assert no_child_is_left()


def test_tenant_without_a_pidfd_keeps_no_container_from_ending(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread takes the last descriptor: a zombie in its pid namespace would be waited for for ever."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        open_pidfd = os.pidfd_open

        def refuse(pid: int, flags: int = 0) -> int:
            if pid != container.pid:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return open_pidfd(pid, flags)

        with monkeypatch.context() as patch:
            patch.setattr(os, "pidfd_open", refuse)
            with pytest.raises(SetupError, match="Too many open files"):
                container.exec(["true"], **QUIET)
        container.kill("KILL")

        assert container.wait(20).signal == signal.SIGKILL


WITHOUT_NAMESPACES = """
import signal, sys, time
from pathlib import Path
from libcontainer import ContainerBuilder, SetupError
from libcontainer.supervise import Creation

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
Path("/proc/sys/user/max_net_namespaces").write_text("0")
work = Creation._work_beside_init
Creation._work_beside_init = lambda creation: (time.sleep(0.1), work(creation))
try:
    ContainerBuilder(sys.argv[3]).with_root_path(sys.argv[2]).as_init(sys.argv[1]).build()
except SetupError as error:
    print(error)
"""


def test_namespace_that_cannot_be_made_is_told_where_children_vanish(bundle: Bundle, tmp_path: Path) -> None:
    """A program that ignores SIGCHLD has no zombie that waits until its last word has been read."""
    bundle.save()
    inside = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no user namespace can be made here")
    words = [*inside, sys.executable, "-c", WITHOUT_NAMESPACES, bundle.path, tmp_path / "records", bundle.id]
    done = subprocess.run(words, text=True, capture_output=True, timeout=60, check=True)

    assert re.search(r"failed: No space left on device \(ENOSPC\) \[(unshare|clone)\]", done.stdout)
    assert "the limit of namespaces is reached" in done.stdout
