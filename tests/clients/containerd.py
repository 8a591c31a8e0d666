"""containerd on the private host, and its client `ctr` with one runtime."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from . import images, runtimes
from .daemon import Daemon, containers_in
from .engine import eventually

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from .privatehost import PrivateHost

PROGRAMS = ("containerd", "ctr", "containerd-shim-runc-v2")
SOCKET = "/run/containerd/containerd.sock"
RUNTIME_ROOT = (
    "/run/containerd/runc"  # the shim's --root for every runtime, with a directory for each namespace
)
NAMESPACE, CRI_NAMESPACE = "default", "k8s.io"
PAUSE = "localhost/pause:latest"

CONFIGURATION = """\
version = 2
root = "{directory}"
state = "/run/containerd"

[grpc]
address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{directory}/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
"""

# docs/how-to/kubernetes.md tells people to add this.
RUNTIME_CLASS = """
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}.options]
BinaryName = "{path}"
"""


class Containerd(Daemon):
    """The daemon. It serves `ctr`, the kubelet's interface, and Docker alike."""

    def __init__(self, host: PrivateHost) -> None:
        directory = host.make_directory("containerd")
        configuration = directory / "config.toml"
        classes = (RUNTIME_CLASS.format(name=name, path=path) for name, path in runtimes.installed().items())
        text = CONFIGURATION.format(directory=directory / "root", socket=SOCKET, pause=PAUSE)
        configuration.write_text(text + "".join(classes))
        super().__init__(host, directory / "log", "containerd", "--config", str(configuration))
        self.wait_until_answered("ctr", "version")

    def load(self, archive: Path, namespace: str) -> None:
        """Import an image."""
        self.host.run("ctr", "--namespace", namespace, "images", "import", str(archive))


class Ctr:
    """Call `ctr`: `ctr("tasks", "list")`, `ctr.run("true")`. What it ends with is for the caller to judge."""

    _numbers = itertools.count(1)

    def __init__(self, daemon: Containerd, runtime: str) -> None:
        self.daemon = daemon
        self.runtime = runtime
        self.containers: list[str] = []

    def __call__(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of `ctr`."""
        return self.daemon.host.run(*self.command(*words), **{"check": False, **more})

    def command(self, *words: str) -> list[str]:
        """Return the command line, for the private host."""
        return ["ctr", *words]

    def run(self, *words: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run a container of the image to its end."""
        return self(*self.run_words(self.new_name(), *words, options=("--rm", *options)))

    def shell(self, script: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run a shell script in a container to its end."""
        return self.run(*lingering(script), options=options)

    def shell_in(
        self, name: str, script: str, options: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script in a container that runs, to its end."""
        return self.exec(name, *lingering(script), options=options)

    def detached(self, *words: str, options: tuple[str, ...] = ()) -> str:
        """Start a container in the background and return its name; `sleep` unless told otherwise."""
        name, command = self.new_name(), words or ("sleep", "1000")
        self(*self.run_words(name, *command, options=("--detach", *options)), check=True)
        return name

    def run_words(self, name: str, *words: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the words of `ctr run`."""
        runtime = ("--runtime", "io.containerd.runc.v2", "--runc-binary", str(runtimes.program(self.runtime)))
        return ["run", *runtime, *options, images.NAME, name, *words]

    def exec(self, name: str, *words: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run a process in a container, to its end."""
        return self(*self._exec_words(name, *words, options=options))

    def start_exec(self, name: str, *words: str) -> subprocess.Popen[str]:
        """Start a process in a container; whoever starts it waits for it."""
        return self.daemon.host.start(*self.command(*self._exec_words(name, *words)))

    def _exec_words(self, name: str, *words: str, options: tuple[str, ...] = ()) -> list[str]:
        return ["tasks", "exec", "--exec-id", f"exec{next(self._numbers)}", *options, name, *words]

    def new_name(self) -> str:
        """Return a name for a container, which `remove_all` will know."""
        self.containers.append(f"box{next(self._numbers)}")
        return self.containers[-1]

    def status(self, name: str) -> str:
        """Return what `ctr tasks list` says of a container, or nothing: RUNNING, PAUSED, STOPPED."""
        rows = [line.split() for line in self("tasks", "list", check=True).stdout.splitlines()]
        return next((row[2] for row in rows if row[0] == name), "")

    def exit_code(self, name: str) -> int:
        """Wait for a container's end, delete its task, and return its exit code."""
        eventually(lambda: self.status(name) == "STOPPED")
        told = self("tasks", "delete", name, check=True).stderr
        return int(told.rpartition("exit code ")[2].strip('"\n')) if told else 0

    def metrics(self, name: str) -> dict[str, str]:
        """Return what `ctr tasks metrics` says, by name."""
        table = self("tasks", "metrics", name, check=True).stdout.partition("METRIC")[2]
        rows = [line.split(maxsplit=1) for line in table.splitlines()[1:]]
        return {metric: value.strip() for metric, value in rows}

    def remove_all(self) -> None:
        """Remove what is left of this client's containers."""
        for name in self.containers:
            self("tasks", "delete", "--force", name)
            self("containers", "delete", name)

    def runtime_state(self) -> list[str]:
        """Return the containers that the runtime still knows."""
        return known_to_runtime(self.daemon.host, NAMESPACE)


def lingering(script: str) -> tuple[str, ...]:
    """Return the command of a script that ends a moment after its output.

    ctr stops opening the streams of a process as soon as it hears of its end. What a short one has written is
    lost then, now and then on a busy host, with any runtime.
    """
    return ("sh", "-c", f"({script}); code=$?; sleep 0.2; exit $code")


def known_to_runtime(host: PrivateHost, namespace: str) -> list[str]:
    """Return the containers of a containerd namespace that the runtime still knows."""
    return containers_in(host.path(f"{RUNTIME_ROOT}/{namespace}"))
