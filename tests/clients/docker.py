"""Docker on the private host: a dockerd that uses the host's containerd, and its client with one runtime."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from . import containerd, runtimes
from .daemon import Daemon, containers_in
from .engine import Engine

if TYPE_CHECKING:
    from pathlib import Path

    from .privatehost import PrivateHost

PROGRAMS = ("dockerd", "docker")
SOCKET = "unix:///run/docker.sock"
EXEC_ROOT = "/run/docker"
NAMESPACE = "moby"  # Docker's in containerd


class Dockerd(Daemon):
    """The daemon. It makes no bridge and no rule of the firewall: containers have the host's network or none."""

    def __init__(self, host: PrivateHost, name: str, default_runtime: str = "runc") -> None:
        self.name = name
        self.directory = host.make_directory(name)
        configuration = self.directory / "daemon.json"
        configuration.write_text(json.dumps(self._configuration(default_runtime)))
        super().__init__(host, self.directory / "log", "dockerd", "--config-file", str(configuration))
        self.wait_until_answered(*self.command("version"))

    def _configuration(self, default_runtime: str) -> dict[str, Any]:
        programs = {
            name: {"path": str(path)} for name, path in runtimes.installed().items() if name != "runc"
        }
        return {
            "hosts": [SOCKET],
            "pidfile": "/run/docker.pid",
            "data-root": str(self.directory / "root"),
            "exec-root": EXEC_ROOT,
            "containerd": containerd.SOCKET,
            "bridge": "none",
            "iptables": False,
            "ip6tables": False,
            "ip-forward": False,
            "runtimes": programs,
            "default-runtime": default_runtime,
        }

    def command(self, *words: str) -> list[str]:
        """Return the client's command line, for the private host."""
        program = (
            shutil.which("docker", path=runtimes.SEARCHED) or "docker"
        )  # the one that came with the daemon
        return [program, "--host", SOCKET, "--config", str(self.directory / "client"), *words]

    def load(self, archive: Path) -> None:
        """Load an image."""
        self.host.run(*self.command("load", "--input", str(archive)))

    def runtime_state(self, runtime: str) -> list[str]:
        """Return the containers that a runtime still knows."""
        return containers_in(self.host.path(f"{EXEC_ROOT}/runtime-{runtime}/{NAMESPACE}"))


class Docker(Engine):
    """docker with a runtime."""

    name = "docker"

    def __init__(self, daemon: Dockerd, runtime: str) -> None:
        self.daemon = daemon
        self.host = daemon.host
        self.runtime = runtime

    def command(self, *words: str) -> list[str]:
        """Return the client's command line, for the private host."""
        return self.daemon.command(*words)

    def place(self) -> tuple[str, ...]:
        """Return the options that every container is made with."""
        return ("--runtime", self.runtime, "--network", "none")

    def remove_all(self) -> None:
        """Remove every container and volume."""
        if containers := self("ps", "--all", "--quiet").stdout.split():
            self("rm", "--force", "--volumes", *containers)
        self("volume", "prune", "--force")

    def runtime_state(self) -> list[str]:
        """Return the containers that the runtime still knows."""
        return self.daemon.runtime_state(self.runtime)
