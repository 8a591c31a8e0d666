"""The runtime on a host that systemd runs, with a scope for each container (`--systemd-cgroup`)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcgroups import detect
from libcontainer import Container

from .conftest import YOUKI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Bundle

HOST = detect()
MIB = 1 << 20

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.path.isdir("/run/systemd/system"), reason="needs a host that systemd runs"),
    pytest.mark.skipif(HOST.mode != "v2", reason="needs cgroup v2 only"),
]


@pytest.fixture
def box(bundle: Bundle) -> Iterator[Bundle]:
    """A bundle whose container gets the scope youki-ID.scope in system.slice; none may be left."""
    bundle.linux["cgroupsPath"] = f"system.slice:youki:{bundle.id}"
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro")
    yield bundle
    for container in bundle.root.iterdir() if bundle.root.exists() else ():
        bundle.youki("delete", "--force", container.name)
    assert shown(scope(bundle), "LoadState") == {"LoadState": "not-found"}
    assert not directory(bundle).exists()


def scope(box: Bundle, prefix: str = "youki") -> str:
    """The name of the container's unit."""
    return f"{prefix}-{box.id}.scope"


def directory(box: Bundle) -> Path:
    """Where systemd puts that unit."""
    return Path(f"{HOST.unified}/system.slice/{scope(box)}")


def shown(unit: str, *names: str) -> dict[str, str]:
    """What systemd says of a unit."""
    words = ["systemctl", "show", unit, *(f"--property={name}" for name in names)]
    text = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout
    return dict(line.split("=", 1) for line in text.splitlines())


RESOURCES: dict[str, Any] = {
    "devices": [{"allow": False, "access": "rwm"}],
    "memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB},
    "cpu": {"quota": 50_000, "period": 100_000, "cpus": "0"},
    "pids": {"limit": 20},
}
PROPERTIES = {
    "ActiveState": "active",
    "Slice": "system.slice",
    "Delegate": "yes",
    "MemoryMax": str(64 * MIB),
    "MemorySwapMax": str(32 * MIB),
    "MemoryLow": str(32 * MIB),
    "CPUQuotaPerSecUSec": "500ms",
    "AllowedCPUs": "0",
    "TasksMax": "20",
}


def test_a_container_is_a_scope_with_its_limits_from_create_to_delete(box: Bundle) -> None:
    """systemd knows the limits, and so keeps them at daemon-reload; the kernel has them too."""
    box.linux["resources"] = RESOURCES
    start(box, "sleep", "1000")

    assert shown(scope(box), *PROPERTIES) == PROPERTIES
    subprocess.run(["systemctl", "daemon-reload"], check=True, timeout=120)
    assert shown(scope(box), *PROPERTIES) == PROPERTIES
    found = {
        name: (directory(box) / name).read_text().strip() for name in ("memory.max", "cpu.max", "pids.max")
    }
    assert found == {"memory.max": str(64 * MIB), "cpu.max": "50000 100000", "pids.max": "20"}
    assert (directory(box) / "cgroup.procs").read_text().strip()

    box.youki("kill", box.id, "KILL")
    box.youki("delete", "--force", box.id)
    assert not directory(box).exists()


def start(box: Bundle, *args: str) -> None:
    """Create and start the container in its scope."""
    box.process["args"] = list(args)
    box.youki("--systemd-cgroup", "create", "-b", str(box.path), box.id)
    box.youki("start", box.id)


def test_an_update_is_told_to_systemd(box: Bundle) -> None:
    """What it was not told it would undo at its next look at the unit."""
    box.linux["resources"] = RESOURCES
    start(box, "sleep", "1000")
    limits = (
        "--memory",
        str(48 * MIB),
        "--memory-swap",
        str(80 * MIB),
        "--cpu-quota",
        "20000",
        "--pids-limit",
        "10",
    )
    box.youki("update", *limits, box.id)
    expected = PROPERTIES | {"MemoryMax": str(48 * MIB), "CPUQuotaPerSecUSec": "200ms", "TasksMax": "10"}

    assert shown(scope(box), *expected) == expected
    subprocess.run(["systemctl", "daemon-reload"], check=True, timeout=120)
    assert shown(scope(box), *expected) == expected
    found = {
        name: (directory(box) / name).read_text().strip() for name in ("memory.max", "cpu.max", "pids.max")
    }
    assert found == {"memory.max": str(48 * MIB), "cpu.max": "20000 100000", "pids.max": "10"}


def test_annotations_set_properties_of_the_unit(box: Bundle) -> None:
    """As runc's users know them; a name in seconds is the one that D-Bus has in microseconds."""
    box.spec["annotations"] = {
        "org.systemd.property.TimeoutStopSec": "uint64 7",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.Description": "'a box'",
    }
    start(box, "sleep", "1000")

    expected = {"TimeoutStopUSec": "7s", "CollectMode": "inactive-or-failed", "Description": "a box"}
    assert shown(scope(box), *expected) == expected


def test_a_slice_is_expanded(box: Bundle) -> None:
    """The slice a-b.slice lies in a.slice, which systemd makes and, once it is empty, removes."""
    box.linux["cgroupsPath"] = f"test-{os.getpid()}.slice:youki:{box.id}"
    start(box, "sleep", "1000")
    place = Path(f"{HOST.unified}/test.slice/test-{os.getpid()}.slice/{scope(box)}")

    assert (place / "cgroup.procs").read_text().split() == [str(Container.load(box.root, box.id).pid)]
    box.youki("delete", "--force", box.id)
    assert not place.exists()
    subprocess.run(["systemctl", "stop", "test.slice"], check=True, timeout=60)


def test_a_scope_that_failed_does_not_stand_in_the_way(box: Bundle) -> None:
    """systemd remembers a scope whose process was killed for want of memory; the next of that name starts anyway."""
    box.linux["resources"] = {"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}
    for _ in range(2):
        start(box, "/bin/sh", "-c", "head -c 67108864 /dev/zero | tail")
        Container.load(box.root, box.id).wait(timeout=60)
        box.youki("delete", box.id)
        assert shown(scope(box), "LoadState") == {"LoadState": "not-found"}


def test_a_paused_container_makes_no_progress_and_can_be_deleted(box: Bundle) -> None:
    """The freezer of a scope is ours: systemd's own state of the unit does not matter."""
    start(box, "/bin/sh", "-c", "while :; do :; done")
    box.youki("pause", box.id)
    before = (directory(box) / "cpu.stat").read_text().splitlines()[0]

    assert Container.load(box.root, box.id).status == "paused"
    assert "frozen 1" in (directory(box) / "cgroup.events").read_text()
    assert (directory(box) / "cpu.stat").read_text().splitlines()[0] == before
    box.youki("resume", box.id)
    box.youki("pause", box.id)
    assert (directory(box) / "cpu.stat").read_text().splitlines()[0] != before
    box.youki("delete", "--force", box.id)
    assert not directory(box).exists()


def test_device_rules_hold_in_a_scope_also_after_a_reload(box: Bundle) -> None:
    """systemd attaches programs of its own; the container still uses its devices and no others."""
    box.linux["resources"] = {"devices": RESOURCES["devices"]}
    for kind in ("bounding", "effective", "permitted"):
        box.process["capabilities"][kind] = ["CAP_MKNOD"]
    script = (
        "echo x >/dev/null && echo null; mknod /dev/kmsg c 1 11; read go; "
        "cat /dev/kmsg 2>&1 | head -n 1; echo y >/dev/null && echo null"
    )
    box.process["args"] = ["/bin/sh", "-c", script]
    box.save()
    words = [str(YOUKI), "--root", str(box.root), "--systemd-cgroup", "run", "-b", str(box.path), box.id]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "null\n"
        subprocess.run(["systemctl", "daemon-reload"], check=True, timeout=120)
        output, _ = process.communicate("go\n", timeout=120)

    assert "Operation not permitted" in output
    assert output.splitlines()[-1] == "null"
    assert process.returncode == 0


def test_an_update_changes_the_scope_and_lasts(box: Bundle) -> None:
    """systemd is told, so that a reload keeps it; what the kernel refuses changes neither."""
    box.linux["resources"] = RESOURCES
    box.process["args"] = ["sleep", "1000"]
    box.youki("--systemd-cgroup", "create", "-b", str(box.path), box.id)
    box.youki("start", box.id)
    box.youki("update", "--memory", "48m", "--pids-limit", "30", "--cpu-quota", "25000", box.id)
    wanted = {
        **PROPERTIES,
        "MemoryMax": str(48 * MIB),
        "MemorySwapMax": str(48 * MIB),
        "CPUQuotaPerSecUSec": "250ms",
        "TasksMax": "30",
    }
    assert shown(scope(box), *wanted) == wanted

    refused = box.youki("update", "--pids-limit", "5", "--cpuset-cpus", "4095", box.id, check=False)
    assert refused.returncode == 1
    assert "/cpu/cpus" in refused.stderr
    subprocess.run(["systemctl", "daemon-reload"], check=True, timeout=120)
    assert shown(scope(box), *wanted) == wanted
    found = {
        name: (directory(box) / name).read_text().strip() for name in ("memory.max", "cpu.max", "pids.max")
    }
    assert found == {"memory.max": str(48 * MIB), "cpu.max": "25000 100000", "pids.max": "30"}
    box.youki("delete", "--force", box.id)


def test_a_scope_is_paused_and_resumed(box: Bundle) -> None:
    """Through the files that were delegated to us."""
    box.process["args"] = ["sleep", "1000"]
    box.youki("--systemd-cgroup", "create", "-b", str(box.path), box.id)
    box.youki("start", box.id)
    box.youki("pause", box.id)
    assert "frozen 1" in (directory(box) / "cgroup.events").read_text()
    box.youki("resume", box.id)
    assert "frozen 0" in (directory(box) / "cgroup.events").read_text()
    box.youki("delete", "--force", box.id)


def test_killing_the_unit_ends_the_container(box: Bundle) -> None:
    """Who manages the host by systemctl finds that it works: the container is then stopped, the scope gone."""
    start(box, "sleep", "1000")

    subprocess.run(["systemctl", "kill", "--signal=KILL", scope(box)], check=True, timeout=120)
    container = Container.load(box.root, box.id)
    container.wait(timeout=60)

    assert container.status == "stopped"
    box.youki("delete", box.id)


@pytest.mark.parametrize("runtime", ["youki", "crun", "runc"])
def test_memory_limit_is_enforced_in_a_scope(box: Bundle, runtime: str) -> None:
    """As runc and crun do it."""
    found = str(YOUKI) if runtime == "youki" else shutil.which(runtime, path="/usr/sbin:/usr/bin:/sbin")
    if found is None:
        pytest.skip(f"{runtime} is not installed")
    box.linux["resources"] = {**RESOURCES, "memory": {"limit": 16 * MIB, "swap": 16 * MIB}}
    box.process["args"] = ["/bin/sh", "-c", "head -c 67108864 /dev/zero | tail; echo $?"]
    box.spec["ociVersion"] = "1.0.2"
    box.save()
    words = [found, "--root", f"{box.path}/{runtime}", "--systemd-cgroup", "run", "-b", str(box.path), box.id]

    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    assert "137" in done.stdout.split(), done


def test_explain_shows_the_plan_with_a_scope(box: Bundle) -> None:
    """systemd moves the first process, so that none of its steps enters a cgroup; the unit is not started."""
    box.save()
    plan = box.youki("--systemd-cgroup", "explain", "-b", str(box.path)).stdout

    assert "JoinCgroup" not in plan
    assert "parent=1 cgroup=none" in plan
    assert shown(scope(box), "LoadState") == {"LoadState": "not-found"}
