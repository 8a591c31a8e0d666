"""`youki doctor containerd`, docs/how-to/containerd.md, and what `youki install containerd` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from . import runtimes
from .engine import commands_of

if TYPE_CHECKING:
    from .containerd import Containerd

YOUKI = str(runtimes.program("youki"))
PAGES = Path(__file__).parents[2] / "docs/how-to"


def test_install(containerd: Containerd) -> None:
    """containerd understands what is written: its CRI plugin then has the runtime class."""
    host = containerd.host
    host.run(YOUKI, "install", "containerd")
    told = host.run("containerd", "--config", "/etc/containerd/config.toml", "config", "dump").stdout
    host.run(YOUKI, "install", "containerd", "--remove")
    classes = told.partition('[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.youki]')[2]
    assert f'BinaryName = "{YOUKI}"' in classes
    assert "containerd.runtimes.runc]" in told


def test_doctor(containerd: Containerd) -> None:
    """The doctor has containerd make a container with youki, in a namespace that it removes."""
    namespaces = ("ctr", "namespaces", "list", "--quiet")
    before = containerd.host.run(*namespaces).stdout
    done = containerd.host.run(YOUKI, "doctor", "--json", "containerd", check=False)
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["name"], finding["status"]) == ("containerd", "works"), finding
    assert containerd.host.run(*namespaces).stdout == before


def test_how_to(containerd: Containerd, image_archive: Path) -> None:
    """The commands of docs/how-to/containerd.md for who has no registry."""
    directory = containerd.host.make_directory("how-to")
    (directory / "image.tar").symlink_to(image_archive)
    lines = commands_of(PAGES / "containerd.md", "Without a registry")
    path = f"{Path(YOUKI).parent}:{runtimes.SEARCHED}"
    done = containerd.host.run("bash", "-c", "\n".join(["set -e", *lines]), env={"PATH": path}, cwd=directory)
    assert done.stdout.splitlines().count("hello") == 2, done


def test_runtime_class(containerd: Containerd) -> None:
    """docs/how-to/kubernetes.md shows what `youki install containerd` writes."""
    page = (PAGES / "kubernetes.md").read_text()
    host = containerd.host
    written = host.run(YOUKI, "install", "containerd", "--dry-run").stdout
    shown = page.partition("```toml\n")[2].partition("```")[0]
    lines = [line for line in shown.splitlines() if line and not line.startswith(("#", "BinaryName"))]
    assert [line for line in lines if f"+{line}" not in written.splitlines()] == []
