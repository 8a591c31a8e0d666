"""CVE-2025-52881: a write to one file of procfs that lands in another one, /proc/sysrq-trigger for example."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ..integration.conftest import Bundle
from .hostile import await_file, python_youki

# One file for all UTS namespaces. Those of network and IPC namespaces are other files in each, with no mount over them.
TARGET = "/proc/sys/kernel/domainname"
SYSCTL = {"kernel.domainname": "inside.example"}


def overmounted(source: Path | str, *command: str) -> list[str]:
    """Return the command that runs `command` where TARGET is another file."""
    script = f'mount --bind "{source}" {TARGET} && exec "$@"'
    return ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh", *command]


@pytest.mark.parametrize("source", ["plain file", "other file of procfs"])
def test_write_never_crosses_a_mount(bundle: Bundle, victim: Path, source: str) -> None:
    """Even a file of procfs, mounted over the one that is meant, is another file: "is it procfs?" is no check."""
    bundle.linux["sysctl"] = SYSCTL
    other = "/proc/sys/kernel/shmmni"
    before = Path(other).read_text()
    path = str(victim / "secret") if source == "plain file" else other
    bundle.process["args"] = ["true"]
    done = python_youki(bundle, "run", bundle.id, prefix=tuple(overmounted(path)))
    assert done.returncode != 0
    assert "/linux/sysctl/kernel.domainname" in done.stderr
    assert (victim / "secret").read_text() == "the host's\n"
    assert Path(other).read_text() == before


def test_write_in_a_joined_mount_namespace_ignores_what_is_mounted_there(
    bundle: Bundle, victim: Path
) -> None:
    """Who shares a mount namespace with the new container decides what its /proc is, not where init writes."""
    ready = victim / "ready"
    holder = subprocess.Popen(
        [*overmounted(victim / "secret"), "sh", "-c", f"touch {ready}; read line"], stdin=subprocess.PIPE
    )
    try:
        await_file(ready)
        bundle.set_namespace("mount", f"/proc/{holder.pid}/ns/mnt")
        bundle.linux["sysctl"] = SYSCTL
        bundle.spec["mounts"] = []
        bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
        with bundle.build("sleep", "1000") as container:
            enter = ["nsenter", f"--target={container.pid}", "--uts", "cat", TARGET]
            assert subprocess.run(enter, capture_output=True, text=True).stdout == "inside.example\n"
    finally:
        holder.communicate(b"\n")
    assert (victim / "secret").read_text() == "the host's\n"
