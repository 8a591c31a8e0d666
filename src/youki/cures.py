"""What mends a probe that failed: one command where one is known, else what the error itself says.

Each cure is a fact of the host that was looked at, not a guess from the text of an error.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import shutil
from importlib.util import find_spec

from libcontainer.capabilities import NAMES
from libcontainer.errors import Error
from libcontainer.idmap import subordinate_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Settings that forbid user namespaces, user_namespaces(7) and distributions' own: file, what forbids, and the cure.
SETTINGS = (
    ("/proc/sys/user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=15000"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)
# What is needed → its package, by the program that installs packages.
PACKAGES = {
    "libseccomp": {
        "apt-get": "libseccomp2",
        "dnf": "libseccomp",
        "zypper": "libseccomp2",
        "apk": "libseccomp",
    },
    "newuidmap": {"apt-get": "uidmap", "dnf": "shadow-utils", "zypper": "shadow", "apk": "shadow-uidmap"},
}
INSTALLERS = {
    "apt-get": "apt-get install",
    "dnf": "dnf install",
    "zypper": "zypper install",
    "apk": "apk add",
}


def of(probe: str, error: Exception) -> str | None:
    """Return what mends the failure of a probe."""
    for subject, cure in CURES.get(probe, ()):
        command = cure() if subject in str(error) else None
        if command:
            return command
    return error.remedy if isinstance(error, Error) else None


def user_namespaces() -> str | None:
    """A setting of the kernel forbids user namespaces to users."""
    for path, forbids, command in SETTINGS:
        try:
            with open(path) as file:
                if file.read().strip() == forbids:
                    return command
        except FileNotFoundError:
            continue
    return None


def subordinate_ranges() -> str | None:
    """The user has no range of subordinate ids."""
    if all(subordinate_ids(os.geteuid())):
        return None
    name = pwd.getpwuid(os.geteuid()).pw_name
    first = 100000 + 65536 * (os.geteuid() % 1000)  # apart from those of other users, as useradd(8) does it
    span = f"{first}-{first + 65535}"
    return f"sudo usermod --add-subuids {span} --add-subgids {span} {name}"


def newuidmap() -> str | None:
    """The programs that map subordinate ids are missing."""
    return None if shutil.which("newuidmap") else install("newuidmap")


def libseccomp() -> str | None:
    """The library that compiles filters is missing."""
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return install("libseccomp")
    return None


def jeepney() -> str | None:
    """The Python package that speaks with systemd is missing."""
    return None if find_spec("jeepney") else "pip install 'libcontainer[systemd]'"


def podman_limits() -> str | None:
    """podman wants higher limits for root's containers than this host lets anyone have."""
    if os.geteuid() != 0 or may_raise():
        return None
    words = []
    for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
        hard = resource.getrlimit(number)[1]
        words.append(f"--ulimit {name}={hard}:{hard}")
    return f"podman run {' '.join(words)} …"


def may_raise() -> bool:
    """Whether this process may raise limits: capabilities(7), CAP_SYS_RESOURCE."""
    with open("/proc/self/status") as status:
        effective = next(line.split()[1] for line in status if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> NAMES.index("CAP_SYS_RESOURCE") & 1)


def install(what: str) -> str | None:
    """Return the command that installs something here, None where no known program installs packages."""
    for program, package in PACKAGES[what].items():
        if shutil.which(program):
            return f"sudo {INSTALLERS[program]} {package}"
    return None


# probe → what its error may be about (any, where that is empty), and the fact that then says what mends it
CURES: dict[str, tuple[tuple[str, Callable[[], str | None]], ...]] = {
    "rootless": (("", user_namespaces),),
    "subordinate-ids": (("", user_namespaces), ("", newuidmap), ("", subordinate_ranges)),
    "seccomp": (("", libseccomp),),
    "systemd": (("", jeepney),),
    "podman": (("RLIMIT", podman_limits),),
}
