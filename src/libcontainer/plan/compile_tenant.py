"""The life of a tenant: another process in a running container, from the spawn of init to the payload, in order.

This order is the security policy, as that of compile.py is; what both kinds of process get is in payload.py.
On the hot path.

    outside           host's namespaces and identity: what has to be written to the own /proc
    the container     its namespaces, its cgroups, its root: from here on the host's tree is gone
    attributes        terminal, labels, scheduling
    user              identity and capabilities; from here on no step may need a privilege
    gate              the runtime sets limits and tells the pid, then the payload is executed
"""

from __future__ import annotations

from libcontainer import namespaces
from libcontainer.environment import compile_environment
from libcontainer.plan import operations as do
from libcontainer.plan import payload
from libcontainer.plan.context import Part, Plan, TenantContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from libcontainer.host import Host
    from libcontainer.plan.context import Options
    from libcontainer.plan.operations import Op


def compile_tenant(spec: dict[str, Any], host: Host, options: Options, joined: Sequence[str]) -> Plan:
    """Return the plan for one more process of a container.

    `spec` is the container's configuration with the tenant's `process` in it, `options.cgroups` are the
    cgroups to enter, and `joined` names the namespaces of the container's first process that are not the
    runtime's own. Raises Unsupported for what this host cannot do.
    """
    context = TenantContext(spec, host, options)
    first = [
        *_outside(context),
        *namespaces.enter_process(context, joined),
        do.NewSession(pointer=""),
        *payload.keyring(context),
        do.AwaitPlan(pointer=""),
    ]
    return Plan(first, context.descriptors, (lambda: _rest(context, joined),))


def _rest(context: TenantContext, joined: Sequence[str]) -> Part:
    """Return what stage two does in the container, compiled while the kernel starts init."""
    ops = [
        *_container(context, joined),
        *_attributes(context),
        *payload.user(context, make_cwd=False),
        *_gate(context),
    ]
    return Part(ops, context.warnings)


def _outside(context: TenantContext) -> Iterator[Op]:
    yield from payload.oom_score(context)
    # The container's root could trace us, and look at the host through us, from the first join on
    # (CVE-2016-9962).
    yield do.SetDumpable(pointer="", value=0)


def _container(context: TenantContext, joined: Sequence[str]) -> Iterator[Op]:
    yield from namespaces.enter_cgroups_of_process(context, joined)
    if context.process.get("execCPUAffinity"):
        from libcontainer import affinity

        yield from affinity.compile_final(context)
    if context.has("mount"):
        yield do.OpenRootfs(pointer="/root/path", path=b"/", bind=0)
    else:
        # The way to it is the host's, and joining a mount namespace never leads there.
        yield do.TakeRootfs(pointer="/root/path", root=context.descriptor("process root"))
        yield do.ChangeRoot(pointer="/root/path")


def _attributes(context: TenantContext) -> Iterator[Op]:
    yield from payload.terminal(context, bind=False)
    yield from payload.rare_attributes(context)
    yield from payload.no_new_privileges(context)


def _gate(context: TenantContext) -> Iterator[Op]:
    env = compile_environment(context)
    yield from payload.find_executable(context, env)
    yield do.Sync(pointer="", point=do.SYNC_READY)
    yield from payload.execute(context, env)
