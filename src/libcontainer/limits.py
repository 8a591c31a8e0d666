"""Changing the limits of a container that exists: what a caller gives, joined with what was asked for before.

The cgroup is told whole groups ("cpu", "memory"), as their fields belong together: a CPU quota means nothing
without its period, and cgroup v2 limits swap alone where the specification counts memory and swap. What was
asked for is kept in state.json for the next time. Specification: runtime-spec config-linux.md, "Control
groups"; what no specification says follows runc's `update`. Imported for an update only.
"""

from __future__ import annotations

from libcgroups.journal import Journal
from libcontainer.cgroup_errors import CgroupErrors
from libcontainer.errors import InvalidConfig, Problem
from libcontainer.spec.check_resources import MEMORY, RESOURCES
from libcontainer.spec.rules import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.container import Container
    from libcontainer.state import Directory

# A change may name one of the fields that have to agree: they are looked at with what the container has.
CHANGE = Record({**RESOURCES.fields, "memory": Record(MEMORY.fields)})
# Where 0 stands for "unset", which in an update is "leave it"; everywhere else it is a limit.
UNSET = {
    ("blockIO", "leafWeight"),
    ("blockIO", "weight"),
    ("cpu", "period"),
    ("cpu", "quota"),
    ("cpu", "realtimePeriod"),
    ("cpu", "shares"),
    ("memory", "kernel"),
    ("memory", "kernelTCP"),
    ("memory", "limit"),
    ("memory", "reservation"),
    ("memory", "swap"),
}
# What tells the entries of a list from each other: a new one replaces the old one of the same name.
IDENTITY = {
    "hugepageLimits": ("pageSize",),
    "priorities": ("name",),
    "throttleReadBpsDevice": ("major", "minor"),
    "throttleReadIOPSDevice": ("major", "minor"),
    "throttleWriteBpsDevice": ("major", "minor"),
    "throttleWriteIOPSDevice": ("major", "minor"),
    "weightDevice": ("major", "minor"),
}


def update(
    container: Container,
    directory: Directory,
    resources: dict[str, Any],
    l3_cache_schema: str | None,
    mem_bw_schema: str | None,
) -> None:
    """Change the limits of the container whose `directory` is locked; see Container.update."""
    source = f"the update of {container.id}"
    _check(CHANGE, resources, source)
    change = wanted(resources)
    if resources.get("devices"):
        container.warnings += ("device rules are not changed by an update",)
    saved = container._record.get("resources")
    if saved is None:
        saved = (container.spec().get("linux") or {}).get("resources") or {}
    result = joined(saved, change)
    _check(RESOURCES, result, source)
    manager = container._manager()
    with CgroupErrors(None), Journal(manager):
        manager.update({group: result[group] for group in change})
        if l3_cache_schema or mem_bw_schema:
            _update_rdt(container, directory, l3_cache_schema, mem_bw_schema)
        record = {**container._record, "resources": result}
        directory.write_record("state.json", record)
    container._record = record


def _update_rdt(
    container: Container, directory: Directory, l3_cache_schema: str | None, mem_bw_schema: str | None
) -> None:
    from libcontainer import rdt
    from libcontainer.host import Host

    record = container._record
    rdt.update(
        record,
        container_id=container.id,
        mounts=Host().mounts,
        save=lambda: directory.write_record("state.json", record),
        processes=container.processes,
        l3_cache_schema=l3_cache_schema,
        mem_bw_schema=mem_bw_schema,
    )


def wanted(resources: dict[str, Any]) -> dict[str, Any]:
    """Return what `resources` ask to change: without null and unset fields, empty groups and device rules.

    No limit of memory means none of memory and swap either, unless that is given (as runc has it).
    """
    change: dict[str, Any] = {}
    for group, value in resources.items():
        if group == "devices" or value is None:
            continue
        if isinstance(value, dict):
            value = {name: item for name, item in value.items() if not _is_unset(group, name, item)}
        if value:
            change[group] = value
    memory = change.get("memory", {})
    if memory.get("limit") == -1 and "swap" not in memory:
        change["memory"] = {**memory, "swap": -1}
    return change


def _is_unset(group: str, name: str, value: object) -> bool:
    return value in (None, "") or (value == 0 and (group, name) in UNSET)


def joined(saved: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return `saved` with `change` in it. Pure: neither is changed.

    Whether to look at the usage first is a matter of each call, and not kept.
    """
    result = _join(saved, change, "")
    if result.get("memory"):
        asked = change.get("memory", {}).get("checkBeforeUpdate", False)
        result["memory"] = {**result["memory"], "checkBeforeUpdate": asked}
    assert isinstance(result, dict)
    return result


def _join(saved: Any, change: Any, name: str) -> Any:
    if isinstance(change, dict) and isinstance(saved, dict):
        return {**saved, **{key: _join(saved.get(key), value, key) for key, value in change.items()}}
    if isinstance(change, list) and name in IDENTITY:
        entries: dict[tuple[Any, ...], dict[str, Any]] = {}
        for entry in [*(saved or ()), *change]:
            identity = tuple([entry[key] for key in IDENTITY[name]])
            entries[identity] = {**entries.get(identity, {}), **entry}
        return list(entries.values())
    return change


def _check(rule: Record, resources: object, source: str) -> None:
    """Raise InvalidConfig with every problem; pointers count from the top of the resources."""
    problems: list[Problem] = []
    rule.whole(resources, "", problems)
    if problems:
        raise InvalidConfig(source, problems)
