"""The six kinds of hooks: config.md "POSIX-platform Hooks", runtime.md "Lifecycle", on real containers."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import Container, HookError, SetupError

if TYPE_CHECKING:
    from .conftest import Bundle

OUTSIDE = ("prestart", "createRuntime", "poststart", "poststop")
BEFORE_START = ("prestart", "createRuntime", "createContainer")
ALL = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"


class Trace:
    """A directory that hooks write into, on the host and (as /trace) in the container."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.host = bundle.path / "trace"
        self.host.mkdir(mode=0o777)
        self.host.chmod(0o777)
        bundle.mount("/trace", str(self.host), "bind", "bind")
        bundle.spec["hooks"] = {}

    def where(self, kind: str) -> str:
        """The directory as hooks of this kind see it: only startContainer runs after the change of root."""
        return "/trace" if kind == "startContainer" else str(self.host)

    def add(self, kind: str, script: str, **more: Any) -> None:
        """Add a hook that runs a shell script in which $T is the directory."""
        hook = {
            "path": "/bin/sh",
            "args": ["sh", "-c", f"T={self.where(kind)}; {script}"],
            "env": [PATH],
            **more,
        }
        self.bundle.spec["hooks"].setdefault(kind, []).append(hook)

    def copy(self, kind: str, name: str, **more: Any) -> None:
        """Add a hook that copies its own file /proc/self/NAME to the directory, as the kind: a program and no shell."""
        args = ["cp", f"/proc/self/{name}", f"{self.where(kind)}/{kind}"]
        self.bundle.spec["hooks"].setdefault(kind, []).append({"path": "/bin/cp", "args": args, **more})

    def text(self, name: str = "log") -> str:
        path = self.host / name
        return path.read_text() if path.exists() else ""

    def json(self, name: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.text(name))
        return value


@pytest.fixture
def trace(bundle: Bundle) -> Trace:
    return Trace(bundle)


def test_all_kinds_run_in_the_order_of_the_specification(bundle: Bundle, trace: Trace) -> None:
    """Each list in its own order, and poststart before `start` returns, poststop before `delete` does."""
    for kind in ALL:
        trace.add(kind, f"echo {kind} 1 >>$T/log")
        trace.add(kind, f"echo {kind} 2 >>$T/log")

    container = bundle.build("sleep", "1000")
    created = trace.text().split("\n")
    container.start()
    started = trace.text().split("\n")
    container.delete(force=True)

    lines = [f"{kind} {number}" for kind in ALL for number in (1, 2)]
    assert created == [*lines[:6], ""]
    assert started == [*lines[:10], ""]
    assert trace.text().split("\n") == [*lines, ""]


def test_each_hook_reads_the_state_of_its_moment(bundle: Bundle, trace: Trace) -> None:
    """runtime.md "State": status, bundle and annotations, and the pid as it is where the hook runs."""
    bundle.spec["annotations"] = {"org.example.key": 'va"lue\nä'}
    for kind in ALL:
        trace.add(kind, f"cat >$T/{kind}")
    with bundle.build("sleep", "1000") as container:
        container.start()
        pid = container.pid

    statuses = ("creating", "creating", "creating", "created", "running", "stopped")
    pids = (pid, pid, 1, 1, pid, 0)
    for kind, status, number in zip(ALL, statuses, pids, strict=True):
        assert trace.json(kind) == {
            "ociVersion": "1.3.0",
            "id": bundle.id,
            "status": status,
            "pid": number,
            "bundle": str(bundle.path),
            "annotations": {"org.example.key": 'va"lue\nä'},
        }


def test_hooks_run_in_the_namespaces_of_their_kind(bundle: Bundle, trace: Trace) -> None:
    """Of the runtime, but createContainer and startContainer in all of the container's."""
    kinds = ("pid", "net", "ipc", "uts", "mnt", "cgroup")
    for kind in ALL:
        trace.add(kind, f"for n in {' '.join(kinds)}; do readlink /proc/self/ns/$n; done >$T/{kind}")
    own = [os.readlink(f"/proc/self/ns/{name}") for name in kinds]
    with bundle.build("sleep", "1000") as container:
        container.start()
        inside = [os.readlink(f"/proc/{container.pid}/ns/{name}") for name in kinds]

    for kind in ALL:
        assert trace.text(kind).split() == (own if kind in OUTSIDE else inside), kind


def test_before_the_change_of_root_the_hosts_files_are_seen(bundle: Bundle, trace: Trace) -> None:
    """createContainer runs programs of the host, in the container's namespaces; startContainer the image's."""
    (bundle.rootfs / "inside").touch()
    trace.add("createContainer", f"ls {bundle.rootfs}/inside >$T/create && pwd >>$T/create")
    trace.add("startContainer", "ls /inside >$T/start && pwd >>$T/start")

    bundle.process["cwd"] = "/tmp"
    assert bundle.run("true").status.code == 0

    assert trace.text("create").split() == [f"{bundle.rootfs}/inside", str(bundle.path)]
    assert trace.text("start").split() == ["/inside", "/tmp"]


def test_hooks_of_the_runtime_see_mounts_only_after_they_are_made(bundle: Bundle, trace: Trace) -> None:
    """config.md: createRuntime is called before the change of root and may still act on the mounts."""
    trace.add("createRuntime", "cat >$T/state; grep -c ' /trace ' /proc/self/mountinfo >$T/count || true")

    assert bundle.run("true").status.code == 0
    assert trace.text("count").strip() == "0"


@pytest.mark.parametrize("kind", ALL)
def test_a_hook_gets_its_own_environment_and_nothing_of_the_runtimes(
    bundle: Bundle, trace: Trace, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a hook inherits was the way in of CVE-2025-23266."""
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "s3cret")
    trace.copy(kind, "environ", env=["ONLY=this", PATH])

    bundle.run("true")

    assert sorted(trace.text(kind).split("\0")) == sorted(["", "ONLY=this", PATH])


def test_without_env_hooks_have_none_but_startcontainer_has_the_payloads(
    bundle: Bundle, trace: Trace
) -> None:
    """As runc and youki do: the last hook before the payload prepares the payload's world."""
    bundle.process["env"] = ["PATH=/bin", "HOME=/", "MARK=payload"]
    for kind in ALL:
        trace.copy(kind, "environ")

    bundle.run("true")

    for kind in ALL:
        wanted = "PATH=/bin\0HOME=/\0MARK=payload\0" if kind == "startContainer" else ""
        assert trace.text(kind) == wanted, kind


def test_args_are_given_as_they_are(bundle: Bundle, trace: Trace) -> None:
    """The first one is the name of the program, whatever its path is."""
    for kind in ("createRuntime", "createContainer", "startContainer"):
        script = f'printf \'%s|\' "$0" "$@" >{trace.where(kind)}/{kind}'
        args = ["sh", "-c", script, "zero", "a b", "", "$HOME"]
        bundle.spec["hooks"][kind] = [{"path": "/bin/sh", "args": args, "env": [PATH]}]

    bundle.run("true")

    for kind in ("createRuntime", "createContainer", "startContainer"):
        assert trace.text(kind) == "zero|a b||$HOME|", kind


@pytest.mark.parametrize("kind", ALL)
def test_hooks_hold_no_descriptor_of_the_runtime(bundle: Bundle, trace: Trace, kind: str) -> None:
    """The host's directories least of all (CVE-2024-21626): only stdio, and what `ls` itself opens."""
    trace.add(kind, "ls -l /proc/self/fd >$T/fds")

    bundle.run("true")

    links = [line.split(" -> ") for line in trace.text("fds").splitlines() if " -> " in line]
    found = {int(head.split()[-1]): target for head, target in links}
    own = [fd for fd, target in found.items() if target.startswith("/proc/") and target.endswith("/fd")]
    assert sorted(set(found) - set(own)) == [0, 1, 2]
    assert len(own) <= 1


@pytest.mark.parametrize("kind", ALL)
def test_hooks_have_an_ordinary_umask_and_ordinary_signals(bundle: Bundle, trace: Trace, kind: str) -> None:
    """Whatever the caller's are; a session of their own."""
    trace.copy(kind, "status")
    former = os.umask(0o177)
    try:
        bundle.run("true")
    finally:
        os.umask(former)

    status = dict(line.split(":\t", 1) for line in trace.text(kind).splitlines())
    assert status["Umask"] == "0022"
    assert status["SigBlk"] == "0" * 16
    # glibc's posix_spawn(3) leaves the two signals that it keeps for itself ignored; they are nobody else's.
    assert int(status["SigIgn"], 16) & ~(3 << 31) == 0
    assert int(status["SigIgn"], 16) == 0 or kind in OUTSIDE


@pytest.mark.parametrize("kind", BEFORE_START)
def test_a_failing_hook_of_create_fails_create_and_leaves_nothing(
    bundle: Bundle, trace: Trace, kind: str
) -> None:
    """runtime.md "Lifecycle": an error, the container is destroyed, and the poststop hooks run."""
    trace.add(kind, "echo first >>$T/log")
    trace.add(kind, "echo words of the hook >&2; exit 3")
    trace.add(kind, "echo third >>$T/log")
    trace.add("startContainer", "echo later >>$T/log")
    trace.add("poststop", "cat >$T/last; exit 1")
    trace.add("poststop", "echo poststop >>$T/log")

    with pytest.raises(HookError) as caught:
        bundle.build("true")

    assert caught.value.pointer == f"/hooks/{kind}/1"
    assert "status 3" in str(caught.value)
    assert "words of the hook" in str(caught.value)
    assert trace.text() == "first\npoststop\n"
    assert trace.json("last")["status"] == "stopped"
    assert Container.list(bundle.root) == []


def test_poststop_runs_when_create_fails_after_the_hooks(bundle: Bundle, trace: Trace) -> None:
    """A network plugin has to take back what its createRuntime hook did, whatever failed later."""
    trace.add("createRuntime", "echo made >>$T/log")
    trace.add("poststop", "echo undone >>$T/log")

    with pytest.raises(Exception, match="no such file"):
        bundle.build("/no/such/program")

    assert trace.text() == "made\nundone\n"


def test_poststop_runs_when_init_is_killed_after_the_hooks(bundle: Bundle, trace: Trace) -> None:
    """For want of memory, as the kernel does it: init ends without a word, and is waited for."""
    trace.add("createRuntime", "echo made >>$T/log; kill -9 $(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')")
    trace.add("poststop", "echo undone >>$T/log")

    with pytest.raises(SetupError, match="init ended by signal 9"):
        bundle.build("true")

    assert trace.text() == "made\nundone\n"


def test_a_failing_startcontainer_hook_fails_start_and_the_payload_never_runs(
    bundle: Bundle, trace: Trace
) -> None:
    """The container is stopped then; its deletion runs the poststop hooks."""
    trace.add("startContainer", "echo words >&2; exit 4")
    trace.add("poststart", "echo poststart >>$T/log")
    trace.add("poststop", "echo poststop >>$T/log")

    with bundle.build("touch", "/trace/payload") as container:
        with pytest.raises(HookError, match="startContainer") as caught:
            container.start()
        container.wait(10)
        assert container.status == "stopped"
        container.delete()

    assert caught.value.pointer == "/hooks/startContainer/0"
    assert "status 4" in str(caught.value)
    assert "words" in str(caught.value)
    assert not (trace.host / "payload").exists()
    assert trace.text() == "poststop\n"


def test_a_failing_poststart_hook_stops_the_container(bundle: Bundle, trace: Trace) -> None:
    """runtime.md "Lifecycle" 9, as of version 1.3."""
    trace.add("poststart", "exit 5")
    trace.add("poststart", "echo second >>$T/log")

    with bundle.build("sleep", "1000") as container:
        with pytest.raises(HookError, match="poststart"):
            container.start()
        assert container.wait(10).signal == 9

    assert trace.text() == ""


def test_failing_poststop_hooks_are_told_and_the_others_run(bundle: Bundle, trace: Trace) -> None:
    """runtime.md "Lifecycle" 13: a warning, as if they had succeeded; the container is gone."""
    trace.add("poststop", "exit 6")
    trace.add("poststop", "echo second >>$T/log")
    container = bundle.build("true")
    container.delete()

    assert len(container.warnings) == 1
    assert "/hooks/poststop/0" in container.warnings[0]
    assert trace.text() == "second\n"
    assert Container.list(bundle.root) == []


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer"])
def test_a_hook_past_its_timeout_is_killed_with_what_it_started(
    bundle: Bundle, trace: Trace, kind: str
) -> None:
    """Seconds; the error says so, and nothing of it goes on."""
    trace.add(kind, "sleep 1000 & echo $! >$T/child; echo last words; wait", timeout=1)

    with pytest.raises(HookError, match="timeout of 1 s") as caught:
        bundle.run("true")

    assert caught.value.pointer == f"/hooks/{kind}/0"
    assert "last words" in str(caught.value)
    if kind in OUTSIDE:
        assert is_gone(int(trace.text("child")))


def is_gone(pid: int) -> bool:
    """Whether a process that was killed has ended, within a moment."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    import select

    try:
        return bool(select.select([pidfd], [], [], 10)[0])
    finally:
        os.close(pidfd)


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer"])
def test_what_a_hook_leaves_in_the_background_is_not_waited_for(
    bundle: Bundle, trace: Trace, kind: str
) -> None:
    """Even when it holds the hook's output open: a daemon started by a hook must not stop the container."""
    trace.add(kind, "sleep 1000 & echo $! >$T/child")
    begun = time.monotonic()

    bundle.run("true")

    assert time.monotonic() - begun < 100
    if kind == "createRuntime":
        os.kill(int(trace.text("child")), 9)


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer"])
def test_a_hook_that_floods_its_output_or_reads_nothing_does_no_harm(
    bundle: Bundle, trace: Trace, kind: str
) -> None:
    """Output is drained and bounded; a state larger than any pipe waits in a file."""
    bundle.spec["annotations"] = {f"key{number}": "x" * 4000 for number in range(100)}
    trace.add(kind, "dd if=/dev/zero bs=65536 count=64 2>/dev/null; exec 0<&- 1>&- 2>&-; echo done >$T/log")

    assert bundle.run("true").status.code == 0
    assert trace.text() == "done\n"


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer"])
def test_a_hook_that_cannot_be_started_is_an_error_with_its_path(
    bundle: Bundle, trace: Trace, kind: str
) -> None:
    """A missing program is not a success."""
    bundle.spec["hooks"][kind] = [{"path": "/no/such/hook"}]

    with pytest.raises(HookError, match="/no/such/hook") as caught:
        bundle.run("true")

    assert "o such file" in str(caught.value)
    assert caught.value.pointer == f"/hooks/{kind}/0"


def test_a_hook_ended_by_a_signal_is_a_failure(bundle: Bundle, trace: Trace) -> None:
    """In the container, too, where signals have other rules."""
    trace.add("createContainer", "kill -9 $$")

    with pytest.raises(HookError, match="signal 9"):
        bundle.build("true")


def test_the_pid_that_a_hook_reads_is_the_containers_first_process(bundle: Bundle, trace: Trace) -> None:
    """A network hook enters the namespaces of exactly that process."""
    trace.add(
        "createRuntime", "pid=$(sed 's/.*\"pid\": *//;s/[^0-9].*//'); readlink /proc/$pid/ns/net >$T/net"
    )

    with bundle.build("true") as container:
        assert trace.text("net").strip() == os.readlink(f"/proc/{container.pid}/ns/net")
