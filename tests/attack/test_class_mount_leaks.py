"""runc#4417 and its kin: the container's mounts propagate to the host, because the root's parent mount is shared."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ..integration.boxes import HostDirectory
from ..integration.conftest import Bundle
from .hostile import until


@pytest.mark.parametrize(
    "propagation", [None, "shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable"]
)
@pytest.mark.parametrize("mount", ["of its own", "joined later"])
def test_nothing_of_the_container_is_mounted_on_the_host(
    bundle: Bundle, host: HostDirectory, propagation: str | None, mount: str
) -> None:
    """However the root is to propagate: neither its own mounts nor those that its root adds appear outside."""
    point = host.mount("shared")
    host.set(point, "--make-shared")
    rootfs = point / "rootfs"
    shutil.copytree(bundle.rootfs, rootfs, symlinks=True)
    bundle.spec["root"]["path"] = str(rootfs)
    if propagation:
        bundle.linux["rootfsPropagation"] = propagation
    bundle.mount("/mnt", "none", "tmpfs")
    before = Path("/proc/self/mountinfo").read_text()
    script = "sleep 1000"
    if mount == "joined later":
        bundle.process["capabilities"] = {
            kind: ["CAP_SYS_ADMIN"] for kind in ("bounding", "effective", "permitted")
        }
        script = "mkdir /tmp/later; mount -t tmpfs later /tmp/later && touch /tmp/later/ready; sleep 1000"
    with bundle.build("/bin/sh", "-c", script) as container:
        container.start()
        if mount == "joined later":
            ready = f"/proc/{container.pid}/root/tmp/later/ready"
            until(lambda: os.path.exists(ready), "the container could not mount")
        seen = Path("/proc/self/mountinfo").read_text()
        container.delete(force=True)
    outside = [line for line in set(seen.splitlines()) - set(before.splitlines()) if str(point) in line]
    assert outside == []
