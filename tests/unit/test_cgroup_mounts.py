"""libcontainer.cgroup_mounts: the plans for hosts with cgroup v1, v2, both, or none. Their effects on this host:
tests/integration/test_cgroup_mounts.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from libcgroups.cgroup import Cgroup
from libcgroups.host import Hierarchy
from libcontainer import mount_options, mounts
from libcontainer.host import Host
from libcontainer.plan import operations as do
from libcontainer.plan.context import Context, Options

SAFE = mount_options.ATTR_NOSUID | mount_options.ATTR_NODEV | mount_options.ATTR_NOEXEC
V1 = [
    Hierarchy("/sys/fs/cgroup/cpu,cpuacct", ("cpu", "cpuacct")),
    Hierarchy("/sys/fs/cgroup/memory", ("memory",)),
    Hierarchy("/sys/fs/cgroup/systemd", ("name=systemd",)),
]
UNIFIED = Hierarchy("/sys/fs/cgroup/unified", ())
V2 = Hierarchy("/sys/fs/cgroup", ())


def plan(
    mode: str,
    hierarchies: list[Hierarchy],
    *options: str,
    namespace: bool = True,
    userns: bool = False,
    **facts: Any,
) -> list[do.Op]:
    """Return the operations for a mount of type cgroup at /sys/fs/cgroup."""
    kinds = ["mount", *(["cgroup"] if namespace else []), *(["user"] if userns else [])]
    entry = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": list(options)}
    spec = {"mounts": [entry], "linux": {"namespaces": [{"type": kind} for kind in kinds]}}
    host = Host(**{"capabilities": 1 << 21, "new_mount_api": True, "selinux": False, **facts})
    cgroups = [Cgroup(hierarchy, "/box") for hierarchy in hierarchies]
    return list(mounts.compile_mounts(Context(spec, host, Options(cgroup_mode=mode, cgroups=cgroups))))


def of(ops: list[do.Op], kind: type[do.Op]) -> list[Any]:
    """Return the operations of one kind."""
    return [op for op in ops if isinstance(op, kind)]


def test_v2_with_a_cgroup_namespace_is_one_fresh_mount() -> None:
    """Its root is the container's own cgroup."""
    ops = plan("v2", [V2], "ro", "nosuid")

    assert [(op.fstype, op.attributes, op.parameters) for op in of(ops, do.NewMount)] == [
        (b"cgroup2", SAFE | mount_options.ATTR_RDONLY, [])
    ]
    assert [(op.target, op.kind) for op in of(ops, do.AttachMount)] == [
        (b"/sys/fs/cgroup", do.REAL_DIRECTORY)
    ]


def test_v2_without_a_cgroup_namespace_is_a_bind() -> None:
    """A fresh mount made in the host's namespace would change the options of the host's (nsdelegate)."""
    ops = plan("v2", [V2], namespace=False)

    assert of(ops, do.NewMount) == []
    assert [op.source for op in of(ops, do.OpenTree)] == [b"/sys/fs/cgroup"]
    assert [op.set for op in of(ops, do.SetMountAttributes)] == [SAFE]


@pytest.mark.parametrize(
    ("capabilities", "userns", "readonly"), [(0, True, True), (1 << 21, True, False), (1 << 21, False, False)]
)
def test_hosts_cgroups_are_readonly_for_who_is_rootless(
    capabilities: int, userns: bool, readonly: bool
) -> None:
    """CVE-2023-25809: the caller owns what is delegated to it, and so would the container."""
    ops = plan("v2", [V2], "rw", namespace=False, userns=userns, capabilities=capabilities)

    assert [bool(op.set & mount_options.ATTR_RDONLY) for op in of(ops, do.SetMountAttributes)] == [readonly]
    assert all(op.set & op.clear == 0 for op in of(ops, do.SetMountAttributes))


def test_rootless_cgroups_are_readonly_with_the_classic_calls_too() -> None:
    """The same defence on an older kernel."""
    ops = plan("v2", [V2], "rw", namespace=False, userns=True, capabilities=0, new_mount_api=False)

    assert [op.set & mount_options.MS_RDONLY for op in of(ops, do.Remount)] == [mount_options.MS_RDONLY]


def test_v1_with_a_cgroup_namespace_mounts_each_hierarchy_again() -> None:
    """Named hierarchies and co-mounted controllers by the data that the host's mount has."""
    ops = plan("v1", V1)

    assert [(op.fstype, op.parameters) for op in of(ops, do.NewMount)] == [
        (b"tmpfs", [b"mode=755"]),
        (b"cgroup", [b"cpu", b"cpuacct"]),
        (b"cgroup", [b"memory"]),
        (b"cgroup", [b"name=systemd"]),
    ]
    names = [b"", b"/cpu,cpuacct", b"/memory", b"/systemd"]
    assert [op.target for op in of(ops, do.AttachMount)] == [b"/sys/fs/cgroup" + name for name in names]


def test_v1_without_a_cgroup_namespace_binds_the_containers_directories() -> None:
    """Not the roots of the hierarchies, where its neighbours are."""
    ops = plan("v1", V1, namespace=False)

    assert [op.source for op in of(ops, do.OpenTree)] == [
        b"/sys/fs/cgroup/cpu,cpuacct/box",
        b"/sys/fs/cgroup/memory/box",
        b"/sys/fs/cgroup/systemd/box",
    ]


@pytest.mark.parametrize("namespace", [True, False])
def test_co_mounted_controllers_get_links(namespace: bool) -> None:
    """Beside the mount, relative, as on the host."""
    links = of(plan("v1", V1, namespace=namespace), do.MakeSymlink)

    assert [(op.path, op.target) for op in links] == [
        (b"/sys/fs/cgroup/cpu", b"cpu,cpuacct"),
        (b"/sys/fs/cgroup/cpuacct", b"cpu,cpuacct"),
    ]


def test_readonly_v1_makes_the_tmpfs_readonly_last() -> None:
    """Its mount points and links are made in it first; each hierarchy is read-only from the start."""
    ops = plan("v1", V1, "ro")

    assert isinstance(ops[-1], do.MakeReadonly)
    assert [bool(op.attributes & mount_options.ATTR_RDONLY) for op in of(ops, do.NewMount)] == [
        False,
        True,
        True,
        True,
    ]


def test_hybrid_has_the_unified_hierarchy_beside_the_others() -> None:
    """systemd puts it at `unified`."""
    ops = plan("hybrid", [*V1, UNIFIED])

    assert of(ops, do.NewMount)[-1].fstype == b"cgroup2"
    assert of(ops, do.AttachMount)[-1].target == b"/sys/fs/cgroup/unified"


def test_host_without_cgroups_shows_an_empty_directory() -> None:
    """Rather than whatever the image has there."""
    ops = plan("none", [])

    assert [op.fstype for op in of(ops, do.NewMount)] == [b"tmpfs"]


@pytest.mark.parametrize("mode", ["v1", "v2", "hybrid", "none"])
@pytest.mark.parametrize("namespace", [True, False])
@pytest.mark.parametrize("new", [True, False], ids=["new", "classic"])
def test_targets_are_real_directories_and_nothing_is_executable(
    mode: str, namespace: bool, new: bool
) -> None:
    """Whatever the host, and whatever the options say."""
    hierarchies = {"v1": V1, "v2": [V2], "hybrid": [*V1, UNIFIED], "none": []}[mode]
    ops = plan(mode, hierarchies, "exec", "suid", "dev", namespace=namespace, new_mount_api=new)

    assert {op.kind for op in of(ops, do.AttachMount) + of(ops, do.Mount)} == {do.REAL_DIRECTORY}
    flags = [op.attributes for op in of(ops, do.NewMount)] + [op.set for op in of(ops, do.SetMountAttributes)]
    safe = [value & SAFE for value in flags]
    classic = [op.flags for op in of(ops, do.Mount) if not op.flags & mount_options.MS_BIND]
    classic += [op.set for op in of(ops, do.Remount)]
    assert all(value == SAFE for value in safe)
    assert all(value & (2 | 4 | 8) == 2 | 4 | 8 for value in classic)
    assert safe or classic


@pytest.mark.parametrize("mode", ["v1", "v2"])
@pytest.mark.parametrize("new", [True, False], ids=["new", "classic"])
def test_propagation_of_the_entry_is_applied_to_each_mount(mode: str, new: bool) -> None:
    """podman writes `rprivate`; what is asked for is not dropped because of the type."""
    hierarchies = V1 if mode == "v1" else [V2]
    ops = plan(mode, hierarchies, "rshared", new_mount_api=new)

    changed = [op.propagation & mount_options.MS_SHARED for op in of(ops, do.SetMountAttributes)]
    changed += [op.flags & mount_options.MS_SHARED for op in of(ops, do.ChangePropagation)]
    assert changed == [mount_options.MS_SHARED] * (len(V1) + 1 if mode == "v1" else 1)
