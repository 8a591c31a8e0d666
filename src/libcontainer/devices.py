"""Device nodes, the links of /dev, and what else /dev must hold: config-linux.md "Devices", "Default
Devices", config.md "/dev symbolic links".

Decides only; init acts. In a user namespace mknod(2) makes no usable nodes, so the host's are bound. On the
hot path.
"""

from __future__ import annotations

import os

from libcontainer.mount_options import MS_BIND
from libcontainer.mounts import OPEN_TREE_CLONE, PSEUDO, requests
from libcontainer.plan import operations as do

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from libcontainer.plan.context import Context
    from libcontainer.plan.operations import Op

S_IFIFO, S_IFCHR, S_IFBLK = 0o010000, 0o020000, 0o060000
FORMATS = {"c": S_IFCHR, "u": S_IFCHR, "b": S_IFBLK, "p": S_IFIFO}

# (path, major, minor), each of mode 0666 and owned by root.
DEFAULT_DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)

SYMLINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
)


# What every container may do besides its own rules: make nodes (opening them is another matter), and use the
# default devices, its terminals and /dev/net/tun. runc, crun and youki agree on the list.
DEFAULT_RULES: tuple[dict[str, Any], ...] = (
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (10, 200))
    ),
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
)
DENY_ALL: dict[str, Any] = {"allow": False, "access": "rwm"}

# File systems that init mounts without opening a device.
WITHOUT_DEVICE = PSEUDO | {"overlay", "bind"}
BINDS = frozenset(("bind", "rbind"))


def resources_with_rules(resources: dict[str, Any] | None, *, enforceable: bool) -> dict[str, Any] | None:
    """Return the cgroup resources with the complete list of device rules.

    Nothing is allowed but what the spec and the defaults say: rules that begin with an allow would otherwise
    be read as exceptions to "everything" (GHSA-g54h-m393-cpwq). Without privileges no rule can be enforced
    (`enforceable` False) and none is needed: in a user namespace of an unprivileged user no device can be
    made.
    """
    if not enforceable:
        return {name: value for name, value in (resources or {}).items() if name != "devices"}
    return {
        **(resources or {}),
        "devices": [DENY_ALL, *((resources or {}).get("devices") or ()), *DEFAULT_RULES],
    }


def opens_devices(spec: dict[str, Any]) -> bool:
    """Tell whether init may have to open a device that is not among those that the container may open: that of a
    file system which it mounts.
    """
    return any(
        [
            mount.get("type") not in WITHOUT_DEVICE and BINDS.isdisjoint(mount.get("options") or ())
            for mount in spec.get("mounts") or ()
        ]
    )


def guard(context: Context) -> Iterator[Op]:
    """Yield what attaches the program for the device rules on cgroup v2, before stage two is born in the cgroup.

    Init may do by the rules what it has to: make nodes, open the default devices and terminals. Where it may have to
    open more (`opens_devices`) the runtime attaches the program when that is done, as it does where a program may be
    there already.
    """
    program = context.options.device_program
    if not program or opens_devices(context.spec):
        return
    from libcgroups.devices.program import PROGRAM_NAME

    unified = next(cgroup for cgroup in context.options.cgroups if not cgroup.controllers)
    yield do.GuardDevices(
        pointer="/linux/resources/devices",
        cgroup=context.descriptor("cgroup", unified.directory, "/linux/cgroupsPath"),
        program=program,
        name=PROGRAM_NAME,
    )


def compile_devices(context: Context) -> Iterator[Op]:
    """Yield the nodes and links, unless /dev is the host's own, bound: there nothing is made."""
    if not _fills_dev(context):
        return
    listed = context.linux.get("devices") or []
    own = {os.path.normpath(device["path"]) for device in listed}
    for path, major, minor in DEFAULT_DEVICES:
        if path not in own:
            yield from _node(context, "/linux", {"path": path, "type": "c", "major": major, "minor": minor})
    for index, device in enumerate(listed):
        yield from _node(context, f"/linux/devices/{index}", device)
    for path, target in SYMLINKS:
        yield do.MakeSymlink(pointer="/linux", path=path.encode(), target=target.encode(), replace=0)
    if context.host.kcore:  # a kernel may be built without (CONFIG_PROC_KCORE)
        yield do.MakeSymlink(pointer="/linux", path=b"/dev/core", target=b"/proc/kcore", replace=0)
    # Even an image with a ptmx of its own gets the multiplexor of its own devpts.
    yield do.MakeSymlink(pointer="/linux", path=b"/dev/ptmx", target=b"pts/ptmx", replace=1)


def _fills_dev(context: Context) -> bool:
    if not context.has("mount"):
        return False
    return not any([request.bind and request.destination == "/dev" for request in requests(context)])


def _node(context: Context, pointer: str, device: dict[str, Any]) -> Iterator[Op]:
    path = os.path.normpath(device["path"]).encode()
    kind = device["type"]
    if kind != "p" and (context.userns or not context.host.may_make_devices):
        yield from _bound(context, pointer, path)
        return
    number = 0 if kind == "p" else os.makedev(device["major"], device["minor"])
    mode = device.get("fileMode")
    yield do.MakeDevice(
        pointer=pointer,
        path=path,
        mode=FORMATS[kind] | (0o666 if mode is None else mode & 0o7777),
        device=number,
        uid=device.get("uid") or 0,
        gid=device.get("gid") or 0,
    )


def _bound(context: Context, pointer: str, path: bytes) -> Iterator[Op]:
    if context.host.new_mount_api:
        yield do.OpenTree(pointer=pointer, slot=0, source=path, flags=OPEN_TREE_CLONE)
        yield do.AttachMount(pointer=pointer, slot=0, target=path, kind=do.LIKE_SOURCE)
    else:
        yield do.Mount(
            pointer=pointer,
            slot=0,
            source=path,
            target=path,
            fstype=b"",
            flags=MS_BIND,
            data=b"",
            kind=do.LIKE_SOURCE,
        )
