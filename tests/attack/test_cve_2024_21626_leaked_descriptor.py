"""CVE-2024-21626: a descriptor of the host's, open while the container comes into being, is a way out: as working
directory, through a link as working directory, and as part of the program's path.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from libcontainer import PIPE, Container, Error

from ..integration.conftest import Bundle
from .hostile import errnos

NUMBERS = range(3, 12)
UP = "/../../../../../../../../.."


def escape(bundle: Bundle, *args: str) -> tuple[str, Error | None]:
    """Run a payload; return its output, or the error."""
    try:
        return bundle.run(*args, timeout=20).stdout, None
    except Error as error:
        return "", error


@pytest.mark.parametrize(
    "form", ["/proc/self/fd/{}", "/proc/thread-self/fd/{}", "/proc/self/fd/{}/..", "/dev/fd/{}", "/link"]
)
def test_working_directory_is_never_a_descriptor_of_the_host(attacker: Bundle, form: str) -> None:
    """Forms one and two: a number in `cwd`, plain, with `..` behind it, or through a link of the image."""
    for number in NUMBERS:
        (attacker.rootfs / "link").unlink(missing_ok=True)
        (attacker.rootfs / "link").symlink_to(f"/proc/self/fd/{number}")
        attacker.process["cwd"] = form.format(number)
        output, error = escape(attacker, "/attacker", "cwd")
        if error is None:
            assert errnos(output)["escaped"] == 0
            assert "cwd /" in output
        else:
            assert "/process/cwd" in str(error)


def enter(container: Container, cwd: str) -> tuple[str, Error | None]:
    """Run a tenant in a directory; return its output, or the error."""
    try:
        with container.exec(["/attacker", "cwd"], cwd=cwd, stdout=PIPE) as process:
            return (process.communicate(timeout=20)[0] or b"").decode(), None
    except Error as error:
        return "", error


@pytest.mark.parametrize("form", ["/proc/self/fd/{}", "/proc/self/fd/{}/..", "/link"])
def test_working_directory_of_a_tenant_is_never_a_descriptor_of_the_host(attacker: Bundle, form: str) -> None:
    """The second form as it was found: a link in the image, and `exec --cwd`; also a program's path."""
    with attacker.build("sleep", "1000") as container:
        container.start()
        for number in NUMBERS:
            (attacker.rootfs / "link").unlink(missing_ok=True)
            (attacker.rootfs / "link").symlink_to(f"/proc/self/fd/{number}")
            output, error = enter(container, form.format(number))
            if error is None:
                assert errnos(output)["escaped"] == 0
                assert "cwd /" in output
            else:
                assert "/cwd" in str(error)
            with pytest.raises(Error):
                container.exec([f"/proc/self/fd/{number}{UP}/bin/sh", "-c", "true"])


@pytest.mark.parametrize("middle", ["", UP])
def test_program_is_never_found_through_a_descriptor_of_the_host(
    attacker: Bundle, victim: Path, middle: str
) -> None:
    """Form three: the path of the program goes through a descriptor that is closed on exec, but still open then."""
    program = victim / "program"
    program.write_text("#!/bin/sh\necho host\n")
    program.chmod(0o755)
    for number in NUMBERS:
        for name in (str(program), "/bin/sh"):
            output, error = escape(attacker, f"/proc/self/fd/{number}{middle}{name}", "-c", "echo host")
            assert output == "", number
            assert error is not None


def test_interpreter_is_never_found_through_a_descriptor_of_the_host(attacker: Bundle) -> None:
    """Form three by a script: the kernel looks the interpreter up while it executes."""
    script = attacker.rootfs / "evil"
    for number in NUMBERS:
        script.write_text(f"#!/proc/self/fd/{number}{UP}/bin/sh\necho host\n")
        script.chmod(0o755)
        output, error = escape(attacker, "/evil")
        assert output == "", number
        assert error is not None


def test_payload_has_its_standard_streams_and_nothing_else(bundle: Bundle) -> None:
    """Whatever the caller or the runtime has open, the payload starts with three descriptors."""
    extra = os.open("/", os.O_RDONLY)
    os.set_inheritable(extra, True)
    try:
        result = bundle.sh("for n in $(seq 0 300); do [ -L /proc/$$/fd/$n ] && echo $n; done")
    finally:
        os.close(extra)
    assert result.lines == ["0", "1", "2"]


def held(pid: int | None) -> list[str]:
    """Return what a process has open besides its streams, by kind, once that is no more than two things."""
    targets: list[str] = []
    for _ in range(5000):  # init closes the runtime's channel just after its last word
        entries = Path(f"/proc/{pid}/fd").iterdir()
        targets = [os.readlink(entry).partition(":")[0] for entry in entries if int(entry.name) > 2]
        if len(targets) <= 2:
            break
    return sorted(targets)


def test_created_container_holds_nothing_of_the_host(bundle: Bundle) -> None:
    """While it waits for `start`, init has its streams, its root, and the socket that it waits at."""
    with bundle.build("sleep", "1000") as container:
        assert held(container.pid) == ["/", "socket"]


def test_directory_of_the_records_cannot_be_preserved(bundle: Bundle) -> None:
    """`--preserve-fds` counts what the caller left inheritable; the runtime's own descriptors are not among it."""
    bundle.process["args"] = ["true"]
    bundle.save()
    with pytest.raises(Error, match="does not exist or is close-on-exec"):
        bundle.builder().with_preserved_fds(200).as_init(bundle.path).build()
