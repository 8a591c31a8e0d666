"""An unprivileged user with subordinate ids, whoever runs the tests.

Root lends the name to a user who does not exist: in a private mount namespace copies of /etc/passwd, /etc/subuid
and /etc/subgid that know it are mounted over the real ones, and everything runs there as that user, in a clean
environment. Nothing of the host is changed. An unprivileged caller of the tests is the user itself.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import state
from libcontainer.idmap import subordinate_ids

from .conftest import BUSYBOX, YOUKI, make_rootfs

if TYPE_CHECKING:
    from collections.abc import Iterator

UID = 43210
NAME = "borrowed"
FIRST_SUBORDINATE, SUBORDINATES = 432100000, 65536
# What this user must be able to read: the interpreter, its virtual environment, and this source tree.
NEEDED = (sys.base_prefix, sys.prefix, str(Path(__file__).parents[2]))


class User:
    """An unprivileged user: `run` commands as it, `youki` among them; `spec` and `save` its bundle.

    `mounts` holds shell commands that root runs first, in the private mount namespace. `groups` are
    supplementary groups. With `uid` it is one who exists, with the group of the same number.
    """

    def __init__(self, home: Path, uid: int | None = None) -> None:
        self.exists = uid is not None or os.geteuid() != 0
        self.uid = UID if uid is None else uid
        self.gid = self.uid
        if os.geteuid() != 0:
            self.uid, self.gid = os.geteuid(), os.getegid()
        self.home = home
        self.runtime_dir = home / "runtime"
        self.bundle = home / "bundle"
        self.rootfs = self.bundle / "rootfs"
        self.root = self.runtime_dir / "youki"
        self.groups: tuple[int, ...] = ()
        self.mounts: list[str] = []
        self.spec: dict[str, Any] = {}

    @property
    def first(self) -> int:
        """The first subordinate id; skips the test where the caller of the tests has none."""
        if os.geteuid() == 0:
            return FIRST_SUBORDINATE
        uids, gids = subordinate_ids(self.uid)
        if not uids or uids != gids or uids[0][1] < SUBORDINATES:
            pytest.skip("this user has no 65536 subordinate ids, the same in /etc/subuid and /etc/subgid")
        return uids[0][0]

    def environment(self) -> dict[str, str]:
        """Return all of the user's environment."""
        return {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.runtime_dir),
            "LC_ALL": "C.UTF-8",
        }

    def command(self, *words: str, env: dict[str, str] | None = None) -> list[str]:
        """Return the command that runs `words` as the user in `env` (None: `environment()`)."""
        variables = [
            f"{name}={value}" for name, value in (self.environment() if env is None else env).items()
        ]
        bare = ["env", "-i", *variables, *words]
        if os.geteuid() != 0:
            if self.mounts or self.groups:
                pytest.skip("needs root, to lend a user other files and groups")
            return bare
        groups = f"--groups={','.join(map(str, self.groups))}" if self.groups else "--clear-groups"
        become = ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", groups, "--", *bare]
        script = "\n".join(["set -eu", *self._files(), *searchable(NEEDED), *self.mounts, 'exec "$@"'])
        return ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh", *become]

    def _files(self) -> list[str]:
        """Return the mounts of files that know the user."""
        if self.exists:
            return []
        known = self.home / "etc"
        if not known.exists():
            known.mkdir()
            line = f"{NAME}:x:{UID}:{UID}::{self.home}:/bin/sh\n"
            (known / "passwd").write_text(Path("/etc/passwd").read_text() + line)
            for name in ("subuid", "subgid"):
                if not os.path.exists(f"/etc/{name}"):
                    pytest.skip(f"there is no /etc/{name} to mount another one over")
                (known / name).write_text(f"{NAME}:{FIRST_SUBORDINATE}:{SUBORDINATES}\n")
        return [f"mount --bind {known}/{name} /etc/{name}" for name in ("passwd", "subuid", "subgid")]

    def run(
        self, *words: str, check: bool = True, env: dict[str, str] | None = None, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the user in its bundle; `check` asserts that it succeeds."""
        done = subprocess.run(
            self.command(*words, env=env),
            cwd=self.bundle, capture_output=True, text=True, timeout=60, check=False, **more,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return done

    def youki(self, *words: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run the command line as the user."""
        return self.run(str(YOUKI), *words, check=check, **more)

    def python(self, script: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a Python script as the user."""
        return self.run(sys.executable, "-c", script, check=check, **more)

    def make_spec(self) -> None:
        """Let `youki spec --rootless` write the configuration, and read it into `spec`."""
        self.youki("spec", "--rootless")
        self.spec = json.loads((self.bundle / "config.json").read_text())
        self.spec["process"]["terminal"] = False

    def map_subordinate_ids(self) -> None:
        """Map root to the user, and 1 and what follows to the subordinate ids."""
        for field, own in (("uidMappings", self.uid), ("gidMappings", self.gid)):
            self.spec["linux"][field] = [
                {"containerID": 0, "hostID": own, "size": 1},
                {"containerID": 1, "hostID": self.first, "size": SUBORDINATES},
            ]

    def set_namespace(self, kind: str, path: str | None = None) -> None:
        """Make, or join at `path`, a namespace of this type, whatever was there."""
        self.remove_namespace(kind)
        self.spec["linux"]["namespaces"].append({"type": kind, **({"path": path} if path else {})})

    def remove_namespace(self, kind: str) -> None:
        """Share this type of namespace with the host."""
        listed = self.spec["linux"]["namespaces"]
        self.spec["linux"]["namespaces"] = [item for item in listed if item["type"] != kind]

    def save(self) -> None:
        """Write the bundle's config.json."""
        (self.bundle / "config.json").write_text(json.dumps(self.spec))

    def sh(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell script in a container of this bundle by `youki run`."""
        self.spec["process"]["args"] = ["sh", "-c", script]
        self.save()
        return self.youki("run", "test-rootless", check=check)

    def create(self, container_id: str, *args: str) -> None:
        """Create a container with this payload by `youki create`; it keeps no pipe of ours open."""
        self.spec["process"]["args"] = list(args)
        self.save()
        with open(self.home / "output", "w+") as output:
            streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            command = self.command(str(YOUKI), "create", container_id)
            done = subprocess.run(command, cwd=self.bundle, timeout=60, check=False, **streams)
            output.seek(0)
            assert done.returncode == 0, output.read()

    def processes(self) -> list[int]:
        """Return the processes of the borrowed user and of its subordinate ids that have not ended."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                status = Path(f"/proc/{name}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile
            owner = int(status.partition("\nUid:")[2].split()[0])
            ended = "\nState:\tZ" in status  # for its parent to reap, perhaps the host's init
            if not ended and (owner == UID or 0 <= owner - FIRST_SUBORDINATE < SUBORDINATES):
                found.append(int(name))
        return found


def searchable(paths: tuple[str, ...]) -> list[str]:
    """Return the mounts after which everybody can search the way to these directories, also one in root's home."""
    hidden: dict[str, list[str]] = {}
    for path in paths:
        closed = [str(parent) for parent in reversed(Path(path).parents) if not parent.stat().st_mode & 0o001]
        if closed:
            hidden.setdefault(closed[0], []).append(path)
    commands = []
    for directory, inner in hidden.items():
        commands += ["mount -t tmpfs -o mode=755 tmpfs /mnt", "umask 022"]
        for number, path in enumerate(inner):
            commands.append(f"mkdir /mnt/{number}; mount --bind {shlex.quote(path)} /mnt/{number}")
        commands.append(f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(directory)}")
        for number, path in enumerate(inner):
            commands.append(f"mkdir -p {shlex.quote(path)}; mount --bind /mnt/{number} {shlex.quote(path)}")
        commands.append("umount -l /mnt")
    return commands


@contextmanager
def borrowed_user() -> Iterator[User]:
    """Yield a user with a home, a runtime directory and a bundle; afterwards nothing of it remains."""
    if BUSYBOX is None:
        pytest.skip("busybox is not installed (Debian: busybox-static)")
    home = Path(tempfile.mkdtemp(prefix="youki-rootless-"))
    user = User(home)
    try:
        home.chmod(0o755)
        make_rootfs(user.rootfs)
        user.runtime_dir.mkdir(mode=0o700)
        if os.geteuid() == 0:
            give(home, user.uid, user.gid)
        yield user
        _delete_containers(user)
        if os.geteuid() == 0:
            assert user.processes() == []
        assert state.list_ids(str(user.root)) == []
    finally:
        shutil.rmtree(home)


def _delete_containers(user: User) -> None:
    user.mounts, user.groups = [], ()
    for name in state.list_ids(str(user.root)):
        user.youki("delete", "--force", name)


def give(path: Path, uid: int, gid: int) -> None:
    os.chown(path, uid, gid)
    for directory, names, files in os.walk(path):
        for name in names + files:
            os.chown(os.path.join(directory, name), uid, gid, follow_symlinks=False)
