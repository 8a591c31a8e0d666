"""spec/defaults.py: the configurations to start from are valid, complete, and nobody's but the caller's."""

from __future__ import annotations

from libcontainer.spec.check import check, warnings
from libcontainer.spec.defaults import default_spec, rootless_spec


def test_the_default_configuration_is_valid_and_confined() -> None:
    """Whoever starts from it starts from a container with everything that protects the host."""
    spec = default_spec()
    assert check(spec) == []
    assert [item["type"] for item in spec["linux"]["namespaces"]] == [
        "pid",
        "network",
        "ipc",
        "uts",
        "mount",
        "cgroup",
    ]
    assert spec["process"]["noNewPrivileges"] is True
    assert spec["root"] == {"path": "rootfs", "readonly": True}
    assert sorted(spec["process"]["capabilities"]) == ["bounding", "effective", "permitted"]
    assert "/proc/kcore" in spec["linux"]["maskedPaths"]
    assert "/proc/sys" in spec["linux"]["readonlyPaths"]


def test_the_default_configuration_is_the_one_of_the_other_runtimes() -> None:
    """Scripts that edit the file by path find what they look for."""
    spec = default_spec()
    assert spec["ociVersion"] == "1.3.0"
    assert spec["hostname"] == "youki"
    assert spec["process"]["args"] == ["sh"]
    assert spec["process"]["terminal"] is True
    assert spec["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}]
    assert [mount["destination"] for mount in spec["mounts"]] == [
        "/proc",
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/dev/mqueue",
        "/sys",
        "/sys/fs/cgroup",
    ]
    assert spec["linux"]["resources"] == {"devices": [{"allow": False, "access": "rwm"}]}


def test_the_rootless_configuration_maps_one_id_and_needs_no_privilege() -> None:
    """An unprivileged user may map only the own id, has no network to connect, and no cgroup to limit."""
    spec = rootless_spec(1000, 1001)
    linux = spec["linux"]
    assert check(spec) == []
    assert warnings(spec) == []
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 1}]
    assert linux["gidMappings"] == [{"containerID": 0, "hostID": 1001, "size": 1}]
    assert {"type": "user"} in linux["namespaces"]
    assert {"type": "network"} not in linux["namespaces"]
    assert "resources" not in linux


def test_the_rootless_configuration_has_no_mount_that_names_another_id_or_a_new_sysfs() -> None:
    """gid=5 of devpts is not mapped, and sysfs belongs to the network namespace, which is the host's."""
    mounts = {mount["destination"]: mount for mount in rootless_spec(1, 1)["mounts"]}
    for mount in mounts.values():
        assert not any(option.startswith(("uid=", "gid=")) for option in mount.get("options", []))
    assert mounts["/sys"] == {
        "destination": "/sys",
        "type": "none",
        "source": "/sys",
        "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
    }


def test_each_call_returns_a_configuration_of_its_own() -> None:
    """A caller edits it in place."""
    first = default_spec()
    first["mounts"][1]["options"].append("x")
    first["process"]["capabilities"]["bounding"].clear()
    first["linux"]["maskedPaths"].clear()
    first["linux"]["resources"]["devices"].clear()
    assert check(default_spec()) == []
    assert default_spec()["process"]["capabilities"]["bounding"]
    assert default_spec()["linux"]["maskedPaths"]
    assert default_spec()["mounts"][1]["options"][-1] == "size=65536k"
    assert default_spec()["linux"]["resources"]["devices"]
