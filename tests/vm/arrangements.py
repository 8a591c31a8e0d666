"""Which modules of tests/integration run in which guest.

All that touches control groups, and what depends on them; what does not is the same on this machine. The core runs
with `make test`, all of it with `make test-vm`. A module whose every test is skipped in a guest does not belong there.
"""

from __future__ import annotations

from typing import NamedTuple


class Modules(NamedTuple):
    """The `core` and what there is `more`, each with the seconds that it may take on a busy machine."""

    core: tuple[str, ...]
    core_s: float
    more: tuple[str, ...]
    more_s: float


MODULES = {
    "v2": Modules(
        core=(
            *(
                "cgroups_lifecycle",
                "cgroups_limits",
                "cgroups_ebpf",
                "cgroups_stats",
                "cgroups_notifications",
            ),
            *("lifecycle", "unified", "pause"),
        ),
        core_s=900,
        more=(
            *("bad_limits", "cgroup_mounts", "devices", "events", "many_containers", "namespaces", "nested"),
            *("processes", "rootless", "seccomp", "stats", "update", "userns", "youki_exec"),
            *("tenant", "tenant_namespaces", "tenant_process", "tenant_rootless"),
            *("cgroups_aio", "cgroups_delegation"),
        ),
        more_s=2400,
    ),
    "systemd": Modules(
        core=("systemd", "systemd_user"),
        core_s=900,
        more=("cgroups_systemd", "cgroups_limits", "cgroups_stats", "lifecycle", "pause", "unified"),
        more_s=1800,
    ),
}
