"""Pods, `play kube` and `build`: what podman makes of several containers, or of one that it throws away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .engine import eventually
from .podman import IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .podman import Podman

# An unprivileged user of cgroup v1 has no limits, with any runtime.
LIMITS = {True: "{limits: {memory: 64Mi}}", False: "{}"}
KUBE = f"""
apiVersion: v1
kind: Pod
metadata:
  name: played
spec:
  containers:
  - name: web
    image: {IMAGE}:latest
    command: ["sh", "-c", "echo web > /shared/file; exec sleep 1000"]
    env:
    - name: SHAPE
      value: round
    resources: {{limits}}
    volumeMounts:
    - name: shared
      mountPath: /shared
  - name: side
    image: {IMAGE}:latest
    command: ["sleep", "1000"]
    securityContext:
      runAsUser: 1000
      readOnlyRootFilesystem: true
    volumeMounts:
    - name: shared
      mountPath: /shared
  volumes:
  - name: shared
    emptyDir: {{{{}}}}
"""


@pytest.fixture
def pod(podman: Podman) -> str:
    """A pod with its infra container."""
    return podman("pod", "create", "--network=none", "--share=ipc,net,uts,pid").stdout.strip()


def test_pod_shares_namespaces(podman: Podman, pod: str) -> None:
    """The containers of a pod are in the same namespaces, but for their mounts."""
    one = podman("run", "-d", "--pod", pod, IMAGE, "sleep", "1000").stdout.strip()
    two = podman("run", "-d", "--pod", pod, IMAGE, "sleep", "1000").stdout.strip()
    for kind in ("ipc", "net", "uts", "pid"):
        assert podman.namespace(one, kind) == podman.namespace(two, kind)
    assert podman.namespace(one, "mnt") != podman.namespace(two, "mnt")


def test_kill_in_a_shared_pid_namespace(podman: Podman, pod: str) -> None:
    """Stopping one container of a shared pid namespace ends all its processes, and none of the other's."""
    script = "sleep 1000 & sleep 2000 & exec sleep 3000"
    one = podman("run", "-d", "--pod", pod, IMAGE, "sh", "-c", script).stdout.strip()
    two = podman("run", "-d", "--pod", pod, IMAGE, "sleep", "4000").stdout.strip()
    eventually(lambda: len(sleeps(podman)) == 4)
    podman("rm", "-f", "-t0", one)
    assert podman.status(two) == "running"
    if not podman.user:  # without a cgroup nobody knows which processes are whose
        eventually(lambda: sleeps(podman) == ["sleep 4000"])


def test_pod_lifecycle(podman: Podman, pod: str, observed: list[Any]) -> None:
    """stop, start and removal of a pod reach each of its containers."""
    container = podman("run", "-d", "--pod", pod, IMAGE, "sleep", "1000").stdout.strip()
    podman("pod", "stop", "-t0", pod)
    observed.append(podman.status(container))
    podman("pod", "start", pod)
    observed.append(podman.status(container))
    podman("pod", "rm", "-f", "-t0", pod)
    observed.append(podman("ps", "-aq").stdout)
    assert observed == ["exited", "running", ""]


def test_pause_a_pod(rootful: Podman, observed: list[Any]) -> None:
    """A pod is paused and unpaused as a whole."""
    pod = rootful("pod", "create", "--network=none").stdout.strip()
    container = rootful("run", "-d", "--pod", pod, IMAGE, "sleep", "1000").stdout.strip()
    rootful("pod", "pause", pod)
    observed.append(rootful.status(container))
    rootful("pod", "unpause", pod)
    observed.append(rootful.status(container))
    assert observed == ["paused", "running"]


@pytest.fixture
def played(podman: Podman) -> Iterator[Podman]:
    """The pod of a Kubernetes manifest."""
    (podman.directory / "pod.yaml").write_text(KUBE.format(limits=LIMITS[podman.user is None]))
    podman("play", "kube", "--network=none", str(podman.directory / "pod.yaml"))
    yield podman
    podman("play", "kube", "--down", str(podman.directory / "pod.yaml"))


def test_play_kube(played: Podman, observed: list[Any]) -> None:
    """Both containers run, share a volume, and are as their security contexts say."""
    eventually(lambda: played.inside("played-side", "cat /shared/file", check=False).stdout == "web\n")
    observed.append(played.inside("played-side", "id -u; touch /x; echo $?").lines)
    observed.append(played.inside("played-web", "echo $SHAPE").stdout)
    assert observed == [["1000", "1"], "round\n"]


def test_build(podman: Podman, observed: list[Any]) -> None:
    """`RUN` steps are containers of the runtime: their user, directory and environment hold; a failure is told."""
    directory = podman.make_directory("build")
    (directory / "Containerfile").write_text(
        f"FROM {IMAGE}\nENV SHAPE=round\nWORKDIR /work\nRUN echo $SHAPE in $PWD by $(id -u) > /made\n"
        "USER alice\nRUN id -u >> /tmp/who\nCMD cat /made /tmp/who\n"
    )
    podman("build", "--network=none", "-t", "localhost/built", str(directory))
    observed.append(podman("run", "--rm", "localhost/built").lines)
    podman("rmi", "localhost/built")
    assert observed == [["round in /work by 0", "1000"]]


def test_build_fails(podman: Podman, observed: list[Any]) -> None:
    """The exit code of a step that fails reaches the caller."""
    directory = podman.make_directory("broken")
    (directory / "Containerfile").write_text(f"FROM {IMAGE}\nRUN exit 9\n")
    done = podman("build", "--network=none", str(directory), check=False)
    observed.append(done.code)
    assert done.code == 9


def sleeps(podman: Podman) -> list[str]:
    """Return the command lines of the `sleep`s on the private host."""
    lines = (line.partition(": ")[2] for line in podman.host.processes())
    return sorted(line for line in lines if line.startswith("sleep "))
