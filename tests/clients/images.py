"""Images without a registry: busybox-static as a tar archive, and as a docker-archive that every engine loads."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

from ..integration.conftest import make_rootfs

if TYPE_CHECKING:
    from pathlib import Path

NAME = "localhost/busybox:latest"
CONFIG: dict[str, Any] = {
    "Cmd": ["/bin/sh"],
    "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "COLOUR=blue"],
    "WorkingDir": "/",
}


def rootfs_archive(directory: Path) -> Path:
    """Make a tar archive of a small root file system in `directory`."""
    rootfs, archive = directory / "rootfs", directory / "rootfs.tar"
    make_rootfs(rootfs)
    with tarfile.open(archive, "w") as tar:
        tar.add(rootfs, arcname=".", filter=_of_root)
    return archive


def docker_archive(directory: Path, name: str = NAME, config: dict[str, Any] | None = None) -> Path:
    """Make an image called `name` in `directory`, as `docker save` writes it: one layer, one configuration."""
    layer = rootfs_archive(directory).read_bytes()
    image = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": CONFIG | (config or {}),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
            "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "tests"}],
        }
    ).encode()
    digest = hashlib.sha256(image).hexdigest()
    manifest = [{"Config": f"{digest}.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    archive = directory / "image.tar"
    with tarfile.open(archive, "w") as tar:
        _add(tar, "manifest.json", json.dumps(manifest).encode())
        _add(tar, f"{digest}.json", image)
        _add(tar, "layer.tar", layer)
    return archive


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
