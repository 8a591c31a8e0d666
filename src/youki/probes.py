"""What this host lets its containers do, found out by making them.

Nothing is concluded from versions or files: each probe makes a tiny container of one kind in a temporary directory,
looks at what it did, and removes it. Only a probe that failed is asked for the reason. Not on the hot path.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import libcgroups
from libcontainer import ContainerBuilder, bundle, strictjson
from libcontainer.errors import Error, InvalidArgument
from libcontainer.idmap import subordinate_ids
from youki import cures, engines
from youki.program import own_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Spec = dict[str, Any]

WORKS, FAILS, ABSENT = (
    "works",
    "fails",
    "absent",
)  # absent: this host does not offer it, or nobody asked for it
SYSTEMD = "/run/systemd/system"  # sd_booted(3)
NOBODY = 65534
PATIENCE_S = 60.0


class Finding:
    """What a probe found: `status` is WORKS, FAILS or ABSENT; a `reason` and the `remedy` where it does not work."""

    def __init__(self, name: str, status: str, reason: str | None = None, remedy: str | None = None) -> None:
        self.name = name
        self.status = status
        self.reason = reason
        self.remedy = remedy

    @property
    def about(self) -> str:
        """What was tried, in words."""
        return ABOUT.get(self.name) or f"containers that {self.name} makes"

    def as_dict(self) -> dict[str, str | None]:
        """Return it as JSON shows it."""
        return {"name": self.name, "about": self.about} | self.__dict__


class ProbeError(Exception):
    """A container was made, but was not as it should be."""


def examine(names: Sequence[str] = ()) -> Iterator[Finding]:
    """Yield the finding of each probe, or of those called `names`, as it is made. Raises InvalidArgument."""
    known = (*PROBES, *engines.NAMES)
    for name in names:
        if name not in known:
            raise InvalidArgument(f"there is no probe {name!r}", remedy=f"the probes are {', '.join(known)}")
    for name in known:
        if not names or name in names:
            yield PROBES[name](name) if name in PROBES else probe_engine(name)


def probe_rootful(name: str) -> Finding:
    """A container without a user namespace."""
    if os.geteuid() != 0:
        return Finding(name, ABSENT, "only root may make it", "sudo youki doctor rootful")
    return attempt(name, lambda: run("true"))


def probe_rootless(name: str) -> Finding:
    """A container of an unprivileged user, who alone is mapped."""
    if os.geteuid() == 0:
        return as_somebody_else(name)
    return attempt(name, lambda: run("true"))


def probe_subordinate_ids(name: str) -> Finding:
    """A container of an unprivileged user with more than one id: newuidmap(1) writes the mapping."""
    if os.geteuid() == 0:
        return Finding(name, ABSENT, "root needs none; ask as the user who shall have them")
    ranges = subordinate_ids(os.geteuid())
    if not all(ranges):
        return Finding(name, FAILS, "this user has no subordinate ids", cures.subordinate_ranges())

    def ask(spec: Spec) -> None:
        for field, own, (first, size) in zip(
            ("uidMappings", "gidMappings"),
            (os.geteuid(), os.getegid()),
            (held[0] for held in ranges),
            strict=True,
        ):
            spec["linux"][field] = [
                {"containerID": 0, "hostID": own, "size": 1},
                {"containerID": 1, "hostID": first, "size": size},
            ]

    return attempt(name, lambda: run("true", change=ask))


def probe_limits(name: str) -> Finding:
    """A container with limits: past that of processes no further one can be made."""
    if os.geteuid() != 0 and libcgroups.detect().mode != "v2":
        return Finding(name, ABSENT, "cgroup v1 has limits for root alone")

    def ask(spec: Spec) -> None:
        spec["linux"]["resources"] = {
            "memory": {"limit": 64 << 20},
            "cpu": {"quota": 50000, "period": 100000},
            "pids": {"limit": 8},
        }

    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 9 & done 2>/dev/null; exec true"
    return attempt(name, lambda: run("sh", "-c", script, change=ask, succeeds=False))


def probe_seccomp(name: str) -> Finding:
    """A container with a filter that denies one system call."""

    def ask(spec: Spec) -> None:
        rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
        spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}

    return attempt(name, lambda: run("sh", "-c", "! mkdir /tmp/new", change=ask))


def probe_systemd(name: str) -> Finding:
    """A container whose cgroup systemd makes."""
    if not os.path.isdir(SYSTEMD):
        return Finding(name, ABSENT, "systemd does not manage this host")
    return attempt(name, lambda: run("true", systemd=True))


def probe_engine(name: str) -> Finding:
    """A container that an engine makes, in storage of its own where it can have one."""
    engine = engines.load(name)
    if shutil.which(engine.PROGRAM) is None:
        return Finding(name, ABSENT, f"{engine.PROGRAM} is not installed")
    with temporary_directory() as directory:
        absence = engine.absence()
        if absence:
            return Finding(name, ABSENT, *absence)
        make_rootfs(directory / "rootfs")
        return attempt(name, lambda: engine.probe(own_program(), directory, f"youki-doctor-{os.getpid()}"))


PROBES: dict[str, Callable[[str], Finding]] = {
    "rootful": probe_rootful,
    "rootless": probe_rootless,
    "subordinate-ids": probe_subordinate_ids,
    "limits": probe_limits,
    "seccomp": probe_seccomp,
    "systemd": probe_systemd,
}
ABOUT = {
    "rootful": "containers that root makes",
    "rootless": "containers that an unprivileged user makes",
    "subordinate-ids": "containers of an unprivileged user with many ids",
    "limits": "limits of memory, CPU time and processes",
    "seccomp": "system call filters",
    "systemd": "cgroups that systemd makes",
}


def attempt(name: str, make: Callable[[], None]) -> Finding:
    """Return what came of making a container."""
    try:
        make()
    except (Error, ProbeError, OSError, subprocess.SubprocessError) as error:
        message = error.message if isinstance(error, Error) else str(error)
        return Finding(name, FAILS, message, cures.of(name, error))
    return Finding(name, WORKS)


def run(
    *args: str, change: Callable[[Spec], None] | None = None, systemd: bool = False, succeeds: bool = True
) -> None:
    """Make a container of the host's own programs, run `args` in it to the end and remove it. Raises what fails."""
    with (
        temporary_directory() as directory,
        open(directory / "output", "w+") as output,
        open(os.devnull) as null,
    ):
        place = bundle.create(directory / "bundle", args=args, terminal=False)
        if change:
            config = place / bundle.CONFIG
            spec = json.loads(config.read_text())
            change(spec)
            config.write_text(strictjson.dumps(spec))
        builder = ContainerBuilder(f"youki-doctor-{os.getpid()}").with_root_path(directory / "state")
        builder.with_stdin(null.fileno()).with_stdout(output.fileno()).with_stderr(output.fileno())
        with builder.as_init(place).with_systemd(systemd).build() as container:
            container.start()
            status = container.wait(PATIENCE_S)
        output.seek(0)
        if (status.code == 0) != succeeds:
            raise ProbeError(
                f"{args[-1]!r} ended with {status}: {output.read().strip() or 'it said nothing'}"
            )


def as_somebody_else(name: str) -> Finding:
    """Let the user who called sudo(8), else nobody, make the probe."""
    uid = int(os.environ.get("SUDO_UID") or NOBODY)
    gid = int(os.environ.get("SUDO_GID") or NOBODY)
    with temporary_directory() as directory:
        os.chown(directory, uid, gid)
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(directory),
            "XDG_RUNTIME_DIR": str(directory),
        }
        try:
            done = subprocess.run(
                [own_program(), "doctor", "--json", name], user=uid, group=gid, extra_groups=[], env=env,
                cwd=directory, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            return unheard(name, uid, str(error))
    if not done.stdout:
        return unheard(name, uid, done.stderr.strip())
    (found,) = json.loads(done.stdout)["findings"]
    return Finding(name, found["status"], found["reason"], found["remedy"])


def unheard(name: str, uid: int, said: str) -> Finding:
    """Return that a user cannot be asked: the command may lie where only root may go."""
    return Finding(name, ABSENT, f"user {uid} cannot run youki here: {said}", "call youki doctor as a user")


def make_rootfs(rootfs: Path) -> None:
    """Make a root file system of one static program, for engines that bring none: init itself.

    Whoever starts it without a runtime is told so, which proves that it ran: see engines.ran.
    """
    for name in ("dev", "etc", "proc", "run", "sys", "tmp"):
        (rootfs / name).mkdir(parents=True)
    from libcontainer.sealed import PROGRAM

    shutil.copy(PROGRAM, rootfs / "init")
    (rootfs / "init").chmod(0o755)


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Yield a directory with a short name, as podman needs it, that goes away again."""
    with tempfile.TemporaryDirectory(prefix="youki-", dir="/tmp") as name:
        os.chmod(name, 0o755)
        yield Path(name)
