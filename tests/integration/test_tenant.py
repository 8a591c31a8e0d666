"""Tenants: their start, their handle, their end, and the states of a container in which there can be none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import DEVNULL
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import (
    PIPE,
    Container,
    ContainerBuilder,
    ExecError,
    ExitStatus,
    InvalidArgument,
    InvalidConfig,
    NotFound,
    Process,
    StateError,
    Timeout,
)

from .tenants import ask, running, sh

if TYPE_CHECKING:
    from .conftest import Bundle

pytestmark = pytest.mark.root
QUIET: dict[str, Any] = {"stdin": DEVNULL, "stdout": DEVNULL, "stderr": DEVNULL}


def children() -> set[int]:
    """Return the children of this process."""
    text = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
    return {int(pid) for pid in text.split()}


def state_of(pid: int) -> str:
    """Return the state letter of a process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def descriptors() -> set[str]:
    """Return the numbers of this process's open descriptors."""
    return set(os.listdir("/proc/self/fd"))


# What it is


def test_tenant_is_a_second_process_beside_the_first(bundle: Bundle) -> None:
    """It sees the container's processes, files and host name."""
    with running(bundle) as container:
        told = sh(container, "hostname; ls /proc | grep -c '^[0-9]'; cat /proc/1/cmdline | tr '\\0' ' '")

    assert told.lines[0] == "box"
    assert int(told.lines[1]) >= 3
    assert told.lines[2] == "sleep 1000 "


def test_builder_names_the_container_by_its_id(bundle: Bundle) -> None:
    """Another program than the creator's starts tenants, too: all it needs is on disk."""
    with running(bundle) as container:
        builder = bundle.builder().with_stdin(DEVNULL).with_stdout(PIPE).as_tenant()
        with builder.with_container_args(["echo", "hello"]).build() as process:
            assert process.communicate(timeout=30) == (b"hello\n", None)
        assert container.status == "running"


def test_it_starts_from_the_stored_configuration(bundle: Bundle) -> None:
    """runtime.md: a change of the bundle's file after create has no effect."""
    bundle.process["env"].append("COLOUR=red")
    with running(bundle) as container:
        bundle.process["env"][-1] = "COLOUR=blue"
        bundle.save()
        assert sh(container, "echo $COLOUR").lines == ["red"]


def test_container_that_another_process_created_takes_tenants(bundle: Bundle) -> None:
    """The creator is gone: the first process has another parent."""
    bundle.process["args"] = ["sleep", "1000"]
    bundle.youki("create", bundle.id)
    bundle.youki("start", bundle.id)
    container = Container.load(bundle.root, bundle.id)

    assert sh(container, "echo $$").status == ExitStatus(0, None)
    container.close()


# The handle


def test_pid_is_the_hosts_number_of_the_process(bundle: Bundle) -> None:
    """It is our child, in the container's pid namespace, executing the program."""
    with running(bundle) as container, container.exec(["sleep", "999"], **QUIET) as process:
        status = Path(f"/proc/{process.pid}/status").read_text()

        assert f"PPid:\t{os.getpid()}\n" in status
        assert Path(f"/proc/{process.pid}/cmdline").read_bytes() == b"sleep\x00999\x00"
        assert os.readlink(f"/proc/{process.pid}/ns/pid") == os.readlink(f"/proc/{container.pid}/ns/pid")


@pytest.mark.parametrize(
    ("script", "status", "returncode"),
    [("exit 7", ExitStatus(7, None), 7), ("kill -9 $$", ExitStatus(None, 9), 137)],
)
def test_exit_status_is_the_payloads(
    bundle: Bundle, script: str, status: ExitStatus, returncode: int
) -> None:
    """A code and a signal are told apart; returncode is what a shell shows."""
    with running(bundle) as container, container.exec(["sh", "-c", script], **QUIET) as process:
        assert process.wait(30) == status
        assert process.wait() == status
        assert process.poll() == status
        assert process.returncode == returncode


def test_running_process_has_no_status(bundle: Bundle) -> None:
    """poll does not block, and wait gives up in time; both leave the process alone."""
    with running(bundle) as container, container.exec(["sleep", "1000"], **QUIET) as process:
        assert process.poll() is None
        assert process.returncode is None
        with pytest.raises(Timeout):
            process.wait(0.01)
        os.kill(process.pid, 0)


def test_signal_reaches_this_process_only(bundle: Bundle) -> None:
    """The first process and another tenant go on."""
    with (
        running(bundle) as container,
        container.exec(["sleep", "1000"], **QUIET) as first,
        container.exec(["sleep", "1000"], **QUIET) as second,
    ):
        first.send_signal("TERM")
        assert first.wait(30) == ExitStatus(None, signal.SIGTERM)
        second.kill()
        assert second.wait(30) == ExitStatus(None, signal.SIGKILL)
        assert container.status == "running"
        second.send_signal(signal.SIGTERM)  # one that has ended is left alone


def test_unknown_signal_is_refused(bundle: Bundle) -> None:
    """A name that no signal has is an argument error; nothing is sent."""
    with running(bundle) as container, container.exec(["sleep", "1000"], **QUIET) as process:
        with pytest.raises(InvalidArgument):
            process.send_signal("NOSUCH")
        assert process.poll() is None


def test_leaving_the_block_ends_the_process(bundle: Bundle) -> None:
    """As for a container: nothing is left running, and no child unreaped."""
    with running(bundle) as container:
        before = children()
        with container.exec(["sleep", "1000"], stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
            pid = process.pid
        assert children() == before
        assert not os.path.exists(f"/proc/{pid}")
        assert process.stdin is not None
        assert process.stdin.closed


def test_end_of_the_container_ends_its_tenants(bundle: Bundle) -> None:
    """The kernel ends a pid namespace with its first process."""
    with running(bundle) as container, container.exec(["sleep", "1000"], **QUIET) as process:
        container.kill("KILL")
        container.wait(30)
        assert process.wait(30) == ExitStatus(None, signal.SIGKILL)


def test_delete_reaps_tenants_that_nobody_waits_for(bundle: Bundle) -> None:
    """The first process does not end before they are reaped, and they are ours to reap; also behind a closed handle."""
    before = children()
    with running(bundle) as container:
        kept = container.exec(["sleep", "1000"], **QUIET)
        container.exec(["sleep", "1000"], **QUIET).close()
        container.delete(force=True)
    assert kept.poll() == ExitStatus(None, signal.SIGKILL)
    assert children() == before


def test_ended_tenants_of_closed_handles_are_reaped_by_the_next_start(bundle: Bundle) -> None:
    """As subprocess does it: a long-lived program collects no zombies."""
    with running(bundle) as container:
        before = children()
        for _ in range(5):
            container.exec(["true"], **QUIET).close()
        while {state_of(pid) for pid in children() - before} != {"Z"}:
            time.sleep(0.01)
        with container.exec(["sleep", "1000"], **QUIET) as process:
            assert children() == before | {process.pid}


def test_handle_that_many_threads_load_at_once_opens_one_pidfd(bundle: Bundle) -> None:
    """A container of another program is identified when it is first used, by whichever thread."""
    with running(bundle):
        loaded = Container.load(bundle.root, bundle.id)
        open_before = descriptors()
        with ThreadPoolExecutor(20) as pool:
            told = list(pool.map(lambda n: sh(loaded, f"exit {n}").status.code, range(20)))
        assert told == list(range(20))
        assert len(descriptors() - open_before) == 1
        loaded.close()


def test_delete_ends_tenants_in_a_shared_pid_namespace(bundle: Bundle) -> None:
    """There they are found by the cgroup that they entered."""
    bundle.remove_namespace("pid")
    with running(bundle) as container, container.exec(["sleep", "1000"], **QUIET) as process:
        container.delete(force=True)
        assert process.wait(30) == ExitStatus(None, signal.SIGKILL)


# Streams


def test_communicate_feeds_and_collects(bundle: Bundle) -> None:
    """More than a pipe holds, in both directions at once."""
    data = os.urandom(1 << 20)
    with (
        running(bundle) as container,
        container.exec(["tee", "/dev/stderr"], stdin=PIPE, stdout=PIPE, stderr=PIPE) as process,
    ):
        stdout, stderr = process.communicate(data, timeout=60)

    assert stdout == data
    assert stderr == data
    assert process.returncode == 0


def test_communicate_may_be_tried_again_after_its_timeout(bundle: Bundle) -> None:
    """What was read is not lost, as with subprocess."""
    words = ["sh", "-c", "echo early; read; echo late"]
    with running(bundle) as container, container.exec(words, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        stdin = os.dup(process.stdin.fileno())
        with pytest.raises(Timeout):
            process.communicate(timeout=0.2)
        os.write(stdin, b"go\n")
        os.close(stdin)
        assert process.communicate(timeout=30) == (b"early\nlate\n", None)


def test_communicate_with_a_process_that_does_not_read(bundle: Bundle) -> None:
    """A closed standard input is no error, as with subprocess."""
    with running(bundle) as container, container.exec(["true"], stdin=PIPE, stdout=PIPE) as process:
        assert process.communicate(b"x" * (1 << 20), timeout=30) == (b"", None)


def test_input_without_a_pipe_is_refused(bundle: Bundle) -> None:
    """The bytes could go nowhere."""
    with (
        running(bundle) as container,
        container.exec(["true"], **QUIET) as process,
        pytest.raises(InvalidArgument),
    ):
        process.communicate(b"x")


def test_no_descriptor_of_ours_reaches_the_payload(bundle: Bundle) -> None:
    """Neither the runtime's own nor its caller's (CVE-2024-21626)."""
    with open("/etc/hostname") as file, running(bundle) as container:
        os.set_inheritable(file.fileno(), True)
        listed = sh(container, "ls /proc/self/fd").lines

    assert listed == ["0", "1", "2", "3"]  # the last one is the directory that ls reads


def test_preserved_descriptors_arrive(bundle: Bundle, tmp_path: Path) -> None:
    """Those from 3 on, by their number, and no more."""
    script = (
        "import os, sys\n"
        "from libcontainer import Container\n"
        f"file = os.open({str(tmp_path / 'told')!r}, os.O_WRONLY | os.O_CREAT, 0o600)\n"
        "os.dup2(file, 3) if file != 3 else os.set_inheritable(3, True)\n"
        f"container = Container.load({str(bundle.root)!r}, {bundle.id!r})\n"
        "process = container.exec(['sh', '-c', 'echo here >&3; ls /proc/self/fd | wc -l'], preserved_fds=1)\n"
        "sys.exit(process.wait().returncode)\n"
    )
    with running(bundle):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr
    assert (tmp_path / "told").read_text() == "here\n"


def test_pid_file_holds_the_hosts_number(bundle: Bundle, tmp_path: Path) -> None:
    """It is complete before the payload runs."""
    file = tmp_path / "pid"
    with running(bundle) as container, container.exec(["sleep", "1000"], pid_file=file, **QUIET) as process:
        assert file.read_text() == str(process.pid)


# What can go wrong


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["no-such-program"], "executable file not found in $PATH: no such file or directory"),
        (["/no/such/program"], "no such file or directory"),
        (["/etc/passwd"], "permission denied"),
        (["/etc"], "permission denied"),
        (["/tmp/script"], "no such file or directory"),
        (["/tmp/text"], "exec format error"),
    ],
)
def test_program_that_cannot_be_executed(bundle: Bundle, tmp_path: Path, args: list[str], words: str) -> None:
    """An error of ours, in the words that engines look for, and never an exit code; nothing is left."""
    for name, text in (("script", "#!/no/such/interpreter\n"), ("text", "neither\n")):
        (bundle.rootfs / "tmp" / name).write_text(text)
        (bundle.rootfs / "tmp" / name).chmod(0o755)
    with running(bundle) as container:
        before, open_before = children(), descriptors()
        with pytest.raises(ExecError, match=r"^process /args/0: ") as caught:
            container.exec(args, pid_file=tmp_path / "pid", **QUIET)
        assert words in str(caught.value)
        assert children() == before
        assert descriptors() == open_before
        assert not (tmp_path / "pid").exists()
        assert ask(container, "true").status == ExitStatus(0, None)


def test_pid_file_that_cannot_be_written(bundle: Bundle, tmp_path: Path) -> None:
    """The payload does not run then, and nothing is left."""
    with running(bundle) as container:
        before, open_before = children(), descriptors()
        with pytest.raises(InvalidArgument, match="pid file"):
            container.exec(["touch", "/tmp/ran"], pid_file=tmp_path / "absent" / "pid", **QUIET)
        assert children() == before
        assert descriptors() == open_before
        assert not (bundle.rootfs / "tmp/ran").exists()


def test_every_fault_of_the_options_is_told_at_once(bundle: Bundle) -> None:
    """With pointers into the process object, and nothing started."""
    with running(bundle) as container:
        before = children()
        with pytest.raises(InvalidConfig) as caught:
            container.exec(
                [],
                env=["NOVALUE"],
                cwd="relative",
                user=2**32 - 1,
                group=-1,
                additional_gids=[2**32],
                capabilities=["CAP_FLY"],
            )
        assert children() == before

    pointers = {problem.pointer for problem in caught.value.problems}
    assert pointers == {
        "/args",
        "/env/0",
        "/cwd",
        "/user/uid",
        "/user/gid",
        "/user/additionalGids/0",
        "/capabilities/0",
    }


def test_unknown_option_of_the_short_form_is_refused(bundle: Bundle) -> None:
    """A misspelt option must not be left out in silence."""
    with running(bundle) as container, pytest.raises(InvalidArgument, match="privileged"):
        container.exec(["true"], privileged=True)


def test_created_container_takes_no_tenant(bundle: Bundle) -> None:
    """Its payload does not run yet; it goes on waiting for its start."""
    with bundle.build("true", **QUIET) as container:
        with pytest.raises(StateError, match="not been started"):
            container.exec(["true"])
        assert container.status == "created"


def test_stopped_container_takes_no_tenant(bundle: Bundle) -> None:
    """In the words that engines look for."""
    with running(bundle, "true") as container:
        container.wait(30)
        with pytest.raises(StateError, match="cannot exec in a stopped container"):
            container.exec(["true"])


def test_unknown_container_takes_no_tenant(tmp_path: Path) -> None:
    """Not found is not found."""
    with pytest.raises(NotFound):
        ContainerBuilder("absent").with_root_path(tmp_path).as_tenant().with_container_args(["true"]).build()


def test_another_process_of_the_recorded_number_is_not_entered(bundle: Bundle) -> None:
    """A number that was given again must not lead into somebody else's namespaces."""
    with running(bundle) as container:
        container._record["startTime"] += 1
        loaded = Container(container.root, container.id, dict(container._record))
        with pytest.raises(StateError):
            loaded.exec(["true"])
        container._record["startTime"] -= 1


def test_paused_container_takes_a_tenant_only_when_asked(bundle: Bundle) -> None:
    """Refused; or it waits, and goes on when the container does."""
    with running(bundle) as container:
        manager = container._manager()
        manager.freeze()
        try:
            with pytest.raises(StateError, match="cannot exec in a paused container"):
                container.exec(["true"])
            made: list[Process] = []
            starter = threading.Thread(
                target=lambda: made.append(container.exec(["true"], ignore_paused=True, **QUIET))
            )
            starter.start()
            time.sleep(0.1)
            assert made == []
        finally:
            manager.thaw()
        starter.join(30)
        assert made[0].wait(30) == ExitStatus(0, None)
        made[0].close()


# Many


def test_a_hundred_at_once_from_threads(bundle: Bundle) -> None:
    """Each gets its own output and status."""
    with running(bundle) as container:
        before, open_before = children(), descriptors()
        with ThreadPoolExecutor(100) as pool:
            told = list(pool.map(lambda n: sh(container, f"echo {n}; exit {n}", timeout=120), range(100)))
        assert [(item.lines, item.status.code) for item in told] == [([str(n)], n) for n in range(100)]
        assert children() == before
        assert descriptors() == open_before


def test_two_threads_may_wait_for_one_process(bundle: Bundle) -> None:
    """Only one can reap it, but both learn how it ended."""
    with (
        running(bundle) as container,
        container.exec(["sh", "-c", "sleep 0.2; exit 3"], **QUIET) as process,
        ThreadPoolExecutor(8) as pool,
    ):
        found = [pool.submit(process.wait, 30) for _ in range(8)]
        assert {item.result() for item in found} == {ExitStatus(3, None)}
