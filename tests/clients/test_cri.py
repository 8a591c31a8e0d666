"""Kubernetes: what the kubelet asks of containerd's CRI plugin, with a runtime class for each runtime."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from .cri import CriError
from .engine import eventually

if TYPE_CHECKING:
    from .cri import Pod

MEMORY = "/sys/fs/cgroup/memory/memory.limit_in_bytes"
QUOTA = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"


def ended(pod: Pod, container: str) -> dict[str, Any]:
    """Wait for a container's end and return its status."""
    eventually(lambda: pod.status(container)["state"] == "CONTAINER_EXITED")
    return pod.status(container)


def test_pod(pod: Pod, runtime: str) -> None:
    """The pod is ready, and has the runtime class that it was made with."""
    status = pod.cri("PodSandboxStatus", pod_sandbox_id=pod.id)["status"]
    assert (status["state"], status["runtime_handler"]) == ("SANDBOX_READY", runtime)


def test_life(pod: Pod) -> None:
    """Created, running, exited; then it is removed."""
    container = pod.create("sh", "-c", "exit 5")
    assert pod.status(container)["state"] == "CONTAINER_CREATED"
    pod.cri("StartContainer", container_id=container)
    assert ended(pod, container)["exit_code"] == 5
    pod.cri("RemoveContainer", container_id=container)
    assert container not in [each["id"] for each in pod.cri("ListContainers")["containers"]]


def test_log(pod: Pod) -> None:
    """Standard output and standard error go to the log that the kubelet names."""
    container = pod.start("sh", "-c", "echo out; sleep 0.1; echo err >&2")
    ended(pod, container)
    eventually(lambda: pod.log(container) == ["stdout: out", "stderr: err"])


@pytest.mark.slow
def test_terminal(pod: Pod) -> None:
    """With `tty` the payload has a terminal of its own."""
    container = pod.start("tty", tty=True)
    ended(pod, container)
    eventually(
        lambda: pod.log(container) == ["stdout: /dev/pts/0\r"] or pod.log(container) == ["stdout: /dev/pts/0"]
    )


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("missing", "executable file not found in $PATH"),
        ("/missing", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
    ],
)
def test_cannot_execute(pod: Pod, observed: list[Any], program: str, words: str) -> None:
    """The error says why, and so does the status."""
    container = pod.create(program)
    with pytest.raises(CriError, match=re.escape(words)):
        pod.cri("StartContainer", container_id=container)
    status = pod.status(container)
    observed.append((status["exit_code"], status["reason"]))
    assert observed == [(128, "StartError")]


def test_exec(pod: Pod, observed: list[Any]) -> None:
    """ExecSync returns the streams and the exit code."""
    container = pod.start()
    observed.append(pod.exec(container, "sh", "-c", "echo out; echo err >&2; exit 3"))
    assert observed == [{"stdout": "out\n", "stderr": "err\n", "exit_code": 3}]


def test_exec_of_a_missing_program(pod: Pod) -> None:
    """The error says so, and the container runs on."""
    container = pod.start()
    with pytest.raises(CriError, match="no such file or directory"):
        pod.exec(container, "/missing")
    assert pod.status(container)["state"] == "CONTAINER_RUNNING"


@pytest.mark.slow
def test_exec_with_a_timeout(pod: Pod) -> None:
    """What takes too long is killed: a probe that hangs leaves no process."""
    container = pod.start()
    with pytest.raises(CriError, match="timeout 1s exceeded"):
        pod.exec(container, "sleep", "1001", timeout=1)
    assert "1001" not in pod.exec(container, "ps", "-o", "args")["stdout"]


def test_streams_of_an_exec(pod: Pod, observed: list[Any]) -> None:
    """`kubectl exec -i`: three streams, each its own, and the exit code at their end."""
    container = pod.start()
    done = pod.stream(
        container, "sh", "-c", "read line; echo got $line; echo err >&2; exit 3", stdin="word\n"
    )
    observed.append((done.stdout, done.stderr, done.exit_code))
    assert observed == [("got word\n", "err\n", 3)]


@pytest.mark.slow
def test_streams_of_an_exec_with_a_terminal(pod: Pod, observed: list[Any]) -> None:
    """`kubectl exec -it`: a terminal of the size of the caller's, which echoes what is typed."""
    container = pod.start()
    script = "until [ \"$(stty size 2>/dev/null)\" = '30 100' ]; do sleep 0.01; done; tty; read line; echo got $line"
    done = pod.stream(container, "sh", "-c", script, tty=True, stdin="word\n", size=(100, 30))
    observed.append((sorted(done.stdout.split("\r\n")), done.stderr, done.exit_code))
    assert observed == [(["", "/dev/pts/0", "got word", "word"], "", 0)]


@pytest.mark.slow
def test_streams_of_an_exec_that_cannot_be(pod: Pod) -> None:
    """The status says why, in the words that kubectl shows."""
    done = pod.stream(pod.start(), "/missing")
    assert done.status["status"] == "Failure"
    assert "no such file or directory" in done.status["message"]


@pytest.mark.slow
def test_attached(pod: Pod, observed: list[Any]) -> None:
    """`kubectl attach -it`: what is typed reaches the first process."""
    container = pod.start("sh", "-c", "read line; echo got $line; exit 7", stdin=True, tty=True)
    done = pod.stream(container, tty=True, stdin="word\n")
    observed += ["got word" in done.stdout, ended(pod, container)["exit_code"]]
    assert observed == [True, 7]


@pytest.mark.slow
def test_stats(pod: Pod) -> None:
    """The plugin reads the container's cgroup."""
    container = pod.start("sh", "-c", "x=$(head -c 4000000 /dev/zero | tr '\\0' x); sleep 1000; :")
    eventually(lambda: working_set(pod, container) > 4000000)
    stats = pod.cri("ContainerStats", container_id=container)["stats"]
    assert int(stats["cpu"]["usage_core_nano_seconds"]["value"]) > 0


def working_set(pod: Pod, container: str) -> int:
    """The memory that a container uses."""
    stats = pod.cri("ContainerStats", container_id=container)["stats"]
    return int(stats["memory"]["working_set_bytes"]["value"])


def test_limits(pod: Pod, observed: list[Any]) -> None:
    """Requests and limits of a pod's specification."""
    resources = {
        "memory_limit_in_bytes": 64 << 20,
        "cpu_period": 100000,
        "cpu_quota": 50000,
        "cpu_shares": 512,
        "oom_score_adj": 900,
    }
    container = pod.start(linux={"resources": resources})
    files = (MEMORY, QUOTA, "/sys/fs/cgroup/cpu/cpu.shares", "/proc/1/oom_score_adj")
    observed.append(pod.exec(container, "cat", *files)["stdout"].split())
    assert observed == [[str(64 << 20), "50000", "512", "900"]]


def test_update(pod: Pod, observed: list[Any]) -> None:
    """A running container's limits are changed in place; what is sent again unchanged does no harm."""
    container = pod.start(linux={"resources": {"memory_limit_in_bytes": 64 << 20}})
    for limit in (32 << 20, 32 << 20, 128 << 20):
        resources = {"memory_limit_in_bytes": limit, "cpu_quota": 25000, "cpu_period": 100000}
        pod.cri("UpdateContainerResources", container_id=container, linux=resources)
        observed.append(pod.exec(container, "cat", MEMORY, QUOTA)["stdout"].split())
    assert observed == [[str(limit), "25000"] for limit in (32 << 20, 32 << 20, 128 << 20)]


def test_out_of_memory(pod: Pod) -> None:
    """The status says that the kernel killed the payload for its memory."""
    script = "x=aaaaaaaa; while :; do x=$x$x; done"
    container = pod.start("sh", "-c", script, linux={"resources": {"memory_limit_in_bytes": 8 << 20}})
    status = ended(pod, container)
    eventually(lambda: pod.status(container)["reason"] == "OOMKilled")
    assert status["exit_code"] == 137


def test_stop(pod: Pod) -> None:
    """SIGTERM comes first, and the payload may end by itself."""
    container = pod.start("sh", "-c", "trap 'exit 7' TERM; touch /ready; while :; do sleep 0.05; done")
    eventually(lambda: pod.exec(container, "ls", "/ready")["exit_code"] == 0)
    pod.cri("StopContainer", container_id=container, timeout=20)
    assert pod.status(container)["exit_code"] == 7


@pytest.mark.slow
def test_stop_when_the_grace_period_is_over(pod: Pod) -> None:
    """Then the payload is killed."""
    container = pod.start("sh", "-c", "trap '' TERM; touch /ready; while :; do sleep 0.05; done")
    eventually(lambda: pod.exec(container, "ls", "/ready")["exit_code"] == 0)
    pod.cri("StopContainer", container_id=container, timeout=1)
    assert pod.status(container)["exit_code"] == 137


@pytest.mark.slow
def test_removed_while_it_runs(pod: Pod) -> None:
    """RemoveContainer ends what runs."""
    container = pod.start()
    pod.cri("RemoveContainer", container_id=container)
    with pytest.raises(CriError, match="not found"):
        pod.status(container)


def test_pod_stopped(pod: Pod) -> None:
    """StopPodSandbox ends the pod's containers, and may be asked again."""
    container = pod.start()
    for _ in range(2):
        pod.cri("StopPodSandbox", pod_sandbox_id=pod.id)
    assert ended(pod, container)["exit_code"] == 137
    status = pod.cri("PodSandboxStatus", pod_sandbox_id=pod.id)["status"]
    assert status["state"] == "SANDBOX_NOTREADY"


def test_processes_shared_in_the_pod(pod: Pod) -> None:
    """`shareProcessNamespace`: a container sees its neighbour's processes, and ends without them."""
    shared = {"security_context": {"namespace_options": {"network": "NODE", "pid": "POD"}}}
    first = pod.start("sleep", "1001", linux=shared)
    second = pod.start("sh", "-c", "sleep 1002 & sleep 1003", linux=shared)
    seen = pod.exec(first, "ps", "-o", "args")["stdout"]
    assert {"sleep 1001", "sleep 1002", "sleep 1003"} <= set(seen.splitlines())
    pod.cri("StopContainer", container_id=second, timeout=1)
    eventually(lambda: "sleep 1002" not in pod.exec(first, "ps", "-o", "args")["stdout"])
    assert pod.status(first)["state"] == "CONTAINER_RUNNING"


@pytest.mark.slow
def test_ipc_shared_in_the_pod(pod: Pod) -> None:
    """Containers of a pod have one ipc namespace, a uts namespace and the network."""
    script = "for name in ipc net uts pid; do readlink /proc/self/ns/$name; done"
    first, second = (pod.exec(pod.start(), "sh", "-c", script)["stdout"].split() for _ in range(2))
    assert [one == other for one, other in zip(first, second, strict=True)] == [True, True, True, False]


@pytest.mark.slow
@pytest.mark.parametrize(
    "context",
    [
        {},
        {"run_as_user": {"value": "1000"}, "run_as_group": {"value": "7"}, "supplemental_groups": ["8", "9"]},
        {"capabilities": {"drop_capabilities": ["ALL"]}, "no_new_privs": True},
        {"capabilities": {"add_capabilities": ["SYS_TIME"]}},
        {"seccomp": {"profile_type": "RuntimeDefault"}},
        {"seccomp": {"profile_type": "Unconfined"}},
    ],
    ids=("usual", "user", "restricted", "capability", "default-profile", "unconfined"),
)
def test_security_context(pod: Pod, observed: list[Any], context: dict[str, Any]) -> None:
    """Users, groups, capabilities, no_new_privs and seccomp are those that runc gives; so for an exec."""
    script = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:)' /proc/self/status"
    container = pod.start("sh", "-c", f"{script}; sleep 1000", linux={"security_context": context})
    eventually(lambda: len(pod.log(container)) == 10)
    observed += [pod.log(container), pod.exec(container, "sh", "-c", script)]
    assert observed[1]["exit_code"] == 0


@pytest.mark.slow
def test_read_only_root(pod: Pod) -> None:
    """`readOnlyRootFilesystem`, with a volume that can be written."""
    volume = pod.logs / "volume"
    volume.mkdir()
    mounts = [{"container_path": "/mnt", "host_path": str(volume)}]
    container = pod.start(linux={"security_context": {"readonly_rootfs": True}}, mounts=mounts)
    done = pod.exec(container, "sh", "-c", "echo kept >/mnt/file; echo lost >/file")
    assert "Read-only file system" in done["stderr"]
    assert (volume / "file").read_text() == "kept\n"


@pytest.mark.slow
def test_masked_paths(pod: Pod) -> None:
    """`procMount: Default`: what the kubelet masks is masked."""
    context = {"masked_paths": ["/proc/timer_list", "/proc/keys"], "readonly_paths": ["/proc/sys"]}
    container = pod.start(linux={"security_context": context})
    done = pod.exec(container, "sh", "-c", "wc -c </proc/keys; echo 1 >/proc/sys/kernel/domainname")
    assert done["stdout"] == "0\n"
    assert "Read-only file system" in done["stderr"]


@pytest.mark.slow
def test_environment_and_directory(pod: Pod) -> None:
    """`env` and `workingDir`."""
    envs = [{"key": "SHAPE", "value": "round"}]
    container = pod.start("sh", "-c", "echo $SHAPE $COLOUR; pwd; sleep 1000", envs=envs, working_dir="/tmp")
    eventually(lambda: pod.log(container) == ["stdout: round blue", "stdout: /tmp"])
