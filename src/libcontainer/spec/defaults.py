"""The configurations to start from: what `youki spec` and `youki spec --rootless` write. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.spec.types import Capabilities, Linux, Mount, Process, Spec

VERSION = "1.3.0"
"""The version of the runtime-spec that this runtime implements."""

CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

# (destination, type, source, options)
MOUNTS = (
    ("/proc", "proc", "proc", ""),
    ("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
    ("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
    ("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
    ("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
    ("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
    ("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"),
)


def default_spec() -> Spec:
    """Return a new configuration that runs `sh` on a terminal, in the bundle's read-only `rootfs`."""
    return {
        "ociVersion": VERSION,
        "process": _process(),
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "youki",
        "mounts": [_mount(*row) for row in MOUNTS],
        "linux": _linux(),
    }


def rootless_spec(uid: int, gid: int) -> Spec:
    """Return the default configuration for a user without privileges: root inside is `uid` and `gid` outside.

    One id is mapped, so mount options that name another are left out. The host's network is kept, since
    nothing could be connected to a new one, and sysfs, which belongs to the network namespace, is bound
    from the host. There are no resources: a user's cgroup is often not delegated.
    """
    spec = default_spec()
    spec["mounts"] = [_rootless_mount(mount) for mount in spec["mounts"]]
    linux = spec["linux"]
    del linux["resources"]
    linux["namespaces"] = [item for item in linux["namespaces"] if item["type"] != "network"]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    return spec


def _process() -> Process:
    capabilities: Capabilities = {
        "bounding": list(CAPABILITIES),
        "effective": list(CAPABILITIES),
        "permitted": list(CAPABILITIES),
    }
    return {
        "terminal": True,
        "user": {"uid": 0, "gid": 0},
        "args": ["sh"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": capabilities,
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    }


def _linux() -> Linux:
    return {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [
            {"type": "pid"},
            {"type": "network"},
            {"type": "ipc"},
            {"type": "uts"},
            {"type": "mount"},
            {"type": "cgroup"},
        ],
        "maskedPaths": list(MASKED_PATHS),
        "readonlyPaths": list(READONLY_PATHS),
    }


def _mount(destination: str, kind: str, source: str, options: str) -> Mount:
    mount: Mount = {"destination": destination, "type": kind, "source": source}
    if options:
        mount["options"] = options.split(",")
    return mount


def _rootless_mount(mount: Mount) -> Mount:
    if mount["destination"] == "/sys":
        return _mount("/sys", "none", "/sys", "rbind,nosuid,noexec,nodev,ro")
    if "options" in mount:
        mount["options"] = [option for option in mount["options"] if not option.startswith(("uid=", "gid="))]
    return mount
