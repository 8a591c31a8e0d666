"""Which namespaces are made and joined, and in what order. Mirrors libcontainer/namespaces.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcontainer import namespaces
from libcontainer.host import Host
from libcontainer.plan import operations as do
from libcontainer.plan.context import NAMESPACES, Context, Options

CAP_SYS_ADMIN = 1 << 21
ROOT = Host(euid=0, egid=0, capabilities=CAP_SYS_ADMIN)
USER = Host(euid=1000, egid=1000, capabilities=0)
ONE_ID = [{"containerID": 0, "hostID": 1000, "size": 1}]
RANGE = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def compiled(
    host: Host, *kinds: str, options: Options | None = None, **linux: Any
) -> tuple[list[Any], Context]:
    """Return the plan of stage one for these types (`net=path` joins) and its context."""
    listed = []
    for kind in kinds:
        name, _, path = kind.partition("=")
        listed.append({"type": name, **({"path": path} if path else {})})
    spec = {"linux": {"namespaces": listed, **linux}}
    context = Context(spec, host, options or Options())
    return list(namespaces.enter(context)), context


def short(ops: list[Any], context: Context) -> list[str]:
    """Return the operations as words: what is made, joined and so on."""
    words = []
    names = {flag: name for name, flag in NAMESPACES.items()}
    for op in ops:
        if isinstance(op, do.JoinNamespace):
            assert context.descriptors[op.fd].detail[1] == op.nstype
            words.append(f"join {names[op.nstype]}")
        elif isinstance(op, do.Unshare):
            words.append(f"make {names[op.flags]}")
        else:
            words.append(type(op).__name__)
    return words


ALL = ("pid", "network", "mount", "ipc", "uts", "cgroup")


@pytest.mark.parametrize("self_join", [False, True])
def test_stage_two_is_born_in_its_pid_namespace_and_makes_the_others(self_join: bool) -> None:
    """unshare(2) makes a pid namespace for later children only; the cgroup namespace begins at its maker's cgroup."""
    ops, context = compiled(ROOT, *ALL, options=Options(cgroup_mode="v1", self_join=self_join))
    late = list(namespaces.make(context))
    entering = list(namespaces.enter_cgroups(context))

    assert [(type(op), op.flags) for op in ops] == [(do.Clone, NAMESPACES["pid"])]
    others = sum(NAMESPACES[name] for name in ALL if name not in ("pid", "cgroup"))
    cgroup = NAMESPACES["cgroup"]
    assert [(type(op), op.flags) for op in late] == [(do.Unshare, others | (0 if self_join else cgroup))]
    assert [op.flags for op in entering] == ([cgroup] if self_join else [])


@pytest.mark.parametrize("self_join", [False, True])
def test_one_clone_makes_all_where_stage_two_is_born_in_the_cgroup_that_counts_memory(
    self_join: bool,
) -> None:
    """What the namespaces take would be the container's else: more than a small limit has."""
    ops, context = compiled(ROOT, *ALL, options=Options(cgroup_mode="v2", self_join=self_join))

    made = sum(NAMESPACES[name] for name in ALL if name != "cgroup" or not self_join)
    assert [(type(op), op.flags) for op in ops] == [(do.Clone, made)]
    assert list(namespaces.make(context)) == []


def test_without_namespaces_the_clone_has_no_flags() -> None:
    """Nothing listed, nothing made."""
    ops, _ = compiled(ROOT)

    assert [op.flags for op in ops] == [0]


def test_root_joins_before_it_enters_a_user_namespace() -> None:
    """The host's namespaces are out of reach from within; root has its rights over those below as well."""
    for user in ("user", "user=/proc/1/ns/user"):
        ops, context = compiled(
            ROOT, user, "network=/run/netns/a", "ipc=/i", "mount=/m", uidMappings=RANGE, gidMappings=RANGE
        )
        words = short(ops, context)

        assert words[:3] == ["join ipc", "join network", "join mount"]
        assert words[-2:] == ["BecomeRoot", "Clone"]


def test_user_joins_after_it_has_entered_the_user_namespace() -> None:
    """setns(2) asks for CAP_SYS_ADMIN in the caller's own user namespace, which a user only has in there."""
    ops, context = compiled(USER, "network=/n", "user=/u", "uts=/t")

    assert short(ops, context) == [
        "SetDumpable",
        "join user",
        "join uts",
        "join network",
        "BecomeRoot",
        "Clone",
    ]


def test_mount_namespace_is_joined_last() -> None:
    """The paths of the others are the host's."""
    kinds = [f"{name}=/{name}" for name in ("mount", "time", "cgroup", "pid", "network", "uts", "ipc")]
    ops, context = compiled(ROOT, *kinds)

    assert short(ops, context)[-2:] == ["join mount", "Clone"]


def test_init_is_closed_before_it_joins_a_user_namespace() -> None:
    """CVE-2016-9962: whoever is root in there must not trace it. A new one has nobody in it."""
    joined, context = compiled(ROOT, "user=/u")
    made, made_context = compiled(ROOT, "user", uidMappings=RANGE, gidMappings=RANGE)

    assert short(joined, context)[:2] == ["SetDumpable", "join user"]
    assert "SetDumpable" not in short(made, made_context)


def test_maps_are_written_between_the_user_namespace_and_the_rest() -> None:
    """What comes after must belong to its root."""
    ops, context = compiled(
        USER, "time", "user", "network", uidMappings=ONE_ID, gidMappings=ONE_ID,
        timeOffsets={"monotonic": {"secs": 1}},
    )  # fmt: skip

    assert short(ops, context) == [
        "make user",
        "Sync",
        "make time",
        "SetTimeOffsets",
        "BecomeRoot",
        "Clone",
    ]


def test_offsets_are_written_as_the_kernel_reads_them() -> None:
    """time_namespaces(7): clock, seconds, nanoseconds; what is not given is 0."""
    offsets = {"monotonic": {"secs": -7, "nanosecs": 5}, "boottime": {"nanosecs": 9}}
    ops, _ = compiled(ROOT, "time", timeOffsets=offsets)
    written = next(op for op in ops if isinstance(op, do.SetTimeOffsets))

    assert written.offsets == b"monotonic -7 5\nboottime 0 9\n"


def test_joined_time_namespace_gets_no_offsets() -> None:
    """They are fixed by whoever made it."""
    ops, context = compiled(ROOT, "time=/t")

    assert short(ops, context) == ["join time", "Clone"]


@pytest.mark.parametrize(
    ("host", "kinds", "gids", "rule"),
    [
        (ROOT, (), None, do.GROUPS_SET),
        (ROOT, ("user",), RANGE, do.GROUPS_SET),
        (ROOT, ("user",), ONE_ID, do.GROUPS_SET),
        (USER, ("user",), ONE_ID, do.GROUPS_KEEP),
        (USER, ("user",), RANGE, do.GROUPS_SET),
        (ROOT, ("user=/u",), None, do.GROUPS_IF_PERMITTED),
        (USER, ("user=/u",), None, do.GROUPS_IF_PERMITTED),
    ],
)
def test_groups_are_dropped_wherever_the_kernel_permits(
    host: Host, kinds: tuple[str, ...], gids: object, rule: int
) -> None:
    """user_namespaces(7): only a gid map that an unprivileged process wrote itself forbids setgroups(2)."""
    _, context = compiled(host, *kinds, uidMappings=gids, gidMappings=gids)

    assert namespaces.groups_rule(context) == rule


def test_sibling_is_no_child_of_the_runtime() -> None:
    """Without CLONE_PARENT the nearest subreaper gets it when stage one ends."""
    for as_sibling in (False, True):
        ops, _ = compiled(ROOT, "pid", options=Options(as_sibling=as_sibling))
        assert ops[-1].parent == int(not as_sibling)


@given(
    kinds=st.lists(st.sampled_from(sorted(NAMESPACES)), unique=True),
    joined=st.sets(st.sampled_from(sorted(NAMESPACES))),
    privileged=st.booleans(),
    mode=st.sampled_from(("none", "v1", "hybrid", "v2")),
    self_join=st.booleans(),
)
def test_every_listed_namespace_is_made_or_joined_exactly_once(
    kinds: list[str], joined: set[str], privileged: bool, mode: str, self_join: bool
) -> None:
    """Whatever is listed, in whatever order: a namespace that is forgotten would be shared with the host."""
    listed = [f"{kind}=/{kind}" if kind in joined else kind for kind in kinds]
    host = ROOT if privileged else USER
    options = Options(cgroup_mode=mode, self_join=self_join)
    ops, context = compiled(host, *listed, options=options, uidMappings=RANGE, gidMappings=RANGE)
    later = [*namespaces.make(context), *namespaces.enter_cgroups(context)]
    made = sum(op.flags for op in [*ops, *later] if isinstance(op, (do.Unshare, do.Clone)))
    entered = [op.nstype for op in ops if isinstance(op, do.JoinNamespace)]

    assert made == sum(NAMESPACES[kind] for kind in kinds if kind not in joined)
    assert sorted(entered) == sorted(NAMESPACES[kind] for kind in kinds if kind in joined)
    assert isinstance(ops[-1], do.Clone)
