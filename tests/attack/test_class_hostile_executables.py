"""Programs of the image that are none: the runtime must neither crash nor hang, and leave nothing."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from libcontainer import Container, Error

from ..integration.conftest import Bundle
from .hostile import python_youki

HEADER = b"\x7fELF\x02\x01\x01" + bytes(9)


def elf(machine: int = 62, segments: int = 0, offset: int = 64) -> bytes:
    """Return an ELF header (elf(5)) that promises what does not follow."""
    fields = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0x400000, offset, 0, 0, 64, 56, segments, 0, 0, 0)
    return HEADER + fields


def interpreted(path: bytes) -> bytes:
    """Return an ELF program with an interpreter (PT_INTERP)."""
    segment = struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(path), len(path), 1)
    return elf(segments=1) + segment + path


FILES: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"\x7f",
    "magic number only": b"\x7fELF",
    "header only": elf(),
    "other machine": elf(machine=183),
    "segments that are missing": elf(segments=65535, offset=1 << 62),
    "missing interpreter": interpreted(b"/nowhere\0"),
    "interpreter is init": interpreted(b"/proc/self/exe\0"),
    "interpreter is a directory": interpreted(b"/tmp\0"),
    "interpreter without an end": interpreted(b"/bin/sh"),
    "script of itself": b"#!/program\n",
    "script without an interpreter": b"#!\n",
    "script with a missing interpreter": b"#!/nowhere\n",
    "script with an endless line": b"#!/" + b"x" * (1 << 20),
    "script of a directory": b"#!/tmp\n",
    "text": b"echo hello\n",
    "nul bytes": bytes(4096),
}


@pytest.mark.parametrize("name", FILES)
def test_file_that_is_no_program_is_an_error_of_its_own(bundle: Bundle, name: str) -> None:
    """Told by `create` or `start`, or by the kernel's signal; never by a runtime that hangs."""
    program = bundle.rootfs / "program"
    program.write_bytes(FILES[name])
    program.chmod(0o755)
    try:
        found = str(bundle.run("/program", timeout=20).status.code)
    except Error as error:
        found = str(error)
    assert "/program" in found or found != "0"
    assert Container.list(bundle.root) == []


@pytest.mark.parametrize(
    "kind", ["directory", "fifo", "device", "link to itself", "link to the host", "not executable"]
)
def test_name_that_is_no_file_is_an_error(bundle: Bundle, victim: Path, kind: str) -> None:
    """Known at `create`: nothing of the image has run by then."""
    program = bundle.rootfs / "program"
    if kind == "directory":
        program.mkdir()
    elif kind == "fifo":
        os.mkfifo(program, 0o755)
    elif kind == "device":
        os.mknod(program, 0o020777, os.makedev(1, 3))
    elif kind == "not executable":
        program.write_bytes(FILES["text"])
    else:
        program.symlink_to("program" if kind == "link to itself" else victim / "secret")
    with pytest.raises(Error, match="/program"):
        bundle.build("/program")
    assert Container.list(bundle.root) == []


def test_words_of_the_image_do_not_reach_the_callers_terminal(bundle: Bundle) -> None:
    """A name with control characters is told in an error without them."""
    bundle.process["args"] = ["/\x1b]0;evil\x07\x1b[2Jname\n\u009b31m"]
    done = python_youki(bundle, "run", bundle.id)
    assert done.returncode != 0
    assert done.stderr.replace("\n", "").isprintable()
