"""User namespaces of containers that root makes: config-linux.md "User namespace mappings", user_namespaces(7)."""

from __future__ import annotations

import fcntl
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import Container, Error, InvalidConfig, SetupError

from .holders import KINDS, beside, namespace_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Bundle

BASE = 100000
NS_GET_USERNS = 0xB701
SHOW_MAPS = "tr -s ' ' </proc/self/uid_map; tr -s ' ' </proc/self/gid_map; cat /proc/self/setgroups"


@pytest.fixture
def groups() -> Iterator[None]:
    """Give the tests' own process supplementary groups, as a login has them."""
    if os.geteuid() != 0:
        pytest.skip("needs root: changes the supplementary groups of the tests' own process")
    before = os.getgroups()
    os.setgroups([4, 20, 4321])
    yield
    os.setgroups(before)


def extents(*triples: tuple[int, int, int]) -> list[dict[str, int]]:
    """Return a mapping of (containerID, hostID, size)."""
    return [{"containerID": inside, "hostID": host, "size": size} for inside, host, size in triples]


def test_maps_are_exactly_those_of_the_configuration(bundle: Bundle) -> None:
    """Every extent arrives, and uid and gid maps are not mixed up."""
    bundle.add_userns()
    bundle.linux["uidMappings"] = extents((0, BASE, 10), (10, 200000, 990), (65534, 300000, 1))
    bundle.linux["gidMappings"] = extents((0, 400000, 1000), (5000, 500000, 7))
    lines = [line.strip() for line in bundle.sh(SHOW_MAPS).lines]

    assert lines == [
        f"0 {BASE} 10",
        "10 200000 990",
        "65534 300000 1",
        "0 400000 1000",
        "5000 500000 7",
        "allow",
    ]


def test_most_extents_that_the_kernel_takes_are_written(bundle: Bundle) -> None:
    """user_namespaces(7): up to 340 lines in one write shorter than a page."""
    bundle.add_userns()
    bundle.linux["uidMappings"] = extents(*[(number, BASE + 2 * number, 1) for number in range(200)])
    lines = bundle.sh("cat /proc/self/uid_map").lines

    assert len(lines) == 200
    assert lines[199].split() == ["199", str(BASE + 398), "1"]


def test_root_inside_is_nobody_special_outside(bundle: Bundle) -> None:
    """The payload's root is an unprivileged user on the host, and its files belong to that user."""
    bundle.add_userns()
    shared = bundle.rootfs / "shared"
    shared.mkdir()
    os.chown(shared, BASE, BASE)
    with bundle.build("sh", "-c", "touch /shared/file; id -u; exec sleep 1000") as container:
        status = _status(container.pid or 0)
        container.start()
        assert status["Uid"] == [str(BASE)] * 4
        assert status["Gid"] == [str(BASE)] * 4
    found = bundle.sh("touch /shared/made; stat -c '%u %g' /shared/made").lines

    assert found == ["0 0"]
    assert (shared / "made").stat().st_uid == BASE


def test_other_user_inside_is_its_mapped_user_outside(bundle: Bundle) -> None:
    """uid 1000 of the container is 1000 further in the range."""
    bundle.add_userns()
    bundle.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [7, 1001]}
    with bundle.build("sleep", "1000") as container:
        status = _status(container.pid or 0)

    assert status["Uid"] == [str(BASE + 1000)] * 4
    assert status["Gid"] == [str(BASE + 1001)] * 4
    assert status["Groups"] == [str(BASE + 7), str(BASE + 1001)]


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("userns", [False, True], ids=["root", "userns"])
def test_groups_of_the_caller_do_not_leak(bundle: Bundle, userns: bool) -> None:
    """The docker or disk group of whoever starts a container would open the host's sockets and disks."""
    if userns:
        bundle.add_userns()
    with bundle.build("sleep", "1000") as container:
        assert _status(container.pid or 0)["Groups"] == []


def test_new_namespaces_belong_to_the_containers_user_namespace(bundle: Bundle) -> None:
    """Otherwise the container's root would not be root of its own network, mounts and names."""
    bundle.add_userns()
    bundle.set_namespace("time")
    with bundle.build("sleep", "1000") as container:
        pid = container.pid or 0
        user = os.stat(namespace_path("user", pid)).st_ino
        owners = {kind: _owner(namespace_path(kind, pid)) for kind in KINDS if kind != "user"}

    assert owners == dict.fromkeys(owners, user)


def test_root_of_the_container_governs_its_own_network(bundle: Bundle) -> None:
    """With CAP_NET_ADMIN inside, interfaces can be configured; the host's are not in reach."""
    bundle.add_userns()
    for names in bundle.process["capabilities"].values():
        names.append("CAP_NET_ADMIN")

    assert bundle.sh("ip addr add 10.1.2.3/32 dev lo && ip addr show lo | grep -c 10.1.2.3").lines == ["1"]


def test_rootfs_below_a_closed_directory_is_used(bundle: Bundle) -> None:
    """Engines keep images below directories of mode 0700; the container's root need not search those."""
    bundle.add_userns()
    bundle.path.chmod(0o700)
    os.chown(bundle.path, 4321, 4321)

    assert bundle.sh("ls /bin | grep -x busybox").lines == ["busybox"]
    os.chown(bundle.path, 0, 0)


@pytest.mark.parametrize("name", ["private", "rslave", "rshared", "unbindable"])
def test_propagation_can_be_chosen_below_a_closed_directory(bundle: Bundle, name: str) -> None:
    """mount_namespaces(7): in another user namespace shared means among the container's own mounts."""
    bundle.add_userns()
    bundle.path.chmod(0o700)
    bundle.linux["rootfsPropagation"] = name
    fields = bundle.sh("awk '$5 == \"/\"' /proc/self/mountinfo").lines[0]

    assert ("shared:" in fields) == (name == "rshared")
    assert ("unbindable" in fields) == (name == "unbindable")


def test_bind_source_below_a_closed_directory_is_mounted(bundle: Bundle) -> None:
    """Secrets lie below directories that only root may search; they are opened with the host's identity."""
    closed = bundle.path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "secret").write_text("told\n")
    (bundle.rootfs / "mnt/secret").touch()
    bundle.add_userns()
    bundle.mount("/mnt/secret", str(closed / "secret"), "bind", "bind", "ro")

    assert bundle.sh("cat /mnt/secret").lines == ["told"]


def test_mount_point_that_cannot_be_made_is_told_with_a_remedy(bundle: Bundle) -> None:
    """A root file system of the host's root is not the container's to change."""
    bundle.add_userns()
    bundle.mount("/mnt/new", "tmpfs", "tmpfs")
    with pytest.raises(SetupError, match="EACCES") as caught:
        bundle.build("true")

    assert caught.value.pointer == "/mounts/4"
    assert "beforehand" in (caught.value.remedy or "")


@pytest.mark.parametrize("options", [(), ("--no-pivot",)], ids=["pivot", "no-pivot"])
def test_rootfs_below_a_closed_directory_is_used_by_the_command(
    bundle: Bundle, options: tuple[str, ...]
) -> None:
    """Either way to change the root starts from what was opened with the host's identity."""
    bundle.add_userns()
    bundle.path.chmod(0o700)
    bundle.process["args"] = ["ls", "/"]

    assert "bin" in bundle.youki("run", *options, bundle.id).stdout.split()


@pytest.mark.parametrize(
    ("user", "pointer"),
    [
        ({"uid": 70000, "gid": 0}, "/process/user/uid"),
        ({"uid": 0, "gid": 70000}, "/process/user/gid"),
        ({"uid": 0, "gid": 0, "additionalGids": [5, 65536]}, "/process/user/additionalGids/1"),
    ],
)
def test_id_that_is_not_mapped_is_refused(bundle: Bundle, user: dict[str, Any], pointer: str) -> None:
    """An id without a mapping does not exist inside; the error names it before anything is made."""
    bundle.add_userns()
    bundle.process["user"] = user
    with pytest.raises(InvalidConfig) as caught:
        bundle.build("true")

    assert caught.value.pointer == pointer
    assert Container.list(bundle.root) == []


def test_mappings_without_a_user_namespace_are_refused(bundle: Bundle) -> None:
    """Whoever writes mappings wants isolation; running as the host's root instead would be a hole."""
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = extents((0, BASE, 10))
    with pytest.raises(InvalidConfig, match="user namespace"):
        bundle.build("true")


def test_user_namespace_without_mappings_is_refused(bundle: Bundle) -> None:
    """Without a mapping nobody would be root inside; every problem is told at once."""
    bundle.linux["namespaces"].append({"type": "user"})
    with pytest.raises(InvalidConfig) as caught:
        bundle.build("true")

    assert [problem.pointer for problem in caught.value.problems] == [
        "/linux/uidMappings",
        "/linux/gidMappings",
    ]


def test_init_is_closed_to_the_users_of_its_container_until_the_payload_runs(bundle: Bundle) -> None:
    """CVE-2016-9962: through /proc/PID of a waiting init a container that shares its pid namespace would get
    the runtime's descriptors.
    """
    bundle.add_userns()
    with bundle.build("sleep", "1000") as first:
        first.start()
        holder = first.pid or 0
        second = beside(bundle, "second")
        for kind in ("user", "pid", "mount", "ipc", "network", "uts"):
            second.set_namespace(kind, namespace_path(kind, holder))
        second.remove_namespace("mount")
        second.set_namespace("mount")
        for name in ("uidMappings", "gidMappings"):
            second.linux.pop(name, None)
        with second.build("sleep", "1000") as waiting:
            inner = _status(waiting.pid or 0)["NSpid"][-1]
            for name in ("exe", "cwd", "root", "fd/0"):
                assert _inside(holder, "readlink", f"/proc/{inner}/{name}").returncode != 0
            for command in (("ls", f"/proc/{inner}/fd"), ("cat", f"/proc/{inner}/environ")):
                assert _inside(holder, *command).returncode != 0
            waiting.start()
            assert _inside(holder, "readlink", f"/proc/{inner}/exe").stdout == "/bin/busybox\n"


def change(path: str, value: Any) -> Callable[[Bundle], None]:
    """Return what sets a value of the configuration; `+` at the end of the path appends to a list."""

    def apply(bundle: Bundle) -> None:
        *parents, last = path.split("/")
        place: Any = bundle.spec
        for name in parents:
            place = place[name]
        if last == "+":
            place.append(value)
        else:
            place[last] = value

    return apply


FALSE = [{"path": "/bin/false"}]
FAILURES = {
    "join": change("linux/namespaces/+", {"type": "time", "path": "/proc/self/ns/uts"}),
    "mount": change("mounts/+", {"destination": "/tmp", "type": "ext4", "source": "/dev/null"}),
    "device": change("linux/devices", [{"path": "/dev/none", "type": "c", "major": 1, "minor": 99}]),
    "runtime hook": change("hooks", {"createRuntime": FALSE}),
    "container hook": change("hooks", {"createContainer": FALSE}),
    "sysctl": change("linux/sysctl", {"net.ipv4.none": "1"}),
    "readonly path": change("linux/readonlyPaths/+", "/bin/sh/none"),
    "working directory": change("process/cwd", "/bin/sh"),
    "program": change("process/args", ["/none"]),
}


@pytest.mark.parametrize("step", FAILURES)
def test_failure_at_any_step_leaves_nothing(bundle: Bundle, step: str) -> None:
    """No process, zombie, descriptor or record remains, whichever stage fails and whoever it is by then."""
    bundle.run("true")  # what is made once and kept is there now
    before = len(os.listdir("/proc/self/fd"))
    bundle.add_userns()
    bundle.process["args"] = ["true"]
    FAILURES[step](bundle)
    with pytest.raises(Error):
        bundle.build()

    assert Container.list(bundle.root) == []
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def _status(pid: int) -> dict[str, list[str]]:
    with open(f"/proc/{pid}/status") as file:
        return {name: value.split() for name, _, value in (line.partition(":") for line in file)}


def _owner(path: str) -> int:
    fd = os.open(path, os.O_RDONLY)
    try:
        owner = fcntl.ioctl(fd, NS_GET_USERNS)
    finally:
        os.close(fd)
    try:
        return os.fstat(owner).st_ino
    finally:
        os.close(owner)


def _inside(pid: int, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the root of the container of `pid`, with all of its user namespace's capabilities."""
    enter = ["nsenter", f"--target={pid}", "--user", "--pid", "--mount", "--setuid=0", "--setgid=0", "--"]
    return subprocess.run([*enter, *command], capture_output=True, text=True, check=False)
