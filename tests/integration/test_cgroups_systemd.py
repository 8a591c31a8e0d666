"""The systemd driver with a real systemd: a private one, as `systemd --user`, in a cgroup of its own.

It runs with its own message bus and sees its own /run, so that it works on hosts that systemd does not run,
too. What a systemd as PID 1 does differently is not proved here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libcgroups import CgroupError, Hierarchy, InUse, Manager, Setup, detect, new, removal
from libcgroups.devices import bpf
from libcgroups.systemd import address, bus, name
from libcgroups.systemd import manager as driver
from libcgroups.systemd.annotations import PREFIX
from libcgroups.systemd.properties import v1_properties, v2_properties
from libcgroups.systemd.unit import Systemd

HOST = detect()
NAME = f"libcontainer-test-systemd-{os.getpid()}"
PROGRAM = shutil.which("systemd") or "/lib/systemd/systemd"
DBUS = shutil.which("dbus-daemon") or ""
DENY_ALL = {"allow": False, "access": "rwm"}
NULL = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}
# What systemd tracks processes in: the unified hierarchy, and beside it its named one where that is mounted.
TRACKED = [
    *([HOST.unified] if HOST.unified else []),
    *(hierarchy.mount_point for hierarchy in HOST.hierarchies if hierarchy.controllers == ("name=systemd",)),
]

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes cgroups"),
    pytest.mark.skipif(HOST.unified is None, reason="needs a mounted cgroup2"),
    pytest.mark.skipif(not (DBUS and os.access(PROGRAM, os.X_OK)), reason="needs systemd and dbus-daemon"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv"),
]
pytest.importorskip("jeepney")

UNITS = {
    "basic.target": "[Unit]\nDefaultDependencies=no\nRequires=dbus.service\nAfter=dbus.service\n",
    "dbus.socket": "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=%t/bus\n",
    "dbus.service": "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\nType=notify\n"
    "StandardError=null\n"
    "ExecStart=setpriv --pdeathsig KILL {dbus} --config-file={home}/bus.conf --nofork --nopidfile\n",
}
BUS = """<busconfig><type>session</type><listen>systemd:</listen><auth>EXTERNAL</auth><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"""
# systemd refuses to serve a user on a host that it does not run (sd_booted(3)), hence the directory in /run.
START = """
for cgroup in {cgroups}; do mkdir $cgroup && echo $$ >$cgroup/cgroup.procs || exit; done
mount -t tmpfs none /run && mkdir -p /run/systemd/system || exit
exec env -i PATH=/usr/bin:/bin HOME={home} XDG_RUNTIME_DIR={home}/run SYSTEMD_UNIT_PATH={home}/units \
    SYSTEMD_LOG_TARGET=null NOTIFY_SOCKET={home}/ready {program} --user --unit=basic.target
"""


def await_name(path: str) -> None:
    """Wait until systemd has its name on the bus, which it asks for only once the bus is there."""
    dbus, systemd = "org.freedesktop.DBus", "org.freedesktop.systemd1"
    rule = f"type='signal',sender='{dbus}',member='NameOwnerChanged',arg0='{systemd}'"
    with bus.Bus._connect(path, 0, direct=False) as connection:
        connection.call(dbus, "/org/freedesktop/DBus", dbus, "AddMatch", "s", (rule,))
        if connection.call(dbus, "/org/freedesktop/DBus", dbus, "NameHasOwner", "s", (systemd,))[0]:
            return
        while connection.next_signal(time.monotonic() + 30)[0] != "NameOwnerChanged":
            pass


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a systemd that is ready; its sockets are run/bus and run/systemd/private."""
    found = tmp_path_factory.mktemp("systemd")
    (found / "run").mkdir(mode=0o700)
    (found / "units").mkdir()
    (found / "bus.conf").write_text(BUS)
    for unit, text in UNITS.items():
        (found / "units" / unit).write_text(text.format(dbus=DBUS, home=found))
    cgroups = [f"{mount_point}/{NAME}" for mount_point in TRACKED]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(str(found / "ready"))
        ready.settimeout(30)
        script = START.format(cgroups=" ".join(cgroups), home=found, program=PROGRAM)
        # Should this very process be killed, both go with it.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", script]
        )
        try:
            while b"READY=1" not in ready.recv(4096):
                pass
            await_name(str(found / "run" / "bus"))
            yield found
        finally:
            process.kill()
            process.wait()
            Path(f"{HOST.unified}/{NAME}/cgroup.kill").write_text("1")
            for cgroup in cgroups:
                removal.remove(cgroup, time.monotonic() + 10)


@pytest.fixture(params=["bus", "private"])
def connected(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the library reach that systemd, through the bus or directly."""
    route = home / "run" / ("bus" if request.param == "bus" else "nowhere")
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={route}")
    monkeypatch.setattr(address, "SYSTEM_PRIVATE", str(home / "run" / "systemd" / "private"))
    monkeypatch.setattr(name, "BOOTED", str(home))
    return str(request.param)


@pytest.fixture
def manager(connected: str, request: pytest.FixtureRequest) -> Iterator[Manager]:
    """A manager of a scope in the unified hierarchy, as on a pure v2 host."""
    assert HOST.unified is not None
    annotations = getattr(request, "param", None)
    setup = Setup("v2", (), Hierarchy(HOST.unified))
    found = new(
        f":test:{connected}", container_id="box", driver="systemd", setup=setup, annotations=annotations
    )
    yield found
    if found.exists():
        found.kill_all()
    found.remove()
    assert not found.exists()


@contextlib.contextmanager
def asleep() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing, and is killed at the end."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing."""
    with asleep() as process:
        yield process


def shown(connected: str, interface: str, property_name: str) -> Any:
    """A property of the unit, as systemd says it."""
    with bus.Bus.connect() as connection:
        systemd = "org.freedesktop.systemd1"
        unit = connection.call(
            systemd,
            f"/{systemd.replace('.', '/')}",
            f"{systemd}.Manager",
            "GetUnit",
            "s",
            (f"test-{connected}.scope",),
        )[0]
        answer = connection.call(
            systemd,
            unit,
            "org.freedesktop.DBus.Properties",
            "Get",
            "ss",
            (f"{systemd}.{interface}", property_name),
        )
        return answer[0][1]


def test_a_scope_lives_from_its_first_process_to_its_removal(
    manager: Manager, connected: str, sleeper: subprocess.Popen[bytes]
) -> None:
    """The process is where the manager says, later ones follow, and another manager of the state ends it."""
    manager.create()
    manager.check_empty_and_thawed()
    manager.add_process(sleeper.pid)

    assert manager.paths[""].endswith(f"/{NAME}/system.slice/test-{connected}.scope")
    assert manager.processes() == [sleeper.pid]
    assert shown(connected, "Scope", "Delegate") is True
    with asleep() as second:
        other = Manager.from_state(manager.to_state())
        other.add_process(second.pid)
        assert manager.processes() == sorted((sleeper.pid, second.pid))
        other.remove()  # stops the unit, which ends its processes
    assert sleeper.wait() == -15
    assert not manager.exists()


def test_a_second_unit_of_the_name_is_refused(
    manager: Manager, connected: str, sleeper: subprocess.Popen[bytes]
) -> None:
    """And the first one does not notice."""
    manager.add_process(sleeper.pid)
    assert HOST.unified is not None
    setup = Setup("v2", (), Hierarchy(HOST.unified))
    second = new(f":test:{connected}", container_id="box", driver="systemd", setup=setup)

    with pytest.raises(InUse):
        second.add_process(os.getpid())
    second.remove()

    assert manager.processes() == [sleeper.pid]


def test_systemd_accepts_every_property_of_the_tables(
    manager: Manager, connected: str, sleeper: subprocess.Popen[bytes]
) -> None:
    """One of a wrong type would be refused."""
    resources: dict[str, Any] = {
        "memory": {"limit": 1 << 28, "swap": 1 << 29, "reservation": 1 << 20},
        "cpu": {"shares": 512, "quota": 12_345, "period": 50_000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 10},
        "blockIO": {
            "weight": 100,
            "weightDevice": [{"major": 254, "minor": 0, "weight": 100}],
            **{
                f"throttle{kind}Device": [{"major": 254, "minor": 0, "rate": rate}]
                for kind, rate in (("ReadBps", 1_000_000), ("WriteBps", 0), ("ReadIOPS", 5), ("WriteIOPS", 7))
            },
        },
        "devices": [DENY_ALL, NULL, {"allow": True, "type": "c", "major": 136, "access": "rw"}],
    }
    manager.add_process(sleeper.pid)

    with Systemd() as systemd:
        version = systemd.version()
        majors = driver._major_names()
        found = [
            *v2_properties(resources, version, majors),
            *v2_properties({"unified": {"memory.high": "1G", "memory.min": "1K"}}, version, {}),
            *v2_properties({"cpu": {"idle": 1}}, version, {}),
            *v1_properties(resources, version, majors),
        ]
        for one in found:
            systemd.set_properties(f"test-{connected}.scope", [one])

    assert len({property_name for property_name, _ in found}) > 20
    assert shown(connected, "Scope", "MemoryMax") == 1 << 28
    assert shown(connected, "Scope", "CPUQuotaPerSecUSec") == 250_000
    assert shown(connected, "Scope", "AllowedCPUs").rstrip(b"\0") == b"\x01"
    assert sorted(shown(connected, "Scope", "DeviceAllow")) == [("/dev/char/1:3", "rwm"), ("char-pts", "rw")]


def test_device_rules_are_enforced_in_a_scope(manager: Manager) -> None:
    """Our own program decides, whatever systemd does with its list."""
    program = "import sys; sys.stdin.read(1); open('/dev/null').close(); open('/dev/zero').close()"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        manager.add_process(process.pid)
        manager.apply({"devices": [DENY_ALL, NULL]})
        assert (bpf.PROGRAM_NAME.decode()) in [found for _, found in bpf.attached(manager.paths[""])]
        _, errors = process.communicate("x", timeout=30)

    assert "Operation not permitted: '/dev/zero'" in errors


@pytest.mark.parametrize("manager", [{f"{PREFIX}TimeoutStopSec": "3"}], indirect=True)
def test_an_annotation_sets_a_property(
    manager: Manager, connected: str, sleeper: subprocess.Popen[bytes]
) -> None:
    """People tune their units this way with other runtimes."""
    manager.add_process(sleeper.pid)

    assert shown(connected, "Scope", "TimeoutStopUSec") == 3_000_000


@pytest.mark.parametrize("manager", [{f"{PREFIX}Nonsense": "1"}], indirect=True)
def test_an_unknown_property_is_an_error_in_systemds_words(
    manager: Manager, sleeper: subprocess.Popen[bytes]
) -> None:
    """And no unit is left."""
    with pytest.raises(CgroupError, match="Nonsense"):
        manager.add_process(sleeper.pid)

    assert not manager.exists()


def test_a_process_that_has_ended_is_an_error_with_that_remedy(manager: Manager) -> None:
    """The payload's stage one may die while it is being moved."""
    with subprocess.Popen(["true"]) as process:
        process.wait()

    with pytest.raises(CgroupError) as caught:
        manager.add_process(process.pid)

    assert caught.value.remedy == "the process has ended"


def test_a_scope_that_ends_by_itself_can_be_made_again(manager: Manager) -> None:
    """systemd forgets it, failed or not, so that the name is free."""
    for _ in range(2):
        with asleep() as process:
            manager.add_process(process.pid)
            manager.kill_all()
        manager.remove()
        assert not manager.exists()


def test_a_slice_is_made_and_removed(connected: str) -> None:
    """A place for units: of a pod, for example."""
    assert HOST.unified is not None
    setup = Setup("v2", (), Hierarchy(HOST.unified))
    found = new(f"pods.slice::pods-{connected}.slice", container_id="pod", driver="systemd", setup=setup)

    found.create()
    assert found.exists()
    found.remove()

    assert not found.exists()


@pytest.mark.skipif(
    "pids" not in {c for h in HOST.hierarchies for c in h.controllers}, reason="needs v1 pids"
)
def test_on_a_hybrid_host_the_other_hierarchies_are_joined_and_left(
    connected: str, sleeper: subprocess.Popen[bytes]
) -> None:
    """systemd as a user's cares for none of the v1 controllers: the limits are in the files alone."""
    manager = new(f":test:{connected}", container_id="box", driver="systemd", setup=HOST)
    manager.add_process(sleeper.pid)
    manager.apply({"pids": {"limit": 5}})

    assert Path(manager.paths["pids"], "pids.max").read_text() == "5\n"
    assert Path(manager.paths["pids"], "cgroup.procs").read_text() == f"{sleeper.pid}\n"
    manager.kill_all()
    sleeper.wait()
    manager.remove()

    assert not manager.exists()
    assert not os.path.exists(manager.paths["pids"].partition(NAME)[0] + NAME)
