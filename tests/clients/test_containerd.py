"""containerd: `ctr run --runc-binary`, and what `ctr tasks` does with a container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .engine import eventually

if TYPE_CHECKING:
    from .containerd import Ctr


def test_attached(ctr: Ctr, observed: list[Any]) -> None:
    """What the payload writes reaches the caller, each stream its own; the exit code is the payload's."""
    done = ctr.shell("echo out; echo err >&2; exit 42")
    observed.append((done.stdout, done.stderr, done.returncode))
    assert observed == [("out\n", "err\n", 42)]


def test_detached(ctr: Ctr) -> None:
    """`--detach` returns when the payload runs; its exit code is kept until the task is deleted."""
    name = ctr.detached("sh", "-c", "sleep 0.2; exit 3")
    assert ctr.exit_code(name) == 3
    assert ctr.status(name) == ""


@pytest.mark.parametrize(
    ("program", "words"), [("/missing", "no such file or directory"), ("/etc/passwd", "permission denied")]
)
def test_cannot_execute(ctr: Ctr, observed: list[Any], program: str, words: str) -> None:
    """The error names the program, and engines know these words as they are."""
    done = ctr.run(program)
    observed.append(done.returncode)
    assert done.returncode == 1
    assert "OCI runtime create failed" in done.stderr
    assert program in done.stderr
    assert words in done.stderr


def test_missing_in_path(ctr: Ctr) -> None:
    """A name that no directory of PATH has."""
    assert '"missing": executable file not found in $PATH' in ctr.run("missing").stderr


def test_environment_and_directory(ctr: Ctr) -> None:
    """`--env` and `--cwd` reach the payload."""
    done = ctr.shell("echo $FRUIT; pwd", options=("--env", "FRUIT=pear", "--cwd", "/tmp"))
    assert done.stdout == "pear\n/tmp\n"


def test_read_only(ctr: Ctr) -> None:
    """`--read-only`: nothing can be written to the root file system."""
    assert "Read-only file system" in ctr.shell("touch /file", options=("--read-only",)).stderr


@pytest.mark.slow
def test_bind_mount(ctr: Ctr) -> None:
    """A directory of the host, written from inside."""
    volume = ctr.daemon.host.make_directory(f"volume-{ctr.runtime}")
    mount = f"type=bind,src={volume},dst=/mnt,options=rbind:rw"
    assert ctr.shell("echo kept >/mnt/file", options=("--mount", mount)).returncode == 0
    assert (volume / "file").read_text() == "kept\n"


@pytest.mark.slow
@pytest.mark.parametrize(("options", "expected"), [((), "1"), (("--allow-new-privs",), "0")])
def test_no_new_privileges(ctr: Ctr, options: tuple[str, ...], expected: str) -> None:
    """containerd sets it unless told otherwise."""
    assert ctr.shell("grep NoNewPrivs /proc/self/status", options=options).stdout.split()[1] == expected


@pytest.mark.slow
def test_capabilities(ctr: Ctr, observed: list[Any]) -> None:
    """`--cap-drop` takes one away from the default set."""
    sets = [
        int(ctr.shell("grep CapEff /proc/self/status", options=options).stdout.split()[1], 16)
        for options in ((), ("--cap-drop", "CAP_CHOWN"))
    ]
    observed.append(sets)
    assert sets[0] ^ sets[1] == 1 << 0


def test_seccomp(ctr: Ctr) -> None:
    """`--seccomp`: containerd's default profile is loaded and refuses to make a namespace."""
    done = ctr.shell("grep ^Seccomp: /proc/self/status; unshare -U true", options=("--seccomp",))
    assert done.stdout.split()[1] == "2"
    assert "Operation not permitted" in done.stderr


def test_memory_limit(ctr: Ctr) -> None:
    """The limit is in force and the metrics tell it."""
    name = ctr.detached(options=("--memory-limit", str(64 << 20)))
    assert ctr.metrics(name)["memory.limit_in_bytes"] == str(64 << 20)


def test_metrics(ctr: Ctr, observed: list[Any]) -> None:
    """The shim reads the container's cgroup, wherever the runtime has put it."""
    values = ctr.metrics(ctr.detached())
    observed.append(sorted(values))
    assert values["pids.current"] == "1"
    assert int(values["memory.usage_in_bytes"]) > 0
    assert int(values["cpuacct.usage"]) > 0


def test_exec(ctr: Ctr, observed: list[Any]) -> None:
    """A second process, with streams and an exit code of its own."""
    done = ctr.shell_in(ctr.detached(), "echo out; echo err >&2; exit 5")
    observed.append((done.stdout, done.stderr, done.returncode))
    assert observed == [("out\n", "err\n", 5)]


def test_exec_as_a_user_in_a_directory(ctr: Ctr) -> None:
    """`--user` and `--cwd`; the rest is the container's."""
    done = ctr.shell_in(ctr.detached(), "id -u; pwd", options=("--user", "1000", "--cwd", "/tmp"))
    assert (done.stdout, done.stderr) == ("1000\n/tmp\n", "")


def test_exec_of_a_missing_program(ctr: Ctr) -> None:
    """It fails with a reason, and the container runs on."""
    name = ctr.detached()
    done = ctr.exec(name, "/missing")
    assert done.returncode == 1
    assert "OCI runtime exec failed" in done.stderr
    assert "no such file or directory" in done.stderr
    assert ctr.status(name) == "RUNNING"


@pytest.mark.slow
def test_execs_that_overlap(ctr: Ctr) -> None:
    """They do not disturb each other."""
    name = ctr.detached()
    processes = [ctr.start_exec(name, "sh", "-c", f"sleep 0.2; exit {code}") for code in range(5)]
    assert [process.wait(60) for process in processes] == [0, 1, 2, 3, 4]


def test_pause_and_resume(ctr: Ctr) -> None:
    """A paused container does nothing until it is resumed."""
    name = ctr.detached()
    assert ctr("tasks", "pause", name).returncode == 0
    assert ctr.status(name) == "PAUSED"
    assert ctr("tasks", "resume", name).returncode == 0
    assert ctr.status(name) == "RUNNING"


@pytest.mark.slow
def test_pause_of_what_has_ended(ctr: Ctr, observed: list[Any]) -> None:
    """It is refused."""
    name = ctr.detached("true")
    eventually(lambda: ctr.status(name) == "STOPPED")
    observed.append(ctr("tasks", "pause", name).returncode)
    assert observed == [1]


def test_processes(ctr: Ctr) -> None:
    """`tasks ps` lists every process of the container."""
    name = ctr.detached("sh", "-c", "sleep 1000 & wait")
    eventually(lambda: len(ctr("tasks", "ps", name).stdout.splitlines()) == 3)
    assert ctr("tasks", "ps", name).stdout.split()[:2] == ["PID", "INFO"]


def test_signal(ctr: Ctr) -> None:
    """`tasks kill` sends the signal that it is told."""
    name = ctr.detached("sh", "-c", "trap 'exit 3' USR1; touch /ready; while :; do sleep 0.05; done")
    eventually(lambda: ctr.exec(name, "ls", "/ready").returncode == 0)
    assert ctr("tasks", "kill", "--signal", "SIGUSR1", name).returncode == 0
    assert ctr.exit_code(name) == 3


def test_killed(ctr: Ctr) -> None:
    """The exit code is 128 and the signal."""
    name = ctr.detached()
    assert ctr("tasks", "kill", "--signal", "SIGKILL", name).returncode == 0
    assert ctr.exit_code(name) == 137


def test_kill_all_without_a_pid_namespace(ctr: Ctr) -> None:
    """The kernel ends nothing with the first process there: the runtime must find them all."""
    script = "sleep 1000 & echo $! >/tmp/pid; wait"
    name = ctr.detached("sh", "-c", script, options=("--with-ns", f"pid:/proc/{ctr.daemon.pid}/ns/pid"))
    eventually(lambda: ctr.exec(name, "test", "-s", "/tmp/pid").returncode == 0)
    pid = ctr.shell_in(name, "cat /tmp/pid").stdout.strip()
    assert ctr("tasks", "kill", "--all", "--signal", "SIGKILL", name).returncode == 0
    assert ctr.exit_code(name) == 137
    eventually(lambda: "sleep" not in ctr.daemon.host.run("ps", "-o", "args=", "-p", pid, check=False).stdout)


def test_kill_of_what_has_ended(ctr: Ctr, observed: list[Any]) -> None:
    """The shim knows by the words that there is nothing to kill."""
    name = ctr.detached("true")
    eventually(lambda: ctr.status(name) == "STOPPED")
    done = ctr("tasks", "kill", name)
    observed.append(done.stderr)
    assert done.returncode == 1
    assert "process already finished: not found" in done.stderr


def test_delete_of_what_runs(ctr: Ctr) -> None:
    """It is refused without `--force`."""
    name = ctr.detached()
    assert "task must be stopped before deletion" in ctr("tasks", "delete", name).stderr
    assert ctr("tasks", "delete", "--force", name).returncode == 0
    assert ctr.status(name) == ""


@pytest.mark.slow
def test_shim_killed(ctr: Ctr) -> None:
    """containerd deletes with `--force` what a dead shim has left."""
    name = ctr.detached()
    shims = ctr.daemon.host.run("pgrep", "-f", f"containerd-shim-runc-v2.* -id {name} ").stdout.split()
    ctr.daemon.host.run("kill", "-KILL", *shims)
    eventually(lambda: name not in ctr.runtime_state())
