"""What this runtime implements, as the OCI runtime specification defines it (features.md, features-linux.md).

It tells what the program can do, not what the host offers (see `info` for that). Every list is taken from the
table that the runtime itself works by, and every switch from the module that does the work, so that no
promise outlives its code. Not on the hot path.
"""

from __future__ import annotations

from importlib.util import find_spec

from libcontainer import capabilities, memory_policy, mount_options
from libcontainer.version import OCI_VERSION, OCI_VERSION_MIN, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
NAMESPACES = ("cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts")


def features() -> dict[str, Any]:
    """Return the features structure."""
    return {
        "ociVersionMin": OCI_VERSION_MIN,
        "ociVersionMax": OCI_VERSION,
        "hooks": list(HOOKS),
        "mountOptions": sorted(mount_options.OPTIONS),
        "linux": _linux(),
        "annotations": _annotations(),
        "potentiallyUnsafeConfigAnnotations": _unsafe_annotations(),
    }


def implemented(module: str) -> bool:
    """Say whether the module that does a piece of work exists; an empty directory does not count."""
    package, _, _ = module.rpartition(".")
    if package and not implemented(package):
        return False
    spec = find_spec(module)
    return spec is not None and spec.origin is not None


def _linux() -> dict[str, Any]:
    return {
        "namespaces": list(NAMESPACES),
        "capabilities": list(capabilities.NAMES),
        "cgroup": _cgroup(),
        "seccomp": _seccomp(),
        "apparmor": {"enabled": implemented("libcontainer.lsm")},
        "selinux": {"enabled": implemented("libcontainer.lsm")},
        "intelRdt": _intel_rdt(),
        "memoryPolicy": {"modes": sorted(memory_policy.MODES), "flags": sorted(memory_policy.FLAGS)},
        "mountExtensions": {"idmap": {"enabled": "idmap" in mount_options.OPTIONS}},
        "netDevices": {"enabled": implemented("libcontainer.network")},
    }


def _cgroup() -> dict[str, bool]:
    systemd = implemented("libcgroups.systemd.manager")
    return {
        "v1": implemented("libcgroups.v1.manager"),
        "v2": implemented("libcgroups.v2.manager"),
        "systemd": systemd,
        "systemdUser": systemd,
        "rdma": implemented("libcgroups.v2.rdma"),
    }


def _seccomp() -> dict[str, Any]:
    if not implemented("libcontainer.seccomp"):
        return {"enabled": False}
    seccomp = __import__("libcontainer.seccomp", fromlist=["features"])
    return {"enabled": True, **seccomp.features()}


def _intel_rdt() -> dict[str, bool]:
    enabled = implemented("libcontainer.rdt")
    return {"enabled": enabled, "schemata": enabled, "monitoring": enabled}


def _annotations() -> dict[str, str]:
    checkpoint = "true" if implemented("libcontainer.criu") else "false"
    # Engines ask for checkpoint support by runc's name for it.
    return {"org.opencontainers.runc.checkpoint.enabled": checkpoint, "run.oci.youki.version": VERSION}


def _unsafe_annotations() -> list[str]:
    """Annotations that change what the runtime does on the host; a name that ends in "." is a prefix."""
    owners = (
        ("libcgroups.systemd.manager", "org.systemd.property."),
        ("libcontainer.criu", "org.criu.config"),
    )
    return [annotation for module, annotation in owners if implemented(module)]
