"""What this host offers to containers: kernel, cgroups, namespaces, capabilities.

Facts read from /proc and os-release, for a person who looks for the reason why something does not work. What
cannot be read is told as such, never guessed. Not on the hot path.
"""

from __future__ import annotations

import os
import shlex

import libcgroups
from libcontainer.capabilities import NAMES
from libcontainer.version import OCI_VERSION, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# namespaces(7): the name in the configuration → the name in /proc/PID/ns
NAMESPACES = {
    "cgroup": "cgroup",
    "ipc": "ipc",
    "mount": "mnt",
    "network": "net",
    "pid": "pid",
    "time": "time",
    "user": "user",
    "uts": "uts",
}
# os-release(5): the first of these that exists
OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
UNKNOWN = "unknown"


def info() -> dict[str, Any]:
    """Return the facts by name, in reading order: strings, numbers, lists and dicts of them."""
    kernel = os.uname()
    return {
        "version": VERSION,
        "specification": OCI_VERSION,
        "kernelRelease": kernel.release,
        "kernelVersion": kernel.version,
        "architecture": kernel.machine,
        "operatingSystem": operating_system(),
        "cores": os.cpu_count() or UNKNOWN,
        "totalMemory": total_memory(),
        **cgroups(),
        "namespaces": {name: os.path.exists(f"/proc/self/ns/{file}") for name, file in NAMESPACES.items()},
        "capabilities": available_capabilities(),
    }


def operating_system() -> str:
    """Return PRETTY_NAME of os-release(5)."""
    for path in OS_RELEASE:
        for line in _read(path).splitlines():
            name, _, value = line.partition("=")
            if name == "PRETTY_NAME":
                return " ".join(shlex.split(value)) or UNKNOWN
    return UNKNOWN


def total_memory() -> str:
    """Return the host's memory in MiB. proc(5), /proc/meminfo: the kernel writes kB and means KiB."""
    kib = _field("/proc/meminfo", "MemTotal")
    return f"{int(kib.split()[0]) // 1024} MiB" if kib else UNKNOWN


def cgroups() -> dict[str, Any]:
    """Return how cgroups are arranged, where each hierarchy is mounted, and the unified one's controllers."""
    try:
        setup = libcgroups.detect()
    except libcgroups.Error as error:
        return {"cgroupSetup": f"{UNKNOWN}: {error}"}
    mounted: dict[str, str] = {
        ",".join(hierarchy.controllers): hierarchy.mount_point for hierarchy in setup.hierarchies
    }
    if setup.unified is None:
        return {"cgroupSetup": setup.mode, "cgroupMounts": mounted}
    controllers = _read(os.path.join(setup.unified, "cgroup.controllers")).split()
    return {
        "cgroupSetup": setup.mode,
        "cgroupMounts": mounted | {"unified": setup.unified},
        "unifiedControllers": controllers or ["none"],
    }


def available_capabilities() -> dict[str, bool]:
    """Return for each capability whether the caller's bounding set, proc(5), lets a container have it."""
    bounding = int(_field("/proc/self/status", "CapBnd") or "0", 16)
    return {name: bool(bounding >> number & 1) for number, name in enumerate(NAMES)}


def _field(path: str, name: str) -> str:
    """Return the value of the line "name: value" of a file in /proc, "" where there is none."""
    for line in _read(path).splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return ""


def _read(path: str) -> str:
    """Return the content of a small file, "" when it cannot be read: the fact is then unknown."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
