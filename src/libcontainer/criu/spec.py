"""What of a configuration CRIU has to be told, because it is of the host and not the container's own: bind mounts,
masks, devices of the host, namespaces that were joined. And what of it cannot be checkpointed.

A mount of the host has a name in the image, the path where it is in the container; on restore each name is given what
is to be mounted there. The names are those that runc gives.
"""

from __future__ import annotations

import os

from libcontainer.devices import DEFAULT_DEVICES
from libcontainer.errors import Unsupported
from libcontainer.mount_options import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from libcgroups.manager import Manager

NULL = "/dev/null"
LONGEST_CHAIN = 255  # of symbolic links; path_resolution(7) stops after 40

# Namespaces that a container may have joined by a path: runtime-spec's name, the name in /proc/PID/ns, and CRIU's.
EXTERNAL_NAMESPACES = {"network": ("net", "extRootNetNS"), "pid": ("pid", "extRootPidNS")}
JOINED_NAMESPACES = ("ipc", "uts")  # written into the image, and joined again on restore
CONFIG_ANNOTATION = "org.criu.config"
DEFAULT_CONFIG = "/etc/criu/runc.conf"


def check(spec: dict[str, Any], manager: Manager) -> None:
    """Raise Unsupported for a container that could not be checkpointed and restored as it is."""
    if manager.mode != "v2" or not manager.cgroups:
        raise _cannot(
            "it has no cgroup in the unified hierarchy (cgroup v2)", None, "boot with cgroup v2 only"
        )
    linux = spec.get("linux") or {}
    for name, what in (("intelRdt", "a class of service (Intel RDT)"), ("netDevices", "devices of the host")):
        if linux.get(name):
            raise _cannot(f"{what} would not be restored", f"/linux/{name}", f"run it without linux.{name}")
    if (linux.get("seccomp") or {}).get("listenerPath"):
        raise _cannot(
            "its agent would be lost", "/linux/seccomp/listenerPath", "run it without SCMP_ACT_NOTIFY"
        )
    for index, item in enumerate(linux.get("namespaces") or ()):
        if item.get("path") and item["type"] not in (*EXTERNAL_NAMESPACES, *JOINED_NAMESPACES):
            raise _cannot(
                f"its {item['type']} namespace was joined",
                f"/linux/namespaces/{index}",
                "only namespaces of the types network, pid, ipc and uts may have a path",
            )
    for request in requests(spec, ""):
        if request.idmap:
            raise _cannot(
                "CRIU knows no id-mapped mounts", request.pointer, "mount it without the option idmap"
            )


def _cannot(why: str, pointer: str | None, remedy: str) -> Unsupported:
    where = "" if pointer is None else f" (config.json {pointer})"
    return Unsupported(
        f"this container can be neither checkpointed nor restored: {why}{where}",
        step="checkpoint",
        pointer=pointer,
        remedy=remedy,
    )


def requests(spec: dict[str, Any], bundle: str) -> list[Request]:
    """Return the mounts of the configuration, read."""
    mounts = spec.get("mounts") or ()
    return [Request(entry, f"/mounts/{index}", bundle) for index, entry in enumerate(mounts)]


def mounts_of_host(spec: dict[str, Any], bundle: str, root: str) -> Iterator[tuple[str, str]]:
    """Yield of each bind mount and each device of the host: its place below `root`, links followed, and its source."""
    for request in requests(spec, bundle):
        if request.bind and not request.remount:
            yield resolve(root, request.destination), request.source
        elif request.fstype == "cgroup" and not _has(spec, "cgroup"):
            yield resolve(root, request.destination), "/sys/fs/cgroup"
    devices = [item["path"] for item in (spec.get("linux") or {}).get("devices") or ()]
    for path in (*[row[0] for row in DEFAULT_DEVICES], *devices):
        yield resolve(root, path), path


def _has(spec: dict[str, Any], kind: str) -> bool:
    return any(item["type"] == kind for item in (spec.get("linux") or {}).get("namespaces") or ())


def joined(spec: dict[str, Any]) -> dict[str, str]:
    """Return the paths of the namespaces that are joined, by type."""
    namespaces = (spec.get("linux") or {}).get("namespaces") or ()
    return {item["type"]: item["path"] for item in namespaces if item.get("path")}


def root_on_host(spec: dict[str, Any]) -> tuple[int, int] | None:
    """Return the user and group id on the host of the container's root, None without a user namespace of its own.

    Only to files of both a process in the namespace has the rights of root (user_namespaces(7)).
    """
    if not _has(spec, "user"):
        return None
    linux = spec.get("linux") or {}
    found = [
        int(item["hostID"])
        for name in ("uidMappings", "gidMappings")
        for item in linux.get(name) or ()
        if item["containerID"] == 0
    ]
    return (found[0], found[1]) if len(found) == 2 else None


def resolve(root: str, path: str) -> str:
    """Return the path, symbolic links followed, as a process sees it that has `root` as its root.

    A name for CRIU to compare with, nothing to open: who changes the links meanwhile changes the name.
    """
    left = [part for part in path.split("/") if part not in ("", ".")]
    found: list[str] = []
    links = 0
    while left:
        part = left.pop(0)
        if part == "..":
            del found[-1:]
            continue
        try:
            target = os.readlink("/".join([root, *found, part]))
            links += 1
        except OSError:  # no link, or nothing there
            found.append(part)
            continue
        if links > LONGEST_CHAIN:
            break
        if target.startswith("/"):
            found.clear()
        left[:0] = [item for item in target.split("/") if item not in ("", ".")]
    return "/" + "/".join(found + left)


def config_file(spec: dict[str, Any]) -> str | None:
    """Return CRIU's own configuration for this container, which counts more than what we ask for; as runc has it."""
    annotations = spec.get("annotations") or {}
    if CONFIG_ANNOTATION in annotations:
        return annotations[CONFIG_ANNOTATION] or None
    return DEFAULT_CONFIG
