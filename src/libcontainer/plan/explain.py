"""A plan in words: one line an operation, with the place in config.json that asked for it.

What `youki explain` prints.
"""

from __future__ import annotations

import os

from libcontainer.host import Host
from libcontainer.plan import operations as do
from libcontainer.plan.compile import compile_init
from libcontainer.spec.load import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.plan.context import Descriptor, Plan
    from libcontainer.plan.operations import Op

FLAG_NAMES = {
    "Unshare.flags": "namespace",
    "Clone.flags": "namespace",
    "JoinNamespace.nstype": "namespace",
    "JoinNamespaces.flags": "namespace",
    "DropBoundingSet.keep": "capability",
    "SetCapabilities.effective": "capability",
    "SetCapabilities.permitted": "capability",
    "SetCapabilities.inheritable": "capability",
    "SetCapabilities.ambient": "capability",
    "NewMount.attributes": "attribute",
    "SetMountAttributes.set": "attribute",
    "SetMountAttributes.clear": "attribute",
    "SetMountAttributes.propagation": "mount flag",
    "SetPropagation.flags": "mount flag",
    "OpenTree.flags": "open_tree",
    "Mount.flags": "mount flag",
    "Remount.set": "mount flag",
    "Remount.clear": "mount flag",
    "ChangePropagation.flags": "mount flag",
    "PrepareFilter.flags": "filter flag",
}
SYNC_POINTS = {
    do.SYNC_MAPS: "id maps",
    do.SYNC_HOOKS: "runtime hooks and devices",
    do.SYNC_READY: "limits and state",
    do.SYNC_RLIMITS: "resource limits",
    do.SYNC_LIMITS: "cgroup limits",
    do.SYNC_AGENT: "seccomp agent",
}
KINDS = {
    do.LIKE_SOURCE: "like source",
    do.DIRECTORY: "directory",
    do.REAL_DIRECTORY: "real directory",
    do.ON_PROCFS: "on procfs",
    do.PROCFS: "procfs",
}


def explain(
    bundle: str,
    *,
    config: str | None = None,
    no_pivot: bool = False,
    no_new_keyring: bool = False,
    systemd: bool = False,
    host: Host | None = None,
) -> list[str]:
    """Return the plan of the bundle as lines; nothing is made.

    With `systemd` the cgroup is a unit of systemd, which is asked where. Raises InvalidConfig, CgroupError and
    Unsupported as `create` would.
    """
    from libcontainer.builder import ContainerBuilder
    from libcontainer.spec.check import warnings

    spec, _ = load(bundle, config)
    host = host or Host()
    builder = (
        ContainerBuilder("container")
        .as_init(bundle)
        .with_systemd(systemd)
        .with_no_pivot(no_pivot)
        .with_no_new_keyring(no_new_keyring)
    )
    manager, resources = builder._manager(spec, host)
    options = builder._options(spec, manager, resources, host)
    lines = [f"warning: {sentence}" for sentence in [*warnings(spec), *_passed_over(spec)]]
    return lines + describe(compile_init(spec, host, options))


def _passed_over(spec: dict[str, Any]) -> list[str]:
    """Return a sentence for each system call of the filter that libseccomp does not know."""
    seccomp = (spec.get("linux") or {}).get("seccomp")
    if not seccomp:
        return []
    from libcontainer.seccomp.libseccomp import library, unknown_names

    return [
        f"{pointer}: libseccomp {library().version} does not know {name!r}, which is passed over"
        for pointer, name in unknown_names(seccomp)
    ]


def describe(plan: Plan) -> list[str]:
    """Return one line an operation: its number, name, operands, and after `#` its JSON pointer."""
    lines = []
    stage = 1
    for number, op in enumerate(plan.ops):
        operands = " ".join([_operand(op, index, plan.descriptors) for index in range(len(op.FIELDS))])
        text = f"{number:3} [{stage}] {type(op).__name__} {operands}".rstrip()
        lines.append(f"{text}  # {op.pointer}" if op.pointer else text)
        if isinstance(op, do.Clone):
            stage = 2
    return lines


def _operand(op: Op, index: int, descriptors: list[Descriptor]) -> str:
    name, kind, value = op.FIELDS[index], op.KINDS[index], op.operands[index]
    return f"{name}={_value(op, name, kind, value, descriptors)}"


def _value(op: Op, name: str, kind: str, value: object, descriptors: list[Descriptor]) -> str:
    if kind == "Fd":
        assert isinstance(value, int)
        return "none" if value == do.NO_FD else _descriptor(descriptors[value])
    if isinstance(op, (do.PrepareFilter, do.GuardDevices)) and kind == "Blob":
        assert isinstance(value, bytes)
        return f"{len(value) // 8}-instructions"
    if isinstance(value, bytes):
        return value.hex() if kind == "Blob" else _text(value)
    if isinstance(value, (list, tuple)):
        return "[" + " ".join([_text(item) for item in value]) + "]"
    assert isinstance(value, int)
    if kind == "Slot" and value == do.NO_SLOT:
        return "none"
    return _integer(op, name, value)


def _descriptor(descriptor: Descriptor) -> str:
    if descriptor.kind == "namespace":
        return str(descriptor.detail[0])
    return descriptor.detail if isinstance(descriptor.detail, str) else descriptor.kind


def _text(value: bytes) -> str:
    text = value.decode("utf-8", "backslashreplace")
    plain = text and all([character.isprintable() and character not in " \"'[]#" for character in text])
    return text if plain else repr(text)


def _integer(op: Op, name: str, value: int) -> str:
    if isinstance(op, do.Sync):
        return SYNC_POINTS[value]
    if isinstance(op, (do.AttachMount, do.Mount)) and name == "kind":
        return KINDS[value]
    table = FLAG_NAMES.get(f"{type(op).__name__}.{name}")
    if table is not None:
        return _flags(table, value)
    if isinstance(op, do.MakeDevice) and name == "device":
        return f"{os.major(value)}:{os.minor(value)}"
    if name in ("mode", "mask"):
        return f"{value:#o}"
    return str(value)


def _flags(table: str, value: int) -> str:
    """Return the names of the bits of `value`; what has none is left as a number."""
    from libcontainer import capabilities

    if table == "capability":
        return ",".join(capabilities.names(value)) or "none"
    shown = []
    for name, bits in _names(table):
        if bits and value & bits == bits:
            shown.append(name)
            value &= ~bits
    if value:
        shown.append(f"{value:#x}")
    return ",".join(shown) or "none"


def _names(table: str) -> list[tuple[str, int]]:
    """Return names with their bits, those of several bits first."""
    from libcontainer.mount_options import ATTR_ATIME, ATTR_IDMAP, OPTIONS
    from libcontainer.mounts import AT_RECURSIVE, OPEN_TREE_CLONE
    from libcontainer.plan.context import NAMESPACES

    if table == "namespace":
        return list(NAMESPACES.items())
    if table == "filter flag":
        from libcontainer.seccomp.profile import FLAGS, NEW_LISTENER

        return [("listener", NEW_LISTENER), *FLAGS.items()]
    if table == "open_tree":
        return [("clone", OPEN_TREE_CLONE), ("recursive", AT_RECURSIVE)]
    if table == "attribute":
        rows = [("atime", ATTR_ATIME), ("idmap", ATTR_IDMAP)]
        return rows + [(name, row[1]) for name, row in OPTIONS.items() if row[0] == "attribute"]
    flags = [(name, row[3]) for name, row in OPTIONS.items() if row[0] != "recursive"]
    return sorted(flags, key=lambda row: -row[1].bit_count())
