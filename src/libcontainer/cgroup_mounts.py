"""Mounts of type cgroup: how the container sees its control groups, on v1, hybrid and v2 hosts.

config-linux.md "Control groups", cgroups(7), cgroup_namespaces(7). With a cgroup namespace of its own the
container gets fresh mounts whose root is its cgroup. Without one it gets binds: a fresh cgroup2 mount made in
the host's namespace would change the options of the host's.
"""

from __future__ import annotations

from libcontainer.mount_options import (
    ATTR_NODEV,
    ATTR_NOEXEC,
    ATTR_NOSUID,
    ATTR_RDONLY,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
)
from libcontainer.mounts import IN_HAND, OPEN_TREE_CLONE, classic_propagation, tree_attributes
from libcontainer.plan import operations as do

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer.mount_options import Request
    from libcontainer.plan.context import Context
    from libcontainer.plan.operations import Op

SAFE_ATTRIBUTES = ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC
SAFE_FLAGS = MS_NOSUID | MS_NODEV | MS_NOEXEC


def compile_cgroup_mount(context: Context, request: Request) -> Iterator[Op]:
    """Yield the operations for a mount entry of type cgroup."""
    mode = context.options.cgroup_mode
    if mode == "v2":
        yield from _unified(context, request, request.destination)
    elif mode in ("v1", "hybrid"):
        yield from _hierarchies(context, request)
    else:
        # A host without cgroups shows an empty directory rather than whatever the image has there.
        yield from _tmpfs(context, request)


def _unified(context: Context, request: Request, target: str) -> Iterator[Op]:
    if context.has("cgroup"):
        yield from _fresh(context, request, "cgroup2", "", target)
    else:
        # Rootless, the host's tree must not be writable by its owner in the container (CVE-2023-25809).
        readonly = context.userns and not context.host.privileged
        source = next(
            (cgroup.mount_point for cgroup in context.options.cgroups if not cgroup.controllers),
            "/sys/fs/cgroup",
        )
        yield from _bind(context, request, source, target, force_readonly=readonly)


def _hierarchies(context: Context, request: Request) -> Iterator[Op]:
    """v1: a small tmpfs with one mount a hierarchy, and links for controllers that are mounted together."""
    yield from _tmpfs(context, request)
    for cgroup in context.options.cgroups:
        name = cgroup.mount_point.rpartition("/")[2]
        target = f"{request.destination}/{name}"
        if not cgroup.controllers:
            yield from _unified_of_hybrid(context, request, cgroup.directory, target)
        elif context.has("cgroup"):
            yield from _fresh(context, request, "cgroup", cgroup.mount_data, target)
        else:
            yield from _bind(context, request, cgroup.directory, target)
        for link in cgroup.links:
            yield do.MakeSymlink(
                pointer=request.pointer,
                path=f"{request.destination}/{link}".encode(),
                target=name.encode(),
                replace=0,
            )
    if request.readonly:
        yield do.MakeReadonly(pointer=request.pointer, path=request.destination.encode(), bind=0)


def _unified_of_hybrid(context: Context, request: Request, directory: str, target: str) -> Iterator[Op]:
    if context.has("cgroup"):
        yield from _fresh(context, request, "cgroup2", "", target)
    else:
        yield from _bind(context, request, directory, target)


def _tmpfs(context: Context, request: Request) -> Iterator[Op]:
    where, target = request.pointer, request.destination.encode()
    if not context.host.new_mount_api:
        yield do.Mount(
            pointer=where,
            slot=IN_HAND,
            source=b"tmpfs",
            target=target,
            fstype=b"tmpfs",
            flags=SAFE_FLAGS,
            data=b"mode=755",
            kind=do.REAL_DIRECTORY,
        )
        yield from classic_propagation(request)
        return
    yield do.NewMount(
        pointer=where,
        slot=IN_HAND,
        fstype=b"tmpfs",
        source=b"tmpfs",
        parameters=[b"mode=755"],
        attributes=SAFE_ATTRIBUTES,
    )
    yield from tree_attributes(request, IN_HAND)
    yield do.AttachMount(pointer=where, slot=IN_HAND, target=target, kind=do.REAL_DIRECTORY)


def _fresh(context: Context, request: Request, fstype: str, data: str, target: str) -> Iterator[Op]:
    where = request.pointer
    if not context.host.new_mount_api:
        flags = request.flags_set | SAFE_FLAGS
        yield do.Mount(
            pointer=where,
            slot=IN_HAND,
            source=b"cgroup",
            target=target.encode(),
            fstype=fstype.encode(),
            flags=flags,
            data=data.encode(),
            kind=do.REAL_DIRECTORY,
        )
        yield from classic_propagation(request)
        return
    yield do.NewMount(
        pointer=where,
        slot=IN_HAND,
        fstype=fstype.encode(),
        source=b"cgroup",
        parameters=[item.encode() for item in data.split(",") if item],
        attributes=request.set | SAFE_ATTRIBUTES,
    )
    yield from tree_attributes(request, IN_HAND)
    yield do.AttachMount(pointer=where, slot=IN_HAND, target=target.encode(), kind=do.REAL_DIRECTORY)


def _bind(
    context: Context, request: Request, source: str, target: str, *, force_readonly: bool = False
) -> Iterator[Op]:
    where = request.pointer
    if not context.host.new_mount_api:
        flags = request.flags_set | SAFE_FLAGS | (MS_RDONLY if force_readonly else 0)
        yield do.Mount(
            pointer=where,
            slot=IN_HAND,
            source=source.encode(),
            target=target.encode(),
            fstype=b"",
            flags=MS_BIND | MS_REC,
            data=b"",
            kind=do.REAL_DIRECTORY,
        )
        yield do.Remount(pointer=where, slot=IN_HAND, set=flags, clear=request.flags_clear & ~flags)
        yield from classic_propagation(request)
        return
    attributes = request.set | SAFE_ATTRIBUTES | (ATTR_RDONLY if force_readonly else 0)
    yield do.OpenTree(pointer=where, slot=IN_HAND, source=source.encode(), flags=OPEN_TREE_CLONE)
    clear = request.clear & ~attributes
    yield do.SetMountAttributes(pointer=where, slot=IN_HAND, set=attributes, clear=clear)
    yield from tree_attributes(request, IN_HAND)
    yield do.AttachMount(pointer=where, slot=IN_HAND, target=target.encode(), kind=do.REAL_DIRECTORY)
