"""youki doctor: real containers, in the order in which a person asks; nothing of them is left."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from youki import cures, probes

from .conftest import YOUKI, traces
from .rootless import User, borrowed_user

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBSECCOMP = [*Path("/usr/lib").glob("*/libseccomp.so.2"), *Path("/usr/lib64").glob("libseccomp.so.2")]


@pytest.fixture
def user() -> Iterator[User]:
    """An unprivileged user with subordinate ids."""
    with borrowed_user() as user:
        yield user


def doctor(*names: str, before: tuple[str, ...] = ()) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code of `youki doctor --json`, and the findings by name."""
    words = [*before, str(YOUKI), "doctor", "--json", *names]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    report = json.loads(done.stdout)
    assert report["healthy"] == (done.returncode == 0)
    return done.returncode, {finding["name"]: finding for finding in report["findings"]}


@pytest.mark.root
def test_as_root() -> None:
    """What this host offers works, and leaves nothing behind."""
    before = traces(), sorted(Path("/tmp").glob("youki-*"))
    code, found = doctor("rootful", "rootless", "limits", "seccomp", "systemd")
    assert {name: finding["status"] for name, finding in found.items()} == {
        "rootful": "works",
        "rootless": "works",
        "limits": "works",
        "seccomp": "works",
        "systemd": "works" if os.path.isdir(probes.SYSTEMD) else "absent",
    }, found
    assert code == 0
    assert (traces(), sorted(Path("/tmp").glob("youki-*"))) == before


def test_as_a_user(user: User) -> None:
    """An unprivileged user is told what is for root alone."""
    found = json.loads(
        user.youki("doctor", "--json", "rootful", "rootless", "subordinate-ids", "seccomp").stdout
    )
    assert [(finding["name"], finding["status"]) for finding in found["findings"]] == [
        ("rootful", "absent"),
        ("rootless", "works"),
        ("subordinate-ids", "works"),
        ("seccomp", "works"),
    ], found


def test_no_subordinate_ids(user: User) -> None:
    """A failure has its reason and the command that mends it, and the exit code tells."""
    user.mounts = [f"mount --bind /dev/null /etc/{name}" for name in ("subuid", "subgid")]
    done = user.youki("doctor", "subordinate-ids", check=False)
    assert done.returncode == 1
    assert "FAILS" in done.stdout
    assert "sudo usermod --add-subuids" in done.stdout


@pytest.mark.root
@pytest.mark.skipif(not LIBSECCOMP, reason="libseccomp is not installed")
def test_no_libseccomp() -> None:
    """The probe of filters fails where their library is missing, and no other does."""
    script = "".join(f"mount --bind /dev/null {path}; " for path in LIBSECCOMP) + 'exec "$@"'
    before = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")
    code, found = doctor("rootful", "seccomp", before=before)
    assert code == 1
    assert found["rootful"]["status"] == "works"
    assert found["seccomp"]["status"] == "fails"
    assert "libseccomp" in found["seccomp"]["reason"]
    assert "libseccomp" in found["seccomp"]["remedy"]


@pytest.mark.root
def test_no_cgroups() -> None:
    """Limits fail where no cgroup can be made: here they are read-only."""
    script = 'mount -t tmpfs -o ro tmpfs /sys/fs/cgroup; exec "$@"'
    before = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")
    code, found = doctor("limits", before=before)
    assert (code, found["limits"]["status"]) == (1, "fails")
    assert found["limits"]["reason"]


def test_a_setting_forbids_user_namespaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting that forbids them is named, and how it is changed; nothing else is blamed."""
    setting = tmp_path / "setting"
    monkeypatch.setattr(cures, "SETTINGS", (("/missing", "0", "no"), (str(setting), "0", "yes")))
    setting.write_text("0\n")
    assert cures.of("rootless", OSError("it failed")) == "yes"
    setting.write_text("1\n")
    assert cures.of("rootless", OSError("it failed")) is None


def test_unknown_probe() -> None:
    """It is an error that names those that there are."""
    done = subprocess.run([YOUKI, "doctor", "rootles"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "rootless" in done.stderr
