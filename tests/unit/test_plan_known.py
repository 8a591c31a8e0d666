"""plan/known.py: a plan that is put together from an earlier one is the plan that would have been compiled."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.strategies import specs

from libcgroups.cgroup import Cgroup
from libcgroups.host import Hierarchy
from libcontainer.errors import InvalidConfig, Unsupported
from libcontainer.host import _GATHER, Host
from libcontainer.plan import known
from libcontainer.plan import operations as do
from libcontainer.plan.compile import compile_init
from libcontainer.plan.context import Options, Plan
from libcontainer.spec.defaults import default_spec
from libcontainer.spec.load import drop_nulls

FACTS: dict[str, Any] = {
    "euid": 0,
    "egid": 0,
    "capabilities": (1 << 41) - 1,
    "bounding": (1 << 41) - 1,
    "in_user_namespace": False,
    "new_mount_api": True,
    "apparmor": True,
    "selinux": True,
    "kcore": True,
}
HIERARCHIES = [Hierarchy(f"/sys/fs/cgroup/{name}", (name,)) for name in ("memory", "pids")]
UNIFIED = Hierarchy("/sys/fs/cgroup/unified")

# What makes another plan, each by itself.
OTHER_OPTIONS: list[dict[str, Any]] = [
    {"bundle": "/elsewhere"},
    {"rootfs": "/elsewhere/rootfs"},
    {"preserve_fds": 2},
    {"listen_fds": 1},
    {"as_sibling": True},
    {"self_join": False},
    {"cgroup_mode": "v2"},
    {"no_new_keyring": True},
    {"notify_directory": "/run/youki/two/notify"},
    {"device_program": bytes(16)},
]
OTHER_FACTS: list[dict[str, Any]] = [
    {"capabilities": 1 << 21},
    {"bounding": 1 << 21},
    {"in_user_namespace": True},
    {"new_mount_api": False},
    {"kcore": False},
]


class Filters:
    """Stands in for the compiler of filters: a plan does not depend on which libseccomp is installed.

    As with those, each gives the same programs.
    """

    compiled = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filters)

    def __hash__(self) -> int:
        return hash(Filters)

    def program(self, seccomp: dict[str, Any]) -> bytes:
        """Return a program that tells the profile."""
        Filters.compiled += 1
        return repr(seccomp).encode()


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins without a plan; what is gathered of this machine is a fact of the tests."""
    monkeypatch.setattr(known, "_known", {})
    monkeypatch.setitem(_GATHER, "filters", lambda _: Filters())
    monkeypatch.setitem(_GATHER, "mounts", lambda _: [])


def default() -> dict[str, Any]:
    """What `youki spec` writes, as plain data, with a relative bind mount."""
    spec: dict[str, Any] = copy.deepcopy(default_spec())  # type: ignore[assignment]
    spec["process"]["terminal"] = False
    spec["mounts"].append({"destination": "/data", "source": "data", "options": ["bind"]})
    return spec


def options(container_id: str, **values: Any) -> Options:
    """The options of a container with cgroups of its own."""
    cgroups = [Cgroup(hierarchy, f"/{container_id}") for hierarchy in (*HIERARCHIES, UNIFIED)]
    found = {"bundle": "/bundle", "rootfs": "/bundle/rootfs", "cgroup_mode": "hybrid", "self_join": True}
    return Options(**{"container_id": container_id, "cgroups": cgroups, **found, **values})


def compiled(spec: Any, chosen: Options, facts: dict[str, Any], *, keep: bool) -> object:
    """Return everything that is in a plan, or the error; with `keep` it may come from an earlier one."""
    text = json.dumps(spec).encode() if keep else None
    try:
        return contents(compile_init(spec, Host(**facts), chosen, text))
    except (InvalidConfig, Unsupported) as error:
        return str(error)


def contents(plan: Plan) -> object:
    """Return the operations and the descriptors of a plan."""
    return plan.ops, [(known.kind, known.detail, known.pointer) for known in plan.descriptors]


def kept() -> int:
    """Return how many plans are known."""
    return len(known._known)


def test_second_container_takes_what_the_first_was_given() -> None:
    """Nothing is compiled again, and only the container's own is another."""
    spec, text = default(), b"text"
    host = {**FACTS}
    first = compile_init(spec, Host(**host), options("one"), text)
    assert len(first.ops) > 20
    second = compile_init(spec, Host(**host), options("two"), text)

    assert all(one is other for one, other in zip(first.later, second.later, strict=True))
    assert [op.name for op in second.ops if isinstance(op, do.JoinKeyring)] == [b"_ses.two"]
    directories = [descriptor.detail for descriptor in second.descriptors if descriptor.detail]
    assert directories == [
        "/sys/fs/cgroup/unified/two",
        "/sys/fs/cgroup/memory/two",
        "/sys/fs/cgroup/pids/two",
    ]
    assert contents(second) == compiled(spec, options("two"), FACTS, keep=False)


@pytest.mark.parametrize("values", OTHER_OPTIONS, ids=lambda values: next(iter(values)))
def test_other_options_make_another_plan(values: dict[str, Any]) -> None:
    """What the caller wants is never that of the container before."""
    spec = default()
    compiled(spec, options("one"), FACTS, keep=True)
    found = compiled(spec, options("two", **values), FACTS, keep=True)

    assert found == compiled(spec, options("two", **values), FACTS, keep=False)
    assert found != compiled(spec, options("two"), FACTS, keep=False)


@pytest.mark.parametrize("facts", OTHER_FACTS, ids=lambda facts: next(iter(facts)))
def test_another_host_makes_another_plan(facts: dict[str, Any]) -> None:
    """A capability that this process has given up since is not in the plan."""
    spec, changed = default(), {**FACTS, **facts}
    spec["process"]["capabilities"] = {"bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"]}
    compiled(spec, options("one"), FACTS, keep=True)
    found = compiled(spec, options("two"), changed, keep=True)

    assert found == compiled(spec, options("two"), changed, keep=False)
    assert found != compiled(spec, options("two"), FACTS, keep=False)


@pytest.mark.parametrize("kind", ["createContainer", "startContainer"])
def test_hooks_get_the_state_of_their_own_container(kind: str) -> None:
    """The state has the container's id in it, so that such a plan is nobody else's."""
    spec = default()
    spec["hooks"] = {kind: [{"path": "/bin/hook"}]}
    compiled(spec, options("one"), FACTS, keep=True)

    assert kept() == 0
    found: Any = compiled(spec, options("two"), FACTS, keep=True)
    assert '"id":"two"' in str([op for op in found[0] if isinstance(op, do.RunHook)])


def test_cgroups_that_are_bound_are_the_own_ones() -> None:
    """Without a cgroup namespace the mounts name the container's own cgroups."""
    spec = default()
    spec["linux"]["namespaces"] = [item for item in spec["linux"]["namespaces"] if item["type"] != "cgroup"]
    compiled(spec, options("one"), FACTS, keep=True)
    found: Any = compiled(spec, options("two"), FACTS, keep=True)

    sources = [op.source for op in found[0] if isinstance(op, do.OpenTree) and b"cgroup" in op.source]
    assert len(sources) == 3
    assert all(source.endswith(b"/two") for source in sources)


def test_filter_is_compiled_once_for_all_containers_of_a_profile() -> None:
    """Who runs what it does not trust has one, and many containers."""
    spec = default()
    spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    before = Filters.compiled
    for name in ("one", "two", "three"):
        found: Any = compiled(spec, options(name), FACTS, keep=True)
        assert Filters.compiled == before + 1
    assert found == compiled(spec, options("three"), FACTS, keep=False)

    spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_LOG"}
    other: Any = compiled(spec, options("four"), FACTS, keep=True)
    assert other == compiled(spec, options("four"), FACTS, keep=False)
    assert other[0] != found[0]


def test_mount_table_is_each_plans_own() -> None:
    """Without pivot_root the host's mounts are hidden one by one; they are what they are now."""
    spec = default()
    compiled(spec, options("one", no_pivot=True), FACTS, keep=True)

    assert kept() == 0


def test_cgroup_that_is_left_out_meanwhile_is_in_no_later_part() -> None:
    """It is known to be missing only when init is at work on the first part."""
    spec = default()
    compiled(spec, options("one"), FACTS, keep=True)
    chosen = options("two")
    plan = compile_init(spec, Host(**FACTS), chosen, json.dumps(spec).encode())
    chosen.cgroups = [cgroup for cgroup in chosen.cgroups if "pids" not in cgroup.controllers]

    assert [op for op in plan.ops if isinstance(op, do.JoinCgroup)] == [
        do.JoinCgroup(pointer="/linux/cgroupsPath", tasks=1)
    ]
    assert [known.detail for known in plan.descriptors if known.kind == "tasks"] == [
        "/sys/fs/cgroup/memory/two"
    ]
    assert b"/sys/fs/cgroup/pids" not in [op.target for op in plan.ops if isinstance(op, do.AttachMount)]


def test_not_more_plans_are_kept_than_promised() -> None:
    """A program with many configurations keeps no more memory than one with few."""
    for number in range(3 * known.MOST_KNOWN):
        spec = {**default(), "hostname": f"host{number}"}
        compiled(spec, options("one"), FACTS, keep=True)
        assert 0 < kept() <= known.MOST_KNOWN


def some(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these options, with the value that OTHER_OPTIONS has."""
    values = {name: value for known in OTHER_OPTIONS for name, value in known.items()}
    return st.fixed_dictionaries({}, optional={name: st.just(values[name]) for name in names})


CHOICES = some("preserve_fds", "self_join", "as_sibling", "no_new_keyring", "cgroup_mode", "notify_directory")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spec=specs(), first=CHOICES, second=CHOICES, changed=st.sampled_from([{}, *OTHER_FACTS]))
def test_whatever_was_compiled_before_a_plan_is_what_it_is_by_itself(
    spec: dict[str, Any], first: dict[str, Any], second: dict[str, Any], changed: dict[str, Any]
) -> None:
    """For any valid configuration, options and host."""
    drop_nulls(spec)
    compiled(spec, options("one", **first), FACTS, keep=True)
    facts = {**FACTS, **changed}

    assert compiled(spec, options("two", **second), facts, keep=True) == compiled(
        spec, options("two", **second), facts, keep=False
    )
