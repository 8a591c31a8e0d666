"""Builds probe.c: a static program that makes system calls by number inside a container."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
PROGRAM = Path(__file__).resolve().parents[2] / "build" / "probe"


def program() -> Path | None:
    """Return the path of the probe, built when it is missing or older than its source; None without a compiler."""
    compiler = shutil.which("musl-gcc") or shutil.which("cc")
    if compiler is None:
        return None
    if not PROGRAM.exists() or PROGRAM.stat().st_mtime < SOURCE.stat().st_mtime:
        PROGRAM.parent.mkdir(exist_ok=True)
        made = PROGRAM.with_suffix(f".{os.getpid()}")
        flags = ["-O1", "-mno-red-zone"] if os.uname().machine == "x86_64" else ["-O1"]
        command = [compiler, "-static", "-pthread", *flags, "-Wall", "-Wextra", "-Werror"]
        subprocess.run([*command, "-o", made, SOURCE], check=True)
        made.rename(PROGRAM)
    return PROGRAM
