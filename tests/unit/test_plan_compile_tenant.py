"""The order of a tenant's operations. Mirrors libcontainer/plan/compile_tenant.py.

Golden plans: `python -m tests.unit.test_plan_compile_tenant` writes them anew; read the difference before committing
it.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from tests.strategies import specs

from libcontainer.host import Host
from libcontainer.plan import operations as do
from libcontainer.plan.compile_tenant import compile_tenant
from libcontainer.plan.context import NAMESPACES, Plan
from libcontainer.plan.encode import decode, encode
from libcontainer.plan.explain import describe
from libcontainer.spec.load import drop_nulls

from .test_plan_compile import USER, V1, V2, default, everything, host, options, position, rootless

GOLDEN = Path(__file__).parent / "golden"
ALL = list(NAMESPACES)
WITHOUT_USER = [name for name in ALL if name != "user"]


def tenant(spec: dict[str, Any], **process: Any) -> dict[str, Any]:
    """Return the configuration with a tenant's process in it."""
    return {**spec, "process": {**spec["process"], "args": ["id"], **process}}


def compiled(
    spec: dict[str, Any], facts: Host | None = None, joined: list[str] | None = None, **values: Any
) -> Plan:
    """Compile for a privileged host, and all namespaces, unless told otherwise."""
    known = facts or host(joins_by_pidfd=True)
    return compile_tenant(spec, known, options(**values), ALL if joined is None else joined)


PIDFD = host(joins_by_pidfd=True)
CASES: dict[str, tuple[dict[str, Any], Host, list[str], dict[str, Any]]] = {
    "tenant": (tenant(default()), PIDFD, WITHOUT_USER, {"self_join": True, "cgroups": V1 + V2}),
    "tenant-by-descriptors": (
        tenant(everything(), execCPUAffinity={"initial": "0", "final": "0-1"}),
        host(joins_by_pidfd=False),
        ALL,
        {"preserve_fds": 2},
    ),
    "tenant-everything": (
        tenant(everything(), execCPUAffinity={"initial": "0"}, terminal=True),
        PIDFD,
        ALL,
        {},
    ),
    "tenant-rootless": (tenant(rootless()), host(**USER.__dict__, joins_by_pidfd=True), ALL, {"cgroups": []}),
}


def golden_text(name: str) -> str:
    """Return the plan of a case in words."""
    spec, facts, joined, values = CASES[name]
    spec = copy.deepcopy(spec)
    drop_nulls(spec)
    return "\n".join(describe(compiled(spec, facts, joined, **values))) + "\n"


@pytest.mark.parametrize("name", CASES)
def test_plan_is_the_one_that_was_reviewed(name: str) -> None:
    """A change of the plan is a change of the security policy: it must be seen in review."""
    assert golden_text(name) == (GOLDEN / f"{name}.plan").read_text()


@given(specs(joined=False, lsm=False, rdt=False))
def test_every_valid_spec_compiles_and_reaches_init_whole(spec: dict[str, Any]) -> None:
    """What a container can be made of, a tenant of it can be made of."""
    spec = copy.deepcopy(spec)
    drop_nulls(spec)
    (spec.get("linux") or {}).pop("seccomp", None)
    if not spec.get("process"):
        return
    plan = compiled(spec)
    arrived = decode(encode(plan.ops, len(plan.descriptors)))

    assert [(type(op), list(op.operands)) for op in arrived] == [
        (type(op), list(op.operands)) for op in plan.ops
    ]


EARLIER_THAN = [
    (do.SetOomScoreAdj, do.SetDumpable, "afterwards /proc/self belongs to root of the host"),
    (do.SetDumpable, do.JoinNamespaces, "nobody in the container may look into init (CVE-2016-9962)"),
    (do.JoinNamespaces, do.Clone, "a process enters a pid namespace by being born in it"),
    (do.BecomeRoot, do.Clone, "the host's identity is given up at once (CVE-2015-8709)"),
    (do.JoinCgroup, do.SetAffinity, "the final CPUs count from the container's cpuset on"),
    (do.NewSession, do.OpenRootfs, "nothing can be typed into the caller's terminal (CVE-2017-5226)"),
    (do.OpenRootfs, do.ReopenNull, "the container's files are looked up below its root"),
    (do.SetScheduler, do.SetCredentials, "it may need a privilege"),
    (do.CloseOnExec, do.ChangeDirectory, "no descriptor of ours leads anywhere (CVE-2024-21626)"),
    (do.DropBoundingSet, do.SetCredentials, "it needs CAP_SETPCAP"),
    (do.SetCredentials, do.SetCapabilities, "capset after setuid, which clears them"),
    (do.SetCapabilities, do.FindExecutable, "the payload's own rights decide what it can execute"),
    (do.FindExecutable, do.Sync, "an error is told before a pid file is written"),
]


@pytest.mark.parametrize(
    ("first", "then", "why"), EARLIER_THAN, ids=lambda value: getattr(value, "__name__", "")
)
def test_order_of_the_plan_is_the_security_policy(first: type[do.Op], then: type[do.Op], why: str) -> None:
    """Each pair has a reason; a plan in another order is a hole."""
    spec = tenant(everything(), execCPUAffinity={"final": "0"})
    plan = compiled(spec, self_join=True, cgroups=V1 + V2)

    assert position(plan, first) < position(plan, then, last=then is do.Sync), why


def test_nothing_is_made_for_a_tenant() -> None:
    """No mount, no device, no namespace, no hook, no name: a tenant finds what there is."""
    made = (
        do.Unshare,
        do.NewMount,
        do.OpenTree,
        do.AttachMount,
        do.MakeDevice,
        do.SetHostname,
        do.WriteSysctl,
    )
    made += (do.RunHook, do.MaskPath, do.MakeReadonly, do.PivotRoot, do.BringLoopbackUp, do.AwaitStart)
    plan = compiled(tenant(everything()))

    assert [op for op in plan.ops if isinstance(op, made)] == []


def test_working_directory_is_never_made() -> None:
    """A mistyped directory of an `exec` must not appear in the container."""
    plan = compiled(tenant(default()))

    assert {op.make for op in plan.ops if isinstance(op, do.ChangeDirectory)} == {0}


def test_privileged_caller_joins_the_user_namespace_last() -> None:
    """What the host's user namespace owns, such as a network namespace of an engine, is joined with its rights."""
    joins = [op for op in compiled(tenant(everything())).ops if isinstance(op, do.JoinNamespaces)]

    assert [bool(op.flags & NAMESPACES["user"]) for op in joins] == [False, True]


def test_unprivileged_caller_joins_all_at_once() -> None:
    """The rights over the others come with the user namespace."""
    plan = compiled(tenant(rootless()), host(**USER.__dict__, joins_by_pidfd=True))

    assert len([op for op in plan.ops if isinstance(op, do.JoinNamespaces)]) == 1


def test_cgroup_namespace_is_joined_when_the_cgroups_are_entered() -> None:
    """With nsdelegate the kernel lets nobody in it go to a cgroup from one that it does not show (ENOENT)."""
    plan = compiled(tenant(default()), joined=WITHOUT_USER, self_join=True, cgroups=V1 + V2)
    joins = [index for index, op in enumerate(plan.ops) if isinstance(op, do.JoinNamespaces)]

    assert plan.ops[joins[-1]].flags == NAMESPACES["cgroup"]
    assert position(plan, do.Clone) < position(plan, do.JoinCgroup, last=True) < joins[-1]
    assert not plan.ops[joins[0]].flags & NAMESPACES["cgroup"]


def test_container_without_a_mount_namespace_has_its_root_by_descriptor() -> None:
    """Joining a mount namespace would lead to the host's root there."""
    spec = tenant(default())
    spec["linux"] = {**spec["linux"], "namespaces": [{"type": "pid"}]}
    plan = compiled(spec, joined=["pid", "mount"])

    assert position(plan, do.TakeRootfs) < position(plan, do.ChangeRoot) < position(plan, do.SetCredentials)
    assert not any(isinstance(op, do.OpenRootfs) for op in plan.ops)


def test_tenant_keeps_the_callers_keyring_where_the_container_did() -> None:
    """--no-new-keyring of create holds for tenants, too."""
    assert not any(
        isinstance(op, do.JoinKeyring) for op in compiled(tenant(default()), no_new_keyring=True).ops
    )


def main() -> None:
    """Write the golden plans."""
    for name in CASES:
        (GOLDEN / f"{name}.plan").write_text(golden_text(name))


if __name__ == "__main__":
    main()
