"""Containers that share a user namespace and what belongs to it, as the containers of a pod do.

user_namespaces(7): a namespace is governed from the user namespace that made it.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from libcontainer import Container, InvalidArgument, InvalidConfig, SetupError

from .holders import beside, holder, identity, namespace_path, show

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Bundle

SHARED = ("user", "network", "ipc", "uts")


@pytest.fixture
def pod(bundle: Bundle) -> Iterator[Container]:
    """The first container of a pod: it makes the namespaces that the others join."""
    bundle.add_userns()
    with bundle.build("sleep", "1000") as container:
        container.start()
        yield container


def member(bundle: Bundle, pod: Container, *kinds: str) -> Bundle:
    """Return a bundle whose container joins the pod's namespaces of these types."""
    joining = beside(bundle, "member")
    joining.spec["hostname"] = "member"
    for kind in kinds:
        joining.set_namespace(kind, namespace_path(kind, pod.pid or 0))
    if "uts" in kinds:
        del joining.spec["hostname"]
    return joining


def test_member_of_a_pod_is_in_all_its_namespaces(bundle: Bundle, pod: Container) -> None:
    """The user namespace and those that it owns are joined together, with the identity of its root."""
    joining = member(bundle, pod, *SHARED)
    result = joining.sh(f"{show(*SHARED)}; id -u; cat /proc/self/uid_map; hostname")

    assert result.lines[:4] == [identity(kind, pod.pid or 0) for kind in SHARED]
    assert result.lines[4] == "0"
    assert result.lines[5].split() == ["0", "100000", "65536"]
    assert result.lines[6] == "box"


@pytest.mark.parametrize("order", [1, -1])
def test_order_of_the_list_does_not_matter_to_a_pod(bundle: Bundle, pod: Container, order: int) -> None:
    """The user namespace may stand first or last."""
    joining = member(bundle, pod, *SHARED)
    joining.linux["namespaces"].sort(key=lambda item: (item["type"] != "user") * order)

    assert joining.sh(show("network")).lines == [identity("network", pod.pid or 0)]


def test_member_with_a_network_of_its_own_governs_it(bundle: Bundle, pod: Container) -> None:
    """What is new is made after the user namespace is joined, so it belongs to that one."""
    joining = member(bundle, pod, "user")
    for names in joining.process["capabilities"].values():
        names.append("CAP_NET_ADMIN")
    result = joining.sh(f"{show('user', 'network')}; ip link set lo down && ip link set lo up; echo $?")

    assert result.lines[0] == identity("user", pod.pid or 0)
    assert result.lines[1] not in (identity("network"), identity("network", pod.pid or 0))
    assert result.lines[2] == "0"


def test_member_joins_the_pods_pid_namespace(bundle: Bundle, pod: Container) -> None:
    """shareProcessNamespace: the members see each other."""
    joining = member(bundle, pod, *SHARED, "pid")
    result = joining.sh("tr '\\0' ' ' </proc/1/cmdline; echo; echo $$")

    assert result.lines[0].startswith("sleep 1000")
    assert int(result.lines[1]) > 1


def test_groups_are_set_in_a_joined_user_namespace(bundle: Bundle, pod: Container) -> None:
    """Root wrote its map, so setgroups is allowed there, and the member gets the groups it asks for."""
    joining = member(bundle, pod, *SHARED)
    joining.process["user"] = {"uid": 5, "gid": 6, "additionalGids": [7, 8]}

    assert joining.sh("id -u; id -g; id -G").lines == ["5", "6", "6 7 8"]


def mapping(*extents: tuple[int, int, int]) -> list[dict[str, int]]:
    """Return id mappings from (in the container, on the host, how many)."""
    return [dict(zip(("containerID", "hostID", "size"), extent, strict=True)) for extent in extents]


@pytest.mark.parametrize("extents", [[(0, 100000, 65536)], [(100, 100100, 65436), (0, 100000, 100)]])
def test_mappings_of_a_joined_user_namespace_may_be_repeated(
    bundle: Bundle, pod: Container, extents: list[tuple[int, int, int]]
) -> None:
    """containerd and CRI-O give them with the path. However they are cut, they must be the same."""
    joining = member(bundle, pod, "user")
    joining.linux["uidMappings"] = joining.linux["gidMappings"] = mapping(*extents)

    assert joining.sh("cat /proc/self/uid_map").stdout.split() == ["0", "100000", "65536"]


@pytest.mark.parametrize("bound", [False, True], ids=["in /proc", "bound elsewhere"])
def test_mappings_that_a_joined_user_namespace_does_not_have_are_refused(
    bundle: Bundle, pod: Container, tmp_path: Path, bound: bool
) -> None:
    """Who asks for root to be 200000 must not get another user's 100000."""
    joining = member(bundle, pod, "user")
    joining.linux["uidMappings"] = mapping((0, 200000, 65536))
    joining.linux["gidMappings"] = mapping((0, 100000, 65536))
    path = tmp_path / "namespace"
    path.touch()
    subprocess.run(["mount", "--bind", f"/proc/{pod.pid}/ns/user", str(path)], check=True)
    try:
        if bound:
            joining.set_namespace("user", str(path))
        with pytest.raises(InvalidConfig, match=r"0 → 100000 \(65536 ids\)") as caught:
            joining.build("true")
    finally:
        subprocess.run(["umount", str(path)], check=True)

    assert [problem.pointer for problem in caught.value.problems] == ["/linux/uidMappings"]
    assert [container.id for container in Container.list(bundle.root)] == [pod.id]


def test_id_that_the_joined_user_namespace_lacks_is_refused(bundle: Bundle, pod: Container) -> None:
    """The map is known to the kernel only; its refusal is told with what to do."""
    joining = member(bundle, pod, "user")
    joining.process["user"] = {"uid": 70000, "gid": 0}
    with pytest.raises(SetupError) as caught:
        joining.build("true")

    assert caught.value.pointer == "/process/user"
    assert "not mapped" in (caught.value.remedy or "")
    assert [container.id for container in Container.list(bundle.root)] == [pod.id]


def test_network_of_the_host_can_be_joined_by_a_container_of_another_user_namespace(bundle: Bundle) -> None:
    """podman's --userns with a network made by root: joined before the user namespace is entered."""
    with holder("network") as pid:
        bundle.add_userns()
        bundle.set_namespace("network", namespace_path("network", pid))
        bundle.spec["mounts"] = [item for item in bundle.spec["mounts"] if item["type"] != "sysfs"]
        bundle.linux["maskedPaths"] = []

        assert bundle.sh(show("network", "user")).lines[0] == identity("network", pid)


def test_path_of_another_type_is_refused_for_the_user_namespace(bundle: Bundle) -> None:
    """Whatever the path names, it is no reason to run as the host's root."""
    bundle.set_namespace("user", namespace_path("uts"))
    with pytest.raises(InvalidArgument, match="not a namespace of the declared type") as caught:
        bundle.build("true")

    assert (caught.value.pointer or "").endswith("/path")
    assert Container.list(bundle.root) == []


def test_own_user_namespace_cannot_be_joined(bundle: Bundle) -> None:
    """setns(2) refuses to re-enter the caller's own user namespace: that would be no isolation at all."""
    bundle.set_namespace("user", namespace_path("user"))
    with pytest.raises(SetupError, match="EINVAL") as caught:
        bundle.build("true")

    assert caught.value.syscall == "setns"
    assert Container.list(bundle.root) == []


def test_holder_that_has_ended_is_told(bundle: Bundle) -> None:
    """A pod whose first container is gone cannot be joined."""
    pid = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(pid, 0)
    for kind in ("user", "network"):
        bundle.set_namespace(kind, f"/proc/{pid}/ns/{'net' if kind == 'network' else kind}")
    with pytest.raises(SetupError, match="cannot open"):
        bundle.build("true")

    assert Container.list(bundle.root) == []


def test_pid_namespace_without_a_first_process_cannot_be_joined(
    bundle: Bundle, tmp_path: os.PathLike[str]
) -> None:
    """pid_namespaces(7): once its first process has ended no other can be made; the remedy says so."""
    kept = os.path.join(tmp_path, "kept")
    with open(kept, "x"), holder("pid") as pid:
        assert os.spawnlp(os.P_WAIT, "mount", "mount", "--bind", namespace_path("pid", pid), kept) == 0
    try:
        bundle.set_namespace("pid", kept)
        with pytest.raises(SetupError, match="ENOMEM") as caught:
            bundle.build("true")
        assert "no init" in (caught.value.remedy or "")
    finally:
        assert os.spawnlp(os.P_WAIT, "umount", "umount", kept) == 0
