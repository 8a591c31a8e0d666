"""What the tests on real containers share.

Bundles with a small root file system, and a check that nothing is left behind.
"""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import Container, ContainerBuilder, ExitStatus, state

from ..tools import probe as probes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUSYBOX = next((path for path in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(path)), None)
YOUKI = Path(sys.executable).with_name("youki")

CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
SPEC: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "process": {
        "user": {"uid": 0, "gid": 0},
        "args": ["true"],
        "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": False},
    "hostname": "box",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
    ],
    "linux": {
        "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
        "maskedPaths": ["/proc/kcore", "/sys/firmware"],
        "readonlyPaths": ["/proc/sys"],
    },
}


class Result:
    """What a container that ran to its end left: its status and what it wrote."""

    def __init__(self, status: ExitStatus, stdout: bytes, stderr: bytes) -> None:
        self.status = status
        self.stdout = stdout.decode()
        self.stderr = stderr.decode()

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    def __repr__(self) -> str:
        return f"Result({self.status}, {self.stdout!r}, {self.stderr!r})"


class Bundle:
    """A bundle in a temporary directory.

    Change `spec` (plain OCI data), then `run`, `build` or `youki` it.
    """

    def __init__(self, path: Path, root: Path, container_id: str) -> None:
        self.path = path
        self.root = root
        self.id = container_id
        self.rootfs = path / "rootfs"
        self.spec = copy.deepcopy(SPEC)

    @property
    def process(self) -> dict[str, Any]:
        process: dict[str, Any] = self.spec["process"]
        return process

    @property
    def linux(self) -> dict[str, Any]:
        linux: dict[str, Any] = self.spec["linux"]
        return linux

    def mount(
        self, destination: str, source: str = "none", kind: str = "bind", *options: str, **more: Any
    ) -> None:
        """Append a mount."""
        self.spec["mounts"].append(
            {
                "destination": destination,
                "type": kind,
                "source": str(source),
                "options": list(options),
                **more,
            }
        )

    def add_userns(self, host_id: int = 100000, size: int = 65536) -> None:
        """Give the container a user namespace that maps `size` ids from 0 on to `host_id` and what follows."""
        self.linux["namespaces"].append({"type": "user"})
        mapping = [{"containerID": 0, "hostID": host_id, "size": size}]
        self.linux["uidMappings"] = self.linux["gidMappings"] = mapping

    def set_namespace(self, kind: str, path: str | None = None) -> None:
        """Make (or join at `path`) a namespace of this type, whatever was there."""
        self.remove_namespace(kind)
        self.linux["namespaces"].append({"type": kind, **({"path": path} if path else {})})

    def remove_namespace(self, kind: str) -> None:
        """Share this type of namespace with the host."""
        self.linux["namespaces"] = [item for item in self.linux["namespaces"] if item["type"] != kind]

    def save(self) -> None:
        """Write config.json."""
        from libcontainer.strictjson import dumps

        (self.path / "config.json").write_text(dumps(self.spec))

    def builder(self) -> ContainerBuilder:
        """Return a builder with this bundle's id and root, for what `build` has no parameter."""
        return ContainerBuilder(self.id).with_root_path(self.root)

    def build(
        self, *args: str, stdout: int | None = None, stderr: int | None = None, stdin: int | None = None
    ) -> Container:
        """Create the container; with `args` its payload is these."""
        if args:
            self.process["args"] = list(args)
        self.save()
        builder = self.builder().with_stdin(stdin).with_stdout(stdout).with_stderr(stderr)
        return builder.as_init(self.path).build()

    def run(self, *args: str, timeout: float = 30.0) -> Result:
        """Create, start, wait for and delete the container; return its status and output."""
        with (
            open(self.path / "stdout", "w+b") as out,
            open(self.path / "stderr", "w+b") as err,
            open("/dev/null") as null,
        ):
            with self.build(
                *args, stdin=null.fileno(), stdout=out.fileno(), stderr=err.fileno()
            ) as container:
                container.start()
                status = container.wait(timeout)
            out.seek(0)
            err.seek(0)
            return Result(status, out.read(), err.read())

    def sh(self, script: str, timeout: float = 30.0) -> Result:
        """Run a shell script in the container."""
        return self.run("/bin/sh", "-c", script, timeout=timeout)

    def youki(self, *words: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        """Call the command line with this bundle's root: `bundle.youki("state", bundle.id)`.

        The output goes through files: a container keeps its creator's stdout, and subprocess would wait for
        the end of a pipe.
        """
        self.save()
        command = [str(YOUKI), "--root", str(self.root), *words]
        with open(self.path / "youki.out", "w+") as out, open(self.path / "youki.err", "w+") as err:
            streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, **more}
            done = subprocess.run(command, cwd=self.path, timeout=60, check=False, **streams)
            out.seek(0)
            err.seek(0)
            found = subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())
        assert not check or found.returncode == 0, found.stderr
        return found


def make_rootfs(path: Path) -> None:
    """Fill `path` with busybox and the few files that a root file system needs."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "root", "usr/bin", "var", "mnt"):
        (path / name).mkdir(parents=True, exist_ok=True)
    (path / "tmp").chmod(0o1777)
    assert BUSYBOX is not None
    shutil.copy(BUSYBOX, path / "bin/busybox")
    for applet in busybox_applets():
        link = path / "bin" / applet
        if not link.is_symlink():
            link.symlink_to("busybox")
    (path / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000:Alice:/home/alice:/bin/sh\n"
    )
    (path / "etc/group").write_text("root:x:0:\nalice:x:1000:\n")


def busybox_applets() -> Sequence[str]:
    """Return the names of busybox's applets."""
    done = subprocess.run([str(BUSYBOX), "--list"], text=True, capture_output=True, check=True)
    return [name for name in done.stdout.split() if name != "busybox"]


def traces() -> dict[str, list[str]]:
    """Return what the containers of this test process could leave on the host: mounts, and cgroups by name."""
    with open("/proc/self/mountinfo") as file:
        mounts = sorted(line.split(" ")[4] for line in file)
    cgroups: list[str] = []
    for directory, names, _ in os.walk("/sys/fs/cgroup"):  # what others remove meanwhile is passed over
        cgroups += [f"{directory}/{name}" for name in names if name.startswith(f"test-{os.getpid()}-")]
    return {"mounts": mounts, "cgroups": sorted(cgroups)}


@pytest.fixture
def bundle(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bundle]:
    """A bundle with a busybox root file system.

    Its container is deleted afterwards, and nothing may be left behind.
    """
    if BUSYBOX is None:
        pytest.skip("busybox is not installed (Debian: busybox-static)")
    if os.geteuid() != 0:
        pytest.skip("needs root: the container is made without a user namespace")
    before = traces()
    path = tmp_path / "bundle"
    path.mkdir()
    make_rootfs(path / "rootfs")
    name = "".join(character for character in request.node.name if character.isalnum())[-40:]
    made = Bundle(path, tmp_path / "state", f"test-{os.getpid()}-{name}")
    yield made
    for container in Container.list(made.root):
        container.delete(force=True)
    assert traces() == before
    assert state.list_ids(str(made.root)) == []


@pytest.fixture
def probe(bundle: Bundle) -> Bundle:
    """A bundle with the probe as /bin/probe."""
    program = probes.program()
    if program is None:
        pytest.skip("needs a C compiler")
    shutil.copy(program, bundle.rootfs / "bin/probe")
    return bundle
