"""A private view of this host, in which engines run and of which nothing remains.

Engines keep things in places that no option moves: /run/runc, locks in /dev/shm, /etc/containers, cgroups below the
root. So they run in a mount namespace of their own, where /run and /dev/shm are empty and /etc is a copy; in a cgroup
namespace, whose root is one cgroup of each hierarchy; and in a network namespace with a loopback interface alone.

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

from libcgroups.host import DEFAULT_ROOT, Hierarchy, Setup, detect

from ..integration.rootless import NEEDED, searchable

if TYPE_CHECKING:
    from collections.abc import Mapping

CGROUPS = DEFAULT_ROOT
HUGETLB = Hierarchy(f"{CGROUPS}/hugetlb", ("hugetlb",))
CALLERS = "callers"  # the cgroup of the engines' commands on a v2 host, whose inner cgroups have no processes
# Cgroups that engines make once, for themselves: podman's, Docker's, and those of containerd's namespaces.
KEPT = ("conmon", "libpod_parent", "docker", "default", "k8s.io", CALLERS)
# What an engine's programs are found by; the caller's own PATH may lead into a virtual environment.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# $1 is an empty directory for the copy of /etc, $2 the script that goes on; {shown} is what stays to be seen of /run.
COVER = """
set -eu
mkdir "$1/run" "$1/upper" "$1/work"
mount --rbind /run "$1/run"
mount -t tmpfs -o mode=755 tmpfs /run
for shown in {shown}; do
    if [ -d "$1/run/$shown" ]; then
        mkdir -p "/run/$shown"
    else
        mkdir -p "/run/${{shown%/*}}"
        : >"/run/$shown"
    fi
    mount --rbind "$1/run/$shown" "/run/$shown"
done
umount -l "$1/run"
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mkdir -m 1777 /run/lock
mkdir -p /run/user /run/outer /run/inner
mount -t overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" overlay /etc
ip link set lo up
"""
# What may be limited in our cgroup is for the one above to say. A controller that it cannot hand down fails a test.
HAND_DOWN = """
for controller in $(cat {place}/cgroup.controllers); do
    echo "+$controller" >{place}/cgroup.subtree_control || :
done
"""
# The namespaces live for as long as our end of the pipe is open.
HOLD = """
echo ready
exec cat
"""
# $1 is the working directory: setns(2) into a mount namespace leads to its root.
ENTER = 'cd "$1"; shift; exec "$@"'
JOIN = f'for procs in {CGROUPS}/*/cgroup.procs; do echo 0 >"$procs"; done; {ENTER}'
# $1 is the cgroup's file, from outside: whoever is in the cgroup namespace already may move nobody into it who is
# not below its root (cgroup-v2.rst, "nsdelegate").
JOIN_UNIFIED = 'echo 0 >"$1"; shift; exec "$@"'


class PrivateHost:
    """Run programs in the private namespaces: `run` to the end, `start` to go on.

    `directory` is where engines keep what they store; `name` is that of our cgroups. `manager` makes those of
    containers, in podman's words.
    """

    manager = "cgroupfs"

    def __init__(self) -> None:
        self.name = f"test-clients-{os.getpid()}"
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.directory.chmod(0o755)
        self._setup = detect()
        words = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", self._outer(), "sh"]
        self._holder = subprocess.Popen(
            [*words, str(self.make_directory("etc")), self._inner()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            _, told = self._holder.communicate()
            self.close()
            pytest.skip(f"private namespaces cannot be made here: {told.strip()}")

    def _outer(self) -> str:
        """Return the script that makes our cgroups and enters them, for the namespace below them."""
        lines = [COVER.format(shown="")]
        for hierarchy in _hierarchies(self._setup):
            place = hierarchy.mount_point
            if self._setup.mode == "v2":
                lines.append(HAND_DOWN.format(place=place))
            if hierarchy is HUGETLB:
                place = "/run/outer"
                lines.append(f"mount -t cgroup -o hugetlb hugetlb {place}")
            lines.append(f"mkdir {place}/{self.name}")
            if "cpuset" in hierarchy.controllers:  # an empty set, cpuset(7), takes no process
                lines += [f"cat {place}/cpuset.{x} >{place}/{self.name}/cpuset.{x}" for x in ("cpus", "mems")]
            lines.append(f"echo 0 >{place}/{self.name}/cgroup.procs")
            if hierarchy is HUGETLB:
                lines.append(f"umount {place}")
        return "\n".join([*lines, 'exec unshare --cgroup sh -c "$2"'])

    def _inner(self) -> str:
        """Return the script that mounts the hierarchies as the cgroup namespace shows them."""
        lines = ["set -eu"]
        if self._setup.mode == "v2":
            # Moved: the kernel refuses the same file system twice in one place, mount(2), EBUSY.
            lines += ["mount -t cgroup2 cgroup2 /run/inner", f"mkdir /run/inner/{CALLERS}"]
            lines.append(f"echo 0 >/run/inner/{CALLERS}/cgroup.procs")
        else:
            lines.append("mount -t tmpfs -o mode=755 tmpfs /run/inner")
            for hierarchy in _hierarchies(self._setup):
                place = f"/run/inner/{os.path.basename(hierarchy.mount_point)}"
                lines.append(f"mkdir {place}; mount -t {_type(hierarchy)} cgroup {place}")
                lines += [f"ln -s {os.path.basename(place)} /run/inner/{link}" for link in hierarchy.links]
        lines.append(f"mount --move /run/inner {CGROUPS}")
        return "\n".join([*lines, "rmdir /run/outer /run/inner", *searchable(NEEDED), HOLD])

    def __call__(self, *words: str, cwd: Path | str = "/") -> list[str]:
        """Return the command that runs `words` there, in the directory `cwd`."""
        enter = self._enter("mnt", "net", "cgroup")
        if self._setup.mode != "v2":
            return [*enter, "sh", "-c", JOIN, "sh", str(cwd), *words]
        callers = f"{self._setup.unified}/{self.name}/{CALLERS}/cgroup.procs"
        return ["sh", "-c", JOIN_UNIFIED, "sh", callers, *enter, "sh", "-c", ENTER, "sh", str(cwd), *words]

    def _enter(self, *kinds: str) -> list[str]:
        """Return the words that enter namespaces of these kinds."""
        options = {"mnt": "mount"}
        spaces = [f"--{options.get(kind, kind)}=/proc/{self._holder.pid}/ns/{kind}" for kind in kinds]
        return ["nsenter", *spaces, "--"]

    def path(self, path: str | Path) -> Path:
        """Return how a path there is reached from here."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def make_directory(self, name: str) -> Path:
        """Make a directory for one engine, or for what engines share."""
        path = self.directory / name
        path.mkdir(mode=0o755)
        return path

    def run(
        self,
        *words: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | str = "/",
        check: bool = True,
        **more: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there to its end, in an environment of PATH and `env` alone."""
        streams = {"stdin": subprocess.DEVNULL} if "input" not in more else {}
        options = {"timeout": 120, "capture_output": True, "text": True, **streams, **more}
        done = subprocess.run(
            self(*words, cwd=cwd), env={"PATH": PATH, **(env or {})}, check=False, **options
        )
        assert not check or done.returncode == 0, f"{words} ended with {done.returncode}: {done.stderr}"
        return done

    def start(self, *words: str, env: Mapping[str, str] | None = None, **more: Any) -> subprocess.Popen[str]:
        """Start a program there, such as a daemon. Whoever starts it ends it."""
        options = {"text": True, "stdin": subprocess.DEVNULL, **more}
        return subprocess.Popen(self(*words), env={"PATH": PATH, **(env or {})}, **options)

    def processes(self) -> list[str]:
        """Return "PID: COMMAND LINE" of what is in a cgroup of ours, but for the holder."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                ours = self._is_ours(Path(f"/proc/{pid}/cgroup").read_text())
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                continue  # it ended meanwhile
            if ours and not ended and int(pid) != self._holder.pid:
                found.append(f"{pid}: {line.strip()}")
        return found

    def _is_ours(self, cgroups: str) -> bool:
        """Tell whether a process with this /proc/PID/cgroup runs here."""
        return f"/{self.name}" in cgroups

    def cgroups(self) -> list[str]:
        """Return the cgroups that runtimes have left, as paths there."""
        return [path for path in self._cgroups() if os.path.basename(path) not in KEPT]

    def _cgroups(self) -> list[str]:
        """Return all cgroups below ours, innermost first."""
        found, root = [], self.path("/")
        for hierarchy in _hierarchies(self._setup):
            top = str(self.path(hierarchy.mount_point))
            for directory, _, _ in os.walk(top, topdown=False):
                if directory != top:
                    found.append(f"/{os.path.relpath(directory, root)}")
        return found

    def remove_cgroups(self, paths: list[str]) -> None:
        """Remove cgroups that nobody is in."""
        for path in paths:
            os.rmdir(self.path(path))

    def close(self) -> None:
        """Give up the namespaces; remove the directory, and the cgroups, which engines keep when they end."""
        self._give_up()
        shutil.rmtree(self.directory)

    def _give_up(self) -> None:
        unified = self._setup.mode == "v2"
        if self._holder.poll() is None:
            inner = self._cgroups()
            self.remove_cgroups([path for path in inner if not (unified and path.endswith(f"/{CALLERS}"))])
            self._holder.communicate()  # closes its input
        for hierarchy in _hierarchies(self._setup):
            ours = f"{hierarchy.mount_point}/{self.name}"
            if hierarchy is HUGETLB:
                script = 'mount -t cgroup -o hugetlb hugetlb /mnt && rmdir "/mnt/$1"'
                subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", self.name], check=True)
            elif os.path.isdir(ours):
                if os.path.isdir(f"{ours}/{CALLERS}"):  # where the holder was
                    os.rmdir(f"{ours}/{CALLERS}")
                os.rmdir(ours)


def _hierarchies(setup: Setup) -> list[Hierarchy]:
    """Return the hierarchies that engines shall find."""
    found = list(setup.hierarchies)
    if found and not any("hugetlb" in hierarchy.controllers for hierarchy in found):
        with open("/proc/cgroups") as table:
            found += [HUGETLB for line in table if line.startswith("hugetlb\t")]
    return [*found, setup.unified_hierarchy] if setup.unified_hierarchy else found


def _type(hierarchy: Hierarchy) -> str:
    """Return the words for mount(8)."""
    if not hierarchy.controllers:
        return "cgroup2"
    return f"cgroup -o {hierarchy.mount_data.replace('name=', 'none,name=')}"
