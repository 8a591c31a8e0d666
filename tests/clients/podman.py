"""podman on the private host: one runtime, storage of its own, and no network but the host's loopback."""

from __future__ import annotations

import json
import os
import pty
import resource
import shutil
import subprocess
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from libcgroups import detect

from . import runtimes
from .engine import Done, converse

if TYPE_CHECKING:
    from .privatehost import PrivateHost

IMAGE = "localhost/busybox"
# A host that may not raise limits (no CAP_SYS_RESOURCE) refuses podman's defaults for root.
LIMITS = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}


class PodmanError(AssertionError):
    """A command of podman failed; the message is what it said."""


class User(NamedTuple):
    """An unprivileged user of the private host."""

    uid: int
    gid: int


class Podman:
    """Call podman: `podman("ps", "-a")`, `podman.run("true")`. A failure raises unless `check` is false.

    `name` is that of its directory; without a `user` root calls. `driver` is that of the storage.
    """

    def __init__(
        self, host: PrivateHost, name: str, user: User | None = None, *, driver: str = "overlay"
    ) -> None:
        self.host = host
        self.user = user
        self.driver = driver
        self.runtime = "runc"
        self.directory = self._own(host.make_directory(name))
        self.runtime_dir = f"/run/user/{user.uid if user else 0}"  # podman refuses more than 50 characters
        host.path(self.runtime_dir).mkdir(exist_ok=True)
        host.path(self.runtime_dir).chmod(0o700)
        self._own(host.path(self.runtime_dir))
        self._write_configuration()

    def _own(self, path: Path) -> Path:
        if self.user:
            os.chown(path, self.user.uid, self.user.gid)
        return path

    def make_directory(self, name: str) -> Path:
        """Make an empty directory of the user's; one from an earlier check is replaced."""
        path = self.directory / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return self._own(path)

    def _write_configuration(self) -> None:
        ulimits = ", ".join(f'"{limit}"' for limit in self.ulimits()[1::2])
        programs = "\n".join(f'{name} = ["{path}"]' for name, path in runtimes.installed().items())
        (self.directory / "containers.conf").write_text(
            f'[containers]\nnetns = "none"\ndefault_ulimits = [{ulimits}]\n'
            f'[engine]\ncgroup_manager = "{self.host.manager}"\nevents_logger = "file"\nruntime = "runc"\n'
            f"[engine.runtimes]\n{programs}\n"
        )
        (self.directory / "storage.conf").write_text(
            f'[storage]\ndriver = "{self.driver}"\ngraphroot = "{self.directory}/root"\n'
            f'runroot = "{self.runtime_dir}/runroot"\n'
        )

    def ulimits(self, **changed: str) -> list[str]:
        """Return `--ulimit` options: these, and what this host asks for."""
        limits = {name: _limit(number) for name, number in LIMITS.items()} | changed
        return [word for name, limit in limits.items() for word in ("--ulimit", f"{name}={limit}")]

    def command(self, *words: str) -> list[str]:
        """Return podman's command line, for the private host."""
        environment = [f"{name}={value}" for name, value in self.environment().items()]
        options = [*self.storage(), "--runtime", self.runtime]
        return [*self.become(), "env", *environment, "podman", *options, *words]

    def storage(self) -> list[str]:
        """Return the options that name where everything is kept."""
        places = {"--root": self.directory, "--runroot": self.runtime_dir, "--tmpdir": self.runtime_dir}
        words = [word for name, place in places.items() for word in (name, f"{place}/{name.strip('-')}")]
        return [*words, "--storage-driver", self.driver]

    def become(self) -> list[str]:
        """Return the words that make a program run as the user."""
        if self.user is None:
            return []
        return ["setpriv", f"--reuid={self.user.uid}", f"--regid={self.user.gid}", "--clear-groups"]

    def environment(self) -> dict[str, str]:
        """Return the variables that podman is given."""
        return {
            "CONTAINERS_CONF": f"{self.directory}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{self.directory}/storage.conf",
            "XDG_RUNTIME_DIR": self.runtime_dir,
            "HOME": str(self.directory),
            "TMPDIR": str(self.directory),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.runtime_dir}/bus",
        }

    def __call__(self, *words: str, check: bool = True, **more: Any) -> Done:
        """Run a command of podman."""
        ended = self.host.run(*self.command(*words), check=False, cwd=self.directory, **more)
        done = Done(ended.returncode, ended.stdout, ended.stderr)
        if check and done.code != 0:
            raise PodmanError(f"podman {words[0]} ended with {done.code}: {done.stderr.strip()}")
        return done

    def run(self, *words: str, options: tuple[str, ...] = (), check: bool = True, **more: Any) -> Done:
        """Run a container of the image to its end: `run --rm OPTIONS IMAGE WORDS`."""
        return self("run", "--rm", *options, IMAGE, *words, check=check, **more)

    def sh(self, script: str, *options: str, check: bool = True) -> Done:
        """Run a shell script in a new container."""
        return self.run("sh", "-c", script, options=options, check=check)

    def detached(self, *words: str, options: tuple[str, ...] = ()) -> str:
        """Start a container in the background and return its id; `sleep` unless told otherwise."""
        command = words or ("sleep", "1000")
        return self("run", "-d", *options, IMAGE, *command).stdout.strip()

    def create(self, *words: str, options: tuple[str, ...] = ()) -> str:
        """Create a container and return its id."""
        return self("create", *options, IMAGE, *words).stdout.strip()

    def inside(self, container: str, script: str, *options: str, check: bool = True) -> Done:
        """Run a shell script in a running container."""
        return self("exec", *options, container, "sh", "-c", script, check=check)

    def inspect(self, container: str, field: str) -> str:
        """Return a field of `inspect`, such as `.State.Status`."""
        return self("inspect", "--format", f"{{{{{field}}}}}", container).stdout.strip()

    def status(self, container: str) -> str:
        """Return the status that podman asks the runtime for."""
        return self.inspect(container, ".State.Status")

    def pid(self, container: str) -> int:
        """Return the first process of a container."""
        return int(self.inspect(container, ".State.Pid"))

    def json(self, *words: str) -> Any:
        """Return what a command prints as JSON."""
        return json.loads(self(*words).stdout)

    def at_terminal(
        self, *words: str, send: bytes = b"", size: tuple[int, int] = (24, 80), timeout: float = 60
    ) -> Done:
        """Run a command of podman at a terminal; `send` is typed once it has written something."""
        master, slave = pty.openpty()
        termios.tcsetwinsize(master, size)
        try:
            process = subprocess.Popen(
                self.host(*self.command(*words), cwd=self.directory), stdin=slave, stdout=slave, stderr=slave,
                start_new_session=True,
            )  # fmt: skip
            os.close(slave)
            said = converse(master, send, timeout)
            return Done(process.wait(timeout), said.decode().replace("\r\n", "\n"), "")
        finally:
            os.close(master)

    def cgroup(self, container: str, file: str) -> str:
        """Return what a file of the container's cgroup says; with v1 its name begins with the controller's."""
        controller = "" if detect().mode == "v2" else file.partition(".")[0]
        return (self.cgroup_directory(container, controller) / file).read_text().strip()

    def cgroup_directory(self, container: str, controller: str = "") -> Path:
        """Return the container's cgroup, without a `controller` that of the unified hierarchy."""
        for line in Path(f"/proc/{self.pid(container)}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                inside = path.removeprefix(f"/{self.host.name}")
                return self.host.path(f"/sys/fs/cgroup/{controller}{inside}")
        raise AssertionError(f"there is no controller {controller}")

    def namespace(self, container: str, kind: str) -> str:
        """Return which namespace of a kind a container is in."""
        return os.readlink(f"/proc/{self.pid(container)}/ns/{kind}")

    def remove_all(self) -> None:
        """Remove every pod, container and volume."""
        if self("ps", "--all", "--quiet").stdout:
            self("pod", "rm", "--all", "--force", "--time=0")
            done = self("rm", "--all", "--force", "--time=0", check=False)
            if "shm: device or resource busy" in done.stderr:
                # The cleanup that conmon starts when the container ends was about to unmount it, too.
                done = self("rm", "--all", "--force", "--time=0")
            assert done.code == 0, done.stderr
        if any((self.directory / "root/volumes").glob("*")):
            self("volume", "prune", "--force")

    def runtime_state(self) -> list[str]:
        """Return what the runtime keeps about containers, in the place that it chooses when podman names none."""
        root = self.host.path(f"{self.runtime_dir}/{self.runtime}" if self.user else f"/run/{self.runtime}")
        found = sorted(entry.name for entry in root.iterdir()) if root.is_dir() else []
        return [name for name in found if not name.startswith(".")]  # a cache is no container


def _limit(number: int) -> str:
    """Return a limit within the host's; soft and hard are the same, for play kube takes one for the other."""
    hard = resource.getrlimit(number)[1]
    value = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    return f"{value}:{value}"
