"""Names that become part of a path below a trusted directory: cgroups (GHSA-5g49-rx9x-qfc6), kernel parameters
(CVE-2022-0811), devices, classes.
"""

from __future__ import annotations

from typing import Any

import pytest

from libcontainer import Container, Error

from ..integration.conftest import Bundle

HOSTILE: list[tuple[str, Any]] = [
    ("cgroupsPath", "../evil"),
    ("cgroupsPath", "/../../evil"),
    ("cgroupsPath", "/evil/../.."),
    ("cgroupsPath", "/"),
    ("cgroupsPath", "/a\nb"),
    ("sysctl", {"net.ipv4.../../../kernel.core_pattern": "|/evil"}),
    ("sysctl", {"net/../kernel/core_pattern": "|/evil"}),
    ("sysctl", {"net.ipv4.conf./../../kernel/core_pattern": "|/evil"}),
    ("sysctl", {"kernel.core_pattern": "|/evil"}),
    ("sysctl", {"kernel/core_pattern": "|/evil"}),
    ("sysctl", {"vm.overcommit_memory": "1"}),
    ("sysctl", {"net.ipv4.ip_forward": "1\n0"}),
    ("sysctl", {"kernel.shm_rmid_forced+kernel.core_pattern": "|/evil"}),
    ("sysctl", {"": "1"}),
    ("resources", {"hugepageLimits": [{"pageSize": "../../x", "limit": 1}]}),
    ("resources", {"hugepageLimits": [{"pageSize": "2MB/../../x", "limit": 1}]}),
    ("resources", {"unified": {"../cgroup.procs": "1"}}),
    ("resources", {"unified": {"memory.max/../../cgroup.kill": "1"}}),
    ("resources", {"unified": {"/etc/passwd": "1"}}),
    ("resources", {"rdma": {"mlx5\nevil": {"hcaHandles": 1}}}),
    ("intelRdt", {"closID": "../evil"}),
    ("netDevices", {"../../eth0": {}}),
    ("netDevices", {"eth0": {"name": "../evil"}}),
]


@pytest.mark.parametrize(("field", "value"), HOSTILE, ids=str)
def test_name_never_leads_elsewhere(bundle: Bundle, field: str, value: Any) -> None:
    """It is refused, with its place in the configuration, and nothing is made."""
    bundle.linux[field] = value
    with pytest.raises(Error) as caught:
        bundle.build("true")
    assert f"/linux/{field}" in str(caught.value) or "cgroup" in str(caught.value)
    assert Container.list(bundle.root) == []


@pytest.mark.parametrize("namespace", ["network", "ipc", "uts"])
def test_parameter_of_a_namespace_that_is_the_hosts_is_refused(bundle: Bundle, namespace: str) -> None:
    """Written in a shared namespace it would be the host's own."""
    names = {"network": "net.ipv4.ip_forward", "ipc": "kernel.msgmax", "uts": "kernel.domainname"}
    bundle.remove_namespace(namespace)
    bundle.spec.pop("hostname")
    bundle.linux["sysctl"] = {names[namespace]: "1"}
    with pytest.raises(Error, match="/linux/sysctl"):
        bundle.build("true")
