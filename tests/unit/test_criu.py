"""criu/: the messages, the conversation with a program that plays CRIU, and what is refused without any."""

from __future__ import annotations

import os
import stat
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcontainer import CheckpointError, ContainerBuilder, InvalidArgument, ProtocolError, Unsupported
from libcontainer.criu import checkpoint, messages, options, restore, service, spec

SOURCE = Path(messages.__file__).parents[2]
NUMBERS = {
    messages.BOOL: st.booleans(),
    messages.INT: st.integers(-(1 << 31), (1 << 31) - 1),
    messages.UINT: st.integers(0, (1 << 32) - 1),
    messages.TEXT: st.text(st.characters(exclude_categories=["Cs"])),
}


def of_kind(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field."""
    if isinstance(kind, list):
        return st.lists(of_kind(kind[0]), min_size=1, max_size=3)
    return of_table(kind) if isinstance(kind, dict) else NUMBERS[kind]


def of_table(table: messages.Table) -> st.SearchStrategy[messages.Message]:
    """Messages of a table, any field of which may be missing."""
    return st.fixed_dictionaries({}, optional={name: of_kind(kind) for name, (_, kind) in table.items()})


# Messages


@given(of_table(messages.REQUEST))
def test_request_is_read_as_it_was_written(request: messages.Message) -> None:
    """Every field, every kind, in any combination."""
    assert messages.decode(messages.encode(request, messages.REQUEST), messages.REQUEST) == request


@given(of_table(messages.RESPONSE))
def test_response_is_read_as_it_was_written(response: messages.Message) -> None:
    """What CRIU sends has the same form."""
    assert messages.decode(messages.encode(response, messages.RESPONSE), messages.RESPONSE) == response


def test_bytes_are_those_of_protocol_buffers() -> None:
    """By hand, from the encoding's description: a number, a negative one, a text, a message in a message."""
    request = {"type": messages.DUMP, "opts": {"images_dir_fd": 300, "pid": -1, "log_file": "a"}}
    opts = b"\x08\xac\x02" + b"\x10" + b"\xff" * 9 + b"\x01" + b"\x52\x01a"

    assert messages.encode(request, messages.REQUEST) == b"\x08\x01\x12" + bytes([len(opts)]) + opts


@given(st.binary(max_size=64))
def test_any_bytes_are_a_message_or_a_clear_error(data: bytes) -> None:
    """Never an IndexError, never an endless loop."""
    with suppress(ProtocolError):
        messages.decode(data, messages.RESPONSE)


@pytest.mark.parametrize(
    "data",
    [b"\x08", b"\x08" + b"\x80" * 11, b"\x2a\x05a", b"\x0b", b"\x10\x01\x28\x01", b"\x0a\x01x", b"\x4a"],
)
def test_broken_message_is_an_error(data: bytes) -> None:
    """Broken off, too long a number, groups, a number where a message belongs, and the other way round."""
    with pytest.raises(ProtocolError):
        messages.decode(data, messages.RESPONSE)


def test_fields_that_are_not_known_are_passed_over() -> None:
    """Newer versions of CRIU send more: of each wire type one."""
    unknown = b"\xf8\x07\x05" + b"\xfa\x07\x01x" + b"\xf9\x07" + bytes(8) + b"\xfd\x07" + bytes(4)

    assert messages.decode(b"\x08\x02" + unknown + b"\x10\x01", messages.RESPONSE) == {
        "type": 2,
        "success": True,
    }


def test_numbers_of_a_table_are_unique() -> None:
    """A slip of the pen would send one option as another."""
    for table in (messages.OPTIONS, messages.REQUEST, messages.RESPONSE):
        numbers = [number for number, _ in table.values()]
        assert len(set(numbers)) == len(numbers)


# The conversation


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a program named criu first in PATH: Python, with `answer(**response)` and `ask()` for the next message."""

    def write(script: str) -> None:
        program = tmp_path / "bin" / "criu"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f"#!{sys.executable}\n"
            + textwrap.dedent(f"""
                import array, os, socket, sys
                sys.path.insert(0, {str(SOURCE)!r})
                from libcontainer.criu import messages
                assert sys.argv[1] == "swrk"
                channel = socket.socket(fileno=int(sys.argv[2]))
                def ask():
                    return messages.decode(channel.recv(65536), messages.REQUEST)
                def answer(**response):
                    channel.send(messages.encode(response, messages.RESPONSE))
                request = ask()
            """)
            + textwrap.dedent(script)
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    return write


def test_recent_criu_will_do(play: Any) -> None:
    """A version is asked for, and a feature only when it is needed."""
    play("""
        if request["type"] == messages.VERSION:
            answer(type=messages.VERSION, success=True, version={"major": 3, "minor": 15})
        else:
            answer(type=messages.FEATURE_CHECK, success=True, features={"mem_track": True})
    """)

    service.require()
    service.require("mem_track")


@pytest.mark.parametrize("version", ['{"major": 3, "minor": 14}', '{"major": 2, "minor": 99}', "{}"])
def test_old_criu_is_refused(play: Any, version: str) -> None:
    """By its number, with what to do."""
    play(f"answer(type=messages.VERSION, success=True, version={version})")
    with pytest.raises(Unsupported, match=r"3\.15 or later is needed – install criu"):
        service.require()


def test_missing_feature_is_refused(play: Any) -> None:
    """A kernel that does not track memory."""
    play("""
        answer(type=request["type"], success=True, version={"major": 4, "minor": 0}, features={"mem_track": False})
    """)
    with pytest.raises(Unsupported, match="pre-dumps need a kernel that tracks"):
        service.require("mem_track")


@pytest.mark.parametrize("mode", [0o644, None])
def test_criu_that_is_missing_or_no_program_is_refused(
    play: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int | None
) -> None:
    """The error says what to install, and nothing is left open."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    if mode is not None:
        play("")
        (tmp_path / "bin/criu").chmod(mode)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    before = os.listdir("/proc/self/fd")
    with pytest.raises(Unsupported, match="need the program criu") as caught:
        service.require()

    assert "install criu" in (caught.value.remedy or "")
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("script", ["", "os.kill(os.getpid(), 9)", "channel.close()"])
def test_end_without_an_answer_is_an_error(play: Any, script: str) -> None:
    """It may be killed for want of memory."""
    play(script)
    with service.Service() as criu, pytest.raises(CheckpointError, match="ended without an answer"):
        criu.call({"type": messages.DUMP})


def test_garbage_is_an_error(play: Any) -> None:
    """Another program of that name."""
    play("channel.send(b'Usage: criu')")
    with service.Service() as criu, pytest.raises(ProtocolError):
        criu.call({"type": messages.DUMP})


def test_notifications_are_answered_with_their_descriptors(play: Any) -> None:
    """Each waits for the answer; a descriptor is lent, and closed afterwards."""
    play("""
        said = []
        reader, writer = os.pipe()
        for script, fds in (("pre-dump", []), ("orphan-pts-master", [writer]), ("post-restore", [])):
            data = messages.encode(
                {"type": messages.NOTIFY, "success": True, "notify": {"script": script, "pid": 7}}, messages.RESPONSE
            )
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            channel.sendmsg([data], rights)
            said.append(ask()["notify_success"])
        os.close(writer)
        text = os.read(reader, 99).decode()
        answer(type=request["type"], success=all(said), cr_errmsg=text)
    """)
    seen = []

    def notified(script: str, pid: int, fd: int) -> None:
        seen.append((script, pid))
        if fd >= 0:
            os.write(fd, b"through the pipe")

    before = len(os.listdir("/proc/self/fd"))
    with service.Service() as criu:
        response = criu.call({"type": messages.RESTORE}, notified)

    assert response == {"type": messages.RESTORE, "success": True, "cr_errmsg": "through the pipe"}
    assert seen == [("pre-dump", 7), ("orphan-pts-master", 7), ("post-restore", 7)]
    assert len(os.listdir("/proc/self/fd")) == before


def test_response_is_heard_behind_an_answer_of_ours_that_nobody_read(play: Any) -> None:
    """The kernel then tells of a reset connection first: unix(7) does not, af_unix.c does."""
    play("""
        import select
        answer(type=messages.NOTIFY, success=True, notify={"script": "post-dump"})
        select.select([channel], [], [])
        answer(type=request["type"], success=False, cr_errmsg="no room")
    """)
    with service.Service() as criu:
        response = criu.call({"type": messages.DUMP}, lambda *_: None)

    assert response == {"type": messages.DUMP, "success": False, "cr_errmsg": "no room"}


@pytest.mark.parametrize("end", ["answer(type=request['type'], success=False)", ""])
def test_failure_of_ours_is_told_to_criu_and_raised(play: Any, end: str, tmp_path: Path) -> None:
    """CRIU undoes what it has done; our error is what the caller gets, whatever CRIU says of it."""
    play(f"""
        answer(type=messages.NOTIFY, success=True, notify={{"script": "setup-namespaces"}})
        open({str(tmp_path / "said")!r}, "w").write(str(ask().get("notify_success")))
        {end}
    """)

    def notified(*_: object) -> None:
        raise ZeroDivisionError

    with service.Service() as criu, pytest.raises(ZeroDivisionError):
        criu.call({"type": messages.RESTORE}, notified)
    assert (tmp_path / "said").read_text() == "False"


def test_standard_streams_and_further_descriptors_have_their_numbers(play: Any) -> None:
    """Also where they are copies of each other's numbers."""
    play("""
        for number in (0, 2, 4, 5):
            os.write(number, b"%d" % number)
        answer(type=request["type"], success=os.fstat(1).st_rdev == os.stat("/dev/null").st_rdev)
    """)
    reader, writer = os.pipe()
    try:
        with service.Service((writer, None, writer), [writer, writer]) as criu:
            assert criu.call({"type": messages.DUMP})["success"]
        assert os.read(reader, 99) == b"0245"
    finally:
        os.close(reader)
        os.close(writer)


def test_error_quotes_the_last_errors_of_the_log(tmp_path: Path) -> None:
    """Without times and places that mean nothing to its reader; and where to read on."""
    log = tmp_path / "dump.log"
    log.write_text(
        "(00.000001) Version: 3.17\n(00.1) Error (criu/a.c:1): one\n(00.2) Error (criu/b.c:2): two\n"
        "(00.3)     12: Error (criu/c.c:3): three\n(00.4) Error (criu/d.c:4): four\n(00.5) Unlock\n"
    )
    error = service.failed("checkpoint box", {"cr_errno": 1}, str(log))

    assert error.message == (
        "criu cannot checkpoint box: (criu/b.c:2): two; (criu/c.c:3): three; (criu/d.c:4): four"
    )
    assert (error.path, error.remedy) == (str(log), f"see {log}")
    assert "no way" in str(service.failed("restore box", {"cr_errmsg": "no way"}, str(tmp_path / "absent")))
    assert "error 0" in str(service.failed("restore box", {}, str(tmp_path / "absent")))


# What is asked for


def test_modes_are_the_numbers_of_criu() -> None:
    """As runc and crun name them."""
    for name, number in (("ignore", 0), ("soft", 3), ("full", 4), ("strict", 5)):
        assert options.request(name)["manage_cgroups_mode"] == number


@pytest.mark.parametrize(
    ("image_path", "wrong"),
    [
        ("", {}),
        ("a\0b", {}),
        ("x", {"work_path": ""}),
        ("x", {"manage_cgroups_mode": "all"}),
        ("x", {"manage_cgroups_mode": ""}),
        ("x", {"parent_path": ""}),
        ("x", {"parent_path": "/absolute"}),
        ("x", {"empty_ns": ["pid"]}),
        ("x", {"empty_ns": "network"}),  # a text is a row of letters
        ("x", {"page_server": ""}),
        ("x", {"page_server": "host"}),
        ("x", {"page_server": ":27000"}),
        ("x", {"page_server": "host:0"}),
        ("x", {"page_server": "host:65536"}),
        ("x", {"page_server": "host:\u0661"}),
        ("x", {"lazy_pages": True}),
        ("x", {"status_fd": -1}),
        ("x", {"status_fd": 4095}),
        ("x", {"status_fd": 1 << 40}),
        ("x", {"status_fd": "5"}),
        ("x", {"lazy_pages": True, "page_server": "host:1", "pre_dump": True}),
    ],
)
def test_wrong_wish_is_refused(image_path: str, wrong: dict[str, Any]) -> None:
    """Before anything is looked at or made; the error names it."""
    with pytest.raises(InvalidArgument) as caught:
        checkpoint.Wishes(image_path, **wrong)

    assert next(iter(wrong), "image_path") in str(caught.value)


def test_wish_that_is_not_known_is_refused() -> None:
    """A flag of a later version is not passed over."""
    with pytest.raises(TypeError, match="lazy"):
        checkpoint.Wishes("x", lazy=True)  # type: ignore[call-arg]


def test_flags_are_passed_on_by_name() -> None:
    """What is not wished is not sent."""
    flags = ("tcp_established", "tcp_skip_in_flight", "ext_unix_sk", "shell_job", "file_locks", "link_remap")
    for name in (*flags, "leave_running"):
        request = checkpoint.Wishes("x", **{name: True}).request
        assert [flag for flag in (*flags, "leave_running") if flag in request] == [name]


@pytest.mark.parametrize(
    ("text", "address"), [("192.0.2.1:27000", "192.0.2.1"), ("[2001:db8::1]:27000", "2001:db8::1")]
)
def test_page_server_is_an_address_and_a_port(text: str, address: str) -> None:
    """In the form in which runc takes it."""
    assert checkpoint.Wishes("x", page_server=text).request["ps"] == {"address": address, "port": 27000}


def test_what_is_asked_for_says_what_criu_must_be_able_to_do() -> None:
    """It is looked at before anything is frozen."""
    assert checkpoint.Wishes("x").features == []
    assert checkpoint.Wishes("x", pre_dump=True).features == ["mem_track"]
    lazy = checkpoint.Wishes("x", lazy_pages=True, page_server="host:1", status_fd=1)
    assert lazy.features == ["lazy_pages"]
    assert (lazy.request["lazy_pages"], lazy.request["status_fd"]) == (True, 1)


def test_empty_namespaces_are_a_mask_of_clone_flags() -> None:
    """Once each, and nothing without."""
    assert options.request("soft", ["network", "network"])["empty_ns"] == 0x40000000
    assert "empty_ns" not in options.request("soft")


def test_directories_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    """Whatever the caller's umask is; a second time is no error, a file or a missing directory is."""
    path = str(tmp_path / "images")
    mask = os.umask(0)
    try:
        assert options.make_directory("image_path", path)
        assert not options.make_directory("image_path", path)
    finally:
        os.umask(mask)
    (tmp_path / "file").touch()

    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    with pytest.raises(InvalidArgument, match=r"cannot use .*/absent/images as image_path"):
        options.make_directory("image_path", str(tmp_path / "absent/images"))
    with pytest.raises(InvalidArgument, match=r"cannot use .*/file as image_path"):
        options.open_directory("image_path", str(tmp_path / "file"))


@pytest.mark.parametrize("missing", ["inventory.img", "pstree.img", "descriptors.json", None])
@pytest.mark.parametrize("text", ['["/dev/null"]', "{}", '["a", "b", "c", "d"]', "[1, 2, 3]"])
def test_directory_without_a_checkpoint_is_refused(tmp_path: Path, missing: str | None, text: str) -> None:
    """One of a pre-dump has no processes; descriptors.json may be anybody's."""
    for name in ("inventory.img", "pstree.img", "descriptors.json"):
        if name != missing:
            (tmp_path / name).write_text(text)
    if missing is None and text.startswith('["/'):
        assert restore.Images(str(tmp_path), None).descriptors == ["/dev/null"]
        return
    with pytest.raises(InvalidArgument, match="holds no checkpoint"):
        restore.Images(str(tmp_path), None)


def test_preserved_descriptors_cannot_be_restored(tmp_path: Path) -> None:
    """A restored process has those that it had."""
    builder = ContainerBuilder("box").with_preserved_fds(1).as_restored(tmp_path, tmp_path)
    with pytest.raises(InvalidArgument, match="with_preserved_fds"):
        builder.build()
    with pytest.raises(InvalidArgument, match="manage_cgroups_mode"):
        ContainerBuilder("box").as_restored(tmp_path, tmp_path).with_manage_cgroups_mode("x").build()


# What CRIU is told of a configuration


class Unified:
    """A manager on a host with cgroup v2."""

    mode = "v2"
    cgroups = ("one",)


@pytest.mark.parametrize(
    ("linux", "words"),
    [
        ({"intelRdt": {"closID": "x"}}, "Intel RDT"),
        ({"netDevices": {"eth1": {}}}, "devices of the host"),
        ({"seccomp": {"listenerPath": "/run/agent"}}, "its agent"),
        ({"namespaces": [{"type": "mount", "path": "/proc/1/ns/mnt"}]}, "its mount namespace was joined"),
        ({"namespaces": [{"type": "cgroup", "path": "/proc/1/ns/cgroup"}]}, "its cgroup namespace"),
        ({"namespaces": [{"type": "user", "path": "/proc/1/ns/user"}]}, "its user namespace"),
    ],
)
def test_container_that_could_not_be_restored_is_not_checkpointed(linux: dict[str, Any], words: str) -> None:
    """Told with the place in config.json, before CRIU has begun."""
    with pytest.raises(Unsupported, match=words) as caught:
        spec.check({"linux": linux}, Unified())  # type: ignore[arg-type]

    assert (caught.value.pointer or "").startswith("/linux/")


def test_host_with_cgroup_v1_is_refused() -> None:
    """And one without cgroups."""
    for mode, cgroups in (("v1", ("one",)), ("hybrid", ("one",)), ("v2", ())):
        manager = type("Manager", (), {"mode": mode, "cgroups": cgroups})()
        with pytest.raises(Unsupported, match="cgroup v2"):
            spec.check({}, manager)
    spec.check({"linux": {"namespaces": [{"type": "network", "path": "/x"}, {"type": "pid"}]}}, Unified())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/a/b", "/a/b"),
        ("/link/x", "/a/x"),
        ("/up/x", "/x"),
        ("/chain/x", "/a/x"),
        ("//./a/../a/", "/a"),
        ("/../../a", "/a"),
        ("/absent/../a", "/a"),
        ("/", "/"),
    ],
)
def test_links_are_followed_below_the_root(tmp_path: Path, path: str, found: str) -> None:
    """Absolute ones begin there, and nothing leads out of it."""
    (tmp_path / "a").mkdir()
    for name, target in (("link", "/a"), ("up", "../../../"), ("chain", "link"), ("round", "round")):
        (tmp_path / name).symlink_to(target)

    assert spec.resolve(str(tmp_path), path) == found
    assert spec.resolve(str(tmp_path), "/round/x").endswith("x")  # and comes to an end


def test_mounts_of_the_host_are_named_by_their_place(tmp_path: Path) -> None:
    """Bind mounts in either spelling, relative to the bundle; no remount, no file system of its own."""
    (tmp_path / "link").symlink_to("/var")
    config = {
        "mounts": [
            {"destination": "/link/data", "source": "data", "options": ["rbind", "ro"]},
            {"destination": "/etc/hosts", "source": "/etc/hosts", "type": "bind"},
            {"destination": "/tmp", "source": "tmpfs", "type": "tmpfs"},
            {"destination": "/etc/hosts", "options": ["bind", "remount", "ro"]},
        ],
        "linux": {"devices": [{"path": "/dev/fuse"}]},
    }
    found = dict(spec.mounts_of_host(config, "/bundle", str(tmp_path)))

    assert found["/var/data"] == "/bundle/data"
    assert found["/etc/hosts"] == "/etc/hosts"
    assert found["/dev/fuse"] == "/dev/fuse"
    assert "/tmp" not in found


def test_images_of_a_user_namespace_are_its_roots(tmp_path: Path) -> None:
    """CRIU would end with "Permission denied" half-way."""
    for name in ("inventory.img", "pstree.img"):
        (tmp_path / name).touch()
    (tmp_path / "descriptors.json").write_text("[]")
    tmp_path.chmod(0o700)
    images = restore.Images(str(tmp_path), None)
    mappings = [{"containerID": 5, "hostID": 7, "size": 1}, {"containerID": 0, "hostID": 100000, "size": 5}]
    linux = {"namespaces": [{"type": "user"}], "uidMappings": mappings, "gidMappings": mappings}
    config = {"linux": linux}

    images.check_owner({"linux": {**linux, "namespaces": []}})
    images.check_owner({"linux": {**linux, "uidMappings": mappings[:1]}})
    with pytest.raises(InvalidArgument, match="the container's root is 100000:100000 – chown 100000:100000"):
        images.check_owner(config)
    tmp_path.chmod(0o711)
    images.check_owner(config)


def test_directory_that_was_there_keeps_its_owner(tmp_path: Path) -> None:
    """It may be /tmp. What follows from that is told."""
    mappings = [{"containerID": 0, "hostID": 100000, "size": 5}]
    linux = {"namespaces": [{"type": "user"}], "uidMappings": mappings, "gidMappings": mappings}
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        for mode, words in (
            (0o700, ["must be given to 100000:100000"]),
            (0o711, ["has mode 711"]),
            (0o755, ["755"]),
        ):
            tmp_path.chmod(mode)
            container = type("Container", (), {"warnings": ()})()
            checkpoint._decide_readers(container, {"linux": linux}, fd, made=False)
            assert [word in warning for word, warning in zip(words, container.warnings, strict=True)] == [
                True
            ]
            assert tmp_path.stat().st_uid == os.geteuid()
    finally:
        os.close(fd)


def test_configuration_of_criu_is_runcs_or_that_of_the_annotation() -> None:
    """An empty annotation stands for none."""
    assert spec.config_file({}) == "/etc/criu/runc.conf"
    assert spec.config_file({"annotations": {"org.criu.config": "/x"}}) == "/x"
    assert spec.config_file({"annotations": {"org.criu.config": ""}}) is None
