"""What every payload gets, that of an init container and that of a tenant: the parts of a plan that both share.

The order of the parts is written in compile.py and compile_tenant.py. On the hot path.
"""

from __future__ import annotations

from libcontainer import capabilities, namespaces
from libcontainer.plan import operations as do

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from libcontainer.plan.context import Context
    from libcontainer.plan.operations import Op

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def oom_score(context: Context) -> Iterator[Op]:
    """Yield the OOM score, as long as /proc/self is ours to write."""
    oom_score_adj = context.process.get("oomScoreAdj")
    if oom_score_adj is not None:
        yield do.SetOomScoreAdj(pointer="/process/oomScoreAdj", value=b"%d" % oom_score_adj)


def keyring(context: Context) -> Iterator[Op]:
    """Yield the container's keyring instead of the caller's."""
    if not context.options.no_new_keyring:
        yield do.JoinKeyring(pointer="", name=f"_ses.{context.options.container_id}".encode())


def terminal(context: Context, *, bind: bool) -> Iterator[Op]:
    """Yield the terminal, with `bind` also as /dev/console, or else the exchange of the host's /dev/null."""
    if context.process.get("terminal"):
        user = context.process.get("user") or {}
        size = context.process.get("consoleSize") or {}
        yield do.OpenConsole(
            pointer="/process/terminal",
            uid=user.get("uid") or 0,
            gid=user.get("gid") or 0,
            rows=size.get("height") or 0,
            columns=size.get("width") or 0,
            bind=int(bind),
        )
    elif context.has("mount"):
        yield do.ReopenNull(pointer="/process")


def rare_attributes(context: Context) -> Iterator[Op]:
    """Yield what few specs ask for; each module is imported only then."""
    if context.process.get("apparmorProfile") or context.process.get("selinuxLabel"):
        from libcontainer import lsm

        yield from lsm.compile_labels(context)
    if context.process.get("scheduler") or context.process.get("ioPriority"):
        from libcontainer import scheduler

        yield from scheduler.compile_scheduler(context)
    if context.linux.get("personality"):
        from libcontainer import personality

        yield from personality.compile_personality(context)
    if context.linux.get("memoryPolicy"):
        from libcontainer import memory_policy

        yield from memory_policy.compile_memory_policy(context)


def no_new_privileges(context: Context) -> Iterator[Op]:
    """Yield no_new_privs where it is asked for."""
    if context.process.get("noNewPrivileges"):
        yield do.SetNoNewPrivileges(pointer="/process/noNewPrivileges")


def user(context: Context, *, make_cwd: bool) -> Iterator[Op]:
    """Yield the way to the payload's user, capabilities and filter.

    No step after it may need a privilege but the loading of the filter, which Exec does.
    """
    process = context.process
    identity = process.get("user") or {}
    uid, gid = identity.get("uid") or 0, identity.get("gid") or 0
    if process.get("rlimits") and (uid or gid):
        # Another user's limits can only be set with CAP_SYS_RESOURCE, which a runtime in a container lacks:
        # prlimit(2). Of root's payload they are set when all is done.
        yield do.Sync(pointer="/process/rlimits", point=do.SYNC_RLIMITS)
    first = 3 + context.options.passed_fds
    yield do.CloseOnExec(pointer="", first=first)
    cwd = process["cwd"].encode()
    yield do.ChangeDirectory(pointer="/process/cwd", path=cwd, make=int(make_cwd), final=0)
    yield from capabilities.drop_bounding(context)
    if uid or gid:
        yield do.ChownStdio(pointer="/process/user", uid=uid, gid=gid)
    umask = identity.get("umask")
    yield do.SetUmask(pointer="/process/user/umask", mask=0o022 if umask is None else umask)
    yield do.SetCredentials(pointer="/process/user", uid=uid, gid=gid, **_groups(context, identity))
    yield from capabilities.limit(context)
    yield do.ChangeDirectory(pointer="/process/cwd", path=cwd, make=0, final=1)
    if context.linux.get("seccomp"):
        from libcontainer.seccomp import compile_filter

        yield from compile_filter(context)


def _groups(context: Context, identity: dict[str, Any]) -> dict[str, Any]:
    """Return the supplementary groups: exactly the listed ones (config.md "user"), never the caller's too."""
    groups = identity.get("additionalGids") or []
    rule = namespaces.groups_rule(context)
    if groups and rule != do.GROUPS_SET:
        rule = do.GROUPS_SET  # asked for, so a refusal by the kernel is an error
    packed = b"".join([gid.to_bytes(4, "little") for gid in groups])
    return {"groups": packed, "set_groups": rule}


def find_executable(context: Context, env: list[bytes]) -> Iterator[Op]:
    """Yield the look for the program, as the payload's user, before anyone is told that all is ready."""
    path = next((item[5:] for item in env if item.startswith(b"PATH=")), DEFAULT_PATH.encode())
    name = context.process["args"][0].encode()
    yield do.FindExecutable(pointer="/process/args/0", name=name, path=path.split(b":"))


def execute(context: Context, env: list[bytes]) -> Iterator[Op]:
    """Yield the last operation, and before it the meeting with the agent that a filter may have."""
    if context.linux.get("seccomp"):
        from libcontainer.seccomp import meet_agent

        yield from meet_agent(context)
    yield do.Exec(
        pointer="/process/args",
        args=[item.encode() for item in context.process["args"]],
        env=env,
        close_from=3 + context.options.passed_fds,
        home=int(not any([item.startswith(b"HOME=") for item in env])),
        uid=(context.process.get("user") or {}).get("uid") or 0,
    )
