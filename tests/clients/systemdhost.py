"""A private host whose cgroups systemd makes: what an engine asks it for on most machines.

systemd and its bus are those of the real host, and it places a unit in the real host's tree. So here is no cgroup
namespace, and what is ours is known by its name, podman's scopes and slices have `libpod` in it, and by its absence
before.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from pathlib import Path

from libcgroups import detect

from ..integration.rootless import NEEDED, searchable
from .podman import User
from .privatehost import CGROUPS, COVER, ENTER, HOLD, PrivateHost

OURS = "libpod"
RUNNING = Path("/run/systemd/system")  # sd_booted(3)
PATIENCE_S = 30


def lacking() -> str | None:
    """Return why there can be no such host, as the reason of a skip."""
    if os.geteuid() != 0:
        return "needs root"
    if detect().mode != "v2" or not RUNNING.is_dir():
        return "needs cgroup v2 only, and systemd as process 1"
    return None


class SystemdHost(PrivateHost):
    """As PrivateHost, below systemd. `lingering` is the name of a user whose own systemd runs, None without one."""

    manager = "systemd"

    def __init__(self, lingering: str | None) -> None:
        self.lingering = pwd.getpwnam(lingering) if lingering else None
        self.user = User(self.lingering.pw_uid, self.lingering.pw_gid) if self.lingering else None
        self._others: set[str] = set()  # cgroups and units of the real host's own podman
        self._others = {*self._cgroups(), *self.units(), *(self.units(self.user) if self.user else ())}
        super().__init__()

    def _outer(self) -> str:
        shown = ["systemd", "dbus"]
        if self.lingering:
            shown += [f"user/{self.lingering.pw_uid}/{name}" for name in ("bus", "systemd")]
        return COVER.format(shown=" ".join(shown)) + 'exec sh -c "$2"'

    def _inner(self) -> str:
        return "\n".join(["set -eu", *searchable(NEEDED), HOLD])

    def __call__(self, *words: str, cwd: Path | str = "/") -> list[str]:
        """Return the command that runs `words` there, in the directory `cwd`."""
        return [*self._enter("mnt", "net"), "sh", "-c", ENTER, "sh", str(cwd), *words]

    def systemctl(self, *words: str, user: User | None = None) -> list[str]:
        """Return the lines that systemctl prints: that of the host, or that of the user."""
        command = ["systemctl", *words]
        if user:
            place = f"XDG_RUNTIME_DIR=/run/user/{user.uid}"
            become = ["setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups"]
            command = [*become, "env", place, "systemctl", "--user", *words]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    def shown(self, unit: str, *names: str, user: User | None = None) -> dict[str, str]:
        """Return what systemd says of a unit."""
        properties = [f"--property={name}" for name in names]
        return dict(line.split("=", 1) for line in self.systemctl("show", unit, *properties, user=user))

    def _is_ours(self, cgroups: str) -> bool:
        path = cgroups.strip().partition("::")[2]
        return OURS in path and f"{CGROUPS}{path}" not in self._others

    def _give_up(self) -> None:
        if self._holder.poll() is None:
            self._holder.communicate()  # closes its input

    def cgroups(self) -> list[str]:
        """Return the cgroups that are left once systemd has had the time to remove those that are empty."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := self._cgroups()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def _cgroups(self) -> list[str]:
        found = [directory for directory, _, _ in os.walk(CGROUPS, topdown=False)]
        return [path for path in found if OURS in path and path not in self._others]

    def units(self, user: User | None = None) -> list[str]:
        """Return the units of ours that systemd knows, also those that have failed."""
        lines = self.systemctl("list-units", "--all", "--plain", "--no-legend", f"*{OURS}*", user=user)
        return [unit for unit in (line.split()[0] for line in lines) if unit not in self._others]
