"""A private view of this host, in which engines run and of which nothing remains.

Engines keep things in places that no option moves: /run/runc, locks in /dev/shm, /etc/containers. So they run in
a mount namespace of their own, where /run and /dev/shm are empty and what they change of /etc is a copy, and in
a network namespace with nothing but a loopback interface. The cgroups are the host's, below a name of our own.

crun refuses a v1 host whose `hugetlb` controller is not mounted: it is mounted, but only there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

CGROUPS = Path("/sys/fs/cgroup")
KEPT = ("conmon",)  # cgroups that an engine makes for itself and never removes
# What an engine's programs are found by; the caller's own PATH may lead into a virtual environment.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# $1 is an empty directory. /sys/fs/cgroup is covered by a copy of itself, not changed: a tmpfs that it may be is
# the host's too. The last line keeps the namespaces for as long as our end of the pipe is open.
SETUP = """
set -eu
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mkdir -m 1777 /run/lock
mkdir "$1/etc" "$1/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work" overlay /etc
ip link set lo up
if [ -d /sys/fs/cgroup/memory ] && ! grep -q ' - cgroup [^ ]* [^ ]*hugetlb' /proc/self/mountinfo; then
    mkdir /run/cgroup
    mount -t tmpfs -o mode=755 tmpfs /run/cgroup
    for name in $(ls /sys/fs/cgroup); do
        if [ -L "/sys/fs/cgroup/$name" ]; then
            cp -P "/sys/fs/cgroup/$name" /run/cgroup
        else
            mkdir -p "/run/cgroup/$name"
            mount --bind "/sys/fs/cgroup/$name" "/run/cgroup/$name"
        fi
    done
    mkdir -p /run/cgroup/hugetlb
    mount -t cgroup -o hugetlb hugetlb /run/cgroup/hugetlb || rmdir /run/cgroup/hugetlb
    mount --move /run/cgroup /sys/fs/cgroup
    rmdir /run/cgroup
fi
echo ready
exec cat
"""


class PrivateHost:
    """Run programs in the private namespaces: `run` to the end, `start` to go on.

    `directory` is where engines keep what they store, `name` what their cgroups begin with.
    """

    def __init__(self) -> None:
        self.name = f"test-clients-{os.getpid()}"
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.directory.chmod(0o755)
        (self.directory / "etc").mkdir()
        words = ["unshare", "--mount", "--net", "--propagation", "private"]
        self._holder = subprocess.Popen(
            [*words, "sh", "-c", SETUP, "sh", str(self.directory / "etc")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            _, told = self._holder.communicate()
            shutil.rmtree(self.directory)
            pytest.skip(f"private namespaces cannot be made here: {told.strip()}")

    def __call__(self, *words: str) -> list[str]:
        """Return the command that runs `words` there."""
        space = f"/proc/{self._holder.pid}/ns"
        return ["nsenter", f"--mount={space}/mnt", f"--net={space}/net", "--", *words]

    def path(self, path: str) -> Path:
        """Return how a path there is reached from here."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def run(
        self, *words: str, env: Mapping[str, str] | None = None, check: bool = True, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there to its end, in an environment of PATH and `env` alone."""
        streams = {"stdin": subprocess.DEVNULL} if "input" not in more else {}
        options = {"timeout": 120, "capture_output": True, "text": True, **streams, **more}
        done = subprocess.run(self(*words), env={"PATH": PATH, **(env or {})}, check=False, **options)
        assert not check or done.returncode == 0, f"{words} ended with {done.returncode}: {done.stderr}"
        return done

    def start(self, *words: str, env: Mapping[str, str] | None = None, **more: Any) -> subprocess.Popen[str]:
        """Start a program there, such as a daemon. Whoever starts it ends it."""
        options = {"text": True, "stdin": subprocess.DEVNULL, **more}
        return subprocess.Popen(self(*words), env={"PATH": PATH, **(env or {})}, **options)

    def make_directory(self, name: str) -> Path:
        """Make a directory for one engine, or for what engines share."""
        path = self.directory / name
        path.mkdir(mode=0o755)
        return path

    def processes(self) -> list[str]:
        """Return the command lines of what runs there, or in a cgroup of ours, but for the holder."""
        mine = os.readlink(f"/proc/{self._holder.pid}/ns/mnt")
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                inside = os.readlink(f"/proc/{pid}/ns/mnt") == mine
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                ours = self.name in line or f"/{self.name}" in Path(f"/proc/{pid}/cgroup").read_text()
                ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                continue  # it ended meanwhile
            if (inside or ours) and not ended and int(pid) not in (self._holder.pid, os.getpid()):
                found.append(f"{pid}: {line.strip()}")
        return found

    def cgroups(self) -> list[str]:
        """Return the cgroups that runtimes have left below our name."""
        return [path for path in self._cgroups() if os.path.basename(path) not in (self.name, *KEPT)]

    def _cgroups(self) -> list[str]:
        """Return all cgroups whose path has our name, innermost first."""
        found = []
        for root in (CGROUPS, self.path(str(CGROUPS))):
            for directory, _, _ in os.walk(root, topdown=False):
                if f"/{self.name}" in directory:
                    found.append(directory)
        return found

    def close(self) -> None:
        """Give up the namespaces, and remove the directory and the cgroups that engines keep when they end."""
        for directory in self._cgroups():
            _remove_cgroup(directory)
        self._holder.communicate()  # closes its input
        shutil.rmtree(self.directory)


def _remove_cgroup(directory: str) -> None:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        pass
