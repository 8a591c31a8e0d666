"""The v1 cpuset controller: on which CPUs and memory nodes a cgroup may run.

Files: cpuset.cpus, cpuset.mems (cgroup-v1/cpusets.rst). Spec: config-linux.md, `cpu.cpus`, `cpu.mems`.
A new v1 cpuset is empty and takes no process until it is filled: `fill` gives it what its parent has.
"""

from __future__ import annotations

from libcgroups.cgroup import Cgroup, read_file, write_file
from libcgroups.errors import CgroupError, from_os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.resources import Resources
    from libcgroups.stats import Stats

NAME = "cpuset"
POINTERS = {"cpuset.cpus": "/cpu/cpus", "cpuset.mems": "/cpu/mems"}
_FLAGS = (
    *("cpu_exclusive", "mem_exclusive", "mem_hardwall", "memory_migrate"),
    *("memory_spread_page", "memory_spread_slab", "sched_load_balance"),
)


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return what to write, [(file, value)]; empty when nothing was asked for. Raises InvalidArgument."""
    # Only here: every container's cpuset is filled, few are limited.
    from libcgroups import resources as fields_of

    if not fields_of.any_of(resources, "cpu", ("cpus", "mems")):
        return []
    from libcgroups import cpulist

    return cpulist.settings(resources)


def fill(cgroup: Cgroup) -> None:
    """Give `cgroup`, and ancestors that are empty, the CPUs and memory nodes of the nearest filled ancestor.

    Raises CgroupError.
    """
    for file in POINTERS:
        _fill(cgroup, file)


def _fill(cgroup: Cgroup, file: str) -> None:
    empty = []
    value = ""
    for level in range(cgroup.path.count("/") + 1):
        path = f"{cgroup.ancestor(level)}/{file}"
        if level or not cgroup.made:  # a cgroup that was just made is empty; asking would only cost
            value = _read(path)
        if value:
            break
        empty.append(path)
    if not value:
        raise CgroupError(
            f"no ancestor of {cgroup.directory} has a value in {file}",
            path=f"{cgroup.directory}/{file}",
            remedy="give the cpuset that contains it CPUs and memory nodes",
        )
    for path in reversed(empty):
        _write(path, value)


def _read(path: str) -> str:
    try:
        return read_file(path).strip()
    except OSError as error:
        raise from_os(error, "read", path) from error


def _write(path: str, value: str) -> None:
    try:
        write_file(path, value)
    except OSError as error:
        raise from_os(error, "write", path, value) from error


def stats(cgroup: Cgroup) -> Stats:
    """Return where tasks may run, and the flags of the cpuset. Raises CgroupError."""
    from libcgroups import cpulist, formats
    from libcgroups.stats import CpusetStats, Stats

    return Stats(
        cpuset=CpusetStats(
            cpus=cpulist.read(cgroup, "cpuset.effective_cpus"),
            mems=cpulist.read(cgroup, "cpuset.effective_mems"),
            memory_pressure=formats.number(cgroup, "cpuset.memory_pressure"),
            sched_relax_domain_level=formats.number(cgroup, "cpuset.sched_relax_domain_level"),
            **{name: formats.flag(cgroup, f"cpuset.{name}") for name in _FLAGS},
        )
    )
