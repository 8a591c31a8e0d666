"""The path by which others shall call youki."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from libcontainer.errors import Error


def own_program() -> str:
    """Return the absolute path of the command: the one beside this Python, else the one on PATH. Raises Error."""
    beside = Path(sys.executable).with_name("youki")
    found = str(beside) if beside.exists() else shutil.which("youki")
    if found is None:
        raise Error(
            "the program youki is nowhere to be found", remedy="install libcontainer with its scripts"
        )
    return found
