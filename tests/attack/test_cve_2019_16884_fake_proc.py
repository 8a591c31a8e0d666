"""CVE-2019-16884: what the image calls /proc is not where the kernel listens."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ..integration.conftest import Bundle
from .hostile import refusal, remove_mount, tree


def fake_proc(path: Path) -> Path:
    """Make what looks like a procfs to whoever only looks for names."""
    for name in ("self/attr/exec", "self/attr/apparmor/exec", "sys/net/ipv4/ip_forward", "kcore"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("0\n")
    return path


@pytest.mark.parametrize("kind", ["directory", "part of a procfs", "sysfs"])
def test_volume_on_proc_must_be_a_procfs(bundle: Bundle, victim: Path, kind: str) -> None:
    """An image with `VOLUME /proc` gets whatever the engine binds there; labels written into it protect nobody."""
    sources = {"directory": fake_proc(victim), "part of a procfs": Path("/proc/sys"), "sysfs": Path("/sys")}
    remove_mount(bundle, "/proc")
    bundle.mount("/proc", str(sources[kind]), "bind", "rbind")
    before = tree(victim)
    error = refusal(bundle)
    assert error is not None
    assert "not the root of a procfs" in str(error)
    assert tree(victim) == before


def test_sysctls_go_to_the_kernel_and_not_into_the_image(bundle: Bundle) -> None:
    """Without a procfs of its own the container's /proc is the image's; the write must not land in there."""
    remove_mount(bundle, "/proc")
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    image = fake_proc(bundle.rootfs / "proc")
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    before = tree(image)
    with bundle.build("sleep", "1000") as container:
        enter = ["nsenter", f"--target={container.pid}", "--net", "cat", "/proc/sys/net/ipv4/ip_forward"]
        assert subprocess.run(enter, capture_output=True, text=True).stdout == "1\n"
    assert tree(image) == before
