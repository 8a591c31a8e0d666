"""The session keyring of the caller holds tickets and disk keys: without a new one, the container has them."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from ..integration.conftest import Bundle
from .hostile import errnos

RUN = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
add_key, keyctl, join, session = 248, 250, 1, -3
assert libc.syscall(keyctl, join, b"of-the-caller") > 0
assert libc.syscall(add_key, b"user", b"ticket", b"secret", 6, session) > 0
os.execv(sys.executable, [sys.executable, "-m", "youki", *sys.argv[1:]])
"""


@pytest.mark.skipif("os.uname().machine != 'x86_64'", reason="the numbers of the calls are those of x86_64")
@pytest.mark.parametrize("kept", [False, True])
def test_key_of_the_caller_is_not_in_the_container(attacker: Bundle, kept: bool) -> None:
    """Unless it is asked for: that the attack works then shows that it is one."""
    attacker.process["args"] = ["/attacker", "key", "ticket"]
    attacker.save()
    words = ["--root", str(attacker.root), "run", *(["--no-new-keyring"] if kept else []), attacker.id]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words], cwd=attacker.path, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    found = errnos(done.stdout)["key"]
    assert found == 0 if kept else found in (errno.ENOKEY, errno.ENOENT, errno.EACCES)
