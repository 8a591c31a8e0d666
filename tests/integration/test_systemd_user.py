"""Containers of a user without privileges, limited by the user's own systemd, or in a cgroup that it delegates."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcgroups import detect

from .conftest import BUSYBOX, YOUKI, make_rootfs
from .rootless import User, give

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

HOST = detect()
MIB = 1 << 20
# A user whose systemd runs all the time (loginctl enable-linger); tests/vm has one.
LINGERING = os.environ.get("LINGERING")
ID = f"test-{os.getpid()}"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(HOST.mode != "v2", reason="needs cgroup v2 only"),
    pytest.mark.skipif(
        LINGERING is None, reason="needs a user with a systemd of its own, named in LINGERING"
    ),
    pytest.mark.skipif(BUSYBOX is None, reason="busybox is not installed (Debian: busybox-static)"),
]


class Lingering(User):
    """The user, with a bundle in a home that is made for the test."""

    def __init__(self, home: Path) -> None:
        assert LINGERING is not None
        super().__init__(home, pwd.getpwnam(LINGERING).pw_uid)
        self.runtime_dir = Path(f"/run/user/{self.uid}")
        self.root = self.runtime_dir / "youki"

    @property
    def cgroup(self) -> Path:
        """Where the user's systemd puts its units."""
        return Path(f"{HOST.unified}/user.slice/user-{self.uid}.slice/user@{self.uid}.service")

    def limit(self, resources: dict[str, Any], cgroups_path: str | None = None) -> None:
        """Ask for these limits, in this cgroup."""
        self.spec["linux"]["resources"] = resources
        if cgroups_path is not None:
            self.spec["linux"]["cgroupsPath"] = cgroups_path

    def shown(self, unit: str, *names: str) -> dict[str, str]:
        """What the user's systemd says of a unit."""
        done = self.run("systemctl", "--user", "show", unit, *(f"--property={name}" for name in names))
        return dict(line.split("=", 1) for line in done.stdout.splitlines())

    def start(self, *args: str) -> None:
        """Create and start a container in a scope, and keep none of its streams open."""
        self.spec["process"]["args"] = list(args)
        self.save()
        self.run("sh", "-c", f'"$@" </dev/null >{self.home}/output 2>&1 || {{ cat {self.home}/output >&2; exit 1; }}',
                 "sh", str(YOUKI), "--systemd-cgroup", "create", ID)  # fmt: skip
        self.youki("start", ID)

    def in_scope(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell script in a container in a scope."""
        self.spec["process"]["args"] = ["sh", "-c", script]
        self.save()
        return self.youki("--systemd-cgroup", "run", ID, check=check)

    def delegated(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell script in a container whose cgroup lies in one that was delegated to the caller."""
        self.spec["process"]["args"] = ["sh", "-c", script]
        self.save()
        # The container's cgroup comes beside the caller's, which so must be one level below what was delegated.
        enter = (
            f'cgroup={HOST.unified}$(cut -d: -f3 /proc/self/cgroup); mkdir "$cgroup/caller" && '
            'echo $$ >"$cgroup/caller/cgroup.procs" && exec "$@"'
        )
        words = ("systemd-run", "--user", "--scope", "--quiet", "--property=Delegate=yes", "--collect")
        return self.run(*words, "sh", "-c", enter, "sh", str(YOUKI), "run", ID, check=check)


@pytest.fixture
def user() -> Iterator[Lingering]:
    """The user with the configuration that `youki spec --rootless` writes; no unit and no cgroup may be left."""
    home = Path(tempfile.mkdtemp(prefix="youki-lingering-"))
    made = Lingering(home)
    try:
        home.chmod(0o755)
        make_rootfs(made.rootfs)
        give(home, made.uid, made.gid)
        made.make_spec()
        yield made
        for name in os.listdir(made.root) if made.root.exists() else ():
            made.youki("delete", "--force", name)
        assert made.shown(f"youki-{ID}.scope", "LoadState") == {"LoadState": "not-found"}
        assert [str(path) for path in made.cgroup.rglob(f"*{ID}*")] == []
    finally:
        shutil.rmtree(home)


RESOURCES: dict[str, Any] = {
    "memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB},
    "cpu": {"quota": 50_000, "period": 100_000, "shares": 512},
    "pids": {"limit": 20},
}
PROPERTIES = {
    "ActiveState": "active",
    "Slice": "user.slice",
    "Delegate": "yes",
    "MemoryMax": str(64 * MIB),
    "MemorySwapMax": str(32 * MIB),
    "MemoryLow": str(32 * MIB),
    "CPUQuotaPerSecUSec": "500ms",
    "TasksMax": "20",
}


def test_a_container_is_a_scope_of_the_users_systemd(user: Lingering) -> None:
    """No root is needed for limits: the user's systemd makes the cgroup in what was delegated to it."""
    user.limit(RESOURCES)
    user.start("sleep", "1000")
    scope = f"youki-{ID}.scope"
    directory = user.cgroup / "user.slice" / scope

    assert user.shown(scope, *PROPERTIES) == PROPERTIES
    found = {name: (directory / name).read_text().strip() for name in ("memory.max", "cpu.max", "pids.max")}
    assert found == {"memory.max": str(64 * MIB), "cpu.max": "50000 100000", "pids.max": "20"}
    state = json.loads(user.youki("state", ID).stdout)
    assert str(state["pid"]) in (directory / "cgroup.procs").read_text().split()
    user.youki("kill", ID, "KILL")
    user.youki("delete", "--force", ID)
    assert not directory.exists()


def test_a_slice_is_expanded_below_the_users_systemd(user: Lingering) -> None:
    """The slice a-b.slice lies in a.slice, and that beside the user's other units."""
    user.limit({"pids": {"limit": 20}}, f"youki-test.slice:box:{ID}")
    user.start("sleep", "1000")

    directory = user.cgroup / "youki.slice/youki-test.slice" / f"box-{ID}.scope"
    assert (directory / "pids.max").read_text() == "20\n"
    user.youki("delete", "--force", ID)
    assert not directory.exists()
    user.run("systemctl", "--user", "stop", "youki.slice")


def test_a_process_over_its_memory_limit_is_killed(user: Lingering) -> None:
    """By effect, and the container goes on."""
    user.limit({"memory": {"limit": 16 * MIB, "swap": 16 * MIB}})
    assert user.in_scope("head -c 67108864 /dev/zero | tail; echo $?").stdout.split() == ["137"]


FORK = "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo $?; wait"


@pytest.mark.parametrize("place", ["in_scope", "delegated"])
def test_a_fork_bomb_stops_at_the_pids_limit(user: Lingering, place: str) -> None:
    """By effect, in a scope and in a delegated cgroup without systemd's further help."""
    user.limit({"pids": {"limit": 6}})

    assert "fork" in getattr(user, place)(FORK, check=False).stderr


def test_a_delegated_cgroup_limits_memory(user: Lingering) -> None:
    """The cgroupfs driver needs no systemd in a tree that belongs to the user."""
    user.limit({"memory": {"limit": 16 * MIB, "swap": 16 * MIB}})
    assert user.delegated("head -c 67108864 /dev/zero | tail; echo $?").stdout.split() == ["137"]


@pytest.mark.parametrize("place", ["in_scope", "delegated"])
def test_a_controller_that_was_not_delegated_is_an_error(user: Lingering, place: str) -> None:
    """Which are delegated is the administrator's choice (Delegate= of user@.service); a limit is never left out."""
    offered = (user.cgroup / "cgroup.controllers").read_text().split()
    if "cpuset" in offered:
        pytest.skip("this user may limit CPUs")
    user.limit({"cpu": {"cpus": "0"}})
    done = getattr(user, place)("true", check=False)

    assert done.returncode != 0
    assert "/linux/resources/cpu/cpus" in done.stderr
    assert "cpuset" in done.stderr


def test_without_its_bus_the_user_is_told(user: Lingering) -> None:
    """In a shell of `su` there is no way to the user's systemd, until somebody says where it is."""
    user.save()
    environment = {**user.environment(), "XDG_RUNTIME_DIR": str(user.home)}
    done = user.youki("--systemd-cgroup", "run", ID, check=False, env=environment)

    assert done.returncode != 0
    assert "cannot reach systemd" in done.stderr
    assert "XDG_RUNTIME_DIR" in done.stderr
