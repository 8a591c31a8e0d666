"""Finding and executing the payload: config.md "args", execve(2), on the real kernel.

Engines choose exit status 126 or 127 by the words of these errors.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from libcontainer import Container, ExecError, StateError

if TYPE_CHECKING:
    from .conftest import Bundle


def program(bundle: Bundle, path: str, content: str = "#!/bin/sh\necho $0\n", mode: int = 0o755) -> Path:
    """Put an executable script into the container's root file system."""
    file = bundle.rootfs / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    file.chmod(mode)
    return file


def test_a_program_is_searched_on_the_path_of_the_container(bundle: Bundle) -> None:
    """Of `process.env`, first match first; not on the runtime's own."""
    program(bundle, "/opt/a/tool")
    program(bundle, "/opt/b/tool")
    bundle.process["env"] = ["PATH=/nowhere:/opt/b:/opt/a"]

    assert bundle.run("tool").stdout == "/opt/b/tool\n"


def test_without_path_the_usual_directories_are_searched(bundle: Bundle) -> None:
    """An image without PATH still has a shell."""
    bundle.process["env"] = []

    assert bundle.run("echo", "found").stdout == "found\n"


def test_what_cannot_be_executed_on_the_path_is_passed_over(bundle: Bundle) -> None:
    """As execvp(3) does it: a directory or a data file of that name is not the program."""
    (bundle.rootfs / "opt/a/tool").mkdir(parents=True)
    program(bundle, "/opt/b/tool", mode=0o644)
    program(bundle, "/opt/c/tool")
    bundle.process["env"] = ["PATH=/opt/a:/opt/b:/opt/c"]

    assert bundle.run("tool").stdout == "/opt/c/tool\n"


def test_an_empty_part_of_the_path_is_the_working_directory(bundle: Bundle) -> None:
    """execvp(3) and every shell."""
    program(bundle, "/srv/tool")
    bundle.process["cwd"] = "/srv"
    bundle.process["env"] = ["PATH=/nowhere:"]

    assert bundle.run("tool").stdout.endswith("/tool\n")


def test_a_path_with_a_slash_is_relative_to_the_working_directory(bundle: Bundle) -> None:
    """The container's."""
    program(bundle, "/srv/bin/tool")
    bundle.process["cwd"] = "/srv"

    assert bundle.run("bin/tool").stdout == "bin/tool\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["no-such-tool"], 'exec: "no-such-tool": executable file not found in $PATH'),
        (["/no/such/tool"], 'exec: "/no/such/tool": no such file or directory'),
        (["./tool"], 'exec: "./tool": no such file or directory'),
        (["/etc"], 'exec: "/etc": is a directory: permission denied'),
        (["/etc/passwd"], 'exec: "/etc/passwd": permission denied'),
        (["/etc/passwd/tool"], 'exec: "/etc/passwd/tool": not a directory'),
        (["datafile"], 'exec: "datafile": permission denied'),
    ],
)
def test_what_cannot_be_executed_fails_create_in_the_words_of_engines(
    bundle: Bundle, args: list[str], words: str
) -> None:
    """At create and not at start, where nobody would be told; nothing is left behind."""
    program(bundle, "/bin/datafile", mode=0o644)

    with pytest.raises(ExecError) as caught:
        bundle.build(*args)

    assert words in str(caught.value)
    assert caught.value.pointer == "/process/args/0"
    assert Container.list(bundle.root) == []


def test_the_rights_of_the_containers_user_count(bundle: Bundle) -> None:
    """A program that only root may execute, and one that only its owner may."""
    program(bundle, "/bin/roots", mode=0o700)
    os.chown(program(bundle, "/bin/alices", mode=0o700), 1000, 1000)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}

    assert bundle.run("alices").stdout == "/bin/alices\n"
    with pytest.raises(ExecError, match="permission denied"):
        bundle.build("roots")


def test_a_program_on_a_noexec_mount_is_refused(bundle: Bundle) -> None:
    """access(2) knows of noexec."""
    source = bundle.path / "data"
    source.mkdir()
    (source / "tool").write_text("#!/bin/sh\n")
    (source / "tool").chmod(0o755)
    bundle.mount("/data", str(source), "bind", "bind", "noexec")

    with pytest.raises(ExecError, match="permission denied"):
        bundle.build("/data/tool")


def fails_at_start(bundle: Bundle, *args: str) -> ExecError:
    """Create, fail to start, and return the error; the container is stopped then and can be deleted."""
    with bundle.build(*args) as container:
        with pytest.raises(ExecError) as caught:
            container.start()
        container.wait(10)
        assert container.status == "stopped"
        with pytest.raises(StateError):
            container.start()
        container.delete()
    assert caught.value.pointer == "/process/args/0"
    return caught.value


def test_a_script_whose_interpreter_is_missing_fails_start(bundle: Bundle) -> None:
    """Only execve(2) finds out; the remedy says that the interpreter may be what is missing."""
    program(bundle, "/bin/script", "#!/usr/bin/no-such-interpreter\n")

    error = fails_at_start(bundle, "script")

    assert 'exec: "/bin/script": no such file or directory' in str(error)
    assert "interpreter" in (error.remedy or "")


def test_a_program_for_another_machine_is_told_as_such(bundle: Bundle) -> None:
    """An image for another architecture is the most common mistake of all."""
    machine = 183 if os.uname().machine != "aarch64" else 62
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, machine, 1) + bytes(40)
    file = bundle.rootfs / "bin/foreign"
    file.write_bytes(header)
    file.chmod(0o755)

    error = fails_at_start(bundle, "foreign")

    assert "exec format error" in str(error)
    assert f"an ELF program for machine {machine}" in str(error)
    assert "architecture" in (error.remedy or "")


def test_a_script_without_an_interpreter_line_is_told_as_such(bundle: Bundle) -> None:
    """A shell would run it; execve(2) does not, and a runtime must not guess."""
    program(bundle, "/bin/plain", "echo hello\n")

    error = fails_at_start(bundle, "plain")

    assert "exec format error" in str(error)
    assert "neither an ELF program nor a script" in str(error)


def test_arguments_reach_the_payload_unchanged(bundle: Bundle) -> None:
    """Empty ones, with spaces, newlines and any script; nothing expands them."""
    args = ["", " ", "$HOME", "a\nb", "ä€", "*", "-x", '"']

    assert bundle.run("cat", "/proc/self/cmdline").stdout == "cat\0/proc/self/cmdline\0"
    shown = bundle.run("sh", "-c", 'for item; do printf "[%s]" "$item"; done', "sh", *args).stdout
    assert shown == "".join(f"[{item}]" for item in args)


@pytest.mark.parametrize("number", range(3, 16))
@pytest.mark.parametrize("at_start", [False, True])
def test_a_program_behind_a_leaked_descriptor_is_not_executed(
    bundle: Bundle, number: int, at_start: bool
) -> None:
    """The third way of CVE-2024-21626: a program, or a script's interpreter, of the host by /proc/self/fd/N."""
    outside = bundle.path / "outside"
    shutil.copy(bundle.rootfs / "bin/busybox", outside)
    path = f"/proc/self/fd/{number}/../../../../../../../../..{outside}"
    if at_start:
        program(bundle, "/bin/script", f"#!{path}\n")
        fails_at_start(bundle, "script")
        return
    with pytest.raises(ExecError):
        bundle.build(path, "true")


def test_more_arguments_than_the_kernel_takes_are_an_error_with_a_remedy(bundle: Bundle) -> None:
    """Up to the kernel's limit they pass; how much that is depends on RLIMIT_STACK (execve(2))."""
    bundle.process["rlimits"] = [{"type": "RLIMIT_STACK", "soft": 8 << 20, "hard": 8 << 20}]
    fits = bundle.run("sh", "-c", "echo $#", "sh", *["x" * 100_000] * 15)
    assert fits.stdout == "15\n"

    error = fails_at_start(bundle, "true", *["x" * 100_000] * 40)

    assert "argument list too long" in str(error)
    assert "RLIMIT_STACK" in (error.remedy or "")


def test_a_user_with_too_many_processes_is_told_as_such(bundle: Bundle) -> None:
    """execve(2) EAGAIN: the limit is the user's, not the container's."""
    bundle.process["user"] = {"uid": 54321, "gid": 54321}
    bundle.process["rlimits"] = [{"type": "RLIMIT_NPROC", "soft": 0, "hard": 0}]

    with subprocess.Popen(["sleep", "1000"], user=54321) as another:
        error = fails_at_start(bundle, "true")
        another.kill()

    assert "resource temporarily unavailable" in str(error)
    assert "RLIMIT_NPROC" in (error.remedy or "")
