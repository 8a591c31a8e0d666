"""Running programs for which system calls are missing: builds enosys.c and calls it.

`python -m tests.tools.enosys NAME[,NAME…] PROGRAM…` runs a program so; `make test-enosys` runs the integration
tests so. The names `mount` and `all` stand for the groups below.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
PROGRAM = Path(__file__).resolve().parents[2] / "build" / "enosys"

# The mount calls of Linux 5.2 and 5.12.
NEW_MOUNT_CALLS = ("open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "mount_setattr")
GROUPS = {"mount": NEW_MOUNT_CALLS, "all": (*NEW_MOUNT_CALLS, "openat2", "clone3", "close_range")}


def program() -> str:
    """Return the path of the wrapper, built when it is missing or older than its source."""
    if not PROGRAM.exists() or PROGRAM.stat().st_mtime < SOURCE.stat().st_mtime:
        PROGRAM.parent.mkdir(exist_ok=True)
        made = PROGRAM.with_suffix(f".{os.getpid()}")
        subprocess.run(["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", made, SOURCE], check=True)
        made.rename(PROGRAM)
    return str(PROGRAM)


def without(*calls: str, error: int = errno.ENOSYS) -> list[str]:
    """Return the words to put before a command so that it runs without these system calls (or groups)."""
    names = [name for call in calls for name in GROUPS.get(call, (call,))]
    return [program(), "-e", str(error), ",".join(names)]


if __name__ == "__main__":
    words = without(*sys.argv[1].split(","))
    os.execv(words[0], [*words, *sys.argv[2:]])
