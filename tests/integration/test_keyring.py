"""The session keyring: a container must not hold its caller's keys. keyrings(7), on the real kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from .conftest import YOUKI

if TYPE_CHECKING:
    from .conftest import Bundle

KEYCTL = {"x86_64": 250, "aarch64": 219}
# Joins a session keyring of its own, as a login does, which only its possessor may see, and becomes the runtime.
LOGIN = """
import ctypes, os, sys
call, keyctl = ctypes.CDLL(None).syscall, int(sys.argv[1])
keyring = call(keyctl, 1, b"callers-keys")
assert keyring > 0 and call(keyctl, 5, keyring, 0x3f000000) == 0
os.execv(sys.argv[2], sys.argv[2:])
"""


def keys_seen(bundle: Bundle, *flags: str) -> str:
    """Return the keys that a payload possesses or sees, its caller having a keyring `callers-keys`."""
    bundle.process["args"] = ["cat", "/proc/keys"]
    bundle.save()
    return said_after_login(bundle, "run", *flags, bundle.id)


def said_after_login(bundle: Bundle, *words: str) -> str:
    """Return what a command of youki prints whose caller has a session keyring `callers-keys`."""
    number = KEYCTL.get(os.uname().machine)
    if number is None or not os.path.exists("/proc/keys"):
        pytest.skip("no /proc/keys, or the number of keyctl(2) is not known")
    youki = [str(YOUKI), "--root", str(bundle.root), *words]
    done = subprocess.run(
        [sys.executable, "-c", LOGIN, str(number), *youki],
        cwd=bundle.path,
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_container_has_a_session_keyring_of_its_own(bundle: Bundle) -> None:
    """Kerberos tickets and file system keys of the caller are out of reach."""
    keys = keys_seen(bundle)

    assert f"_ses.{bundle.id}" in keys
    assert "callers-keys" not in keys


def test_the_callers_keyring_is_kept_on_request(bundle: Bundle) -> None:
    """--no-new-keyring is for hosts whose quota of keys is small; the caller knows what it shares."""
    keys = keys_seen(bundle, "--no-new-keyring")

    assert "callers-keys" in keys
    assert f"_ses.{bundle.id}" not in keys


@pytest.mark.parametrize("flags", [(), ("--no-new-keyring",)])
def test_a_tenant_has_the_keyring_that_its_container_has(bundle: Bundle, flags: tuple[str, ...]) -> None:
    """Its own caller's keys are out of reach, unless the container was made to keep its caller's."""
    bundle.process["args"] = ["sleep", "1000"]
    bundle.youki("create", *flags, bundle.id)
    bundle.youki("start", bundle.id)
    keys = said_after_login(bundle, "exec", bundle.id, "cat", "/proc/keys")

    assert (f"_ses.{bundle.id}" in keys) == (not flags)
    assert ("callers-keys" in keys) == bool(flags)
