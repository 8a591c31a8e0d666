"""The life of a container's first process, from the spawn of init to the payload, in order.

This order is the security policy; nothing sorts it afterwards. Each concern has its own module, imported here
only when the spec asks for it. On the hot path.

    stage one      host's namespaces: what needs the host's identity or comes before the new namespaces clone
    the new namespaces file system    the host's tree is still reachable: nothing of the image runs, every
    name is looked up below the rootfs change root    from here on the host's tree is gone attributes
    names, labels, sysctls before /proc/sys becomes read-only; masks after them user           identity and
    capabilities; from here on no step may need a privilege gate           the runtime records the state, then
    `start` is awaited
"""

from __future__ import annotations

from libcontainer import capabilities, devices, mounts, namespaces
from libcontainer.errors import Unsupported
from libcontainer.plan import operations as do
from libcontainer.plan.context import Context, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from libcontainer.host import Host
    from libcontainer.plan.context import Options
    from libcontainer.plan.operations import Op

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def compile_init(spec: dict[str, Any], host: Host, options: Options) -> Plan:
    """Return the plan for the first process of a container; `spec` has passed spec.check.

    Raises InvalidConfig for what only the compilers know, Unsupported for what this host cannot do.
    """
    context = Context(spec, host, options)
    _refuse_what_is_missing(context)
    ops = [
        *_stage_one(context),
        *_file_system(context),
        *_change_root(context),
        *_attributes(context),
        *_user(context),
        *_gate(context),
    ]
    return Plan(ops, context.descriptors)


# Parts of the specification that this library does not carry out yet. A filter or a limit that was asked for and is not
# there is an error: nobody must believe to be protected by it.
MISSING = {"seccomp": "system call filters"}


def _refuse_what_is_missing(context: Context) -> None:
    for name, words in MISSING.items():
        if context.linux.get(name) is not None:
            raise Unsupported(
                f"config.json /linux/{name}: {words} are not implemented yet",
                pointer=f"/linux/{name}",
                remedy=f"remove linux.{name}, if the payload may run without it",
            )


def _stage_one(context: Context) -> Iterator[Op]:
    oom_score_adj = context.process.get("oomScoreAdj")
    if oom_score_adj is not None:
        yield do.SetOomScoreAdj(pointer="/process/oomScoreAdj", value=b"%d" % oom_score_adj)
    yield from mounts.prepare(context)
    if _enters_rootfs_early(context):
        rootfs = context.options.rootfs.encode()
        yield do.ChangeDirectory(pointer="/root/path", path=rootfs, make=0, final=1)
    yield from namespaces.enter(context)
    if not _is_open_to_hooks(context):
        yield do.SetDumpable(pointer="", value=0)
    yield do.NewSession(pointer="")
    if not context.options.no_new_keyring:
        yield do.JoinKeyring(pointer="", name=f"_ses.{context.options.container_id}".encode())
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
    return (
        context.userns and context.host.new_mount_api and (context.makes("mount") or not context.has("mount"))
    )


def _file_system(context: Context) -> Iterator[Op]:
    rootfs = context.options.rootfs.encode()
    early = _enters_rootfs_early(context)
    if not context.has("mount"):
        yield do.OpenRootfs(pointer="/root/path", path=b"." if early else rootfs, bind=0)
    else:
        yield from _propagation(context, rootfs)
        yield do.OpenRootfs(pointer="/root/path", path=rootfs, bind=2 if early else 1)
        yield from mounts.compile_mounts(context)
        yield from devices.compile_devices(context)
    if _has_runtime_hooks(context) or context.linux.get("netDevices"):
        yield do.Sync(pointer="/hooks", point=do.SYNC_HOOKS)
    if _is_open_to_hooks(context):
        yield do.SetDumpable(pointer="", value=0)
    if (context.spec.get("hooks") or {}).get("createContainer"):
        yield from _hooks(context, "createContainer", "creating")


def _propagation(context: Context, rootfs: bytes) -> Iterator[Op]:
    """Yield what keeps the container's mounts off the host.

    By default the host's still reach the container.
    """
    name = context.linux.get("rootfsPropagation") or "rslave"
    pointer = "/linux/rootfsPropagation"
    flags = mounts.PROPAGATION[name] | mounts.MS_REC
    if flags & mounts.MS_UNBINDABLE:
        # An unbindable root could not be bound on itself; it becomes so after the change of root.
        flags = mounts.MS_PRIVATE | mounts.MS_REC
    if flags & mounts.MS_SHARED and context.userns and context.makes("mount"):
        # Copies for another user namespace are slaves at most; they become shared after the change of root.
        flags = mounts.MS_SLAVE | mounts.MS_REC
    yield do.SetPropagation(pointer=pointer, path=b"/", flags=flags)
    if flags & mounts.MS_SHARED:
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
        yield do.SetPropagation(pointer="/linux/rootfsPropagation", path=b"/", flags=mounts.PROPAGATION[name])


def _attributes(context: Context) -> Iterator[Op]:
    yield from _terminal(context)
    yield from mounts.finish_readonly(context)
    if (context.spec.get("root") or {}).get("readonly") and context.has("mount"):
        yield do.MakeReadonly(pointer="/root/readonly", path=b"/", bind=0)
    yield from _names(context)
    yield from _rare_attributes(context)
    for index, path in enumerate(context.linux.get("readonlyPaths") or ()):
        yield do.MakeReadonly(pointer=f"/linux/readonlyPaths/{index}", path=path.encode(), bind=1)
    for index, path in enumerate(context.linux.get("maskedPaths") or ()):
        yield do.MaskPath(pointer=f"/linux/maskedPaths/{index}", path=path.encode())
    # Masks and read-only paths are binds, which an unbindable mount cannot be the source of.
    yield from _late_propagation(context, "unbindable", "runbindable")
    if context.process.get("noNewPrivileges"):
        yield do.SetNoNewPrivileges(pointer="/process/noNewPrivileges")


def _terminal(context: Context) -> Iterator[Op]:
    if context.process.get("terminal"):
        user = context.process.get("user") or {}
        size = context.process.get("consoleSize") or {}
        yield do.OpenConsole(
            pointer="/process/terminal",
            uid=user.get("uid") or 0,
            gid=user.get("gid") or 0,
            rows=size.get("height") or 0,
            columns=size.get("width") or 0,
            bind=int(context.has("mount")),
        )
    elif context.has("mount"):
        yield do.ReopenNull(pointer="/process")


def _names(context: Context) -> Iterator[Op]:
    if context.spec.get("hostname"):
        yield do.SetHostname(pointer="/hostname", name=context.spec["hostname"].encode())
    if context.spec.get("domainname"):
        yield do.SetDomainname(pointer="/domainname", name=context.spec["domainname"].encode())


def _rare_attributes(context: Context) -> Iterator[Op]:
    """Yield what few specs ask for; each module is imported only then."""
    if context.process.get("apparmorProfile") or context.process.get("selinuxLabel"):
        from libcontainer import lsm

        yield from lsm.compile_labels(context)
    if context.linux.get("sysctl"):
        from libcontainer import sysctl

        yield from sysctl.compile_sysctl(context)
    if context.process.get("scheduler") or context.process.get("ioPriority"):
        from libcontainer import scheduler

        yield from scheduler.compile_scheduler(context)
    if context.linux.get("personality"):
        from libcontainer import personality

        yield from personality.compile_personality(context)
    if context.linux.get("memoryPolicy"):
        from libcontainer import memory_policy

        yield from memory_policy.compile_memory_policy(context)


def _user(context: Context) -> Iterator[Op]:
    process = context.process
    if not process:
        return
    user = process.get("user") or {}
    uid, gid = user.get("uid") or 0, user.get("gid") or 0
    if process.get("rlimits") and (uid or gid):
        # Another user's limits can only be set with CAP_SYS_RESOURCE, which a runtime in a container lacks:
        # prlimit(2). Of root's payload they are set when all is done.
        yield do.Sync(pointer="/process/rlimits", point=do.SYNC_RLIMITS)
    first = 3 + context.options.passed_fds
    yield do.CloseOnExec(pointer="", first=first)
    cwd = process["cwd"].encode()
    yield do.ChangeDirectory(pointer="/process/cwd", path=cwd, make=1, final=0)
    yield from capabilities.drop_bounding(context)
    if uid or gid:
        yield do.ChownStdio(pointer="/process/user", uid=uid, gid=gid)
    umask = user.get("umask")
    yield do.SetUmask(pointer="/process/user/umask", mask=0o022 if umask is None else umask)
    yield do.SetCredentials(pointer="/process/user", uid=uid, gid=gid, **_groups(context, user))
    yield from capabilities.limit(context)
    yield do.ChangeDirectory(pointer="/process/cwd", path=cwd, make=0, final=1)


def _groups(context: Context, user: dict[str, Any]) -> dict[str, Any]:
    """Return the supplementary groups.

    Exactly the listed ones, so that the caller's never leak in (config.md "user").
    """
    groups = user.get("additionalGids") or []
    rule = namespaces.groups_rule(context)
    if groups and rule != do.GROUPS_SET:
        rule = do.GROUPS_SET  # asked for, so a refusal by the kernel is an error
    packed = b"".join([gid.to_bytes(4, "little") for gid in groups])
    return {"groups": packed, "set_groups": rule}


def _gate(context: Context) -> Iterator[Op]:
    process = context.process
    if process:
        from libcontainer.environment import compile_environment

        env = compile_environment(context)
        path = next((item[5:] for item in env if item.startswith(b"PATH=")), DEFAULT_PATH.encode())
        args = [item.encode() for item in process["args"]]
        yield do.FindExecutable(pointer="/process/args/0", name=args[0], path=path.split(b":"))
    yield do.Sync(pointer="", point=do.SYNC_READY)
    yield do.AwaitStart(pointer="", listener=context.descriptor("listener"))
    if process:
        yield from _hooks(context, "startContainer", "created", env)
        home = int(not any([item.startswith(b"HOME=") for item in env]))
        user = process.get("user") or {}
        yield do.Exec(
            pointer="/process/args",
            args=args,
            env=env,
            close_from=3 + context.options.passed_fds,
            home=home,
            uid=user.get("uid") or 0,
        )


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
