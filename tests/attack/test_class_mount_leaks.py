"""runc#4417 and its kin: the container's mounts propagate to the host, because the root's parent mount is shared."""

from __future__ import annotations

import os

import pytest

from ..integration.boxes import HostDirectory
from ..integration.conftest import Bundle


@pytest.mark.parametrize("propagation", [None, "shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable"])
@pytest.mark.parametrize("mount", ["of its own", "joined later"])
def test_nothing_of_the_container_is_mounted_on_the_host(
    bundle: Bundle, host: HostDirectory, propagation: str | None, mount: str
) -> None:
    """However the root is to propagate: neither its own mounts nor those that its root adds appear outside."""
    point = host.mount("shared")
    host.set(point, "--make-shared")
    rootfs = point / "rootfs"
    os.rename(bundle.rootfs, rootfs) if False else __import__("shutil").copytree(bundle.rootfs, rootfs, symlinks=True)
    bundle.spec["root"]["path"] = str(rootfs)
    if propagation:
        bundle.linux["rootfsPropagation"] = propagation
    bundle.mount("/mnt", "none", "tmpfs")
    before = open("/proc/self/mountinfo").read()
    script = "sleep 1000"
    if mount == "joined later":
        bundle.process["capabilities"] = {kind: ["CAP_SYS_ADMIN"] for kind in ("bounding", "effective", "permitted")}
        script = "mkdir /tmp/later; mount -t tmpfs later /tmp/later && touch /tmp/later/ready; sleep 1000"
    with bundle.build("/bin/sh", "-c", script) as container:
        container.start()
        while mount == "joined later" and not os.path.exists(f"/proc/{container.pid}/root/tmp/later/ready"):
            assert container.status == "running"
        seen = open("/proc/self/mountinfo").read()
        container.delete(force=True)
    outside = [line for line in set(seen.splitlines()) - set(before.splitlines()) if str(point) in line]
    assert outside == []
