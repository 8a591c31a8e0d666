"""Descriptors of the payload: standard streams, preserved ones, and nothing else. features of runc; CVE-2024-21626."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from libcontainer import DEVNULL, PIPE, InvalidArgument

from .conftest import YOUKI

if TYPE_CHECKING:
    from .conftest import Bundle

LIST = "ls /proc/1/fd; true"


def youki_run(
    bundle: Bundle, *flags: str, pass_fds: tuple[int, ...] = (), **more: object
) -> subprocess.CompletedProcess[str]:
    """Run the bundle as a command that inherits `pass_fds`."""
    bundle.save()
    command = [str(YOUKI), "--root", str(bundle.root), "run", *flags, bundle.id]
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        command, cwd=bundle.path, text=True, capture_output=True, timeout=60, pass_fds=pass_fds, **more
    )


def test_the_payload_has_three_descriptors_and_no_more(bundle: Bundle) -> None:
    """Whatever the caller has open, inheritable or not."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        assert bundle.sh(LIST).lines == ["0", "1", "2"]
    finally:
        os.close(reader)
        os.close(writer)


def test_a_created_container_holds_nothing_of_the_host(bundle: Bundle) -> None:
    """Only its standard streams, the socket that waits for start, and its own root."""
    with bundle.build("true") as container:
        directory = Path(f"/proc/{container.pid}/fd")
        root = os.stat(f"/proc/{container.pid}/root/.")
        deadline = time.monotonic() + 10
        # It closes the rest a moment after it was let go.
        while len(held := sorted(directory.iterdir())) > 5 and time.monotonic() < deadline:
            os.sched_yield()
        own = [path for path in held if path.exists() and os.path.samestat(path.stat(), root)]
        sockets = [path for path in held if os.readlink(path).startswith("socket:")]

        assert [path.name for path in held if path not in own + sockets] == ["0", "1", "2"]
        assert (len(own), len(sockets)) == (1, 1)


def test_a_created_container_does_not_hold_its_callers_pipes(bundle: Bundle) -> None:
    """Or the caller of `create` would never see the end of its own output."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        with bundle.build("true"):
            os.close(writer)
            assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


def test_preserved_descriptors_reach_the_payload_with_their_numbers(bundle: Bundle) -> None:
    """--preserve-fds 2: 3 and 4, and the next one not."""
    first, second = os.pipe()
    third, fourth = os.pipe()
    os.close(fourth)
    script = f"{LIST}; echo through >&4"
    bundle.process["args"] = ["sh", "-c", script]
    bundle.save()
    program = (
        "import os, sys\n"
        f"os.dup2({first}, 103); os.dup2({second}, 104); os.dup2({third}, 105)\n"
        "for fd in (3, 4, 5): os.dup2(100 + fd, fd)\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    command = [
        *(sys.executable, "-c", program, str(YOUKI), "--root", str(bundle.root)),
        *("run", "--preserve-fds", "2", bundle.id),
    ]
    try:
        done = subprocess.run(
            command,
            cwd=bundle.path,
            text=True,
            capture_output=True,
            timeout=60,
            pass_fds=(first, second, third),
        )
        assert done.stdout.split() == ["0", "1", "2", "3", "4"], done.stderr
        assert os.read(first, 100) == b"through\n"
    finally:
        for fd in (first, second, third):
            os.close(fd)


def test_a_descriptor_that_the_caller_does_not_pass_on_is_refused(bundle: Bundle) -> None:
    """Never one of the runtime's own instead: its directory of records would be a way out (CVE-2024-21626)."""
    bundle.process["args"] = ["sh", "-c", LIST]

    done = youki_run(bundle, "--preserve-fds", "1")

    assert done.returncode != 0
    assert "file descriptor 3" in done.stderr
    assert done.stdout == ""
    builder = bundle.builder().with_preserved_fds(64).as_init(bundle.path)
    with pytest.raises(InvalidArgument, match="file descriptor"):
        builder.build()
    assert not os.path.exists(bundle.root / bundle.id)


def test_descriptors_of_socket_activation_reach_the_payload(bundle: Bundle) -> None:
    """sd_listen_fds(3): LISTEN_FDS of the caller, with the payload's own number as LISTEN_PID."""
    bundle.process["args"] = ["sh", "-c", f"{LIST}; echo $LISTEN_FDS $LISTEN_PID $$; echo through >&3"]
    bundle.save()
    reader, writer = os.pipe()
    program = f"import os, sys; os.dup2({writer}, 3); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", program, str(YOUKI), "--root", str(bundle.root), "run", bundle.id]
    try:
        done = subprocess.run(
            command,
            cwd=bundle.path,
            text=True,
            capture_output=True,
            timeout=60,
            pass_fds=(writer,),
            env={**os.environ, "LISTEN_FDS": "1"},
        )
        assert done.stdout.split() == ["0", "1", "2", "3", "1", "1", "1"], done.stderr
        assert os.read(reader, 100) == b"through\n"
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("closed", [(0,), (1,), (0, 1), (0, 1, 2)])
def test_a_caller_without_standard_streams_gives_null_devices(
    bundle: Bundle, closed: tuple[int, ...]
) -> None:
    """Nothing of ours takes a free number below 3 and becomes the payload's standard input (or output)."""
    seen = bundle.rootfs / "seen"
    bundle.process["args"] = ["sh", "-c", "(ls -l /proc/1/fd >/seen); true"]
    bundle.save()
    program = f"import os, sys\nfor fd in {closed}: os.close(fd)\nos.execv(sys.argv[1], sys.argv[1:])\n"
    command = [sys.executable, "-c", program, str(YOUKI), "--root", str(bundle.root), "run", bundle.id]
    done = subprocess.run(command, cwd=bundle.path, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)

    assert done.returncode == 0, done.stderr
    links = [line.partition(" -> ") for line in seen.read_text().splitlines() if " -> " in line]
    targets = {int(head.split()[-1]): target for head, _, target in links}
    assert sorted(targets) == [0, 1, 2]
    for fd in closed:
        assert targets[fd] == "/dev/null"


def test_pipes_connect_the_caller_with_the_payload(bundle: Bundle) -> None:
    """PIPE as in subprocess; the ends are files of ours."""
    bundle.process["args"] = ["sh", "-c", "cat; echo oops >&2"]
    bundle.save()
    builder = bundle.builder().with_stdin(PIPE).with_stdout(PIPE).with_stderr(PIPE)
    with builder.as_init(bundle.path).build() as container:
        assert container.stdin is not None
        assert container.stdout is not None
        assert container.stderr is not None
        container.start()
        container.stdin.write(b"in and out")
        container.stdin.close()
        assert container.stdout.read() == b"in and out"
        assert container.stderr.read() == b"oops\n"
        assert container.wait(10).code == 0


def test_devnull_is_the_containers_own_null_device(bundle: Bundle) -> None:
    """A descriptor of the host's /dev would be a way to the host's file system."""
    bundle.process["args"] = ["sh", "-c", "stat -Lc %d /proc/self/fd/0 /dev/null >/seen"]
    bundle.save()
    builder = bundle.builder().with_stdin(DEVNULL).with_stdout(DEVNULL).with_stderr(DEVNULL)
    with builder.as_init(bundle.path).build() as container:
        container.start()
        assert container.wait(10).code == 0

    own, of_dev = (bundle.rootfs / "seen").read_text().split()
    assert own == of_dev
    assert int(own) != os.stat("/dev/null").st_dev


def test_a_file_object_serves_as_a_stream(bundle: Bundle) -> None:
    """Anything with a fileno, as in subprocess."""
    bundle.process["args"] = ["echo", "to a file"]
    bundle.save()
    with (
        open(bundle.path / "log", "wb") as log,
        bundle.builder().with_stdout(log).as_init(bundle.path).build() as container,
    ):
        container.start()
        container.wait(10)

    assert (bundle.path / "log").read_text() == "to a file\n"


def test_signals_are_at_their_defaults_in_the_payload(bundle: Bundle) -> None:
    """None is ignored or blocked, whatever this process and its C library do."""
    status = bundle.run("cat", "/proc/self/status").stdout

    for field in ("SigBlk", "SigIgn", "SigCgt"):
        assert f"{field}:\t{0:016x}" in status


def test_the_payload_leads_a_session_without_a_terminal(bundle: Bundle) -> None:
    """No keystroke can be pushed into a terminal that is not its own (CVE-2017-5226, TIOCSTI)."""
    fields = bundle.run("cat", "/proc/self/stat").stdout.rpartition(")")[2].split()

    _, _, group, session, terminal = fields[:5]
    assert (group, session, terminal) == ("1", "1", "0")
