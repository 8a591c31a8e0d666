"""The runtime on a host with cgroup v2 only: limits, devices, freezing and ending, and what runc and crun do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcgroups import detect
from libcgroups.devices import bpf
from libcgroups.devices.program import PROGRAM_NAME, compile_rules
from libcgroups.devices.rules import parse
from libcontainer import InvalidArgument
from libcontainer.devices import DEFAULT_RULES

from .conftest import YOUKI
from .rootless import User, borrowed_user
from .tenants import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Bundle

HOST = detect()
ROOT = Path(HOST.unified or "/sys/fs/cgroup")
NEEDED = {"cpu", "memory", "pids"}

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        HOST.mode != "v2" or not set((ROOT / "cgroup.controllers").read_text().split()) >= NEEDED,
        reason="needs a host with cgroup v2 only, with its controllers",
    ),
]

MIB = 1 << 20
MKNOD = ["CAP_MKNOD"]
QUIET: dict[str, Any] = {
    "stdin": subprocess.DEVNULL,
    "stdout": subprocess.DEVNULL,
    "stderr": subprocess.DEVNULL,
}
DENY_ALL = {"allow": False, "access": "rwm"}


@pytest.fixture
def box(bundle: Bundle) -> Bundle:
    """A bundle whose container has a cgroup at a path that we know, and sees it."""
    bundle.linux["cgroupsPath"] = f"/{bundle.id}"
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev")
    return bundle


def cgroup(box: Bundle) -> Path:
    """The directory of the container's cgroup."""
    return ROOT / box.id


def limit(box: Bundle, **resources: Any) -> None:
    """Ask for limits, with the device rule that every generated spec has."""
    box.linux["resources"] = {"devices": [DENY_ALL], **resources}


@pytest.fixture(params=["youki", "crun", "runc"])
def runtime(request: pytest.FixtureRequest) -> str:
    """This runtime, and the two that it can stand in for."""
    found = (
        str(YOUKI)
        if request.param == "youki"
        else shutil.which(request.param, path="/usr/sbin:/usr/bin:/sbin")
    )
    if found is None:
        pytest.skip(f"{request.param} is not installed")
    return found


def run_by(runtime: str, box: Bundle, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a container of this runtime, which removes it afterwards."""
    box.process["args"] = ["/bin/sh", "-c", script]
    box.spec["ociVersion"] = "1.0.2"
    box.save()
    words = [runtime, "--root", f"{box.path}/{Path(runtime).name}", "run", "--bundle", str(box.path), box.id]
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


SHOW = """
cd /sys/fs/cgroup
for file in memory.max memory.swap.max memory.low cpu.weight cpu.max cpuset.cpus pids.max; do
    echo $file $(cat $file)
done
"""


def test_limits_have_the_values_that_runc_and_crun_give_them(runtime: str, box: Bundle) -> None:
    """Who changes the runtime keeps the limits: the container itself reads them from the kernel."""
    limit(
        box,
        memory={"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB},
        cpu={"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0"},
        pids={"limit": 20},
    )

    done = run_by(runtime, box, SHOW)

    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    weight = found.pop("cpu.weight", "")
    assert found == {
        "memory.max": str(64 * MIB),
        "memory.swap.max": str(32 * MIB),
        "memory.low": str(32 * MIB),
        "cpu.max": "50000 100000",
        "cpuset.cpus": "0",
        "pids.max": "20",
    }, done.stderr
    assert weight in ("20", "59")  # the straight line of the older releases, and the curve of the newer ones
    assert not cgroup(box).exists()


DEVICES = """
echo x >/dev/null && head -c 2 /dev/zero | wc -c
mknod /dev/kmsg c 1 11 && echo made
cat /dev/kmsg 2>&1 | head -n 1
"""


def test_default_devices_can_be_used_and_others_only_made(runtime: str, box: Bundle) -> None:
    """No v1 controller guards devices here; without the eBPF program the host's disks would be open."""
    limit(box)
    for kind in ("bounding", "effective", "permitted"):
        box.process["capabilities"][kind] = MKNOD

    done = run_by(runtime, box, DEVICES)

    lines = done.stdout.splitlines()
    assert lines[:2] == ["2", "made"], done
    assert "Operation not permitted" in lines[2], done


@pytest.mark.parametrize(
    ("used", "device"),
    [(False, False), (True, False), (False, True)],
    ids=["new", "used", "mount-of-a-device"],
)
def test_one_program_guards_the_devices_whoever_attached_it(
    box: Bundle, used: bool, device: bool, tmp_path: Path
) -> None:
    """Init does it for a new cgroup. Where it must open a device for a mount, or a program of the container before is
    there to be replaced, the runtime does it after init: in each case the rules hold, and an update finds the program.
    """
    limit(box)
    if used:
        cgroup(box).mkdir()
        bpf.install(str(cgroup(box)), compile_rules(parse({"devices": [*DEFAULT_RULES]})))
    if device:
        if shutil.which("mkfs.ext4", path="/usr/sbin:/sbin") is None or not os.path.exists(
            "/dev/loop-control"
        ):
            pytest.skip("needs mkfs.ext4 and loop devices")
        box.mount("/mnt", loop_device(tmp_path), "ext4")
    for kind in ("bounding", "effective", "permitted"):
        box.process["capabilities"][kind] = MKNOD
    box.process["args"] = ["/bin/sh", "-c", f"{DEVICES}\ngrep -c ' /mnt ext4 ' /proc/self/mounts"]
    try:
        with (
            open(box.path / "out", "w+") as out,
            box.build(stdout=out.fileno(), stderr=out.fileno()) as container,
        ):
            assert [name for _, name in bpf.attached(str(cgroup(box)))] == [PROGRAM_NAME.decode()]
            container.start()
            container.wait(60)
            out.seek(0)
            lines = out.read().splitlines()
    finally:
        if device:
            subprocess.run(["losetup", "-d", box.spec["mounts"][-1]["source"]], check=True)
        if used:
            cgroup(box).rmdir()

    assert lines[:2] == ["2", "made"], lines
    assert "Operation not permitted" in lines[2]
    assert lines[3:] == [str(int(device))]


def loop_device(tmp_path: Path) -> str:
    """A loop device with a file system on it."""
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(4 * MIB)
    path = "/usr/sbin:/sbin:/usr/bin:/bin"
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, env={"PATH": path})
    words = ["losetup", "--find", "--show", str(image)]
    return subprocess.run(
        words, check=True, capture_output=True, text=True, env={"PATH": path}
    ).stdout.strip()


def test_a_container_sees_its_own_cgroup_as_the_root(runtime: str, box: Bundle) -> None:
    """The cgroup namespace is made after the process joined its cgroup, else it would show the host's tree."""
    limit(box)

    done = run_by(
        runtime,
        box,
        "cat /proc/self/cgroup; head -n 1 /sys/fs/cgroup/cgroup.procs; cat /sys/fs/cgroup/cgroup.type",
    )

    assert done.stdout.splitlines() == ["0::/", "1", "domain"], done.stderr


def test_a_payload_over_its_memory_limit_is_killed(runtime: str, box: Bundle) -> None:
    """The exit code says so, and the host goes on."""
    limit(box, memory={"limit": 16 * MIB, "swap": 16 * MIB})

    done = run_by(runtime, box, "head -c 67108864 /dev/zero | tail; echo $?")

    assert "137" in done.stdout.split(), done


def test_a_payload_stops_forking_at_its_pids_limit(runtime: str, box: Bundle) -> None:
    """Whatever it does, the host keeps its process ids."""
    limit(box, pids={"limit": 16})

    done = run_by(runtime, box, "for i in $(seq 40); do sleep 100 & done; echo all")

    assert "all" not in done.stdout.split()
    assert "fork" in done.stderr


def test_a_payload_gets_the_share_of_time_that_its_quota_says(box: Bundle) -> None:
    """The kernel counts how often it had to wait."""
    limit(box, cpu={"quota": 20_000, "period": 100_000})

    run = box.sh("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; cat /sys/fs/cgroup/cpu.stat")

    counts = dict(line.split() for line in run.lines)
    assert int(counts["nr_throttled"]) > 0


def nested(box: Bundle) -> None:
    """Let the payload move into a cgroup two levels below its own."""
    mount = box.spec["mounts"][-1]
    mount["options"].remove("ro")
    script = "mkdir -p /sys/fs/cgroup/a/b && echo $$ >/sys/fs/cgroup/a/b/cgroup.procs && sleep 1000 & exec sleep 1000"
    box.process["args"] = ["/bin/sh", "-c", script]


def test_delete_by_force_ends_what_lives_in_nested_cgroups(box: Bundle) -> None:
    """In the host's pid namespace nobody else ends it; systemd in a container nests like this."""
    box.remove_namespace("pid")
    nested(box)
    container = box.build()
    container.start()
    procs = cgroup(box) / "a/b/cgroup.procs"
    wait_for(procs, lambda text: text.strip() != "")

    container.delete(force=True)

    assert not cgroup(box).exists()


def wait_for(path: Path, told: Any) -> None:
    """Wait for a state that the payload brings about."""
    import time

    end = time.monotonic() + 30
    while not (path.exists() and told(path.read_text())):
        assert time.monotonic() < end, path
        time.sleep(0.01)


@pytest.mark.parametrize("pid_namespace", [True, False])
def test_delete_by_force_ends_a_container_below_a_frozen_cgroup(box: Bundle, pid_namespace: bool) -> None:
    """A paused pod must go too: its containers cannot be thawed alone, but they can be killed."""
    box.linux["cgroupsPath"] = f"/{box.id}-pod/box"
    if not pid_namespace:
        box.remove_namespace("pid")
    pod = ROOT / f"{box.id}-pod"
    pod.mkdir()
    try:
        container = box.build("sleep", "1000")
        container.start()
        (pod / "cgroup.freeze").write_text("1")
        wait_for(pod / "box/cgroup.events", lambda text: "frozen 1" in text)
        assert container.status == "paused"

        container.delete(force=True)

        assert list(pod.glob("*/")) == []
    finally:
        pod.rmdir()


@pytest.fixture
def parent(box: Bundle) -> Iterator[Path]:
    """A cgroup with a process in it, as a caller's own is."""
    found = ROOT / f"{box.id}-parent"
    found.mkdir()
    with subprocess.Popen(["sleep", "1000"]) as process:
        (found / "cgroup.procs").write_text(str(process.pid))
        yield found
        process.kill()
    wait_for(found / "cgroup.events", lambda text: "populated 0" in text)
    found.rmdir()


def test_a_limit_below_a_populated_cgroup_is_refused_with_its_reason(box: Bundle, parent: Path) -> None:
    """cgroup v2 has no controllers below a cgroup with processes: never silently without the limit."""
    box.linux["cgroupsPath"] = f"/{parent.name}/box"
    limit(box, memory={"limit": 64 * MIB})
    box.process["args"] = ["true"]

    done = box.youki("run", "-b", str(box.path), box.id, check=False)

    assert done.returncode != 0
    assert "/linux/resources/memory/limit" in done.stderr
    assert parent.name in done.stderr
    assert list(parent.glob("*/")) == []


def test_a_container_without_limits_runs_below_a_populated_cgroup(box: Bundle, parent: Path) -> None:
    """It needs no controllers there."""
    box.linux["cgroupsPath"] = f"/{parent.name}/box"

    assert box.sh("cat /proc/self/cgroup").lines == ["0::/"]


def test_features_and_state_tell_of_v2(box: Bundle) -> None:
    """Callers choose their limits by it."""
    told = json.loads(box.youki("features").stdout)

    assert told["linux"]["cgroup"]["v2"] is True
    assert os.path.isdir(ROOT)


@pytest.fixture
def delegate() -> Iterator[User]:
    """An unprivileged user in the cgroup `run` of one that is delegated to it, as systemd does for users."""
    top = ROOT / f"test-{os.getpid()}-delegated"
    with borrowed_user() as user:
        user.make_spec()
        before = set((ROOT / "cgroup.subtree_control").read_text().split())
        (ROOT / "cgroup.subtree_control").write_text("+cpu +memory +pids")
        (top / "run").mkdir(parents=True)
        for directory in (top, top / "run"):  # cgroup-v2.rst, "Model of Delegation"
            for path in (directory, *(directory / f"cgroup.{name}" for name in ("procs", "subtree_control"))):
                os.chown(path, user.uid, user.gid)
        user.mounts.append(f"echo $$ >{top}/run/cgroup.procs")
        yield user
        wait_for(top / "run/cgroup.events", lambda text: "populated 0" in text)
    (top / "run").rmdir()
    top.rmdir()
    for name in set((ROOT / "cgroup.subtree_control").read_text().split()) - before:
        (ROOT / "cgroup.subtree_control").write_text(f"-{name}")


def test_an_unprivileged_user_has_limits_in_a_delegated_cgroup(delegate: User) -> None:
    """Beside the user's own cgroup, where controllers can be had; nothing of it is left."""
    delegate.spec["linux"]["resources"] = {"pids": {"limit": 16}, "memory": {"limit": 64 * MIB}}
    top = ROOT / f"test-{os.getpid()}-delegated"

    done = delegate.sh("cd /sys/fs/cgroup; cat pids.max memory.max; cat /proc/self/cgroup", check=False)

    assert done.stdout.split() == ["16", str(64 * MIB), "0::/"], done.stderr
    assert [path.name for path in top.glob("*/")] == ["run"]


def test_tenant_is_born_in_the_cgroup(box: Bundle) -> None:
    """CLONE_INTO_CGROUP: it never was anywhere else, and counts in the limits."""
    with running(box) as container, container.exec(["sleep", "1000"], **QUIET) as process:
        assert Path(f"/proc/{process.pid}/cgroup").read_text() == f"0::/{box.id}\n"


def test_tenant_enters_the_cgroup_of_a_first_process_that_has_nested_itself(box: Bundle) -> None:
    """A systemd in the container hands its controllers on, and then its own cgroup may hold no processes (EBUSY)."""
    with running(box) as container:
        own = cgroup(box)
        (own / "init.scope").mkdir()
        (own / "init.scope/cgroup.procs").write_text(str(container.pid))
        (own / "cgroup.subtree_control").write_text("+pids")
        with container.exec(["sleep", "1000"], **QUIET) as process:
            assert Path(f"/proc/{process.pid}/cgroup").read_text() == f"0::/{box.id}/init.scope\n"


def test_tenant_enters_a_sub_cgroup(box: Bundle) -> None:
    """A cgroup of its own, by which it is ended with all that it started."""
    with running(box) as container:
        (cgroup(box) / "tenant").mkdir()
        script = "sleep 1000 & sleep 1000 & wait"
        with container.exec(["sh", "-c", script], sub_cgroup="tenant", **QUIET) as process:
            assert Path(f"/proc/{process.pid}/cgroup").read_text() == f"0::/{box.id}/tenant\n"
            (cgroup(box) / "tenant/cgroup.kill").write_text("1")
            assert process.wait(30).signal == 9
        with pytest.raises(InvalidArgument, match="one path"):
            container.exec(["true"], sub_cgroup="pids:tenant")
        assert container.status == "running"
