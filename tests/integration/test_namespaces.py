"""Namespaces that are made, joined by path, or shared with the host: config-linux.md "Namespaces"."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from libcgroups.host import detect
from libcontainer import Container, InvalidArgument, InvalidConfig, SetupError

from .holders import KINDS, beside, holder, identity, namespace_path, show

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Bundle

SIMPLE = ("network", "ipc", "uts", "cgroup")


@pytest.mark.parametrize("kind", ["pid", "network", "mount", "ipc", "uts", "cgroup", "time"])
def test_listed_namespace_without_path_is_a_new_one(bundle: Bundle, kind: str) -> None:
    """An entry without a path isolates: config-linux.md says that a new namespace is created."""
    bundle.set_namespace(kind)

    assert bundle.sh(show(kind)).lines != [identity(kind)]


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup", "time"])
def test_namespace_that_is_not_listed_is_the_hosts(bundle: Bundle, kind: str) -> None:
    """A type that is not listed is inherited from the runtime: config-linux.md "Namespaces"."""
    bundle.remove_namespace(kind)
    if kind == "uts":
        del bundle.spec["hostname"]

    assert bundle.sh(show(kind)).lines == [identity(kind)]


@pytest.mark.parametrize("kind", SIMPLE)
def test_namespace_with_a_path_is_joined(bundle: Bundle, kind: str) -> None:
    """The payload is in the very namespace that the path names, not in a copy."""
    with holder(kind) as pid:
        bundle.set_namespace(kind, namespace_path(kind, pid))

        assert bundle.sh(show(kind)).lines == [identity(kind, pid)]


def test_namespace_is_joined_by_a_bind_mount_of_it(bundle: Bundle, tmp_path: Path) -> None:
    """Engines keep network namespaces as files below /run/netns, which no process needs to hold."""
    kept = tmp_path / "kept"
    kept.touch()
    with holder("network") as pid:
        expected = identity("network", pid)
        assert (
            os.spawnlp(os.P_WAIT, "mount", "mount", "--bind", namespace_path("network", pid), str(kept)) == 0
        )
    try:
        bundle.set_namespace("network", str(kept))

        assert bundle.sh(show("network")).lines == [expected]
    finally:
        assert os.spawnlp(os.P_WAIT, "umount", "umount", str(kept)) == 0


def test_payload_is_the_first_process_of_a_new_pid_namespace(bundle: Bundle) -> None:
    """pid_namespaces(7): the first process is number 1, and sees no process but its own."""
    result = bundle.sh("echo $$; ls /proc | grep -c '^[0-9]'")

    assert result.lines[0] == "1"
    assert int(result.lines[1]) <= 3


def test_joined_pid_namespace_is_shared_with_its_holder(bundle: Bundle) -> None:
    """A sidecar sees the processes of the container that it joined, and is not number 1 there."""
    with bundle.build("sleep", "1000") as first:
        first.start()
        second = beside(bundle, "second")
        second.set_namespace("pid", namespace_path("pid", first.pid or 0))
        result = second.sh("echo $$; tr '\\0' ' ' </proc/1/cmdline; readlink /proc/self/ns/pid")

        assert int(result.lines[0]) > 1
        assert result.lines[1].startswith("sleep 1000")
        assert result.lines[1].endswith(identity("pid", first.pid or 0))


def test_first_process_in_a_joined_pid_namespace_is_reaped_by_its_caller(bundle: Bundle) -> None:
    """The exit status reaches the caller also from a pid namespace that others own."""
    with bundle.build("sleep", "1000") as first:
        second = beside(bundle, "second")
        second.set_namespace("pid", namespace_path("pid", first.pid or 0))

        assert second.sh("exit 9").status.code == 9


def test_joined_mount_namespace_is_the_holders(bundle: Bundle, tmp_path: Path) -> None:
    """The mounts of a joined mount namespace are there to be used as the container's root."""
    with holder("mount") as pid:
        mounted = tmp_path / "seen"
        mounted.mkdir()
        enter = ["nsenter", f"--mount={namespace_path('mount', pid)}", "mount", "--bind"]
        assert os.spawnlp(os.P_WAIT, "nsenter", *enter, str(bundle.rootfs), str(mounted)) == 0
        bundle.spec["root"]["path"] = str(mounted)
        bundle.set_namespace("mount", namespace_path("mount", pid))

        assert bundle.sh(show("mount")).lines == [identity("mount", pid)]


@pytest.mark.parametrize("kind", SIMPLE)
def test_path_of_another_type_is_refused(bundle: Bundle, kind: str) -> None:
    """Joining whatever a path names would leave the container in the host's namespace of the listed type."""
    other = "uts" if kind != "uts" else "ipc"
    bundle.set_namespace(kind, namespace_path(other))
    index = len(bundle.linux["namespaces"]) - 1

    with pytest.raises(InvalidArgument, match="not a namespace of the declared type") as caught:
        bundle.build("true")

    assert caught.value.pointer == f"/linux/namespaces/{index}/path"
    assert Container.list(bundle.root) == []


def test_path_that_is_no_namespace_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """A regular file, a directory, a fifo nobody writes to: refused at once, and named."""
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "file", tmp_path, tmp_path / "fifo"):
        bundle.set_namespace("network", str(path))
        with pytest.raises(InvalidArgument, match=re.escape(str(path))):
            bundle.build("true")
        assert Container.list(bundle.root) == []


def test_missing_path_is_named_in_the_error(bundle: Bundle, tmp_path: Path) -> None:
    """The holder of a namespace may have ended: the error says where to look."""
    gone = str(tmp_path / "gone")
    bundle.set_namespace("ipc", gone)
    with pytest.raises(SetupError, match="cannot open") as caught:
        bundle.build("true")

    assert caught.value.path == gone
    assert (caught.value.pointer or "").startswith("/linux/namespaces/")
    assert Container.list(bundle.root) == []


def test_type_that_is_listed_twice_is_refused(bundle: Bundle) -> None:
    """config-linux.md: duplicated namespaces of the same type are an error."""
    bundle.linux["namespaces"].append({"type": "ipc", "path": namespace_path("ipc")})

    with pytest.raises(InvalidConfig, match="each type once"):
        bundle.build("true")


def test_namespaces_may_be_listed_in_any_order(bundle: Bundle) -> None:
    """The order of the list means nothing; the runtime takes the order that the permissions need."""
    bundle.add_userns()
    bundle.set_namespace("time")
    kinds = [item["type"] for item in bundle.linux["namespaces"]]
    for turned in (list(reversed(kinds)), sorted(kinds)):
        bundle.linux["namespaces"] = [{"type": kind} for kind in turned]
        lines = bundle.sh(show(*KINDS)).lines

        assert not set(lines) & {identity(kind) for kind in KINDS}
        assert len(lines) == len(KINDS)


def test_loopback_is_up_in_a_new_network_namespace(bundle: Bundle) -> None:
    """A server and its client in one container talk over 127.0.0.1 without any set-up."""
    for names in bundle.process["capabilities"].values():
        names.append("CAP_NET_RAW")
    result = bundle.sh("ls /sys/class/net; ping -c 1 -W 5 127.0.0.1")

    assert result.lines[0] == "lo"
    assert result.status.code == 0, result


def test_loopback_of_a_joined_network_namespace_is_not_touched(bundle: Bundle) -> None:
    """Who made a network namespace configures it: netns of CNI have their own idea of loopback."""
    with holder("network") as pid:
        bundle.set_namespace("network", namespace_path("network", pid))
        result = bundle.sh("cat /sys/class/net/lo/operstate /sys/class/net/lo/flags")

    assert result.lines == ["down", "0x8"]


def test_cgroup_namespace_shows_the_containers_cgroup_as_root(bundle: Bundle) -> None:
    """cgroup_namespaces(7): where the container's cgroup is on the host is hidden from it."""
    paths = {line.rpartition(":")[2] for line in bundle.sh("cat /proc/self/cgroup").lines}

    assert paths == {"/"}


def test_without_a_cgroup_namespace_the_path_on_the_host_is_visible(bundle: Bundle) -> None:
    """The counterpart: the container did join a cgroup of its own in every hierarchy."""
    bundle.remove_namespace("cgroup")
    lines = bundle.sh("cat /proc/self/cgroup").lines

    host = detect()
    joined = {hierarchy.mount_data for hierarchy in host.hierarchies} | ({""} if host.unified else set())
    found = [
        line for line in lines if line.split(":")[1] in joined
    ]  # others are mounted elsewhere, or nowhere
    assert len(found) == len(joined)
    assert all(bundle.id in line for line in found)


def test_hostname_and_domainname_are_the_containers_own(bundle: Bundle) -> None:
    """uts_namespaces(7): the names are set inside, and the host's stay what they were."""
    before = (socket.gethostname(), _read("/proc/sys/kernel/domainname"))
    bundle.spec["hostname"], bundle.spec["domainname"] = "inner", "inner.example"

    assert bundle.sh("hostname; cat /proc/sys/kernel/domainname").lines == ["inner", "inner.example"]
    assert (socket.gethostname(), _read("/proc/sys/kernel/domainname")) == before


def test_longest_hostname_is_set_whole(bundle: Bundle) -> None:
    """sethostname(2) takes 64 bytes; a name cut short would be another name."""
    bundle.spec["hostname"] = "h" * 64

    assert bundle.sh("hostname").lines == ["h" * 64]


def test_hostname_without_a_uts_namespace_is_refused(bundle: Bundle) -> None:
    """It would rename the host."""
    bundle.remove_namespace("uts")
    before = socket.gethostname()
    with pytest.raises(InvalidConfig, match="/hostname"):
        bundle.build("true")

    assert socket.gethostname() == before


def test_hostname_is_set_in_a_joined_uts_namespace(bundle: Bundle) -> None:
    """What the spec asks for is done where the container is; the holder sees it, the host does not."""
    before = socket.gethostname()
    with holder("uts") as pid:
        bundle.set_namespace("uts", namespace_path("uts", pid))
        bundle.spec["hostname"] = "shared"

        assert bundle.sh("hostname").lines == ["shared"]
        enter = ["nsenter", f"--uts={namespace_path('uts', pid)}", "hostname"]
        assert subprocess.run(enter, capture_output=True, text=True, check=True).stdout == "shared\n"
    assert socket.gethostname() == before


def test_message_queue_of_one_ipc_namespace_is_not_seen_in_another(bundle: Bundle) -> None:
    """ipc_namespaces(7): System V objects of the host stay out of reach."""
    with holder("ipc") as pid:
        made = ["nsenter", f"--ipc={namespace_path('ipc', pid)}", "ipcmk", "--queue"]
        assert os.spawnvp(os.P_WAIT, "nsenter", made) == 0
        assert len(bundle.sh("tail -n +2 /proc/sysvipc/msg").lines) == 0
        second = beside(bundle, "second")
        second.set_namespace("ipc", namespace_path("ipc", pid))

        assert len(second.sh("tail -n +2 /proc/sysvipc/msg").lines) == 1


def test_caller_stays_in_its_own_namespaces(bundle: Bundle) -> None:
    """A library lives in somebody else's process, which must not be moved anywhere."""
    before = [identity(kind) for kind in KINDS]
    bundle.add_userns()
    bundle.run("true")

    assert [identity(kind) for kind in KINDS] == before


def test_container_without_any_namespace_runs(bundle: Bundle) -> None:
    """No namespace is a possible wish: the payload then only has another root."""
    bundle.linux["namespaces"] = []
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    bundle.spec["mounts"] = []
    del bundle.spec["hostname"]

    assert bundle.run("echo", "here").stdout == "here\n"


def _read(path: str) -> str:
    with open(path) as file:
        return file.read().strip()
