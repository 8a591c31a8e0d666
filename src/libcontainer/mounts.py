"""Mounts: config.json's list in its order, each made detached and then attached below the rootfs.

config.md "Mounts", mount(8), mount_setattr(2), mount_namespaces(7). Decides only; init acts. The options are read in
mount_options.py. On the hot path.
"""

from __future__ import annotations

from libcontainer.errors import InvalidConfig, Problem, Unsupported
from libcontainer.mount_options import (
    ATTR_IDMAP,
    ATTR_RDONLY,
    MS_BIND,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SLAVE,
    Request,
)
from libcontainer.plan import operations as do

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer.plan.context import Context
    from libcontainer.plan.operations import Op

OPEN_TREE_CLONE, AT_RECURSIVE = 1, 0x8000

# Slots of init: the mount in hand, the directory that it will hide, then one for each mount opened early or kept.
IN_HAND, HIDDEN, FIRST_SOURCE = 0, 1, 2

# Mounts that are kept, for masks and read-only paths to be found in them whatever their mount point is called by then.
KEPT = ("/proc", "/sys")

# The entries of /proc that a mount may replace (lxcfs and the like); everything else below /proc is refused.
REPLACEABLE_BELOW_PROC = frozenset(
    "/proc/" + name
    for name in (
        "cpuinfo",
        "diskstats",
        "meminfo",
        "stat",
        "swaps",
        "uptime",
        "loadavg",
        "slabinfo",
        "sys/kernel/ns_last_pid",
        "sys/crypto/fips_enabled",
    )
)

# File systems without a device: read-only is an attribute of their mount, never of a superblock that others
# share.
PSEUDO = frozenset(
    (
        "proc",
        "sysfs",
        "tmpfs",
        "devpts",
        "mqueue",
        "cgroup",
        "cgroup2",
        "debugfs",
        "tracefs",
        "securityfs",
        "ramfs",
    )
)


# File systems whose files have no labels of their own on disk, and take one as a mount option.
LABELLED = frozenset(("tmpfs", "ramfs", "devpts", "overlay"))


def requests(context: Context) -> list[Request]:
    """Return the mounts of the spec, checked for what only this table can tell."""
    if context.mounts is not None:
        return context.mounts
    found: list[Request] = []
    problems: list[Problem] = []
    for index, entry in enumerate(context.spec.get("mounts") or ()):
        request = Request(entry, f"/mounts/{index}", context.options.bundle)
        problems += _faults(request)
        if request.destination in KEPT and not request.remount:
            request.slot = FIRST_SOURCE + index
        found.append(request)
    if context.options.notify_directory is not None:
        from libcontainer.notify_socket import mount

        found.append(Request(mount(context.options.notify_directory), "", context.options.bundle))
    if problems:
        raise InvalidConfig("config.json", problems)
    _label(context, found)
    context.mounts = found
    return found


def place(context: Context, path: str) -> tuple[int, bytes]:
    """Return the slot of the kept mount that `path` is in, and the path below it."""
    for request in reversed(requests(context)):
        below = path.removeprefix(request.destination)
        if request.slot != IN_HAND and path.startswith(request.destination) and below[:1] in ("", "/"):
            return request.slot, below.encode() or b"/"
    return do.NO_SLOT, b""


def _label(context: Context, found: list[Request]) -> None:
    """Add `linux.mountLabel` to the file systems that are made (config-linux.md); binds keep theirs."""
    label = context.linux.get("mountLabel")
    if not label:
        return
    if not context.host.selinux:
        raise Unsupported(
            f"config.json /linux/mountLabel: {label!r} was requested, but this kernel has no active SELinux",
            pointer="/linux/mountLabel",
            remedy="remove mountLabel, or boot with SELinux enabled",
        )
    for request in found:
        if request.fstype in LABELLED and not request.bind:
            request.data.append(f'context="{label}"')


def _faults(request: Request) -> Iterator[Problem]:
    where = request.pointer
    if request.destination == "/":
        yield Problem(f"{where}/destination", "/", "a destination below /, which /root/path provides")
    if request.bind and not request.source and not request.remount:
        yield Problem(f"{where}/source", "nothing", "what is bound: the mount has the type or option bind")
    if request.remount and (request.propagation or request.copy_up or request.idmap):
        yield Problem(f"{where}/options", "remount", "no propagation, tmpcopyup or idmap beside remount")
    if request.bind and request.data:
        yield Problem(f"{where}/options", ",".join(request.data), "no file system option on a bind mount")
    if request.copy_up and request.fstype != "tmpfs":
        yield Problem(
            f"{where}/options", "tmpcopyup", f"tmpcopyup only with type tmpfs, not {request.fstype or 'none'}"
        )
    if request.idmap and not request.bind:
        yield Problem(f"{where}/options", "an id mapping", "an id mapping only on a bind mount")
    if request.destination == "/proc":
        if request.fstype != "proc" and not request.bind and not request.remount:
            yield Problem(f"{where}/type", request.fstype or "none", 'type "proc" at /proc (CVE-2019-16884)')
    elif request.destination.startswith("/proc/") and request.destination not in REPLACEABLE_BELOW_PROC:
        yield Problem(f"{where}/destination", request.destination, "a destination that is not inside /proc")
    if not request.bind and not request.fstype and not request.remount:
        yield Problem(f"{where}/type", "nothing", "a file system type, or the option bind")


def prepare(context: Context) -> Iterator[Op]:
    """Yield what stage one does while it still has the host's identity: open bind sources that a user
    namespace may not reach.

    An id-mapped mount, too, needs the privilege of the file system's owner (mount_setattr(2)
    MOUNT_ATTR_IDMAP).
    """
    for slot, request in enumerate(requests(context), start=FIRST_SOURCE):
        if opened_early(context, request):
            yield from _open_source(request, slot)
            yield from _idmap(context, request, slot)
            propagation = _propagation_of_clone(context)
            if propagation:
                yield do.SetMountAttributes(
                    pointer=request.pointer, slot=slot, propagation=propagation, recursive=1
                )


def opened_early(context: Context, request: Request) -> bool:
    """Tell whether stage one opens the source of `request`."""
    if not request.bind or request.remount or not context.host.new_mount_api:
        return False
    return request.idmap or (context.userns and context.host.privileged)


def _propagation_of_clone(context: Context) -> int:
    """Return what to set on a tree cloned out of the host's namespace, where it is still a peer of the host's
    own mounts.

    Stage two's mounts get it from rootfsPropagation; without this, what is mounted on the clone would appear
    on the host.
    """
    propagation = context.linux.get("rootfsPropagation") or "rslave"
    return 0 if propagation.endswith("shared") else MS_SLAVE if propagation.endswith("slave") else MS_PRIVATE


def count_early(context: Context) -> int:
    """Return how many of the mounts, from the first on, are made before the container is in its cgroups.

    Those of the kernel's own file systems, which cost nobody memory to speak of and wait for no server. Not those that
    show the cgroups, and not what is copied into a tmpfs, which is to be the container's memory.
    """
    for index, request in enumerate(requests(context)):
        own = request.fstype in PSEUDO and request.fstype not in ("cgroup", "cgroup2")
        if not own or request.bind or request.remount or request.copy_up:
            return index
    return len(requests(context))


def compile_mounts(context: Context, begin: int = 0, end: int | None = None) -> Iterator[Op]:
    """Yield the mounts in the order of the spec, those from `begin` to before `end`."""
    for index, request in enumerate(requests(context)[begin:end], start=begin):
        slot = FIRST_SOURCE + index
        if request.remount:
            yield from _remount(request)
        elif request.fstype == "cgroup" and not request.bind:
            from libcontainer.cgroup_mounts import compile_cgroup_mount

            yield from compile_cgroup_mount(context, request)
        elif request.classic or not context.host.new_mount_api:
            yield from _classic(context, request)
        elif request.bind:
            yield from _bind(context, request, slot)
        else:
            yield from _file_system(context, request)


def _open_source(request: Request, slot: int) -> Iterator[Op]:
    flags = OPEN_TREE_CLONE | (AT_RECURSIVE if request.recursive_bind else 0)
    yield do.OpenTree(pointer=request.pointer, slot=slot, source=request.source.encode(), flags=flags)


def _idmap(context: Context, request: Request, slot: int) -> Iterator[Op]:
    if not request.idmap:
        return
    mappings = (
        request.mappings
        if any(request.mappings)
        else (context.linux.get("uidMappings"), context.linux.get("gidMappings"))
    )
    if not all(mappings):
        found = "idmap without a mapping"
        raise InvalidConfig(
            "config.json",
            [
                Problem(
                    f"{request.pointer}/options", found, "uidMappings and gidMappings, or a user namespace"
                )
            ],
        )
    if not context.host.privileged or context.host.in_user_namespace:
        raise Unsupported(
            f"config.json {request.pointer}: an id-mapped mount needs privileges over the file system",
            pointer=request.pointer,
            remedy="run as root, or remove the mapping",
        )
    userns = context.descriptor("mapping", mappings, request.pointer)
    recursive = int(request.idmap_recursive)
    yield do.SetMountAttributes(
        pointer=request.pointer, slot=slot, set=ATTR_IDMAP, userns=userns, recursive=recursive
    )


def _bind(context: Context, request: Request, slot: int) -> Iterator[Op]:
    if not opened_early(context, request):
        slot = request.slot
        yield from _open_source(request, slot)
    yield from _attributes(request, slot)
    yield from _attach(request, slot)


def _attributes(request: Request, slot: int) -> Iterator[Op]:
    """Yield the changes to the mount in `slot`.

    First its own attributes, then those of the whole tree, then propagation in the given order.
    """
    where = request.pointer
    if request.set | request.clear:
        yield do.SetMountAttributes(pointer=where, slot=slot, set=request.set, clear=request.clear)
    yield from tree_attributes(request, slot)


def tree_attributes(request: Request, slot: int) -> Iterator[Op]:
    """Yield the changes to the whole tree in `slot`: recursive attributes, and propagation."""
    where = request.pointer
    if request.recursive_set | request.recursive_clear:
        yield do.SetMountAttributes(
            pointer=where, slot=slot, set=request.recursive_set, clear=request.recursive_clear, recursive=1
        )
    for flags in request.propagation:
        yield do.SetMountAttributes(
            pointer=where, slot=slot, propagation=flags & ~MS_REC, recursive=int(flags & MS_REC != 0)
        )


def _kind(request: Request) -> int:
    """Tell what the mount may be attached on: see AttachMount."""
    if request.destination == "/proc":
        return do.PROCFS
    if request.destination.startswith("/proc/"):
        return do.ON_PROCFS
    real = request.fstype in ("proc", "sysfs") and not request.bind
    return do.REAL_DIRECTORY if real else do.LIKE_SOURCE


def _attach(request: Request, slot: int) -> Iterator[Op]:
    yield do.AttachMount(
        pointer=request.pointer, slot=slot, target=request.destination.encode(), kind=_kind(request)
    )


def _file_system(context: Context, request: Request) -> Iterator[Op]:
    if request.fstype == "sysfs" and _sysfs_is_refused(context):
        yield from _sysfs_of_host(request)
        return
    attributes = request.set
    if delayed_readonly(request):
        attributes &= ~ATTR_RDONLY
    parameters = [*request.superblock, *[_unquoted(item) for item in request.data]]
    if request.readonly and request.fstype not in PSEUDO:
        parameters.insert(0, "ro")
    yield from _hold_hidden(request)
    yield do.NewMount(
        pointer=request.pointer,
        slot=request.slot,
        fstype=request.fstype.encode(),
        source=request.source.encode(),
        parameters=[item.encode() for item in parameters],
        attributes=attributes,
    )
    yield from _resemble_hidden(request)
    yield from tree_attributes(request, request.slot)
    yield from _attach(request, request.slot)


def _unquoted(option: str) -> str:
    """Take the quotes off a value: they protect its commas in the one string of mount(2), not here."""
    key, _, value = option.partition("=")
    quoted = len(value) >= 2 and value[0] == value[-1] == '"'
    return f"{key}={value[1:-1]}" if quoted else option


def _hold_hidden(request: Request) -> Iterator[Op]:
    """Yield what keeps the directory that a tmpfs will hide, where the tmpfs is to resemble it."""
    if request.fstype == "tmpfs" and (request.copy_up or _inherits_mode(request)):
        yield do.OpenTarget(
            pointer=request.pointer, slot=HIDDEN, path=request.destination.encode(), optional=1
        )


def _resemble_hidden(request: Request) -> Iterator[Op]:
    if request.fstype != "tmpfs":
        return
    if _inherits_mode(request):
        owner = not any([item.startswith(("uid=", "gid=")) for item in request.data])
        yield do.InheritMode(pointer=request.pointer, slot=request.slot, hidden=HIDDEN, owner=int(owner))
    if request.copy_up:
        yield do.CopyUp(pointer=request.pointer, slot=request.slot, hidden=HIDDEN)


def _inherits_mode(request: Request) -> bool:
    return not any([item.startswith("mode=") for item in request.data])


def delayed_readonly(request: Request) -> bool:
    """Tell whether the mount becomes read-only only after everything below it has been made: tmpfs, and /dev."""
    return (
        request.readonly and not request.bind and (request.fstype == "tmpfs" or request.destination == "/dev")
    )


def finish_readonly(context: Context) -> Iterator[Op]:
    """Yield what makes the delayed mounts read-only, after the change of root."""
    for request in requests(context):
        if delayed_readonly(request):
            yield do.MakeReadonly(pointer=request.pointer, path=request.destination.encode(), bind=0)


def _sysfs_is_refused(context: Context) -> bool:
    """A sysfs shows a network namespace, so only the owner of that may mount one (config-linux.md,
    user_namespaces(7)).
    """
    return context.userns and not context.has("network")


def _sysfs_of_host(request: Request) -> Iterator[Op]:
    """Yield a bind of the host's /sys, with all that is asked for applied to its whole tree.

    Cgroups that are delegated to the caller must not be writable behind a read-only /sys (CVE-2023-25809).
    """
    where = request.pointer
    yield do.OpenTree(pointer=where, slot=request.slot, source=b"/sys", flags=OPEN_TREE_CLONE | AT_RECURSIVE)
    if request.set | request.clear:
        yield do.SetMountAttributes(
            pointer=where, slot=request.slot, set=request.set, clear=request.clear, recursive=1
        )
    yield from tree_attributes(request, request.slot)
    yield from _attach(request, request.slot)


def _remount(request: Request) -> Iterator[Op]:
    """Yield the change of a mount made before: of its own flags with `bind`, else of its file system."""
    where, target = request.pointer, request.destination.encode()
    flags = request.flags_set & ~(MS_BIND | MS_REC)
    if request.bind:
        yield do.OpenTarget(pointer=where, slot=request.slot, path=target, optional=0)
        yield do.Remount(pointer=where, slot=request.slot, set=flags & ~MS_REMOUNT, clear=request.flags_clear)
        return
    yield do.Mount(
        pointer=where,
        slot=request.slot,
        source=request.source.encode(),
        target=target,
        fstype=b"",
        flags=flags,
        data=_data(request),
        kind=do.LIKE_SOURCE,
    )


def _data(request: Request) -> bytes:
    """Return the options of the file system as mount(2) takes them: in one string, parted by commas."""
    escaped = [
        item.replace(",", "\\,") if request.fstype == "overlay" and "\\," not in item else item
        for item in request.data
    ]
    return ",".join(escaped).encode()


def _classic(context: Context, request: Request) -> Iterator[Op]:
    """Yield mount(2) calls: the mount, then for a bind its flags, then the propagation.

    For older kernels and a few old flags.
    """
    new = context.host.new_mount_api
    if request.idmap or (request.recursive_set | request.recursive_clear and not new):
        raise Unsupported(
            f"config.json {request.pointer}: recursive and id-mapped mounts need Linux 5.12 (mount_setattr)",
            pointer=request.pointer,
            syscall="mount_setattr",
            remedy="remove the option, or run on a newer kernel",
        )
    if request.bind:
        yield from _classic_bind(request, request.source)
    elif request.fstype == "sysfs" and _sysfs_is_refused(context):
        yield from _classic_bind(request, "/sys", recursive=True)
    else:
        yield from _classic_file_system(request)
    if new:
        yield from tree_attributes(request, request.slot)
        return
    yield from classic_propagation(request)


def classic_propagation(request: Request) -> Iterator[Op]:
    """Yield the changes of propagation, in the order given, to the mount just made."""
    for propagation in request.propagation:
        yield do.ChangePropagation(pointer=request.pointer, slot=request.slot, flags=propagation)


def _classic_bind(request: Request, source: str, *, recursive: bool = False) -> Iterator[Op]:
    where, rest = request.pointer, request.flags_set & ~(MS_BIND | MS_REC)
    yield do.Mount(
        pointer=where,
        slot=request.slot,
        source=source.encode(),
        target=request.destination.encode(),
        fstype=b"",
        flags=MS_BIND | (MS_REC if recursive else request.flags_set & MS_REC),
        data=b"",
        kind=_kind(request),
    )
    if rest or request.flags_clear:
        yield do.Remount(pointer=where, slot=request.slot, set=rest, clear=request.flags_clear)


def _classic_file_system(request: Request) -> Iterator[Op]:
    yield from _hold_hidden(request)
    yield do.Mount(
        pointer=request.pointer,
        slot=request.slot,
        source=request.source.encode(),
        target=request.destination.encode(),
        fstype=request.fstype.encode(),
        flags=request.flags_set & ~(MS_RDONLY if delayed_readonly(request) else 0),
        data=_data(request),
        kind=_kind(request),
    )
    yield from _resemble_hidden(request)
