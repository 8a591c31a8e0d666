"""The life of a container's first process, from the spawn of init to the payload, in order.

This order is the security policy; nothing sorts it afterwards. Each concern has its own module, imported here
only when the spec asks for it. On the hot path.

    stage one      the host's namespaces: what needs the host's identity, or comes before the new ones
      clone        the birth of stage two, in its pid namespace
    stage two      makes the other namespaces
    file system    the host's tree is still reachable: nothing of the image runs, every name is looked up
                   below the rootfs; before the first mount that has to do with cgroups or memory they are entered
    change root    from here on the host's tree is gone
    attributes     names, labels, and sysctls before /proc/sys becomes read-only; masks after them
    user           identity and capabilities: from here on no step may need a privilege
    gate           the runtime records the state, then `start` is awaited
"""

from __future__ import annotations

from libcontainer import devices, mount_options, mounts, namespaces
from libcontainer.environment import compile_environment
from libcontainer.plan import operations as do
from libcontainer.plan import payload
from libcontainer.plan.context import Context, Plan
from libcontainer.plan.known import Parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from libcontainer.host import Host
    from libcontainer.plan.context import Options
    from libcontainer.plan.operations import Op


def compile_init(spec: dict[str, Any], host: Host, options: Options, text: bytes | None = None) -> Plan:
    """Return the plan for the first process of a container; `spec` has passed spec.check.

    It is compiled in three parts, the later ones when they are asked for: init is at work on one while the next is
    made. With the `text` that `spec` was read from they are taken from an earlier plan where there is one. Each part
    raises InvalidConfig for what only the compilers know, Unsupported for what this host cannot do.
    """
    context = Context(spec, host, options)
    parts = Parts(context, text, (_birth, _mounts, _rest))
    first = [*parts.part(0).ops, *payload.keyring(context), do.AwaitPlan(pointer="")]
    return Plan(first, context.descriptors, (lambda: parts.part(1), lambda: parts.part(2)))


def _birth(context: Context) -> list[Op]:
    """Return what comes before the new namespaces, and what stage two does as soon as it is in them."""
    return [*_stage_one(context), *_born(context)]


def _mounts(context: Context) -> list[Op]:
    """Return what stage two does first in its new namespaces, compiled while the kernel makes these.

    Its cgroups are made meanwhile, so nothing here needs them (`mounts.count_early`).
    """
    return [*_file_systems(context), do.AwaitPlan(pointer="")]


def _rest(context: Context) -> list[Op]:
    """Return what stage two does in its cgroups, compiled while the kernel makes the first mounts."""
    return [
        *namespaces.enter_cgroups(context),
        *_late_mounts(context),
        *_nodes(context),
        *_change_root(context),
        *_attributes(context),
        *(payload.user(context, make_cwd=True) if context.process else ()),
        *_gate(context),
    ]


def _stage_one(context: Context) -> Iterator[Op]:
    yield from payload.oom_score(context)
    yield from mounts.prepare(context)
    if _enters_rootfs_early(context):
        rootfs = context.options.rootfs.encode()
        yield do.ChangeDirectory(pointer="/root/path", path=rootfs, make=0, final=1)
    yield from devices.guard(context)
    yield from namespaces.enter(context)


def _born(context: Context) -> Iterator[Op]:
    """Yield the first steps of stage two, which depend on nothing that takes long to find out."""
    if not _is_open_to_hooks(context):
        yield do.SetDumpable(pointer="", value=0)
    yield do.NewSession(pointer="")
    yield from namespaces.make(context)
    if context.makes("network"):
        yield do.BringLoopbackUp(pointer=context.pointers["network"])
    if context.linux.get("netDevices"):
        yield do.OpenNetlink(pointer="/linux/netDevices")


def _has_runtime_hooks(context: Context) -> bool:
    hooks = context.spec.get("hooks") or {}
    return bool(hooks.get("prestart") or hooks.get("createRuntime"))


def _is_open_to_hooks(context: Context) -> bool:
    """Tell whether init is closed to others (CVE-2016-9962) only after the runtime's hooks have run.

    An unprivileged user's hooks need /proc/PID/ns of init to set its network up, and the kernel shows that of
    a dumpable process only. Nobody else is in its namespaces then, unless one of them was joined.
    """
    joins = any(context.namespaces.values())
    return _has_runtime_hooks(context) and not context.host.privileged and not joins


def _enters_rootfs_early(context: Context) -> bool:
    """Tell whether stage one makes the rootfs its working directory: the root of a user namespace may not be
    permitted to search the directories that lead there. Joining a mount namespace would lead out of it.
    """
    return context.userns and (context.makes("mount") or not context.has("mount"))


def _file_systems(context: Context) -> Iterator[Op]:
    rootfs = context.options.rootfs.encode()
    early = _enters_rootfs_early(context)
    if not context.has("mount"):
        yield do.OpenRootfs(pointer="/root/path", path=b"." if early else rootfs, bind=0)
    else:
        yield from _propagation(context, rootfs)
        yield do.OpenRootfs(pointer="/root/path", path=rootfs, bind=2 if early else 1)
        yield from mounts.compile_mounts(context, 0, mounts.count_early(context))


def _late_mounts(context: Context) -> Iterator[Op]:
    if context.has("mount"):
        yield from mounts.compile_mounts(context, mounts.count_early(context))


def _nodes(context: Context) -> Iterator[Op]:
    if context.has("mount"):
        yield from devices.compile_devices(context)
    if _has_runtime_hooks(context) or context.linux.get("netDevices"):
        yield do.Sync(pointer="/hooks", point=do.SYNC_HOOKS)
    if _is_open_to_hooks(context):
        yield do.SetDumpable(pointer="", value=0)
    if (context.spec.get("hooks") or {}).get("createContainer"):
        yield from _hooks(context, "createContainer", "creating")


def _propagation(context: Context, rootfs: bytes) -> Iterator[Op]:
    """Yield what keeps the container's mounts off the host; by default the host's still reach the container."""
    name = context.linux.get("rootfsPropagation") or "rslave"
    pointer = "/linux/rootfsPropagation"
    flags = mount_options.PROPAGATION[name] | mount_options.MS_REC
    if flags & mount_options.MS_UNBINDABLE:
        # An unbindable root could not be bound on itself; it becomes so after the change of root.
        flags = mount_options.MS_PRIVATE | mount_options.MS_REC
    if flags & mount_options.MS_SHARED and context.userns and context.makes("mount"):
        # Copies for another user namespace are slaves at most; they become shared after the change of root.
        flags = mount_options.MS_SLAVE | mount_options.MS_REC
    yield do.SetPropagation(pointer=pointer, path=b"/", flags=flags)
    if flags & mount_options.MS_SHARED:
        yield do.MakeParentPrivate(pointer=pointer, path=rootfs)


def _change_root(context: Context) -> Iterator[Op]:
    if not context.has("mount"):
        yield do.ChangeRoot(pointer="/root/path")
        return
    if context.options.no_pivot:
        for entry in reversed(context.host.mounts):
            if entry.fstype in ("proc", "sysfs"):
                yield do.HideMount(pointer="/root/path", path=entry.mount_point.encode())
        yield do.MoveRoot(pointer="/root/path")
    else:
        yield do.PivotRoot(pointer="/root/path")
    yield from _late_propagation(context, "shared", "rshared")


def _late_propagation(context: Context, *names: str) -> Iterator[Op]:
    name = context.linux.get("rootfsPropagation")
    if name in names:
        yield do.SetPropagation(
            pointer="/linux/rootfsPropagation", path=b"/", flags=mount_options.PROPAGATION[name]
        )


def _attributes(context: Context) -> Iterator[Op]:
    yield from payload.terminal(context, bind=context.has("mount"))
    yield from mounts.finish_readonly(context)
    if (context.spec.get("root") or {}).get("readonly") and context.has("mount"):
        yield do.MakeReadonly(pointer="/root/readonly", path=b"/", bind=0)
    yield from _names(context)
    if context.linux.get("sysctl"):
        from libcontainer import sysctl

        yield from sysctl.compile_sysctl(context)
    yield from payload.rare_attributes(context)
    for index, path in enumerate(context.linux.get("readonlyPaths") or ()):
        base, inside = mounts.place(context, path)
        pointer = f"/linux/readonlyPaths/{index}"
        yield do.MakeReadonly(pointer=pointer, path=path.encode(), bind=1, base=base, inside=inside)
    for index, path in enumerate(context.linux.get("maskedPaths") or ()):
        base, inside = mounts.place(context, path)
        pointer = f"/linux/maskedPaths/{index}"
        yield do.MaskPath(pointer=pointer, path=path.encode(), base=base, inside=inside)
    # Masks and read-only paths are binds, which an unbindable mount cannot be the source of.
    yield from _late_propagation(context, "unbindable", "runbindable")
    yield from payload.no_new_privileges(context)


def _names(context: Context) -> Iterator[Op]:
    if context.spec.get("hostname"):
        yield do.SetHostname(pointer="/hostname", name=context.spec["hostname"].encode())
    if context.spec.get("domainname"):
        yield do.SetDomainname(pointer="/domainname", name=context.spec["domainname"].encode())


def _gate(context: Context) -> Iterator[Op]:
    env = compile_environment(context) if context.process else []
    if context.process:
        yield from payload.find_executable(context, env)
    yield do.Sync(pointer="", point=do.SYNC_READY)
    yield do.AwaitStart(pointer="", listener=context.descriptor("listener"))
    if context.process:
        yield from _hooks(context, "startContainer", "created", env)
        yield from payload.execute(context, env)


def _hooks(context: Context, kind: str, status: str, env: list[bytes] | None = None) -> Iterator[Op]:
    if not (context.spec.get("hooks") or {}).get(kind):
        return
    from libcontainer.container_hooks import compile_hooks

    yield from compile_hooks(context, kind, status, env)


def tail_of_plan(spec: dict[str, Any], host: Host, options: Options) -> list[Op]:
    """Return the operations that follow AwaitStart, to name one that failed after `start` in another process
    than the creator's.
    """
    ops = list(_gate(Context(spec, host, options)))
    position = next(index for index, op in enumerate(ops) if isinstance(op, do.AwaitStart))
    return ops[position + 1 :]
