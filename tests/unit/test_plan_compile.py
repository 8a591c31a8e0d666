"""The order of the operations is the security policy; these tests hold it. Mirrors
libcontainer/plan/compile.py and explain.py.

Golden plans: `python -m tests.unit.test_plan_compile` writes them anew; read the difference before committing
it.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from tests.strategies import specs

from libcgroups.cgroup import Cgroup
from libcgroups.devices.program import compile_rules
from libcgroups.host import Hierarchy
from libcontainer import InvalidConfig, Unsupported
from libcontainer.host import Host
from libcontainer.plan import operations as do
from libcontainer.plan.compile import compile_init, tail_of_plan
from libcontainer.plan.context import Options, Plan
from libcontainer.plan.encode import decode, encode
from libcontainer.plan.explain import describe
from libcontainer.spec.defaults import default_spec, rootless_spec
from libcontainer.spec.load import drop_nulls

GOLDEN = Path(__file__).parent / "golden"
ALL = (1 << 41) - 1
V1 = [Cgroup(Hierarchy(f"/sys/fs/cgroup/{name}", (name,)), "/box") for name in ("memory", "pids")]
V1 += [Cgroup(Hierarchy("/sys/fs/cgroup/cpu,cpuacct", ("cpu", "cpuacct")), "/box")]
V2 = [Cgroup(Hierarchy("/sys/fs/cgroup"), "/box")]


class Filters:
    """Stands in for the compiler of filters: a plan does not depend on which libseccomp is installed."""

    def program(self, seccomp: dict[str, Any]) -> bytes:
        """Return the program that allows everything."""
        assert seccomp["defaultAction"]
        return bytes.fromhex("060000000000ff7f")


def host(**facts: Any) -> Host:
    """A privileged host with everything; keyword arguments differ from it."""
    known: dict[str, Any] = {
        "euid": 0,
        "egid": 0,
        "capabilities": ALL,
        "bounding": ALL,
        "in_user_namespace": False,
        "new_mount_api": True,
        "mounts": [],
        "apparmor": False,
        "selinux": False,
        "kcore": True,
        "filters": Filters(),
    }
    return Host(**{**known, **facts})


USER = host(euid=1000, egid=1000, capabilities=0, bounding=ALL)


def options(**values: Any) -> Options:
    """The options of a container called box."""
    known: dict[str, Any] = {
        "container_id": "box",
        "bundle": "/bundle",
        "rootfs": "/bundle/rootfs",
        "cgroup_mode": "v1",
        "cgroups": V1,
    }
    return Options(**{**known, **values})


def compiled(spec: Any, facts: Host | None = None, **values: Any) -> Plan:
    """Compile for a privileged host unless told otherwise."""
    plan = compile_init(spec, facts or host(), options(**values))
    assert plan.ops  # compiled now, all parts: what one refuses is refused here
    return plan


def default() -> dict[str, Any]:
    """What `youki spec` writes, as plain data."""
    spec: dict[str, Any] = copy.deepcopy(default_spec())  # type: ignore[assignment]
    spec["process"]["terminal"] = False
    return spec


def with_userns(spec: dict[str, Any]) -> dict[str, Any]:
    """Add a user namespace that maps 65536 ids."""
    spec["linux"]["namespaces"].append({"type": "user"})
    spec["linux"]["uidMappings"] = spec["linux"]["gidMappings"] = [
        {"containerID": 0, "hostID": 100000, "size": 65536}
    ]
    return spec


def everything() -> dict[str, Any]:
    """A spec that asks for one of each."""
    spec = with_userns(default())
    spec["domainname"] = "example"
    spec["hooks"] = {
        kind: [{"path": "/bin/hook", "args": ["hook"], "timeout": 5}]
        for kind in (
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        )
    }
    spec["mounts"] += [
        {
            "destination": "/data",
            "type": "bind",
            "source": "data",
            "options": ["rbind", "ro", "rslave", "rnosuid"],
        },
        {
            "destination": "/scratch",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["tmpcopyup", "ro", "size=1m"],
        },
    ]
    spec["process"] |= {
        "user": {"uid": 1000, "gid": 1000, "additionalGids": [5, 6], "umask": 0o027},
        "oomScoreAdj": 100,
        "scheduler": {"policy": "SCHED_BATCH", "nice": 5},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
    }
    spec["linux"]["namespaces"].append({"type": "time"})
    spec["linux"] |= {
        "timeOffsets": {"boottime": {"secs": 10, "nanosecs": 20}},
        "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]},
        "sysctl": {"net.ipv4.ip_forward": "1"},
        "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o600}],
        "personality": {"domain": "LINUX32"},
        "memoryPolicy": {"mode": "MPOL_INTERLEAVE", "nodes": "0"},
        "rootfsPropagation": "rprivate",
    }
    return spec


def rootless() -> dict[str, Any]:
    """What `youki spec --rootless` writes for user 1000."""
    spec: dict[str, Any] = copy.deepcopy(rootless_spec(1000, 1000))  # type: ignore[assignment]
    spec["process"]["terminal"] = False
    return spec


CASES: dict[str, tuple[dict[str, Any], Host, dict[str, Any]]] = {
    "default": (default(), host(), {}),
    "default-classic-mounts": (default(), host(new_mount_api=False), {}),
    "default-v2": (default(), host(), {"cgroup_mode": "v2", "cgroups": V2}),
    "default-joining-itself": (default(), host(), {"self_join": True, "cgroups": V1 + V2}),
    "default-guarding-devices": (
        default(),
        host(),
        {"self_join": True, "cgroup_mode": "v2", "cgroups": V2, "device_program": bytes(16)},
    ),
    "everything": (everything(), host(), {"preserve_fds": 2}),
    "no-pivot": (default(), host(), {"no_pivot": True}),
    "rootless": (rootless(), USER, {"cgroups": []}),
}


def golden_text(name: str) -> str:
    """Return the plan of a case in words."""
    spec, facts, values = CASES[name]
    spec = copy.deepcopy(spec)
    drop_nulls(spec)
    return "\n".join(describe(compiled(spec, facts, **values))) + "\n"


@pytest.mark.parametrize("name", CASES)
def test_plan_is_the_one_that_was_reviewed(name: str) -> None:
    """A change of the plan is a change of the security policy: it must be seen in review."""
    assert golden_text(name) == (GOLDEN / f"{name}.plan").read_text()


@pytest.mark.parametrize("name", CASES)
def test_plan_survives_the_way_to_init(name: str) -> None:
    """What was decided is what arrives."""
    spec, facts, values = CASES[name]
    plan = compiled(spec, facts, **values)
    arrived = decode(encode(plan.ops, len(plan.descriptors)))

    assert [(type(op), list(op.operands)) for op in arrived] == [
        (type(op), list(op.operands)) for op in plan.ops
    ]


@given(specs(joined=False, lsm=False, rdt=True))
def test_every_valid_spec_compiles_and_reaches_init_whole(spec: dict[str, Any]) -> None:
    """What passes the check has a plan, and the plan survives the way to init."""
    spec = copy.deepcopy(spec)
    drop_nulls(spec)
    plan = compiled(spec)
    arrived = decode(encode(plan.ops, len(plan.descriptors)))

    assert [type(op) for op in arrived] == [type(op) for op in plan.ops]
    assert [list(op.operands) for op in arrived] == [list(op.operands) for op in plan.ops]


def position(plan: Plan, kind: type[do.Op], last: bool = False) -> int:
    """Return where an operation of this kind stands, the first or the last of them."""
    found = [index for index, op in enumerate(plan.ops) if type(op) is kind]
    assert found, f"no {kind.__name__} in the plan"
    return found[-1 if last else 0]


EARLIER_THAN = [
    (do.SetOomScoreAdj, do.Clone, "an unprivileged process may not write it once it is not dumpable"),
    (
        do.Unshare,
        do.BecomeRoot,
        "the host's identity is given up in the new user namespace at once (CVE-2015-8709)",
    ),
    (do.BecomeRoot, do.Clone, "the other namespaces belong to the container's user namespace"),
    (do.SetTimeOffsets, do.Clone, "offsets are fixed when the first process enters (time_namespaces(7))"),
    (do.SetDumpable, do.OpenRootfs, "nobody in the container may look into init (CVE-2016-9962)"),
    (do.SetDumpable, do.NewSession, "neighbours in a pid namespace that is joined see stage two at once"),
    (do.SetPropagation, do.OpenRootfs, "no mount may propagate to the host"),
    (do.OpenRootfs, do.AttachMount, "mounts go below the rootfs"),
    (do.AttachMount, do.PivotRoot, "the host's sources are gone afterwards"),
    (do.Sync, do.PivotRoot, "runtime hooks see the host's tree (config.md)"),
    (do.PivotRoot, do.MaskPath, "masks are of the container's own tree"),
    (do.WriteSysctl, do.MakeReadonly, "/proc/sys becomes read-only"),
    (do.DropBoundingSet, do.SetCredentials, "it needs CAP_SETPCAP"),
    (do.ChownStdio, do.SetCredentials, "it needs CAP_CHOWN"),
    (do.SetCredentials, do.SetCapabilities, "capset after setuid, which clears them"),
    (do.SetCapabilities, do.FindExecutable, "the payload's own rights decide what it can execute"),
    (do.FindExecutable, do.AwaitStart, "create tells that a program is missing, not start"),
    (do.CloseOnExec, do.FindExecutable, "no descriptor of ours leads anywhere (CVE-2024-21626)"),
    (do.PrepareFilter, do.AwaitStart, "create tells that a filter cannot be loaded, not start"),
    (do.AwaitStart, do.Exec, "the payload runs after start only"),
]


@pytest.mark.parametrize(
    ("first", "then", "why"), EARLIER_THAN, ids=lambda value: getattr(value, "__name__", "")
)
def test_order_of_the_plan_is_the_security_policy(first: type[do.Op], then: type[do.Op], why: str) -> None:
    """Each pair has a reason; a plan in another order is a hole."""
    spec = everything()
    spec["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    spec["linux"]["readonlyPaths"] = ["/proc/sys"]
    plan = compiled(spec)
    if then is do.MakeReadonly:
        bound = [index for index, op in enumerate(plan.ops) if isinstance(op, do.MakeReadonly) and op.bind]
        assert position(plan, first) < bound[0], why
        return

    assert position(plan, first) < position(plan, then), why


def test_no_new_privileges_is_set_before_the_payload_and_only_when_asked_for() -> None:
    """config.md: absent means false."""
    spec = default()
    assert position(compiled(spec), do.SetNoNewPrivileges) < position(compiled(spec), do.Exec)
    del spec["process"]["noNewPrivileges"]
    assert not any(isinstance(op, do.SetNoNewPrivileges) for op in compiled(spec).ops)


@pytest.mark.parametrize(
    ("fstype", "options", "guarded"),
    [("ext4", [], False), ("overlay", [], True), ("none", ["bind"], True), ("tmpfs", [], True)],
)
def test_devices_are_guarded_before_the_container_unless_a_mount_opens_one(
    fstype: str, options: list[str], guarded: bool
) -> None:
    """The rules are the container's: what init has to open for a mount need not be among them."""
    spec = default()
    spec["mounts"].append({"destination": "/a", "type": fstype, "source": "/dev/a", "options": options})
    plan = compiled(spec, self_join=True, cgroup_mode="v2", cgroups=V2, device_program=compile_rules([]))

    found = [type(op) for op in plan.first if type(op) in (do.GuardDevices, do.Clone)]
    assert found == ([do.GuardDevices, do.Clone] if guarded else [do.Clone])


BEHIND_THE_CGROUPS = [
    ({"destination": "/cg", "type": "cgroup", "source": "cgroup"}, "it shows the container's own cgroups"),
    ({"destination": "/cg", "type": "cgroup2", "source": "cgroup"}, "it shows the container's own cgroups"),
    ({"destination": "/etc", "type": "tmpfs", "options": ["tmpcopyup"]}, "what is copied is its memory"),
    (
        {"destination": "/a", "type": "bind", "source": "/a", "options": ["rbind"]},
        "it may be a cgroup of its own",
    ),
    (
        {"destination": "/a", "type": "overlay", "options": ["lowerdir=/a:/b"]},
        "an overlay's memory is its own",
    ),
    ({"destination": "/dev", "options": ["remount"]}, "who knows what it changes"),
]


@pytest.mark.parametrize(
    ("entry", "why"),
    BEHIND_THE_CGROUPS,
    ids=lambda value: value if isinstance(value, str) else value.get("type", "remount"),
)
def test_only_the_kernels_own_file_systems_are_mounted_before_the_cgroups(
    entry: dict[str, Any], why: str
) -> None:
    """They are made while the runtime makes the cgroups; from the first other mount on the order is the spec's."""
    spec = default()
    proc = {"destination": "/proc", "type": "proc", "source": "proc"}
    shm = {"destination": "/dev/shm", "type": "tmpfs", "options": ["mode=1777"]}
    spec["mounts"] = [proc, entry, shm]
    plan = compiled(spec, self_join=True, cgroups=V1 + V2)
    joins = [index for index, op in enumerate(plan.ops) if isinstance(op, do.JoinCgroup)]
    places = {op.pointer: index for index, op in enumerate(plan.ops) if op.pointer.startswith("/mounts/")}

    assert len(joins) == len(V1)
    assert position(plan, do.AwaitPlan) < places["/mounts/0"] < joins[0], "init has something to do meanwhile"
    assert joins[-1] < places["/mounts/1"] < places["/mounts/2"], why


def test_absent_capabilities_mean_none() -> None:
    """Absent means safer: a payload without `capabilities` gets no capability at all."""
    spec = default()
    del spec["process"]["capabilities"]
    plan = compiled(spec)
    sets = plan.ops[position(plan, do.SetCapabilities)]
    bounding = plan.ops[position(plan, do.DropBoundingSet)]

    assert sets.operands == (0, 0, 0, 0)
    assert bounding.operands == (0,)


def test_capabilities_that_the_runtime_lacks_are_left_out() -> None:
    """config.md: a capability that cannot be granted is a warning, not an error."""
    spec = default()
    spec["process"]["capabilities"] = {
        kind: ["CAP_KILL", "CAP_SYS_RESOURCE"] for kind in ("permitted", "effective")
    }
    lacking = host(capabilities=ALL & ~(1 << 24))
    plan = compiled(spec, lacking)

    assert plan.ops[position(plan, do.SetCapabilities)].operands[:2] == (1 << 5, 1 << 5)


def test_requested_label_without_the_module_is_an_error() -> None:
    """Requested and impossible is an error: a payload must not run unconfined by mistake (crun 1.27)."""
    spec = default()
    spec["process"]["apparmorProfile"] = "box"
    with pytest.raises(Unsupported, match="AppArmor is not active") as caught:
        compiled(spec)
    assert caught.value.pointer == "/process/apparmorProfile"


FILTER = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    "listenerPath": "/agent",
}


@pytest.mark.parametrize("no_new_privileges", [True, False, None])
def test_filter_without_no_new_privs_leaves_a_capability_permitted_until_execve(
    no_new_privileges: bool | None,
) -> None:
    """And not effective. Where there is no filter, or no_new_privs, nothing is left."""
    spec = default()
    del spec["process"]["noNewPrivileges"]
    if no_new_privileges is not None:
        spec["process"]["noNewPrivileges"] = no_new_privileges
    (without,) = [op for op in compiled(spec).ops if isinstance(op, do.SetCapabilities)]
    spec["linux"]["seccomp"] = FILTER
    plan = compiled(spec)
    (sets,) = [op for op in plan.ops if isinstance(op, do.SetCapabilities)]
    (prepared,) = [op for op in plan.ops if isinstance(op, do.PrepareFilter)]

    left = 0 if no_new_privileges else 1 << 21
    assert prepared.privileged == int(not no_new_privileges)
    assert sets.permitted == without.permitted | left
    assert (sets.effective, sets.inheritable, sets.ambient) == (
        without.effective,
        without.inheritable,
        without.ambient,
    )


def test_agent_is_met_right_before_the_payload_is_executed() -> None:
    """After the hooks of the container, which may take long; nothing may come between it and Exec."""
    spec = everything()
    spec["linux"]["seccomp"] = FILTER
    last = compiled(spec).ops[-2:]

    assert last[0] == do.Sync(pointer="/linux/seccomp/listenerPath", point=do.SYNC_AGENT)
    assert isinstance(last[1], do.Exec)


def test_filter_that_cannot_be_loaded_is_refused() -> None:
    """An unprivileged caller without a user namespace, and without no_new_privs."""
    spec = default()
    spec["process"]["noNewPrivileges"] = False
    spec["linux"]["namespaces"] = []
    spec["linux"]["seccomp"] = FILTER
    del spec["linux"]["maskedPaths"], spec["linux"]["readonlyPaths"], spec["mounts"]

    with pytest.raises(Unsupported, match="no_new_privs or CAP_SYS_ADMIN") as caught:
        compiled(spec, USER).ops  # noqa: B018  # compiles what stage two does

    assert caught.value.pointer == "/linux/seccomp"


def test_every_fault_of_the_mounts_is_told_at_once() -> None:
    """Whoever mends a configuration wants to see all that is wrong."""
    spec = default()
    spec["mounts"] += [
        {"destination": "/a", "type": "bind", "source": "/a", "options": ["bind", "size=1m"]},
        {"destination": "/proc/self", "type": "tmpfs", "source": "tmpfs"},
    ]
    with pytest.raises(InvalidConfig) as caught:
        compiled(spec)
    assert [problem.pointer for problem in caught.value.problems] == [
        "/mounts/7/options",
        "/mounts/8/destination",
    ]


def test_steps_after_start_can_be_named_by_another_process() -> None:
    """`start` is another process than `create`: it recognises a failed step by its number from the end."""
    spec = everything()
    plan = compiled(spec)
    tail = tail_of_plan(spec, host(), options())

    assert [type(op) for op in plan.ops[-len(tail) :]] == [type(op) for op in tail]


def main() -> None:
    """Write the golden plans."""
    GOLDEN.mkdir(exist_ok=True)
    for name in CASES:
        (GOLDEN / f"{name}.plan").write_text(golden_text(name))
    json.dump(sorted(CASES), sys.stdout)


if __name__ == "__main__":
    main()
