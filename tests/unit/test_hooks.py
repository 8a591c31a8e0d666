"""hooks.py: what a hook gets, and what becomes of its failures. Every hook here is a real program."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from libcontainer import hooks
from libcontainer.errors import HookError

SH = "/bin/sh"
STATE = {"ociVersion": "1.3.0", "id": "job-7", "status": "creating", "pid": 42, "bundle": "/b\u00fcndel"}


def sh(script: str, **more: Any) -> dict[str, Any]:
    """A hook that runs a shell script."""
    return {"path": SH, "args": ["sh", "-c", script], **more}


def run(*listed: dict[str, Any], cwd: str = "/", keep_going: bool = False) -> list[HookError]:
    return hooks.run(
        listed, "createRuntime", STATE, cwd=cwd, pointer="/hooks/createRuntime", keep_going=keep_going
    )


def output(script: str, **more: Any) -> str:
    """What a shell script prints when it is executed as a hook is."""
    outcome = hooks.execute(SH, ["sh", "-c", script], **({"env": {}, "cwd": "/"} | more))
    assert outcome.succeeded, outcome.in_words()
    return outcome.stdout


def test_a_hook_reads_the_state_on_stdin(tmp_path: Path) -> None:
    """Hooks learn about the container from the state JSON on stdin; it must arrive whole."""
    assert run(sh(f"cat > {tmp_path}/state")) == []
    assert json.loads((tmp_path / "state").read_bytes()) == STATE


def test_a_state_larger_than_a_pipe_neither_blocks_nor_is_cut(tmp_path: Path) -> None:
    """Annotations can be large; a hook that reads late or in parts still gets all of the state."""
    state = STATE | {"annotations": {"big": "x" * 1_000_000}}
    hooks.run([sh(f"cat > {tmp_path}/state")], "poststop", state, cwd="/", pointer="/hooks/poststop")

    assert json.loads((tmp_path / "state").read_bytes()) == state


def test_a_hook_may_leave_stdin_unread() -> None:
    """Most hooks ignore the state; that is no error, however large the state is."""
    state = STATE | {"annotations": {"big": "x" * 1_000_000}}
    hook = sh("exec <&-; exit 0")
    assert hooks.run([hook], "poststop", state, cwd="/", pointer="/hooks/poststop") == []


def test_a_hook_without_env_gets_an_empty_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a hook inherits can subvert it (CVE-2025-23266); absent env means none, not the runtime's."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "/evil")
    run({"path": "/usr/bin/env"}, sh(f"cat /proc/self/environ > {tmp_path}/environ"))

    assert b"evil" not in (tmp_path / "environ").read_bytes()
    assert hooks.execute("/usr/bin/env", ["env"], env={}, cwd="/").stdout == ""


def test_a_hook_gets_exactly_its_env(tmp_path: Path) -> None:
    """The environment is the hook's own list; the last entry of a name counts, and values may hold `=`."""
    hook = {"path": "/usr/bin/env", "args": ["env", "-0"], "env": ["A=1", "B=x=y", "A=2", "C="]}
    assert run(hook | {"path": SH, "args": ["sh", "-c", f"env > {tmp_path}/out"]}) == []

    lines = (tmp_path / "out").read_text().splitlines()
    added_by_the_shell = ("PWD=", "_=", "SHLVL=")
    assert {line for line in lines if not line.startswith(added_by_the_shell)} == {"A=2", "B=x=y", "C="}


def test_the_first_argument_is_the_name_of_the_program(tmp_path: Path) -> None:
    """`args` is the whole argv as execve(2) takes it, so a program that looks at its name sees args[0]."""
    outcome = hooks.execute("/bin/cat", ["cat", "/proc/self/cmdline"], env={}, cwd="/")
    assert outcome.stdout == "cat\0/proc/self/cmdline\0"

    named = hooks.execute("/bin/cat", ["another name", "/proc/self/cmdline"], env={}, cwd="/")
    assert named.stdout.startswith("another name\0")


def test_without_args_the_program_is_called_by_its_path(tmp_path: Path) -> None:
    """`args` is optional in config.md; the path is the argv then."""
    script = tmp_path / "hook"
    script.write_text(f'#!/bin/sh\necho "$0 $#" > {tmp_path}/out\n')
    script.chmod(0o700)

    assert run({"path": str(script)}) == []
    assert (tmp_path / "out").read_text() == f"{script} 0\n"


def test_a_hook_starts_in_the_directory_given_and_the_caller_stays_where_it_was(tmp_path: Path) -> None:
    """The bundle is the hook's directory; changing that of the whole process would race with threads."""
    before = os.getcwd()
    assert output("pwd -P", cwd=str(tmp_path)) == str(tmp_path.resolve())
    assert os.getcwd() == before


def test_a_hook_has_umask_022_and_the_caller_keeps_its_own() -> None:
    """Files that hooks make do not depend on the caller's umask, and that stays untouched."""
    before = os.umask(0o077)
    try:
        assert output("umask") == "0022"
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)


def test_a_hook_inherits_no_descriptors(tmp_path: Path) -> None:
    """A leaked descriptor is a way into the host (CVE-2024-21626); not even inheritable ones are passed."""
    with open(tmp_path / "secret", "w") as secret:
        os.set_inheritable(secret.fileno(), True)
        listed = output("ls -l /proc/self/fd")

    assert "secret" not in listed
    # 0, 1, 2, and the directory that ls itself reads.
    assert sum("->" in line for line in listed.splitlines()) == 4


def test_a_hook_has_default_signals_and_none_blocked() -> None:
    """Python ignores SIGPIPE, and callers block or ignore more; a hook starts as from a login shell."""
    former = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        outcome = hooks.execute("/bin/cat", ["cat", "/proc/self/status"], env={}, cwd="/")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGUSR1, former)
    fields = dict(line.split(":\t") for line in outcome.stdout.splitlines() if line.startswith("Sig"))

    assert int(fields["SigBlk"], 16) == 0
    assert not int(fields["SigIgn"], 16) & sum(1 << (number - 1) for number in signal.valid_signals())


def test_a_hook_leads_a_session_of_its_own() -> None:
    """In the caller's session a hook could read its terminal, and its group could not be killed alone."""
    pid, session = output("echo $$; cut -d' ' -f6 /proc/$$/stat").split()
    assert pid == session


def test_hooks_run_in_their_order_and_stop_at_the_first_failure(tmp_path: Path) -> None:
    """config.md: hooks are called in the listed order, and a failure ends the list."""
    log = tmp_path / "log"
    with pytest.raises(HookError) as caught:
        run(sh(f"echo 1 >> {log}"), sh(f"echo 2 >> {log}; echo why >&2; exit 3"), sh(f"echo 3 >> {log}"))

    assert log.read_text() == "1\n2\n"
    assert caught.value.pointer == "/hooks/createRuntime/1"
    assert caught.value.path == SH
    assert str(caught.value) == (
        "config.json /hooks/createRuntime/1: createRuntime hook /bin/sh failed: exit status 3: why"
    )


def test_with_keep_going_all_hooks_run_and_the_errors_come_back(tmp_path: Path) -> None:
    """runtime.md: a failing poststop hook must not keep the others from running."""
    log = tmp_path / "log"
    errors = run(sh("exit 1"), sh(f"echo ran >> {log}"), {"path": "/nonexistent"}, keep_going=True)

    assert log.read_text() == "ran\n"
    assert [error.pointer for error in errors] == ["/hooks/createRuntime/0", "/hooks/createRuntime/2"]


def test_death_by_a_signal_is_told_by_its_name() -> None:
    """`killed by SIGTERM` says more than a negative number."""
    with pytest.raises(HookError, match="failed: killed by SIGTERM"):
        run(sh("kill -TERM $$"))


def test_a_hook_past_its_timeout_is_killed_with_all_of_its_group(tmp_path: Path) -> None:
    """A hung hook must not hang the runtime, and its children must not outlive it."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # The child in the background holds the fifo open until it is killed; then the reader sees end of file.
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(HookError, match=r"ran past its timeout of 0\.2 s: last words"):
            run(sh(f"echo last words >&2; sleep 1000 > {fifo} & wait", timeout=0.2))
        ready, _, _ = select.select([reader], [], [], 20)
        assert ready, "the hook's child still lives"
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


def test_what_a_hook_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    """A hook may start a daemon that keeps its stderr open; the hook itself is what is waited for."""
    outcome = hooks.execute(SH, ["sh", "-c", "sleep 1000 & echo $!"], env={}, cwd="/")
    os.kill(int(outcome.stdout), signal.SIGKILL)

    assert outcome.succeeded


def test_a_flood_of_output_is_drained_and_only_its_end_is_kept() -> None:
    """Output is read while the hook runs (it would block otherwise), and takes 4 KiB of memory."""
    loop = "i=0; while [ $i -lt 20000 ]; do echo 0123456789 >&2; i=$((i+1)); done"
    script = f"{loop}; echo the end >&2; exit 9"
    with pytest.raises(HookError) as caught:
        run(sh(script))

    assert str(caught.value).endswith("the end")
    assert len(str(caught.value)) < 4300


@pytest.mark.parametrize(
    ("prepare", "number", "remedy"),
    [
        (lambda _: None, errno.ENOENT, "does not exist"),
        (lambda path: path.write_text("#!/bin/sh\n"), errno.EACCES, "may execute"),
        (lambda path: (path.write_text("no program\n"), path.chmod(0o755)), errno.ENOEXEC, "first line"),
        (lambda path: (path.write_text("#!/no/such\n"), path.chmod(0o755)), errno.ENOENT, "interpreter"),
    ],
    ids=["missing", "not executable", "not a program", "interpreter missing"],
)
def test_a_hook_that_cannot_be_started_is_an_error_with_a_remedy(
    tmp_path: Path, prepare: Any, number: int, remedy: str
) -> None:
    """The four usual mistakes are told apart by errno, path and remedy."""
    path = tmp_path / "hook"
    prepare(path)
    with pytest.raises(HookError) as caught:
        run({"path": str(path)})

    assert caught.value.errno == number
    assert caught.value.path == str(path)
    assert remedy in str(caught.value)


def test_a_missing_directory_is_told_as_such(tmp_path: Path) -> None:
    """ENOENT of the bundle is not blamed on the hook's program."""
    with pytest.raises(HookError) as caught:
        run(sh("exit 0"), cwd=str(tmp_path / "gone"))

    assert caught.value.errno == errno.ENOENT
    assert caught.value.path == str(tmp_path / "gone")


@pytest.mark.parametrize("entry", ["NOVALUE", "=x", ""])
def test_an_environment_entry_without_a_name_or_value_is_refused(entry: str) -> None:
    """An entry that is no NAME=value would be dropped or invented by others; here it is an error."""
    with pytest.raises(HookError, match="NAME=value"):
        run(sh("exit 0", env=[entry]))


def test_a_relative_path_is_refused() -> None:
    """config.md: the path must be absolute; a search in $PATH would let the caller choose the program."""
    with pytest.raises(HookError, match="absolute"):
        run({"path": "sh"})


def test_other_children_keep_their_exit_status() -> None:
    """A library must not reap what its host program started."""
    child = os.posix_spawn(SH, ["sh", "-c", "exit 7"], {})
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert run(sh("exit 0")) == []

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_hooks_run_from_several_threads_at_once(tmp_path: Path) -> None:
    """Containers are made in parallel by threads; each hook sees its own directory, state and status."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        directory = tmp_path / str(number)
        directory.mkdir()
        try:
            for _ in range(5):
                assert output("pwd -P", cwd=str(directory)) == str(directory.resolve())
                with pytest.raises(HookError, match=f"exit status {number} "):
                    run(sh(f"exit {number}"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_no_descriptor_stays_open_after_success_failure_and_timeout() -> None:
    """A long-lived program that runs many containers must not run out of descriptors."""
    before = os.listdir("/proc/self/fd")
    run(sh("exit 0"), sh("exit 1"), {"path": "/nonexistent"}, sh("sleep 1000", timeout=0.05), keep_going=True)
    assert os.listdir("/proc/self/fd") == before


def test_works_when_the_caller_has_closed_its_stdio() -> None:
    """A daemon may run without 0, 1 and 2; the descriptors that take their numbers must not be mixed up."""
    source = os.path.dirname(os.path.dirname(hooks.__file__))
    code = (
        f"import os, sys; sys.path.insert(0, {source!r}); from libcontainer import hooks\n"
        "keep = os.dup(1); os.closerange(0, 3)\n"
        "argv = ['sh', '-c', 'cat; echo out; echo err >&2']\n"
        "o = hooks.execute('/bin/sh', argv, env={}, cwd='/', stdin=b'in ')\n"
        "os.write(keep, repr((o.status, o.stdout, o.stderr)).encode())\n"
    )
    outcome = hooks.execute(sys.executable, [sys.executable, "-I", "-c", code], env={}, cwd="/")
    assert outcome.stdout == "(0, 'in out', 'err')", outcome.stderr


def test_an_exit_status_that_someone_else_took_is_not_taken_for_success() -> None:
    """With SIGCHLD ignored the kernel discards exit statuses (wait(2)); unknown must not mean fine."""
    former = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(HookError, match="exit status was taken"):
            run(sh("exit 1"))
    finally:
        signal.signal(signal.SIGCHLD, former)


def test_importing_hooks_stays_lean() -> None:
    """Hooks are on the way of `create`; subprocess, signal and json would cost more than the hook."""
    source = os.path.dirname(os.path.dirname(hooks.__file__))
    code = (
        f"import sys; sys.path.insert(0, {source!r}); import libcontainer.hooks\n"
        "print([m for m in ('subprocess', 'signal', 'json', 're', 'enum', 'ctypes') if m in sys.modules])"
    )
    outcome = hooks.execute(sys.executable, [sys.executable, "-I", "-S", "-c", code], env={}, cwd="/")
    assert outcome.stdout == "[]", outcome.stderr


def test_an_interrupted_wait_takes_the_hook_along(tmp_path: Path) -> None:
    """^C while a hook hangs ends the runtime; the hook must not go on without it."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(sh(f"exec > {fifo}; kill -INT $PPID; sleep 1000"))
        ready, _, _ = select.select([reader], [], [], 20)
        assert ready, "the hook still lives"
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)
