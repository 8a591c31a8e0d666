"""The runtime inside of a container of its own, in a user namespace, as builders and CI jobs run it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer.capabilities import NUMBERS

from .conftest import BUSYBOX, YOUKI
from .rootless import NEEDED

if TYPE_CHECKING:
    from .conftest import Bundle, Result

PR_CAPBSET_DROP = 24
INNER = "/scratch/inner"
PREPARE = f"""
set -eu
mkdir -p {INNER}/rootfs/bin {INNER}/rootfs/proc {INNER}/rootfs/dev {INNER}/rootfs/sys {INNER}/rootfs/tmp
cp {BUSYBOX} {INNER}/rootfs/bin/
/bin/cp /config.json {INNER}/config.json
"""
RUN = f"{YOUKI} --root /scratch/state run -b {INNER} inner"


@pytest.fixture
def outer(bundle: Bundle) -> Bundle:
    """A container in a user namespace that has the host's programs, read-only, and every capability."""
    bundle.add_userns()
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []  # else the kernel refuses a fresh proc
    names = [name for name, number in NUMBERS.items() if _held() >> number & 1]
    bundle.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), names)
    root = bundle.path / "outer"
    bundle.spec["root"]["path"] = str(root)
    for name in ("proc", "dev", "sys", "tmp", "etc", "run", "root", "scratch"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path(f"/{name}").is_symlink():
            (root / name).symlink_to(Path(f"/{name}").readlink())
        elif Path(f"/{name}").exists():
            _bind(bundle, f"/{name}")
    for path in dict.fromkeys(("/usr", *NEEDED)):
        _bind(bundle, path)
    # Not at /tmp: the tree with the runtime may lie there.
    bundle.mount("/scratch", "tmpfs", "tmpfs", "nosuid", "nodev", "mode=1777")
    return bundle


def _held() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("CapPrm:\t")[2].split("\n")[0], 16)


def _bind(bundle: Bundle, path: str) -> None:
    os.makedirs(str(bundle.path / "outer") + path, exist_ok=True)
    bundle.mount(path, path, "bind", "rbind", "ro")


def run_inner(outer: Bundle, inner: dict[str, object]) -> Result:
    """Run the inner configuration by the runtime inside of the outer container."""
    (outer.path / "outer/config.json").write_text(json.dumps(inner))
    return outer.sh(f"{PREPARE}\n{RUN}")


def inner_spec(*, userns: bool) -> dict[str, Any]:
    """Return the default configuration, for the root of a user namespace."""
    from libcontainer.spec.defaults import default_spec, rootless_spec

    spec = dict(rootless_spec(0, 0) if userns else default_spec())
    spec["process"]["terminal"] = False
    spec["process"]["args"] = ["/bin/busybox", "sh", "-c", "busybox cat /proc/self/uid_map; exit 6"]
    spec["linux"].pop("resources", None)
    return spec


def test_root_of_a_container_makes_containers(outer: Bundle) -> None:
    """Without another user namespace: its capabilities suffice, and devices are bound instead of made."""
    result = run_inner(outer, inner_spec(userns=False))

    assert result.status.code == 6, result
    assert result.stdout.split() == ["0", "100000", "65536"]


def test_root_of_a_container_makes_containers_in_user_namespaces(outer: Bundle) -> None:
    """A second level of mapping: root of the inner is root of the outer is an unprivileged user."""
    result = run_inner(outer, inner_spec(userns=True))

    assert result.status.code == 6, result
    assert result.stdout.split() == ["0", "0", "1"]


def test_range_of_the_outer_container_can_be_divided(outer: Bundle) -> None:
    """Root inside writes the maps itself, of ids that it has."""
    spec = inner_spec(userns=True)
    for field in ("uidMappings", "gidMappings"):
        spec["linux"][field] = [{"containerID": 0, "hostID": 1000, "size": 500}]
    result = run_inner(outer, spec)

    assert result.status.code == 6, result
    assert result.stdout.split() == ["0", "1000", "500"]


def test_ids_that_the_outer_container_lacks_are_refused(outer: Bundle) -> None:
    """The kernel's EPERM becomes a sentence: the ids must be mapped in the runtime's own user namespace."""
    spec = inner_spec(userns=True)
    spec["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 70000, "size": 1}]
    result = run_inner(outer, spec)

    assert result.status.code == 1
    assert "uid mapping" in result.stderr
    assert "mapped in this process's own user namespace" in result.stderr


@pytest.mark.parametrize("kind", ["user", "net"])
def test_limit_of_namespaces_is_named(outer: Bundle, kind: str) -> None:
    """ENOSPC of unshare and clone is no full disk: the remedy names the sysctl (namespaces(7))."""
    outer.linux["sysctl"] = {f"user.max_{kind}_namespaces": "0"}
    result = run_inner(outer, inner_spec(userns=kind == "user"))

    assert result.status.code == 1
    assert "limit of namespaces" in result.stderr


@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL, errno.ENOSYS])
def test_bounding_set_that_cannot_be_dropped_is_no_small_thing(outer: Bundle, number: int) -> None:
    """A filter around the runtime may answer anything: a payload with more than was configured is worse than none."""
    drop = {"index": 0, "value": PR_CAPBSET_DROP, "op": "SCMP_CMP_EQ"}
    rule = {"names": ["prctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": number, "args": [drop]}
    outer.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    result = run_inner(outer, inner_spec(userns=False))

    assert result.status.code == 1, result
    assert "PR_CAPBSET_DROP" in result.stderr


def test_capabilities_that_are_gone_already_need_no_right_to_drop_them(outer: Bundle) -> None:
    """Without CAP_SETPCAP nothing can be dropped, and here nothing has to be."""
    sets = outer.process["capabilities"]
    names = [name for name in sets["bounding"] if name != "CAP_SETPCAP"]
    outer.process["capabilities"] = dict.fromkeys(sets, names)
    spec = inner_spec(userns=False)
    spec["process"]["capabilities"] = dict.fromkeys(sets, names)
    result = run_inner(outer, spec)
    assert result.status.code == 6, result

    spec["process"]["capabilities"] = {name: ["CAP_KILL"] for name in sets}
    result = run_inner(outer, spec)
    assert result.status.code == 1, result
    assert "PR_CAPBSET_DROP" in result.stderr
