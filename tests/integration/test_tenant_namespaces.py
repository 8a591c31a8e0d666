"""Where a tenant is: the namespaces, the root and the cgroups of its container; on the real kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from subprocess import DEVNULL
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import CgroupError, Container, InvalidArgument, host

from .boxes import open_to_all
from .tenants import running, sh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Bundle

pytestmark = pytest.mark.root
LINKS = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
QUIET: dict[str, Any] = {"stdin": DEVNULL, "stdout": DEVNULL, "stderr": DEVNULL}


@pytest.fixture(params=["pidfd", "descriptors"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How namespaces are joined: by the pidfd, or as before Linux 5.8."""
    if request.param == "descriptors":
        monkeypatch.setitem(host._GATHER, "joins_by_pidfd", lambda _: False)
    return str(request.param)


def links(pid: int | None) -> dict[str, str]:
    """Return the namespaces of a process, as the host sees them."""
    return {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in LINKS}


def namespaces_of_a_tenant(container: Container) -> dict[str, str]:
    """Return the namespaces of a tenant that is started for it."""
    with container.exec(["sleep", "1000"], **QUIET) as process:
        return links(process.pid)


def test_every_namespace_is_joined(bundle: Bundle, way: str) -> None:
    """The first process and its tenant are in the same ones, and none of them is ours but the user's."""
    bundle.set_namespace("time")
    with running(bundle) as container:
        found = namespaces_of_a_tenant(container)
        assert found == links(container.pid)
        own = links(os.getpid())
        assert {name for name in LINKS if found[name] == own[name]} == {"user"}


def test_user_namespace_is_joined(bundle: Bundle, way: str) -> None:
    """With its mapping: root of the container is nobody on the host."""
    bundle.add_userns()
    open_to_all(bundle.rootfs)
    with running(bundle) as container:
        assert namespaces_of_a_tenant(container) == links(container.pid)
        with container.exec(["sleep", "1000"], user=5, **QUIET) as process:
            assert f"Uid:\t{100005}\t" in Path(f"/proc/{process.pid}/status").read_text()
        assert sh(container, "id -u; id -G; cat /proc/self/uid_map").lines[:2] == ["0", "0"]


def test_network_namespace_of_the_host_is_joined_beside_the_user_namespace(bundle: Bundle, way: str) -> None:
    """Engines make it, so that it belongs to the host's user namespace: it takes the rights that we have there."""
    holder = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
    try:
        while os.readlink(f"/proc/{holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            pass
        bundle.add_userns()
        open_to_all(bundle.rootfs)
        bundle.set_namespace("network", f"/proc/{holder.pid}/ns/net")
        bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["destination"] != "/sys"]
        bundle.linux["maskedPaths"] = []
        with running(bundle) as container:
            assert namespaces_of_a_tenant(container)["net"] == os.readlink(f"/proc/{holder.pid}/ns/net")
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup"])
def test_shared_namespace_stays_shared(bundle: Bundle, kind: str) -> None:
    """What the container shares with the host, a tenant does."""
    bundle.remove_namespace(kind)
    if kind == "uts":
        del bundle.spec["hostname"]
    if kind == "network":
        bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["destination"] != "/sys"]
        bundle.linux["maskedPaths"] = []
    with running(bundle) as container:
        assert namespaces_of_a_tenant(container) == links(container.pid)


def test_offsets_of_the_time_namespace_are_the_containers(bundle: Bundle) -> None:
    """contest: "simple timens + exec"."""
    bundle.set_namespace("time")
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 1337, "nanosecs": 3141519}}
    with running(bundle) as container:
        told = sh(container, "cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime")

    up = int(float(Path("/proc/uptime").read_text().split()[0]))
    assert told.lines[1].split() == ["boottime", "1337", "3141519"]
    assert abs(int(told.lines[2]) - up - 1337) < 60


def test_tenant_of_a_joined_pid_namespace_with_a_reaper_elsewhere(bundle: Bundle) -> None:
    """The pid namespace of another process; its end ends the tenant."""
    holder = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "sleep", "1000"])
    try:
        inner = _child_of(holder.pid)
        bundle.set_namespace("pid", f"/proc/{inner}/ns/pid")
        with running(bundle) as container, container.exec(["sleep", "1000"], **QUIET) as process:
            assert os.readlink(f"/proc/{process.pid}/ns/pid") == os.readlink(f"/proc/{inner}/ns/pid")
            holder.kill()
            assert process.wait(30).signal == 9
    finally:
        holder.kill()
        holder.wait()


def _child_of(pid: int) -> int:
    while True:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])


# The root


def test_root_is_the_containers(bundle: Bundle, way: str) -> None:
    """The mount namespace leads there, and nothing of the host is to be seen."""
    (bundle.rootfs / "mark").write_text("here\n")
    with running(bundle) as container:
        told = sh(container, "cat /mark; ls -d /proc/1/root/mark; pwd -P; cd ..; pwd -P")

    assert told.lines == ["here", "/proc/1/root/mark", "/", "/"]


def test_root_without_a_mount_namespace(bundle: Bundle) -> None:
    """The first process was chrooted there, also seen from another mount namespace of the host."""
    bundle.remove_namespace("mount")
    bundle.spec["mounts"] = []
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    (bundle.rootfs / "mark").write_text("here\n")
    with running(bundle) as container:
        assert sh(container, "cat /mark; pwd -P").lines == ["here", "/"]
        script = (
            "from libcontainer import Container, PIPE; import sys\n"
            f"container = Container.load({str(bundle.root)!r}, {bundle.id!r})\n"
            "sys.stdout.buffer.write(container.exec(['cat', '/mark'], stdout=PIPE).communicate()[0])\n"
        )
        words = ["unshare", "--mount", sys.executable, "-c", script]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.stdout == "here\n", done.stderr


def test_root_of_a_container_made_without_pivot(bundle: Bundle) -> None:
    """--no-pivot moves a mount over the root: a tenant must land in the container, not below it."""
    (bundle.rootfs / "mark").write_text("here\n")
    bundle.process["args"] = ["sleep", "1000"]
    bundle.save()
    builder = bundle.builder().with_stdin(DEVNULL).with_stdout(DEVNULL).with_stderr(DEVNULL)
    with builder.as_init(bundle.path).with_no_pivot(True).build() as container:
        container.start()
        assert sh(container, "cat /mark; ls /proc | grep -c '^[0-9]*$'").lines[0] == "here"


def test_host_null_device_is_exchanged_for_the_containers(bundle: Bundle) -> None:
    """A descriptor of the host's would let the container change the host's node."""
    with running(bundle) as container, container.exec(["sleep", "1000"], **QUIET) as process:
        for number in range(3):
            found = os.stat(f"/proc/{process.pid}/fd/{number}")
            assert found.st_dev != os.stat("/dev/null").st_dev
            assert found.st_rdev == os.stat("/dev/null").st_rdev


# The cgroups


def cgroup_lines(pid: int | None) -> list[str]:
    """Return the cgroups of a process, as the host sees them."""
    return Path(f"/proc/{pid}/cgroup").read_text().splitlines()


@pytest.mark.parametrize("userns", [False, True])
def test_cgroup_of_every_hierarchy_is_entered(bundle: Bundle, userns: bool) -> None:
    """Its limits hold for tenants, too; by itself, and moved by the runtime."""
    if userns:
        bundle.add_userns()
        open_to_all(bundle.rootfs)
    with running(bundle) as container, container.exec(["sleep", "1000"], **QUIET) as process:
        assert cgroup_lines(process.pid) == cgroup_lines(container.pid)
        assert process.pid in container._manager().processes()


def test_limit_of_the_cgroup_meets_a_tenant(bundle: Bundle) -> None:
    """A pids limit counts all processes of the container."""
    bundle.linux["resources"] = {"pids": {"limit": 2}}
    with running(bundle) as container:
        assert "fork" in sh(container, "true; (true); /bin/true").stderr


@pytest.fixture
def inner(bundle: Bundle) -> Iterator[list[Path]]:
    """A running container with a sub-cgroup `inner/most` in each hierarchy."""
    bundle.process["args"] = ["sleep", "1000"]
    bundle.youki("create", bundle.id)
    bundle.youki("start", bundle.id)
    container = Container.load(bundle.root, bundle.id)
    made = [Path(cgroup.directory) / "inner/most" for cgroup in container._manager().cgroups]
    for directory in made:
        directory.mkdir(parents=True)
        if (directory / "cpuset.cpus").exists():
            for level in (directory.parent, directory):
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (level / name).write_text((level.parent / name).read_text())
    yield made
    container.delete(force=True)
    container.close()


def test_sub_cgroup_is_entered(bundle: Bundle, inner: list[Path]) -> None:
    """In all hierarchies, so that a tenant can be limited and ended by itself."""
    container = Container.load(bundle.root, bundle.id)
    with container.exec(["sleep", "1000"], sub_cgroup="inner/most", **QUIET) as process:
        assert len(inner) > 0
        for directory in inner:
            assert str(process.pid) in (directory / "cgroup.procs").read_text().split()
    container.close()


def test_sub_cgroup_of_one_controller(bundle: Bundle, inner: list[Path]) -> None:
    """As runc's --cgroup takes it; the others are the container's own."""
    if "memory" not in Container.load(bundle.root, bundle.id)._manager().paths:
        pytest.skip("needs the memory controller in a hierarchy of v1")
    container = Container.load(bundle.root, bundle.id)
    with container.exec(["sleep", "1000"], sub_cgroup=["memory,pids:inner/most"], **QUIET) as process:
        entered = {line.split(":")[1] for line in cgroup_lines(process.pid) if line.endswith("/inner/most")}
    container.close()
    assert entered == {"memory", "pids"}


@pytest.mark.parametrize(
    ("below", "kind"),
    [
        ("../x", InvalidArgument),
        ("absent", CgroupError),
        (["a", "b"], InvalidArgument),
        ("fly:a", InvalidArgument),
    ],
)
def test_sub_cgroup_that_cannot_be_entered(
    bundle: Bundle, below: str | list[str], kind: type[Exception]
) -> None:
    """Outside of the container's, or not there: nothing is started."""
    with running(bundle) as container:
        before = container._manager().processes()
        with pytest.raises(kind):
            container.exec(["true"], sub_cgroup=below)
        assert container._manager().processes() == before
