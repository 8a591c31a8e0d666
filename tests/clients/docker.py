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


def all_runtimes() -> dict[str, dict[str, str]]:
    """Return the setting that names the runtimes, but for runc, which Docker knows."""
    return {name: {"path": str(path)} for name, path in runtimes.installed().items() if name != "runc"}


class Dockerd(Daemon):
    """The daemon. It makes no bridge and no rule of the firewall: containers have the host's network or none."""

    def __init__(self, host: PrivateHost, name: str, **settings: Any) -> None:
        self.name = name  # also that of its namespace in containerd
        self.socket = f"unix:///run/{name}.sock"
        self.exec_root = f"/run/{name}"
        self.directory = host.make_directory(name)
        self.configuration = host.path(f"/etc/{name}/daemon.json")
        self.configuration.parent.mkdir(exist_ok=True)
        self.configuration.write_text(json.dumps(self._settings() | settings, indent=2))
        words = ("dockerd", "--config-file", f"/etc/{name}/daemon.json")
        super().__init__(host, self.directory / "log", *words)
        self.wait_until_answered(*self.command("version"))

    def _settings(self) -> dict[str, Any]:
        return {
            "hosts": [self.socket],
            "pidfile": f"{self.exec_root}.pid",
            "data-root": str(self.directory / "root"),
            "exec-root": self.exec_root,
            "containerd": containerd.SOCKET,
            "containerd-namespace": self.name,
            "bridge": "none",
            "iptables": False,
            "ip6tables": False,
            "ip-forward": False,
        }

    def command(self, *words: str) -> list[str]:
        """Return the client's command line, for the private host."""
        # Not another client that comes first in PATH: the one that came with the daemon.
        program = shutil.which("docker", path=runtimes.SEARCHED) or "docker"
        return [program, "--host", self.socket, "--config", str(self.directory / "client"), *words]

    def load(self, archive: Path) -> None:
        """Load an image."""
        self.host.run(*self.command("load", "--input", str(archive)))

    def runtime_state(self, runtime: str) -> list[str]:
        """Return the containers that a runtime still knows."""
        return containers_in(self.host.path(f"{self.exec_root}/runtime-{runtime}/{self.name}"))


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
