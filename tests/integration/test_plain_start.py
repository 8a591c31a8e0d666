"""`youki start` where it is but a word to init: done by the launcher (start.c), else by Python.

The launcher without a Python beside it shows which of both did the work: it can do nothing else then.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import youki
from libcontainer import Container

from .conftest import YOUKI
from .rootless import borrowed_user
from .test_seccomp import filtered, rule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .conftest import Bundle

DEADLINE_S = 60
MAIN = Path(youki.__file__).with_name("__main__.py")
PYTHON = (sys.executable, "-I", "-S", "-X", "utf8", str(MAIN))
NO_PYTHON = "youki: no Python installation for this command"


@pytest.fixture
def lonely(tmp_path: Path) -> str:
    """The launcher alone: whatever it does not do itself is an error of one known line."""
    path = tmp_path / "alone" / "bin" / "youki"
    path.parent.mkdir(parents=True)
    shutil.copy(YOUKI, path)
    return str(path)


def call(*words: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    """Run a command; a container that goes on holds none of the pipes, because create made its streams."""
    return subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        **more,  # type: ignore[call-overload,no-any-return]
    )


def status(bundle: Bundle) -> str:
    return Container.load(bundle.root, bundle.id).status


def test_a_plain_container_starts_without_python(bundle: Bundle, lonely: str) -> None:
    """The payload runs when the command has ended, as after any start."""
    bundle.build("sh", "-c", "echo here > /tmp/ran; exec sleep 1000")
    done = call(lonely, "--root", bundle.root, "start", bundle.id)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert status(bundle) == "running"
    assert not (bundle.root / bundle.id / "start.sock").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--root={root}", "--log={log}", "--log-format=json", "start", "{id}"),
        ("--log", "{log}", "--log-format", "text", "--root", "{root}", "start", "{id}"),
        ("--root", "{root}", "--systemd-cgroup", "start", "{id}"),
    ],
)
def test_what_engines_say_needs_no_python(
    bundle: Bundle, lonely: str, words: Sequence[str], tmp_path: Path
) -> None:
    """podman, containerd and Docker give the log and the root before the command, in both spellings."""
    log = tmp_path / "log"
    bundle.build("sleep", "1000")
    done = call(lonely, *[word.format(root=bundle.root, id=bundle.id, log=log) for word in words])

    assert (done.returncode, done.stderr) == (0, "")
    assert status(bundle) == "running"
    assert log.exists() == any("{log}" in word for word in words)
    assert not log.exists() or log.read_text() == ""


def test_a_payload_with_a_filter_starts_without_python(bundle: Bundle, lonely: str) -> None:
    """What engines start has one: there, success is that init has left no last words."""
    bundle.linux["seccomp"] = filtered("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "mkdir"))
    bundle.build("sleep", "1000")

    assert call(lonely, "--root", bundle.root, "start", bundle.id).returncode == 0
    assert status(bundle) == "running"


@pytest.mark.parametrize("variables", [{}, {"XDG_RUNTIME_DIR": ""}, {"XDG_RUNTIME_DIR": "{here}"}])
def test_root_starts_without_python_where_it_keeps_containers(
    bundle: Bundle, lonely: str, variables: dict[str, str]
) -> None:
    """podman gives no --root, and its own runtime directory: not what root's containers are kept in."""
    env = {name: value.format(here=bundle.path) for name, value in variables.items()}
    bundle.save()
    script = f"{YOUKI} create -b {bundle.path} {bundle.id} >/dev/null 2>&1 && exec {lonely} start {bundle.id}"
    try:
        done = call("/bin/sh", "-c", script, env=env)
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        call(YOUKI, "delete", "--force", bundle.id, env=env)


@pytest.mark.parametrize("words", [(), ("--root", "{root}")])
def test_an_unprivileged_user_starts_without_python(lonely: str, words: Sequence[str]) -> None:
    """The directory of its containers is below its runtime directory."""
    with borrowed_user() as user:
        user.make_spec()
        user.spec["process"]["args"] = ["sleep", "1000"]
        user.save()
        alone = shutil.copy(lonely, user.home / "youki")
        given = " ".join(words).format(root=user.root)
        script = f"{YOUKI} create -b {user.bundle} plain >out 2>&1 && {alone} {given} start plain"
        done = user.run("sh", "-c", script, check=False)

        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(user.youki("state", "plain").stdout)["status"] == "running"
        user.youki("delete", "--force", "plain")


def test_a_runtime_directory_that_others_may_enter_is_left_to_python(lonely: str) -> None:
    """Python looks for another one then, and the launcher must not know a container that Python does not."""
    with borrowed_user() as user:
        user.runtime_dir.chmod(0o755)
        alone = shutil.copy(lonely, user.home / "youki")
        done = user.run(alone, "start", "plain", check=False)

        assert done.stderr.startswith(NO_PYTHON)
        user.runtime_dir.chmod(0o700)


def make_hooked(bundle: Bundle) -> None:
    bundle.spec["hooks"] = {"poststart": [{"path": "/bin/true"}]}


def make_without_process(bundle: Bundle) -> None:
    del bundle.spec["process"]


@pytest.mark.parametrize("change", [make_hooked, make_without_process])
def test_what_python_has_to_do_is_left_to_it(
    bundle: Bundle, lonely: str, change: Callable[[Bundle], None]
) -> None:
    """Init is not told to go on then: Python can still do all of the start."""
    bundle.process["args"] = ["sleep", "1000"]
    change(bundle)
    bundle.build()
    done = call(lonely, "--root", bundle.root, "start", bundle.id)

    assert done.returncode == 1
    assert done.stderr.startswith(NO_PYTHON)
    assert status(bundle) == "created"


UNUSUAL = (
    ("--debug", "--root", "{root}", "start", "{id}"),
    ("--root", "{root}", "--root", "{root}", "start", "{id}"),
    ("--root", "{root}/../state", "start", "{id}"),
    ("--root", "{root}", "--log-format", "xml", "start", "{id}"),
    ("--root", "{root}", "--log", "journald:x", "start", "{id}"),
    ("--root", "{root}", "--log", "-", "start", "{id}"),
    ("--root", "{root}", "--log", "{root}", "start", "{id}"),
    ("--root", "{root}", "start", "{id}", "more"),
    ("--root", "{root}", "start", "--", "{id}"),
    ("--root", "{root}", "start", "../{id}"),
    ("--root", "{root}", "start", "-h"),
    ("--root", "{root}", "start", ""),
    ("--root", "{root}", "start"),
    ("--root", "{root}"),
    ("--root",),
    ("--root=", "start", "{id}"),
    ("start",),
    (),
)


def test_unusual_words_are_left_to_python(bundle: Bundle, lonely: str) -> None:
    """There is one parser; the launcher knows by heart what engines say, and nothing else."""
    bundle.build("sleep", "1000")
    for words in UNUSUAL:
        filled = [word.format(root=bundle.root, id=bundle.id) for word in words]
        done = call(lonely, *filled, cwd=bundle.root)

        assert (done.returncode, done.stdout) == (1, ""), words
        assert done.stderr.startswith(NO_PYTHON), words
        assert status(bundle) == "created", words


def test_a_root_that_others_may_change_is_left_to_python(bundle: Bundle, lonely: str) -> None:
    """Python refuses it, with the reason."""
    bundle.build("sleep", "1000")
    bundle.root.chmod(0o777)
    alone = call(lonely, "--root", bundle.root, "start", bundle.id)
    refused = call(YOUKI, "--root", bundle.root, "start", bundle.id)
    bundle.root.chmod(0o700)

    assert alone.stderr.startswith(NO_PYTHON)
    assert refused.returncode == 1
    assert "other users may change it" in refused.stderr
    assert status(bundle) == "created"


def test_a_busy_container_is_left_to_python(bundle: Bundle, lonely: str) -> None:
    """It waits for the lock, and then starts the container."""
    bundle.build("sleep", "1000")
    fd = os.open(bundle.root / bundle.id, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert call(lonely, "--root", bundle.root, "start", bundle.id).stderr.startswith(NO_PYTHON)
    with subprocess.Popen([str(YOUKI), "--root", str(bundle.root), "start", bundle.id]) as waiting:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.3)
        os.close(fd)
        assert waiting.wait(DEADLINE_S) == 0

    assert status(bundle) == "running"


# What is unusual only after init has been told to go on: Python finishes what the launcher has begun.


def both_ways(
    bundle: Bundle, *words: str, spoil: Callable[[Path], None] | None = None
) -> list[tuple[int, str, str, str, str]]:
    """Create and start the container by the launcher and by Python alone; return what each shows."""
    found = []
    program = bundle.rootfs / "bin/program"
    for number, command in enumerate(((str(YOUKI),), PYTHON)):
        log = bundle.path / f"log{number}"
        program.unlink(missing_ok=True)
        shutil.copy(bundle.rootfs / "bin/busybox", program)
        bundle.build(*words)
        if spoil is not None:
            spoil(program)
        done = call(*command, "--log", log, "--log-format", "json", "--root", bundle.root, "start", bundle.id)
        records = [json.loads(line) for line in log.read_text().splitlines()]
        messages = "\n".join(f"{record['level']}: {record['msg']}" for record in records)
        found.append((done.returncode, done.stdout, done.stderr, messages, status(bundle)))
        Container.load(bundle.root, bundle.id).delete(force=True)
    return found


def remove(program: Path) -> None:
    program.unlink()


def make_unreadable(program: Path) -> None:
    program.chmod(0)


def make_foreign(program: Path) -> None:
    program.write_bytes(b"\x7fELF of nothing")


@pytest.mark.parametrize("spoil", [remove, make_unreadable, make_foreign])
@pytest.mark.parametrize("is_filtered", [False, True])
def test_a_payload_that_cannot_be_executed_is_explained(
    bundle: Bundle, spoil: Callable[[Path], None], is_filtered: bool
) -> None:
    """Docker reads the words; under a filter init can say it in its last words only."""
    if is_filtered:
        bundle.linux["seccomp"] = filtered("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "mkdir"))
    begun, whole = both_ways(bundle, "/bin/program", spoil=spoil)

    assert begun == whole
    assert begun[0] == 1
    assert "/bin/program" in begun[2]
    assert begun[4] == "stopped"


def test_a_start_hook_that_fails_is_explained(bundle: Bundle) -> None:
    """It runs after the word to go on, and before the payload is reported."""
    bundle.spec["hooks"] = {"startContainer": [{"path": "/bin/false"}]}
    begun, whole = both_ways(bundle, "sleep", "1000")

    assert begun == whole
    assert begun[0] == 1
    assert "startContainer" in begun[2]
    assert begun[4] == "stopped"


def test_a_start_hook_may_take_its_time(bundle: Bundle) -> None:
    """Longer than the launcher's patience: Python waits for the rest, and tells nothing."""
    bundle.spec["hooks"] = {"startContainer": [{"path": "/bin/sleep", "args": ["sleep", "1.5"]}]}
    begun, whole = both_ways(bundle, "sleep", "1000")

    assert begun == whole == (0, "", "", "", "running")


def test_a_paused_container_is_told_to_go_on_and_reported(bundle: Bundle) -> None:
    """As without the launcher: it starts when it is resumed."""
    bundle.build("sleep", "1000")
    bundle.youki("pause", bundle.id)
    refused = bundle.youki("start", bundle.id, check=False)
    bundle.youki("resume", bundle.id)

    assert refused.returncode == 1
    assert "is paused" in refused.stderr


@pytest.mark.parametrize("end", ["start", "kill", "delete"])
def test_a_container_that_cannot_be_started_is_explained(bundle: Bundle, end: str) -> None:
    """Started already, ended, or gone: nobody listens, and Python finds out why."""
    bundle.build("sleep", "1000")
    container = Container.load(bundle.root, bundle.id)
    if end == "start":
        container.start()
    elif end == "kill":
        container.kill("KILL")
        container.wait(DEADLINE_S)
    else:
        container.delete(force=True)
    words = ("--root", str(bundle.root), "start", bundle.id)
    begun, whole = call(YOUKI, *words), call(*PYTHON, *words)

    assert begun.returncode == whole.returncode == 1
    assert (begun.stdout, begun.stderr) == (whole.stdout, whole.stderr)
    assert begun.stderr.startswith("youki: ")


def test_of_many_starts_at_once_one_succeeds(bundle: Bundle) -> None:
    """The one that init has answered; the others tell that the container runs."""
    bundle.build("sleep", "1000")
    words = [str(YOUKI), "--root", str(bundle.root), "start", bundle.id]
    started = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(12)]
    told = [process.communicate(timeout=DEADLINE_S)[1] for process in started]

    assert sorted(process.returncode for process in started) == [0] + 11 * [1]
    assert sorted(set(told))[0] == ""
    assert all("cannot start an already running container" in text for text in told if text)
    assert status(bundle) == "running"
