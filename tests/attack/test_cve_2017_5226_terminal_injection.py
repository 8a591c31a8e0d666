"""CVE-2017-5226, CVE-2016-10124: a payload that shares its caller's terminal types a command into it."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys

from ..integration.conftest import Bundle
from .hostile import errnos

RUN = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "youki", "--root", sys.argv[1], "run", sys.argv[2]])
"""


def test_terminal_of_the_caller_is_not_the_payloads_controlling_terminal(attacker: Bundle) -> None:
    """Standard streams may be the caller's terminal, but the payload is in a session of its own: nothing can be
    typed, and the terminal's foreground process group is not its to choose.
    """
    attacker.process["args"] = ["/bin/sh", "-c", "/attacker terminal > /tmp/found"]
    attacker.save()
    master, slave = pty.openpty()
    try:
        command = [sys.executable, "-c", RUN, str(attacker.root), attacker.id]
        done = subprocess.run(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=attacker.path, timeout=30, check=False
        )
    finally:
        os.close(slave)
        os.close(master)
    assert done.returncode == 0
    found = errnos((attacker.rootfs / "tmp/found").read_text())
    assert found["isatty"] == 1, "the payload did not get the terminal at all"
    assert found["tty"] == errno.ENXIO
    assert found["type"] in (errno.EPERM, errno.EIO)
    assert found["group"] == errno.ENOTTY
