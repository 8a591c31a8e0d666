"""The conversation with systemd, held with a double that speaks D-Bus on a real socket.

These are tests of the protocol: what is said, in which order, with which types, and what is made of the
answers. They prove nothing about systemd itself: tests/integration/test_cgroups_systemd.py asks a real one.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libcgroups import (
    CgroupError,
    Hierarchy,
    InUse,
    InvalidArgument,
    Manager,
    NotPermitted,
    Setup,
    Timeout,
    Unsupported,
    new,
)
from libcgroups.systemd import address, bus, name, unit
from libcgroups.systemd.annotations import PREFIX

jeepney = pytest.importorskip("jeepney")

DONE, SILENT = "done", "silent"
FILES = {
    "cgroup.controllers": "cpu memory pids hugetlb\n",
    "cgroup.events": "populated 0\nfrozen 0\n",
    "cgroup.freeze": "0\n",
    "cgroup.procs": "",
    "cgroup.type": "domain\n",
    "cpu.max": "max 100000\n",
    "memory.current": "4096\n",
    "memory.max": "max\n",
    "memory.oom.group": "0\n",
    "pids.max": "max\n",
}


class Double:
    """Answers on a socket like a message bus with systemd behind it, and keeps a tree of cgroups.

    `calls` holds what was asked, (member, body); `errors` the error to answer a member with, `results` how
    the next jobs end (SILENT: never).
    """

    def __init__(self, directory: Path) -> None:
        self.root = directory / "cgroup"
        self.path = directory / "bus"
        self.group = "/"
        self.version = "256.7-1"
        self.calls: list[tuple[str, Any]] = []
        self.identities: list[str] = []
        self.errors: dict[str, str] = {}
        self.results: list[str] = []
        self.units: dict[str, Path] = {}
        self.failed: set[str] = set()
        self.accepts = True
        self._jobs = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.make(self.root)
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def close(self) -> None:
        """End all conversations."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side has closed it
        for thread in self._threads:
            thread.join()
        for connection in self._open:
            connection.close()

    @property
    def members(self) -> list[str]:
        """The methods that were called, without the questions."""
        return [member for member, _ in self.calls if member not in ("Hello", "AddMatch", "Subscribe", "Get")]

    def body(self, member: str) -> Any:
        """What the last call of `member` held."""
        return [body for called, body in self.calls if called == member][-1]

    @staticmethod
    def make(directory: Path) -> None:
        """Make a cgroup with the files that the kernel would make."""
        directory.mkdir(parents=True)
        for file, text in FILES.items():
            (directory / file).write_text(text)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            thread = threading.Thread(target=self._converse, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _converse(self, connection: socket.socket) -> None:
        line = b""
        while not line.endswith(b"\r\n"):
            line += connection.recv(1)
        self.identities.append(bytes.fromhex(line.split()[-1].decode()).decode())
        if not self.accepts:
            connection.sendall(b"REJECTED EXTERNAL\r\n")
            return
        # Before our OK: systemd may lose a first message that it reads together with a later BEGIN.
        begin = b""
        while begin != b"BEGIN\r\n":
            begin += connection.recv(1)
        connection.sendall(b"OK 00112233445566778899aabbccddeeff\r\n")
        parser = jeepney.Parser()
        while data := connection.recv(4096):
            for message in parser.feed(data):
                for number, answer in enumerate(self._answers(message), 1):
                    connection.sendall(answer.serialise(serial=number))

    def _answers(self, message: Any) -> list[Any]:
        member = message.header.fields[jeepney.HeaderFields.member]
        self.calls.append((member, message.body))
        if member in self.errors:
            return [jeepney.new_error(message, self.errors[member], "s", (f"no {member}",))]
        handler = getattr(self, f"_do_{member}", None)
        if handler is None:
            return [jeepney.new_method_return(message)]
        answers: list[Any] = handler(message, *message.body)
        return answers

    def _do_Hello(self, message: Any) -> list[Any]:  # noqa: N802 – the method's name
        return [jeepney.new_method_return(message, "s", (":1.7",))]

    def _do_Get(self, message: Any, _: str, property_name: str) -> list[Any]:  # noqa: N802
        value = {"Version": self.version, "ControlGroup": self.group}[property_name]
        return [jeepney.new_method_return(message, "v", (("s", value),))]

    def _do_StartTransientUnit(  # noqa: N802
        self, message: Any, unit_name: str, _: str, properties: list[Any], __: list[Any]
    ) -> list[Any]:
        if unit_name in self.units or unit_name in self.failed:
            return [jeepney.new_error(message, "org.freedesktop.systemd1.UnitExists", "s", ("exists",))]
        values = dict(properties)
        parent = values["Slice"][1] if "Slice" in values else unit_name
        directory = Path(f"{self.root}{self.group.rstrip('/')}{name.expand_slice(parent)}")
        if "Slice" in values:
            directory /= unit_name
        answers = self._job(message, unit_name)
        if len(answers) == 1 or self._result == DONE:
            self.make(directory)
            pids = values.get("PIDs", ("au", []))[1]
            (directory / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
            self.units[unit_name] = directory
        return answers

    def _do_StopUnit(self, message: Any, unit_name: str, _: str) -> list[Any]:  # noqa: N802
        if unit_name not in self.units:
            return [jeepney.new_error(message, "org.freedesktop.systemd1.NoSuchUnit", "s", ("none",))]
        shutil.rmtree(self.units.pop(unit_name))
        return self._job(message, unit_name)

    def _do_ResetFailedUnit(self, message: Any, unit_name: str) -> list[Any]:  # noqa: N802
        self.failed.discard(unit_name)
        return [jeepney.new_method_return(message)]

    def _do_AttachProcessesToUnit(  # noqa: N802
        self, message: Any, unit_name: str, _: str, pids: list[int]
    ) -> list[Any]:
        with (self.units[unit_name] / "cgroup.procs").open("a") as file:
            file.writelines(f"{pid}\n" for pid in pids)
        return [jeepney.new_method_return(message)]

    def _job(self, message: Any, unit_name: str) -> list[Any]:
        """Answer with a job, and with the signal of its end after one of somebody else's job."""
        self._jobs += 1
        job = f"/org/freedesktop/systemd1/job/{self._jobs}"
        self._result = self.results.pop(0) if self.results else DONE
        answer = jeepney.new_method_return(message, "o", (job,))
        if self._result == SILENT:
            return [answer]
        emitter = jeepney.DBusAddress(
            "/org/freedesktop/systemd1", interface="org.freedesktop.systemd1.Manager"
        )
        other = (9, "/org/freedesktop/systemd1/job/9999", unit_name, "canceled")
        own = (self._jobs, job, unit_name, self._result)
        return [
            answer,
            jeepney.new_signal(emitter, "UnitNew", "so", (unit_name, "/org/freedesktop/systemd1/unit/x")),
            jeepney.new_signal(emitter, "JobRemoved", "uoss", other),
            jeepney.new_signal(emitter, "JobRemoved", "uoss", own),
        ]


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    """A double at the address that the environment names, on a host that seems to be run by systemd."""
    found = Double(tmp_path)
    for variable in ("DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.setenv(variable, f"unix:path={found.path}")
    monkeypatch.setattr(name, "BOOTED", str(tmp_path))
    monkeypatch.setattr(bus, "external_uid", lambda _euid, _uid_map: 0)
    yield found
    found.close()


def scope(double: Double, path: str | None = "a-b.slice:test:x", **options: Any) -> Manager:
    """A manager of a unit on a v2 host."""
    setup = Setup("v2", (), Hierarchy(str(double.root)))
    return new(path, container_id="box", driver="systemd", setup=setup, **options)


def test_a_scope_is_started_by_its_first_process(double: Double) -> None:
    """systemd refuses a scope without processes, and places it in the directories of its nested slices."""
    manager = scope(double)
    manager.create()
    assert not manager.exists()
    manager.check_empty_and_thawed()

    manager.add_process(4711)

    assert double.members == ["StartTransientUnit"]
    unit_name, mode, found, extra = double.body("StartTransientUnit")
    assert (unit_name, mode, extra) == ("test-x.scope", "replace", [])
    values = dict(found)
    assert values["Slice"] == ("s", "a-b.slice")
    assert values["PIDs"] == ("au", [4711])
    assert values["Delegate"] == ("b", True)
    assert values["Description"] == ("s", "youki container box")
    assert manager.paths[""] == f"{double.root}/a.slice/a-b.slice/test-x.scope"
    assert manager.exists()


def test_the_signal_is_asked_for_before_the_job_is_made(double: Double) -> None:
    """A job may end before the next message: a signal that nobody asked for yet would be lost."""
    scope(double).add_process(1)

    members = [member for member, _ in double.calls]
    assert members.index("AddMatch") < members.index("Subscribe") < members.index("StartTransientUnit")
    rule = double.body("AddMatch")[0]
    assert "member='JobRemoved'" in rule
    assert "arg2='test-x.scope'" in rule


def test_a_job_that_fails_is_an_error_and_leaves_no_unit(double: Double) -> None:
    """What a failed start may have left is stopped and forgotten, so that the name is free."""
    double.results = ["failed"]
    manager = scope(double)

    with pytest.raises(CgroupError, match="'failed'") as caught:
        manager.add_process(1)

    assert "journalctl" in (caught.value.remedy or "")
    assert double.members == ["StartTransientUnit", "StopUnit", "ResetFailedUnit"]
    assert manager.to_state()["cgroups"][0]["made"] == 0


def test_a_job_that_does_not_end_is_a_timeout(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container must not wait for ever for a systemd that is busy; the unit is stopped."""
    monkeypatch.setattr(unit, "JOB_DEADLINE_S", 0.05)
    double.results = [SILENT]

    with pytest.raises(Timeout):
        scope(double).add_process(1)

    assert double.members == ["StartTransientUnit", "StopUnit", "ResetFailedUnit"]
    assert double.units == {}


def test_a_failed_unit_of_that_name_is_forgotten_and_the_start_repeated(double: Double) -> None:
    """A container that was killed for its memory leaves a failed scope; its successor must start."""
    double.failed.add("test-x.scope")

    scope(double).add_process(1)

    assert double.members == ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]


def test_a_unit_that_runs_is_not_taken_over(double: Double) -> None:
    """Two containers of one name: the second is refused, and removing it does not end the first."""
    scope(double).add_process(1)
    second = scope(double)

    with pytest.raises(InUse) as caught:
        second.add_process(2)
    with pytest.raises(InUse):
        second.check_empty_and_thawed()
    second.remove()

    assert caught.value.value == "test-x.scope"
    assert "test-x.scope" in double.units


def test_later_processes_are_moved_by_systemd(double: Double) -> None:
    """`exec` from another process: systemd may do in the unit's cgroup what the caller may not."""
    first = scope(double)
    first.add_process(1)

    Manager.from_state(first.to_state()).add_process(2)

    assert double.body("AttachProcessesToUnit") == ("test-x.scope", "/", [2])
    assert first.processes() == [1, 2]


def test_a_systemd_that_cannot_move_processes_is_replaced_by_the_file(double: Double) -> None:
    """AttachProcessesToUnit came with systemd 238."""
    manager = scope(double)
    manager.add_process(1)
    double.errors["AttachProcessesToUnit"] = "org.freedesktop.DBus.Error.UnknownMethod"

    manager.add_process(2)

    assert Path(manager.paths[""], "cgroup.procs").read_text().startswith("2")


def test_limits_are_told_to_systemd_and_written_to_the_files(double: Double) -> None:
    """systemd would undo what it was not told, and has no property for everything."""
    manager = scope(double)
    manager.add_process(1)

    manager.apply({"memory": {"limit": 8192}, "cpu": {"quota": 12_345}, "pids": {"limit": 7}})

    name_told, runtime, told = double.body("SetUnitProperties")
    assert (name_told, runtime) == ("test-x.scope", True)
    assert dict(told) == {
        "MemoryMax": ("t", 8192),
        "CPUQuotaPerSecUSec": ("t", 130_000),
        "TasksMax": ("t", 7),
    }
    files = {
        file: Path(manager.paths[""], file).read_text() for file in ("memory.max", "cpu.max", "pids.max")
    }
    assert files["memory.max"].startswith("8192")
    assert files["cpu.max"].startswith("13000 100000")
    assert files["pids.max"].startswith("7")


def test_what_has_no_property_is_written_without_asking_systemd_to_change_anything(double: Double) -> None:
    """An empty SetUnitProperties would be a useless round trip."""
    manager = scope(double)
    manager.add_process(1)

    manager.apply({"unified": {"memory.oom.group": "1"}})

    assert "SetUnitProperties" not in double.members


def test_a_limit_that_is_not_valid_changes_nothing(double: Double) -> None:
    """Everything is checked before systemd hears of it, the memory in use included."""
    manager = scope(double)
    manager.add_process(1)

    with pytest.raises(InvalidArgument):
        manager.apply({"memory": {"limit": 8192}, "cpu": {"cpus": "9999999"}})
    with pytest.raises(CgroupError, match="usage 4096"):
        manager.apply({"memory": {"limit": 4096, "checkBeforeUpdate": True}})

    assert "SetUnitProperties" not in double.members


def test_what_systemd_refuses_is_an_error_with_its_words(double: Double) -> None:
    """A limit that was asked for and cannot be had is never left out."""
    manager = scope(double)
    manager.add_process(1)
    double.errors["SetUnitProperties"] = "org.freedesktop.DBus.Error.InvalidArgs"

    with pytest.raises(CgroupError, match="no SetUnitProperties") as caught:
        manager.apply({"pids": {"limit": 7}})

    assert caught.value.value == "test-x.scope"
    assert caught.value.remedy is not None


def test_a_caller_without_the_right_is_told_so(double: Double) -> None:
    """polkit's refusal is a matter of permission, as a refused mkdir is with the other driver."""
    double.errors["StartTransientUnit"] = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"

    with pytest.raises(NotPermitted):
        scope(double).add_process(1)


def test_removing_stops_the_unit_and_forgets_it(double: Double) -> None:
    """A later process that knows only the state on disk does it, and twice is as good as once."""
    manager = scope(double)
    manager.add_process(1)
    state = manager.to_state()

    Manager.from_state(state).remove()
    Manager.from_state(state).remove()

    assert double.members[1:] == ["StopUnit", "ResetFailedUnit", "StopUnit"]
    assert not manager.exists()


def test_an_intent_is_enough_to_clean_up(double: Double) -> None:
    """The runtime may die between the start of the scope and the record of it."""
    manager = scope(double)
    intent = manager.plan_state()
    manager.add_process(1)

    Manager.from_state(intent).remove()

    assert double.units == {}


def test_the_intent_of_a_unit_that_ran_before_removes_nothing(double: Double) -> None:
    """It is somebody else's."""
    scope(double).add_process(1)
    intent = scope(double).plan_state()

    Manager.from_state(intent).remove()

    assert "test-x.scope" in double.units


def test_a_slice_is_started_at_once_and_holds_no_processes(double: Double) -> None:
    """A name that ends in .slice is a place for units, of a pod for example."""
    manager = scope(double, "a.slice::a-pod.slice")

    manager.create()

    assert manager.paths[""] == f"{double.root}/a.slice/a-pod.slice"
    assert "PIDs" not in dict(double.body("StartTransientUnit")[2])
    with pytest.raises(Unsupported, match="slice"):
        manager.add_process(1)


def test_annotations_and_the_oom_group_are_part_of_the_start(double: Double) -> None:
    """They can be told only then."""
    manager = scope(double, annotations={f"{PREFIX}TimeoutStopSec": "3", "other": "x"})
    manager.check({"unified": {"memory.oom.group": "1"}})

    manager.add_process(1)

    values = dict(double.body("StartTransientUnit")[2])
    assert values["TimeoutStopUSec"] == ("t", 3_000_000)
    assert values["OOMPolicy"] == ("s", "kill")


def test_a_user_is_served_by_its_own_systemd(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a user namespace the caller is root and yet known to the bus as the owner."""
    monkeypatch.setattr(bus, "external_uid", lambda _euid, _uid_map: 1000)
    double.group = "/user.slice/user-1000.slice/user@1000.service"
    manager = scope(double, None)

    manager.add_process(1)

    assert set(double.identities) == {"1000"}
    assert dict(double.body("StartTransientUnit")[2])["Slice"] == ("s", "user.slice")
    assert manager.paths[""] == f"{double.root}{double.group}/user.slice/youki-box.scope"


def test_a_bus_that_does_not_accept_the_user_is_an_error_with_a_remedy(double: Double) -> None:
    """REJECTED is what it says to an identity that is not the socket's."""
    double.accepts = False

    with pytest.raises(Unsupported, match="not accepted as user 0") as caught:
        scope(double)

    assert "systemctl" in (caught.value.remedy or "")


def test_nobody_listening_is_an_error_that_names_the_address(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Falling back to cgroupfs silently would leave a cgroup that systemd feels free to remove."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")
    monkeypatch.setattr(address, "SYSTEM_PRIVATE", "/nowhere/private")

    with pytest.raises(Unsupported, match=r"/nowhere/bus: No such file.*/nowhere/private: No such file"):
        scope(double)


def test_systemd_is_reached_without_a_bus_too(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """Early at boot, or where no bus is installed, root talks to systemd itself: without Hello and AddMatch."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")
    monkeypatch.setattr(address, "SYSTEM_PRIVATE", str(double.path))

    scope(double).add_process(1)

    members = [member for member, _ in double.calls]
    assert "StartTransientUnit" in members
    assert not {"Hello", "AddMatch"} & set(members)


def test_a_missing_jeepney_is_an_error_that_names_the_package(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra of the distribution, which only this driver needs."""
    monkeypatch.setitem(sys.modules, "jeepney", None)

    with pytest.raises(Unsupported, match="jeepney") as caught:
        scope(double)

    assert "libcontainer[systemd]" in (caught.value.remedy or "")


def test_the_state_survives_a_round_trip_and_refuses_another_unit(double: Double) -> None:
    """An edited state file must not make `delete` stop another unit than the one of the cgroup."""
    manager = scope(double)
    manager.add_process(1)
    state = manager.to_state()

    assert Manager.from_state(state).to_state() == state
    with pytest.raises(InvalidArgument):
        Manager.from_state({**state, "unit": {**state["unit"], "name": "sshd.service"}})


def test_on_v1_the_hierarchies_that_systemd_leaves_out_are_joined_too(double: Double, tmp_path: Path) -> None:
    """systemd makes the directory in its own hierarchy, and in the others only for what it is to limit."""
    there, missing = tmp_path / "pids", tmp_path / "freezer"
    Double.make(there / "a.slice" / "test-x.scope")
    missing.mkdir()
    hierarchies = (Hierarchy(str(double.root), ("name=systemd",)), Hierarchy(str(there), ("pids",)))
    manager = new("a.slice:test:x", container_id="box", driver="systemd", setup=Setup("v1", hierarchies))
    manager.add_process(7)

    assert Path(manager.paths["pids"], "cgroup.procs").read_text() == "7"

    hierarchies = (Hierarchy(str(double.root), ("name=systemd",)), Hierarchy(str(missing), ("freezer",)))
    manager = new("a.slice:test:y", container_id="box", driver="systemd", setup=Setup("v1", hierarchies))
    with pytest.raises(CgroupError, match=r"cgroup\.procs"):  # no kernel here that would make this file
        manager.add_process(7)

    assert Path(manager.paths["freezer"]).is_dir()
    assert "test-y.scope" not in double.units


# Addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix:path=/run/bus", ["/run/bus"]),
        ("unix:abstract=/tmp/x,guid=1;unix:path=/a%20b", ["\0/tmp/x", "/a b"]),
        ("tcp:host=h,port=1;unix:path=/run/bus", ["/run/bus"]),
    ],
)
def test_a_list_of_addresses_gives_the_local_sockets(text: str, expected: list[str]) -> None:
    """Other transports carry no credentials."""
    assert address.parse(text) == expected


@pytest.mark.parametrize("text", ["tcp:host=h", "unix:tmpdir=/tmp", "/run/bus", "unix:path=%zz"])
def test_an_address_without_a_local_socket_is_refused(text: str) -> None:
    """The variable's value is in the error."""
    with pytest.raises(InvalidArgument):
        address.parse(text)


def test_the_address_follows_the_user_and_the_environment() -> None:
    """Root talks to the system's systemd, a user to the own one."""
    named = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/s", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/u"}

    assert address.endpoints(0, {}) == [
        ("/run/dbus/system_bus_socket", False),
        ("/run/systemd/private", True),
    ]
    assert address.endpoints(0, named) == [("/s", False), ("/run/systemd/private", True)]
    assert address.endpoints(1000, named) == [("/u", False)]
    assert address.endpoints(1000, {"XDG_RUNTIME_DIR": "/r"}) == [("/r/bus", False)]
    assert address.endpoints(1000, {}) == [("/run/user/1000/bus", False)]


def test_the_identity_is_the_owner_outside_a_user_namespace() -> None:
    """The bus compares it with the socket's credentials, which are those of the outside."""
    assert address.external_uid(0, "         0          0 4294967295\n") == 0
    assert address.external_uid(0, "0 1000 1\n1 100000 65536\n") == 1000
    assert address.external_uid(33, "0 1000 1\n1 100000 65536\n") == 100032
    assert address.external_uid(os.geteuid(), Path("/proc/self/uid_map").read_text()) >= 0
