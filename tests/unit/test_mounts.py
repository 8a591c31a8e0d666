"""libcontainer.mounts: what is decided about each mount, without making one. The effects: tests/integration."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcontainer import mount_options, mounts
from libcontainer.errors import InvalidConfig, Unsupported
from libcontainer.host import Host
from libcontainer.plan import operations as do
from libcontainer.plan.context import Context, Options

PRIVILEGED = {"capabilities": 1 << 21, "in_user_namespace": False, "new_mount_api": True, "selinux": False}
MAPPING = [{"containerID": 0, "hostID": 100000, "size": 10}]
BIND = {"destination": "/m", "type": "bind", "source": "/src", "options": ["bind"]}


def context(*entries: dict[str, Any], facts: dict[str, Any] | None = None, **linux: Any) -> Context:
    """Return a container with these mounts; with uidMappings it has a user namespace."""
    kinds = ["mount", "pid", "network", *(["user"] if "uidMappings" in linux else [])]
    spec = {"mounts": list(entries), "linux": {"namespaces": [{"type": kind} for kind in kinds], **linux}}
    return Context(
        spec, Host(**{**PRIVILEGED, **(facts or {})}), Options(bundle="/bundle", rootfs="/bundle/rootfs")
    )


def plan(*entries: dict[str, Any], **more: Any) -> list[do.Op]:
    """Return the operations of stage two for these mounts."""
    return list(mounts.compile_mounts(context(*entries, **more)))


def names(ops: list[do.Op]) -> list[str]:
    """Return the names of operations."""
    return [type(op).__name__ for op in ops]


def problems(*entries: dict[str, Any]) -> list[str]:
    """Return the pointers of what is refused."""
    with pytest.raises(InvalidConfig) as caught:
        mounts.requests(context(*entries))
    return [problem.pointer for problem in caught.value.problems]


def test_every_operation_names_its_place() -> None:
    """An error without a pointer sends its reader through the whole configuration."""
    ops = plan(BIND, {"destination": "/t", "type": "tmpfs", "options": ["rro", "tmpcopyup", "rshared"]})

    assert [op.pointer for op in ops] == sorted(op.pointer for op in ops)
    assert {op.pointer for op in ops} == {"/mounts/0", "/mounts/1"}


def test_attributes_are_set_before_a_mount_is_seen() -> None:
    """A read-only bind that is attached first is writable for a moment."""
    ops = plan({**BIND, "options": ["rbind", "ro", "rnosuid", "rslave"]})

    assert names(ops) == ["OpenTree", *["SetMountAttributes"] * 3, "AttachMount"]


def test_bind_without_options_is_one_clone() -> None:
    """No flag of the source is touched."""
    assert names(plan(BIND)) == ["OpenTree", "AttachMount"]


def test_relative_source_is_below_the_bundle_only_for_binds() -> None:
    """The source of a tmpfs is a free text."""
    ops = plan({**BIND, "source": "volume"}, {"destination": "/t", "type": "tmpfs", "source": "volume"})

    assert [op.source for op in ops if isinstance(op, (do.OpenTree, do.NewMount))] == [
        b"/bundle/volume",
        b"volume",
    ]


@pytest.mark.parametrize(
    ("destination", "target"),
    [("/a//b/./c/", "/a/b/c"), ("rel", "/rel"), ("/../../x", "/x"), ("//x", "/x"), ("/a/../b", "/b")],
)
def test_destination_is_normalised(destination: str, target: str) -> None:
    """The rules for /proc hold for every spelling."""
    ops = plan({**BIND, "destination": destination})

    assert isinstance(ops[-1], do.AttachMount)
    assert ops[-1].target == target.encode()


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"destination": "/proc", "type": "proc"}, do.PROCFS),
        ({"destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind"]}, do.PROCFS),
        ({"destination": "/sys", "type": "sysfs"}, do.REAL_DIRECTORY),
        ({"destination": "/elsewhere", "type": "proc"}, do.REAL_DIRECTORY),
        ({"destination": "/proc/uptime", "type": "bind", "source": "/x"}, do.ON_PROCFS),
        ({"destination": "/data", "type": "bind", "source": "/x"}, do.LIKE_SOURCE),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("new", [True, False], ids=["new", "classic"])
def test_kind_of_target_is_the_same_with_both_sets_of_calls(
    entry: dict[str, Any], kind: int, new: bool
) -> None:
    """A defence that only the newer calls have would be none (CVE-2019-16884, CVE-2019-19921)."""
    ops = plan(entry, facts={"new_mount_api": new})

    assert [op.kind for op in ops if isinstance(op, (do.AttachMount, do.Mount))] == [kind]


@pytest.mark.parametrize(
    ("entry", "pointer"),
    [
        ({"destination": "/proc/sys", "type": "tmpfs"}, "/mounts/0/destination"),
        ({"destination": "proc/1", "type": "tmpfs"}, "/mounts/0/destination"),
        ({"destination": "/x/../proc/self/attr", "type": "tmpfs"}, "/mounts/0/destination"),
        ({"destination": "/proc", "type": "tmpfs"}, "/mounts/0/type"),
        ({"destination": "/", "type": "tmpfs"}, "/mounts/0/destination"),
        ({"destination": "/x/..", "type": "tmpfs"}, "/mounts/0/destination"),
        ({"destination": "/m"}, "/mounts/0/type"),
        ({"destination": "/m", "type": "bind"}, "/mounts/0/source"),
        ({"destination": "/m", "options": ["rbind"]}, "/mounts/0/source"),
        ({**BIND, "options": ["bind", "size=1m"]}, "/mounts/0/options"),
        ({**BIND, "options": ["bind", "tmpcopyup"]}, "/mounts/0/options"),
        ({"destination": "/m", "type": "tmpfs", "options": ["idmap"]}, "/mounts/0/options"),
        ({"destination": "/m", "options": ["remount", "rshared"]}, "/mounts/0/options"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(entry: dict[str, Any], pointer: str) -> None:
    """Before anything is made, each with its place."""
    assert problems(entry) == [pointer]


def test_all_problems_are_reported_at_once() -> None:
    """One run shows everything that is to be mended."""
    found = problems({"destination": "/"}, BIND, {"destination": "/proc/x", "type": "tmpfs"})

    assert found == ["/mounts/0/destination", "/mounts/0/type", "/mounts/2/destination"]


def test_sources_are_opened_early_where_the_user_namespace_may_not_reach_them() -> None:
    """Stage one has the caller's rights; the clone must not stay a peer of the host's mount."""
    made = context(BIND, uidMappings=MAPPING, gidMappings=MAPPING)
    early, late = list(mounts.prepare(made)), list(mounts.compile_mounts(made))

    assert names(early) == ["OpenTree", "SetMountAttributes"]
    assert early[1].propagation == mount_options.MS_SLAVE
    assert names(late) == ["AttachMount"]
    assert early[0].slot == late[0].slot


@pytest.mark.parametrize("facts", [{"capabilities": 0}, {"new_mount_api": False}], ids=str)
def test_sources_are_opened_late_where_nothing_is_gained(facts: dict[str, Any]) -> None:
    """Who is not privileged reaches as much from inside; the classic calls have no clones."""
    assert list(mounts.prepare(context(BIND, facts=facts, uidMappings=MAPPING, gidMappings=MAPPING))) == []


def test_slots_of_early_sources_are_their_own() -> None:
    """Neither another source, nor the mount in hand, nor the hidden directory may take their place."""
    made = context(BIND, {**BIND, "destination": "/n"}, uidMappings=MAPPING, gidMappings=MAPPING)
    slots = [op.slot for op in mounts.prepare(made) if isinstance(op, do.OpenTree)]

    assert len(set(slots)) == 2
    assert not {mounts.IN_HAND, mounts.HIDDEN} & set(slots)


def test_id_mapping_needs_a_privileged_caller() -> None:
    """Asked for and impossible is an error."""
    entry = {**BIND, "options": ["bind", "idmap"], "uidMappings": MAPPING, "gidMappings": MAPPING}

    for facts in ({"capabilities": 0}, {"in_user_namespace": True}):
        with pytest.raises(Unsupported, match="/mounts/0"):
            list(mounts.prepare(context(entry, facts=facts)))


def test_label_of_the_mounts_is_refused_without_selinux() -> None:
    """A mount without the label that was asked for might be open to every other container."""
    with pytest.raises(Unsupported, match="/linux/mountLabel"):
        plan({"destination": "/t", "type": "tmpfs"}, mountLabel="system_u:object_r:container_file_t:s0:c1,c2")


def test_label_of_the_mounts_reaches_the_file_systems_that_take_one() -> None:
    """Its comma stays in it: quoted for mount(2), bare for fsconfig(2)."""
    label = "system_u:object_r:container_file_t:s0:c1,c2"
    entries = ({"destination": "/t", "type": "tmpfs"}, {"destination": "/sys", "type": "sysfs"}, BIND)
    new = plan(*entries, facts={"selinux": True}, mountLabel=label)
    old = plan(*entries, facts={"selinux": True, "new_mount_api": False}, mountLabel=label)

    assert [op.parameters for op in new if isinstance(op, do.NewMount)] == [[f"context={label}".encode()], []]
    assert [op.data for op in old if isinstance(op, do.Mount)] == [f'context="{label}"'.encode(), b"", b""]


def test_readonly_is_of_the_mount_where_the_superblock_is_shared() -> None:
    """A read-only superblock of a sysfs would be read-only for the host, too."""
    ops = plan(
        {"destination": "/sys", "type": "sysfs", "options": ["ro"]},
        {"destination": "/disk", "type": "ext4", "source": "/dev/x", "options": ["ro"]},
    )

    assert [(op.attributes, op.parameters) for op in ops if isinstance(op, do.NewMount)] == [
        (1, []),
        (1, [b"ro"]),
    ]


def test_readonly_tmpfs_becomes_so_after_what_is_below_it() -> None:
    """Devices and mounts are made in it first."""
    made = context(
        {"destination": "/t", "type": "tmpfs", "options": ["ro"]}, {**BIND, "options": ["bind", "ro"]}
    )

    assert [op.attributes for op in mounts.compile_mounts(made) if isinstance(op, do.NewMount)] == [0]
    assert [op.path for op in mounts.finish_readonly(made) if isinstance(op, do.MakeReadonly)] == [b"/t"]


def test_sysfs_on_the_hosts_network_is_bound_with_its_options_all_through() -> None:
    """CVE-2023-25809: cgroups that are delegated to the caller lie below it."""
    made = context(
        {"destination": "/sys", "type": "sysfs", "options": ["ro"]}, uidMappings=MAPPING, gidMappings=MAPPING
    )
    made.namespaces.pop("network")
    ops = list(mounts.compile_mounts(made))

    assert names(ops) == ["OpenTree", "SetMountAttributes", "AttachMount"]
    assert (ops[1].set, ops[1].recursive) == (mount_options.ATTR_RDONLY, 1)


def test_old_flags_use_the_classic_call_and_keep_the_newer_ones() -> None:
    """iversion is known to mount(2) only; the recursive attributes to mount_setattr(2) only."""
    ops = plan({"destination": "/t", "type": "tmpfs", "options": ["iversion", "rnoexec", "mode=700"]})

    assert names(ops) == ["Mount", "SetMountAttributes"]
    assert ops[0].flags & mount_options.MS_I_VERSION


def test_commas_in_an_overlays_paths_are_escaped_for_mount() -> None:
    """Otherwise the rest of the path would be an option."""
    entry = {
        "destination": "/m",
        "type": "overlay",
        "source": "overlay",
        "options": ["lowerdir=/a,b:/c", "index=off"],
    }

    assert plan(entry, facts={"new_mount_api": False})[0].data == b"lowerdir=/a\\,b:/c,index=off"


@given(st.lists(st.sampled_from(sorted(mount_options.OPTIONS)), max_size=8))
def test_attributes_and_flags_never_contradict_each_other(options: list[str]) -> None:
    """The kernel refuses an attribute that is set and cleared; the flags of both sets of calls say the same."""
    request = mount_options.Request({**BIND, "options": options}, "/mounts/0", "/bundle")
    flags = {
        1: 1,
        2: 2,
        4: 4,
        8: 8,
        mount_options.ATTR_NODIRATIME: mount_options.MS_NODIRATIME,
        mount_options.ATTR_NOSYMFOLLOW: 256,
    }

    for chosen, cleared in ((request.set, request.clear), (request.recursive_set, request.recursive_clear)):
        assert chosen & cleared & ~mount_options.ATTR_ATIME == 0
        if chosen & mount_options.ATTR_ATIME:
            assert cleared & mount_options.ATTR_ATIME == mount_options.ATTR_ATIME
    for attribute, flag in flags.items():
        assert bool(request.set & attribute) == bool(request.flags_set & flag)
    assert request.flags_set & request.flags_clear == 0
