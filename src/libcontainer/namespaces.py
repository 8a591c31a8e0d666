"""Namespaces: which are made, which are joined, and in what order, so that each step has the permission it
needs.

config-linux.md "Namespaces"; namespaces(7), user_namespaces(7), time_namespaces(7). Decides only; init acts.
On the hot path.
"""

from __future__ import annotations

from libcontainer.plan import operations as do
from libcontainer.plan.context import NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from libcontainer.host import Host
    from libcontainer.plan.context import Context
    from libcontainer.plan.operations import Op

# Joined in this order; mount comes last, since the paths of the others are the host's.
JOIN_ORDER = ("ipc", "uts", "network", "pid", "cgroup", "time", "mount")

# A time namespace takes in only later children, so it is unshared before the clone of stage two.
MADE_FOR_STAGE_TWO = ("pid", "network", "mount", "ipc", "uts", "cgroup")


def enter(context: Context) -> Iterator[Op]:
    """Yield the operations of stage one, up to the clone of stage two."""
    joined = [name for name in JOIN_ORDER if context.namespaces.get(name)]
    # setns(2) asks for CAP_SYS_ADMIN in the caller's own user namespace, too: the privileged have it now and
    # over all that is below, others only in the container's.
    late = bool(context.userns and not context.host.privileged)
    if not late:
        yield from _join_all(context, joined)
    yield from _user(context)
    if late:
        yield from _join_all(context, joined)
    yield from _time(context)
    if context.userns:
        # After the time offsets: the change of identity makes /proc/self another's (proc(5), dumpable).
        yield do.BecomeRoot(pointer=context.pointers["user"], groups=groups_rule(context))
    parent = 0 if context.options.as_sibling else 1
    flags = _flags(context, _made_at_birth(context))
    yield do.Clone(pointer="/linux/namespaces", flags=flags, parent=parent, cgroup=_birthplace(context))


def make(context: Context) -> Iterator[Op]:
    """Yield the making of the namespaces that stage two was not born in."""
    flags = _flags(context, [name for name in MADE_FOR_STAGE_TWO if name not in _made_at_birth(context)])
    if flags:
        yield do.Unshare(pointer="/linux/namespaces", flags=flags)


def _made_at_birth(context: Context) -> Sequence[str]:
    """Return the namespaces that the clone makes.

    That is the one that a process can only be born in: what takes long stage two does by itself, and the runtime
    makes its cgroups meanwhile. Where it is born in the cgroup that counts its memory, all of them, before it is
    there: a limit of 256 KiB leaves no room for them.
    """
    return MADE_FOR_STAGE_TWO if context.options.cgroup_mode == "v2" else ("pid",)


def _flags(context: Context, names: Sequence[str]) -> int:
    made = sum([NAMESPACES[name] for name in names if context.makes(name)])
    return made & ~NAMESPACES["cgroup"] if context.options.self_join else made  # see enter_cgroups


def enter_process(context: Context, joined: Sequence[str]) -> Iterator[Op]:
    """Yield the way of a tenant's stage one to where the container's first process is.

    `joined` names the namespaces of that process that are not the runtime's own.
    """
    early = [name for name in joined if name not in _joined_late(context, joined)]
    if context.host.privileged:
        # As in `enter`: what belongs to the host is joined as long as we may.
        yield from _join_process(context, [name for name in early if name != "user"])
        yield from _join_process(context, [name for name in early if name == "user"])
    else:
        yield from _join_process(context, early)
    if "user" in joined:
        yield do.BecomeRoot(pointer=context.pointers.get("user", ""), groups=do.GROUPS_IF_PERMITTED)
    yield do.Clone(
        pointer="",
        flags=0,
        parent=0 if context.options.as_sibling else 1,
        cgroup=_birthplace(context),
    )


def enter_cgroups_of_process(context: Context, joined: Sequence[str]) -> Iterator[Op]:
    """Yield the way of a tenant's stage two into the cgroups, and what is joined only then."""
    yield from enter_cgroups(context)
    yield from _join_process(context, _joined_late(context, joined))


def _joined_late(context: Context, joined: Sequence[str]) -> list[str]:
    """Return the cgroup namespace where init enters the cgroups itself.

    From inside of it nobody leaves a cgroup that it does not show, where it is a border of delegation
    (cgroup-v2.rst, "nsdelegate"): clone3(2) fails with ENOENT.
    """
    return ["cgroup"] if context.options.self_join and "cgroup" in joined else []


def _join_process(context: Context, names: Sequence[str]) -> Iterator[Op]:
    if not names:
        return
    if context.host.joins_by_pidfd:
        flags = sum([NAMESPACES[name] for name in names])
        yield do.JoinNamespaces(
            pointer="/linux/namespaces", process=context.descriptor("process"), flags=flags
        )
        return
    for name in [name for name in ("user", *JOIN_ORDER) if name in names]:
        pointer = context.pointers.get(name, "")
        fd = context.descriptor("process namespace", name, pointer)
        yield do.JoinNamespace(pointer=pointer, fd=fd, nstype=NAMESPACES[name])


def enter_cgroups(context: Context) -> Iterator[Op]:
    """Yield stage two's way into the v1 cgroups, and its cgroup namespace, which begins at its maker's cgroup.

    Only after the other namespaces have been made, so that their memory is not the container's: a limit of 256 KiB
    leaves no room for it.
    """
    if not context.options.self_join:
        return
    for cgroup in context.options.cgroups:
        if cgroup.controllers:
            tasks = context.descriptor("tasks", cgroup.directory, "/linux/cgroupsPath")
            yield do.JoinCgroup(pointer="/linux/cgroupsPath", tasks=tasks)
    if context.makes("cgroup"):
        yield do.Unshare(pointer=context.pointers["cgroup"], flags=NAMESPACES["cgroup"])


def _birthplace(context: Context) -> int:
    """Return the unified cgroup that stage two is cloned into (CLONE_INTO_CGROUP), or NO_FD."""
    if context.options.self_join:
        for cgroup in context.options.cgroups:
            if not cgroup.controllers:
                return context.descriptor("cgroup", cgroup.directory, "/linux/cgroupsPath")
    return do.NO_FD


def _join_all(context: Context, names: list[str]) -> Iterator[Op]:
    for name in names:
        yield _join(context, name)


def _join(context: Context, name: str) -> Op:
    pointer = context.pointers[name]
    flag = NAMESPACES[name]
    return do.JoinNamespace(
        pointer=pointer,
        fd=context.descriptor("namespace", (context.namespaces[name], flag), pointer),
        nstype=flag,
    )


def _user(context: Context) -> Iterator[Op]:
    """Enter the user namespace before the others are made, so that they belong to it."""
    if not context.userns:
        return
    pointer = context.pointers["user"]
    if context.makes("user"):
        yield do.Unshare(pointer=pointer, flags=NAMESPACES["user"])
        yield do.Sync(pointer="/linux/uidMappings", point=do.SYNC_MAPS)
        return
    if context.host.privileged or not context.linux.get("timeOffsets"):
        # Whoever is root there could trace us from now on (CVE-2016-9962). An unprivileged user could not
        # write the time offsets then: /proc/self would be root's.
        yield do.SetDumpable(pointer=pointer, value=0)
    yield _join(context, "user")
    if context.linux.get("uidMappings") or context.linux.get("gidMappings"):
        # The runtime compares: only a process in a namespace shows what its mappings are.
        yield do.Sync(pointer="/linux/uidMappings", point=do.SYNC_MAPS)


def groups_rule(context: Context) -> int:
    """Tell whether setgroups(2) will be permitted, as one of the GROUPS_ rules.

    It is not below a gid map that an unprivileged process wrote (user_namespaces(7)). A joined user namespace does
    not show who wrote its map, so there it is tried.
    """
    if not context.userns:
        return do.GROUPS_SET
    if not context.makes("user"):
        return do.GROUPS_IF_PERMITTED
    from libcontainer.idmap import must_deny_setgroups

    mappings = context.linux.get("gidMappings") or []
    denied = must_deny_setgroups(mappings, privileged=context.host.privileged, own_gid=context.host.egid)
    return do.GROUPS_KEEP if denied else do.GROUPS_SET


def _time(context: Context) -> Iterator[Op]:
    if not context.makes("time"):
        return
    yield do.Unshare(pointer=context.pointers["time"], flags=NAMESPACES["time"])
    offsets: dict[str, Any] = context.linux.get("timeOffsets") or {}
    if offsets:
        lines = [
            f"{clock} {value.get('secs', 0)} {value.get('nanosecs', 0)}\n" for clock, value in offsets.items()
        ]
        yield do.SetTimeOffsets(pointer="/linux/timeOffsets", offsets="".join(lines).encode())


def may_join_itself(spec: dict[str, Any], host: Host) -> bool:
    """Tell whether init can enter its cgroups by itself, which is faster: see operations.JoinCgroup.

    Root can. In a user namespace the permission to be born in a cgroup is another user's, and a cgroup that
    may not be entered is to be left out (Manager.add_process). CLONE_INTO_CGROUP is of Linux 5.7, and a
    filter around us may hide clone3(2).
    """
    namespaces = (spec.get("linux") or {}).get("namespaces") or ()
    if not host.new_mount_api or not host.privileged or host.in_user_namespace:
        return False
    if host.status.get("Seccomp", "0") != "0":
        return False
    return not any([item["type"] == "user" for item in namespaces])
