"""The integration tests on arrangements of control groups that this machine does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Inside

SMOKE = ("test_lifecycle", "test_unified")
CGROUPS = (
    "test_cgroups_lifecycle",
    "test_cgroups_limits",
    "test_cgroups_ebpf",
    "test_cgroups_systemd",
    "test_cgroup_mounts",
    "test_devices",
)
NAMESPACES = ("test_namespaces", "test_userns", "test_nested", "test_many_containers")


def test_containers_live_on_cgroup_v2(run_inside: Callable[..., Inside]) -> None:
    """Most machines have version 2 only; the life of a container, its limits and its end must work there."""
    run_inside(*SMOKE, timeout_s=300)


@pytest.mark.slow
@pytest.mark.parametrize(
    "modules", [CGROUPS, NAMESPACES, ("test_rootless",)], ids=["cgroups", "namespaces", "rootless"]
)
def test_integration_tests_pass_on_cgroup_v2(
    run_inside: Callable[..., Inside], modules: tuple[str, ...]
) -> None:
    """The same tests as here, on a real hierarchy with all controllers."""
    run_inside(*modules, timeout_s=1500)


@pytest.mark.slow
def test_containers_are_scopes_where_systemd_manages_the_host(run_inside: Callable[..., Inside]) -> None:
    """A systemd that owns all cgroups, its bus and its reloads, and no double of it."""
    run_inside("test_systemd", timeout_s=900, systemd=True)
