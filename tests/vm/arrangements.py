"""Which modules of tests/integration, and of tests/clients, run in which guest.

All that touches control groups, and what depends on them; what does not is the same on this machine. The core runs
with `make test`, all of it, and the engines, with `make test-vm`. A module whose every test is skipped in a guest does
not belong there.
"""

from __future__ import annotations

from typing import NamedTuple


class Modules(NamedTuple):
    """The `core`, what there is `more`, and the `clients`, each with the seconds that it may take on a busy machine.

    Of a module of `clients` single tests can be named, as `module::test`: an engine's command takes seconds there.
    """

    core: tuple[str, ...]
    core_s: float
    more: tuple[str, ...]
    more_s: float
    clients: tuple[str, ...]
    clients_s: float


def path(name: str, kind: str) -> str:
    """Return what pytest is given to run a module of tests/`kind`, or one test of it."""
    module, colons, test = name.partition("::")
    return f"tests/{kind}/test_{module}.py{colons}{test}"


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
            *("processes", "rootless", "seccomp", "shortages", "stats", "update", "userns", "youki_exec"),
            *("tenant", "tenant_namespaces", "tenant_process", "tenant_rootless"),
            *("cgroups_aio", "cgroups_delegation", "checkpoint"),
        ),
        more_s=3000,
        clients=(
            "podman_limits",
            *(f"podman_lifecycle::test_{name}" for name in ("pause", "exec_in_a_paused_container")),
            *("podman_exec::test_is_in_the_namespaces_and_the_cgroup", "podman_watch::test_stats"),
        ),
        clients_s=1800,
    ),
    "systemd": Modules(
        core=("systemd", "systemd_user"),
        core_s=900,
        more=("cgroups_systemd", "cgroups_limits", "cgroups_stats", "lifecycle", "pause", "unified"),
        more_s=1800,
        clients=("podman_systemd",),
        clients_s=1800,
    ),
}
