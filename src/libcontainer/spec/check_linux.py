"""The check of `linux`: config-linux.md.

What concerns other parts of the configuration as well stands in check.py. Pure. On the hot path.
"""

from __future__ import annotations

from libcontainer.errors import Problem
from libcontainer.spec.check_resources import RESOURCES
from libcontainer.spec.rules import (
    ABSOLUTE_PATHS,
    ID,
    INT64,
    LINE,
    LINES,
    MAJOR,
    MINOR,
    Array,
    Choice,
    FreeMap,
    Integer,
    Record,
    Text,
    absolute,
    boolean,
    check_types_once,
    describe,
    integer,
    is_numbers_list,
    member,
    missing,
    records,
    strings,
    text,
    word,
)
from libcontainer.strictjson import pointer_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_EXTENTS = 340
"""How many lines a uid_map takes (user_namespaces(7))."""

MOST_NODES = 1024
"""The largest MAX_NUMNODES that Linux can be built with."""

LONGEST_INTERFACE = 15
"""IFNAMSIZ without the NUL (netdevice(7))."""

NO_CLASSES = frozenset(("", ".", "..", "info", "mon_data", "mon_groups"))
"""What cannot name a class of service, since resctrl uses it itself (resctrl.rst)."""

# ipc_namespaces(7): the kernel parameters that each IPC namespace has for itself.
IPC_SYSCTLS = frozenset(
    [f"kernel/{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni")]
    + ["kernel/shm_rmid_forced"]
)
# The others by the directory below /proc/sys: of which namespace they are (mq_overview(7),
# network_namespaces(7)).
SYSCTL_TREES = {"fs/mqueue/": "ipc", "net/": "network", "user/": "user"}


def namespaces(spec: object) -> dict[str, str | None]:
    """Return each type of namespace in `spec` with the path that is joined, or None for a new one."""
    listed: dict[str, str | None] = {}
    for _, item in records(member(spec, "linux"), "namespaces"):
        name = word(item, "type")
        if name is not None:
            listed[name] = word(item, "path")
    return listed


def sysctl_path(name: str) -> str:
    """Return the path of a kernel parameter below /proc/sys.

    The first separator decides: after a dot, a slash stands for a dot in a name, as in
    `net.ipv4.conf.eth0/1.forwarding` (sysctl(8)).
    """
    slash, dot = name.find("/"), name.find(".")
    if dot < 0 or 0 <= slash < dot:
        return name
    return name.translate({ord("."): "/", ord("/"): "."})


def sysctl_namespace(path: str) -> str | None:
    """Return the type of namespace that has the parameter `path` for itself, None where the host has it."""
    if path in IPC_SYSCTLS:
        return "ipc"
    if path in ("kernel/hostname", "kernel/domainname"):
        return "uts"
    for tree, owner in SYSCTL_TREES.items():
        if path.startswith(tree):
            return owner
    return None


def is_mapped(value: int, mappings: object) -> bool:
    """Whether `mappings`, a list as in `uidMappings`, maps the id `value` of the container."""
    for _, item in records({"": mappings}, ""):
        first, size = integer(item, "containerID"), integer(item, "size")
        if first is not None and size is not None and first <= value < first + size:
            return True
    return False


def _check_extent(extent: dict[str, Any], here: str, problems: list[Problem]) -> None:
    size = integer(extent, "size") or 0
    for name in ("containerID", "hostID"):
        first = integer(extent, name)
        if first is not None and first + size > 2**32 - 1:
            expected = "a mapping that ends with id 4294967294 at the latest"
            problems.append(Problem(f"{here}/{name}", f"{first} with size {size}", expected))


def _check_extents(extents: list[Any], here: str, problems: list[Problem]) -> None:
    """Neither side may name an id twice (user_namespaces(7))."""
    for side in ("containerID", "hostID"):
        ranges = []
        for index, extent in records({"": extents}, ""):
            first, size = integer(extent, side), integer(extent, "size")
            if first is not None and size is not None:
                ranges.append((first, first + size, index))
        ranges.sort()
        end, earlier = 0, 0
        for first, past, index in ranges:
            if first < end:
                expected = f"ids that {here}/{earlier} does not map already"
                problems.append(Problem(f"{here}/{index}/{side}", str(first), expected))
            if past > end:
                end, earlier = past, index


def _check_namespaces(listed: list[Any], here: str, problems: list[Problem]) -> None:
    check_types_once(listed, here, "type", problems)


def _check_device(device: dict[str, Any], here: str, problems: list[Problem]) -> None:
    if device.get("type") == "p":
        return
    problems += [
        missing(f"{here}/{name}", "the number of the device: only type p has none")
        for name in ("major", "minor")
        if device.get(name) is None
    ]


def _check_memory_policy(policy: dict[str, Any], here: str, problems: list[Problem]) -> None:
    """What set_mempolicy(2) answers with EINVAL."""
    mode, flags = word(policy, "mode"), set(strings(policy, "flags"))
    nodes = (word(policy, "nodes") or "").strip(" ,")
    if mode in ("MPOL_DEFAULT", "MPOL_LOCAL"):
        if nodes:
            problems.append(Problem(f"{here}/nodes", describe(nodes), f"nothing with {mode}"))
        if flags:
            problems.append(Problem(f"{here}/flags", describe(policy["flags"]), f"nothing with {mode}"))
        return
    if mode is not None and mode != "MPOL_PREFERRED" and not nodes:
        problems.append(missing(f"{here}/nodes", f"at least one node with {mode}"))
    fixed = flags & {"MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"}
    if len(fixed) == 2 or (fixed and mode == "MPOL_PREFERRED" and not nodes):
        expected = "static or relative nodes, not both, and only with nodes"
        problems.append(Problem(f"{here}/flags", describe(", ".join(sorted(fixed))), expected))
    if "MPOL_F_NUMA_BALANCING" in flags and mode not in ("MPOL_BIND", "MPOL_PREFERRED_MANY"):
        expected = "this flag only with MPOL_BIND or MPOL_PREFERRED_MANY"
        problems.append(Problem(f"{here}/flags", '"MPOL_F_NUMA_BALANCING"', expected))


def _check_net_devices(devices: dict[str, Any], here: str, problems: list[Problem]) -> None:
    seen: dict[str, str] = {}
    for source in devices:
        if not isinstance(source, str):
            continue
        name = word(devices[source], "name") or source
        if name in seen and "%" not in name:
            expected = f"another name inside: {seen[name]} has it already"
            problems.append(Problem(f"{pointer_to(here, source)}/name", describe(name), expected))
        seen[name] = source


def _check_linux(linux: dict[str, Any], here: str, problems: list[Problem]) -> None:
    _check_net_devices(member(linux, "netDevices"), f"{here}/netDevices", problems)
    paths: dict[str, str] = {}
    for name in member(linux, "sysctl"):
        if not isinstance(name, str):
            continue
        path = sysctl_path(name)
        if path in paths:
            expected = f"each parameter once: {paths[path]} is the same"
            problems.append(Problem(pointer_to(f"{here}/sysctl", name), describe(name), expected))
        paths[path] = name


def _seccomp(value: object, pointer: str, key: str | int, problems: list[Problem]) -> None:
    from libcontainer.spec.check_seccomp import SECCOMP

    SECCOMP(value, pointer, key, problems)


def _is_cgroups_path(value: str) -> bool:
    return "\n" not in value and ".." not in value.split("/")


def _is_interface(value: str) -> bool:
    """What the kernel's dev_valid_name() takes."""
    if not value or value in (".", "..") or len(value.encode()) > LONGEST_INTERFACE:
        return False
    return not any(character in "/:" or character.isspace() for character in value)


def _is_class(value: str) -> bool:
    """A directory below resctrl that is not one of its own; `/` is resctrl itself (resctrl.rst)."""
    if value == "/":
        return True
    return value not in NO_CLASSES and len(value.encode()) <= 255 and "/" not in value and "\n" not in value


def _is_bandwidth(value: str) -> bool:
    return value.startswith("MB:") and "\n" not in value


def _is_node_list(value: str) -> bool:
    return is_numbers_list(value, MOST_NODES - 1)


def _is_label(value: str) -> bool:
    """The label stands between quotes in the mount's data, and must not end them."""
    return '"' not in value and "\n" not in value


def _is_sysctl(value: str) -> bool:
    return not any(part in ("", ".", "..") for part in sysctl_path(value).split("/"))


ID_MAPPING = Record(
    {"containerID": ID, "hostID": ID, "size": Integer(1, 2**32 - 1)},
    ("containerID", "hostID", "size"),
    also=_check_extent,
)
ID_MAPPINGS = Array(ID_MAPPING, most=MOST_EXTENTS, also=_check_extents)
MOUNT_MAPPINGS = Array(ID_MAPPING, least=1, most=MOST_EXTENTS, also=_check_extents)
NAMESPACES = Array(
    Record(
        {
            "type": Choice("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"),
            "path": absolute,
        },
        ("type",),
        firm=("path",),
    ),
    also=_check_namespaces,
)
DEVICES = Array(
    Record(
        {
            "type": Choice("c", "u", "b", "p"),
            "path": absolute,
            "major": MAJOR,
            "minor": MINOR,
            # podman passes on the whole st_mode of the host's device; the type's bits are left out then.
            "fileMode": Integer(0, 0o177777, "a mode from 0 to 65535 (octal 177777)"),
            "uid": ID,
            "gid": ID,
        },
        ("type", "path"),
        also=_check_device,
    )
)
# Below a second, as in timens_offsets (time_namespaces(7)).
CLOCK_OFFSET = Record({"secs": INT64, "nanosecs": Integer(0, 999_999_999)})
CLOCKS = ("boottime", "monotonic")
INTERFACE = Text(f"the name of a network interface, 1 to {LONGEST_INTERFACE} bytes", _is_interface)
NET_DEVICES = FreeMap(Record({"name": INTERFACE}), _is_interface, INTERFACE.expected)
SYSCTL = FreeMap(LINE, _is_sysctl, "the name of a kernel parameter such as net.ipv4.ip_forward")
INTEL_RDT = Record(
    {
        "closID": Text("the name of a class of service below resctrl, or /", _is_class),
        "schemata": LINES,
        "l3CacheSchema": text,
        "memBwSchema": Text("one line that begins with MB:", _is_bandwidth),
        "enableMonitoring": boolean,
    }
)
MEMORY_POLICY = Record(
    {
        "mode": Choice(
            "MPOL_DEFAULT",
            "MPOL_BIND",
            "MPOL_INTERLEAVE",
            "MPOL_WEIGHTED_INTERLEAVE",
            "MPOL_PREFERRED",
            "MPOL_PREFERRED_MANY",
            "MPOL_LOCAL",
        ),
        "nodes": Text("a list of NUMA nodes such as 0-3,7", _is_node_list),
        "flags": Array(Choice("MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES")),
    },
    ("mode",),
    also=_check_memory_policy,
)
LINUX = Record(
    {
        "namespaces": NAMESPACES,
        "uidMappings": ID_MAPPINGS,
        "gidMappings": ID_MAPPINGS,
        "timeOffsets": FreeMap(CLOCK_OFFSET, CLOCKS.__contains__, "boottime or monotonic"),
        "devices": DEVICES,
        "netDevices": NET_DEVICES,
        "cgroupsPath": Text("a path without .. and newline", _is_cgroups_path),
        "resources": RESOURCES,
        "intelRdt": INTEL_RDT,
        "rootfsPropagation": Choice(
            "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"
        ),
        "maskedPaths": ABSOLUTE_PATHS,
        "readonlyPaths": ABSOLUTE_PATHS,
        "mountLabel": Text("a label without quotes and newline", _is_label),
        "sysctl": SYSCTL,
        "seccomp": _seccomp,
        # No flags are defined (config-linux.md "Personality").
        "personality": Record({"domain": Choice("LINUX", "LINUX32"), "flags": Array(Choice())}, ("domain",)),
        "memoryPolicy": MEMORY_POLICY,
    },
    firm=(
        "namespaces",
        "uidMappings",
        "gidMappings",
        "resources",
        "rootfsPropagation",
        "maskedPaths",
        "readonlyPaths",
        "mountLabel",
        "seccomp",
    ),
    also=_check_linux,
)
