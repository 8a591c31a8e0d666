"""From resources to properties of a systemd unit, with their D-Bus types. Pure.

Authority: systemd.resource-control(5), org.freedesktop.systemd1(5). What systemd has no property for, or only
in a later version than the one that runs, is not here: the files of the cgroup are written too, always.
"""

from __future__ import annotations

from libcgroups import blockio, cpubandwidth, cpulist, memorylimit, pids
from libcgroups import resources as fields_of
from libcgroups.devices import rules as device_rules
from libcgroups.v2.cpu import DEFAULT_PERIOD_US, weight
from libcgroups.v2.io import io_weight
from libcgroups.v2.memory import swap_only

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from libcgroups.devices.rules import Rule
    from libcgroups.resources import Resources
    from libcgroups.systemd.name import UnitName

    Variant = tuple[str, Any]  # D-Bus signature, value
    Property = tuple[str, Variant]

NO_LIMIT = fields_of.UINT64_MAX
_USEC_PER_SEC = 1_000_000
_QUOTA_STEP_USEC = 10_000  # systemd keeps whole percents of a CPU
_SINCE = {  # property → first version of systemd that has it
    "AllowedCPUs": 244,
    "AllowedMemoryNodes": 244,
    "CPUQuotaPeriodUSec": 242,
    "CollectMode": 236,
    "MemoryZSwapMax": 253,
    "OOMPolicy": 253,
}
_IDLE_SINCE = 252  # CPUWeight=idle, on D-Bus 0
_THROTTLES = {
    ("read", "bps"): "IOReadBandwidthMax",
    ("write", "bps"): "IOWriteBandwidthMax",
    ("read", "iops"): "IOReadIOPSMax",
    ("write", "iops"): "IOWriteIOPSMax",
}


def unit_properties(
    unit: UnitName, description: str, pids: list[int], version: int, *, v2: bool
) -> list[Property]:
    """Return what every unit of ours is started with.

    A slice holds no processes and is not delegated; it is found by Wants=, as slices lie by their names.
    systemd forgets the unit when it ends, even when it failed: nobody else would, and its name be taken.
    """
    place: list[Property] = [("Slice", ("s", unit.slice)), ("Delegate", ("b", True)), ("PIDs", ("au", pids))]
    if unit.is_slice:
        place = [("Wants", ("as", [unit.slice]))]
    accounting = ("MemoryAccounting", "CPUAccounting", "IOAccounting" if v2 else "BlockIOAccounting")
    return [
        ("Description", ("s", description)),
        *place,
        *((name, ("b", True)) for name in (*accounting, "TasksAccounting")),
        ("DefaultDependencies", ("b", False)),
        *_known({"CollectMode": ("s", "inactive-or-failed")}, version),
    ]


def start_properties(resources: Resources | None, version: int) -> list[Property]:
    """Return what of `resources` can only be told at the start: what systemd does on an OOM kill."""
    group = _unified(resources or {}).get("memory.oom.group")
    if group not in ("0", "1") or version < _SINCE["OOMPolicy"]:
        return []
    return [("OOMPolicy", ("s", "kill" if group == "1" else "continue"))]


def v2_properties(
    resources: Resources, version: int, major_names: Mapping[tuple[int, int], str]
) -> list[Property]:
    """Return the properties for `resources` on cgroup v2. Raises InvalidArgument.

    `version` is systemd's; `major_names` is (kind, major) → driver name, see `parse_proc_devices`.
    """
    found = {
        **_memory(resources),
        **_cpu(resources, version),
        **_cpuset(resources),
        **_pids(resources),
        **_io(resources),
    }
    for file, value in _unified(resources).items():  # last: it overrides
        convert = _FILES.get(file)
        if convert is not None:
            found.update(convert(value))
    if found.get("CPUWeight") == ("t", 0) and version < _IDLE_SINCE:
        del found["CPUWeight"]
    return [*_known(found, version), *_devices(resources, major_names)]


def v1_properties(
    resources: Resources, version: int, major_names: Mapping[tuple[int, int], str]
) -> list[Property]:
    """Return the properties for `resources` on cgroup v1. Raises as `v2_properties`."""
    found = {**_quota(_cpu_fields(resources)), **_pids(resources)}
    limit = memorylimit.limit(_memory_fields(resources), "limit")
    if limit:
        found["MemoryLimit"] = _amount(limit)
    shares = _shares(resources)
    if shares:
        found["CPUShares"] = ("t", shares)
    block_weight = blockio.weight(blockio.group(resources), "weight", "/blockIO")
    if block_weight is not None:
        found["BlockIOWeight"] = ("t", block_weight)
    return [*_known(found, version), *_devices(resources, major_names)]


def settled(resources: Resources) -> dict[str, Any]:
    """Return `resources` with the CPU quota as systemd keeps it, for the files: both must say the same."""
    found = dict(resources)
    cpu = _cpu_fields(resources)
    quota, period = cpubandwidth.quota(cpu) or 0, cpubandwidth.period(cpu)
    if quota > 0:
        found["cpu"] = {**cpu, "quota": _rounded(quota, period or DEFAULT_PERIOD_US)}
    both = _cpu_max(_unified(resources).get("cpu.max", ""))
    if both is not None and both[0] > 0:
        found["unified"] = {**resources["unified"], "cpu.max": f"{_rounded(*both)} {both[1]}"}
    return found


def cpu_mask(text: str, pointer: str) -> bytes:
    """Return a list like "0-3,8" as a mask: bit N of byte N/8 is CPU N. Raises InvalidArgument."""
    mask = 0
    for part in cpulist.check(text, pointer).replace(" ", "").split(","):
        span, _, step = part.partition(":")
        first, _, last = span.partition("-")
        used, _, size = step.partition("/")
        highest = int(last or first)
        if highest > cpulist.HIGHEST:
            raise fields_of.invalid(pointer, text, f"numbers up to {cpulist.HIGHEST}")
        for number in range(int(first), highest + 1):
            if not step or (number - int(first)) % int(size) < int(used):
                mask |= 1 << number
    return mask.to_bytes(max(1, (mask.bit_length() + 7) // 8), "little")


def parse_proc_devices(table: str) -> dict[tuple[int, int], str]:
    """Return (kind, major) → name of the driver, from the text of /proc/devices (proc_devices(5))."""
    kinds = {"Character devices:": device_rules.CHARACTER, "Block devices:": device_rules.BLOCK}
    found: dict[tuple[int, int], str] = {}
    kind = 0
    for line in table.splitlines():
        kind = kinds.get(line.strip(), kind)
        major, _, name = line.strip().partition(" ")
        if major.isdigit() and name:
            found.setdefault((kind, int(major)), name)
    return found


# Each resource


def _memory(resources: Resources) -> dict[str, Variant]:
    memory = _memory_fields(resources)
    limit, swap = memorylimit.limit(memory, "limit"), memorylimit.limit(memory, "swap")
    values = {
        "MemoryMax": limit or None,
        "MemoryLow": memorylimit.limit(memory, "reservation") or None,
        "MemorySwapMax": swap_only(limit, swap),
    }
    return {name: _amount(value) for name, value in values.items() if value is not None}


def _cpu(resources: Resources, version: int) -> dict[str, Variant]:
    cpu = _cpu_fields(resources)
    found = _quota(cpu)
    idle = fields_of.integer(cpu, "idle", "/cpu", 0, 1)
    shares = _shares(resources)
    if idle and version >= _IDLE_SINCE:
        found["CPUWeight"] = ("t", 0)
    elif shares and not idle:
        found["CPUWeight"] = ("t", weight(shares))
    return found


def _quota(cpu: dict[str, Any]) -> dict[str, Variant]:
    return _ceiling(cpubandwidth.quota(cpu), cpubandwidth.period(cpu))


def _ceiling(quota: int | None, period: int | None) -> dict[str, Variant]:
    found: dict[str, Variant] = {}
    if period:
        found["CPUQuotaPeriodUSec"] = ("t", period)
    if quota or period:
        ceiling = quota is not None and quota > 0
        per_second = _per_second(quota or 0, period or DEFAULT_PERIOD_US) if ceiling else NO_LIMIT
        found["CPUQuotaPerSecUSec"] = ("t", per_second)
    return found


def _cpuset(resources: Resources) -> dict[str, Variant]:
    cpu = _cpu_fields(resources)
    found: dict[str, Variant] = {}
    for field, name in (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes")):
        text = fields_of.text(cpu, field, "/cpu")
        if text is not None:
            found[name] = ("ay", cpu_mask(text, f"/cpu/{field}"))
    return found


def _pids(resources: Resources) -> dict[str, Variant]:
    for _, value in pids.settings(resources):
        # systemd refuses 0; the file, written afterwards, takes it.
        return {"TasksMax": ("t", NO_LIMIT if value == "max" else int(value) or 1)}
    return {}


def _io(resources: Resources) -> dict[str, Variant]:
    block = blockio.group(resources)
    found: dict[str, Variant] = {}
    general = blockio.weight(block, "weight", "/blockIO")
    if general is not None:
        found["IOWeight"] = ("t", io_weight(general))
    lists: dict[str, list[tuple[str, int]]] = {}
    for number, own_weight, _, _ in blockio.weight_devices(block):
        if own_weight is not None:
            lists.setdefault("IODeviceWeight", []).append((f"/dev/block/{number}", io_weight(own_weight)))
    for direction, unit, number, rate in blockio.throttles(block):
        limits = lists.setdefault(_THROTTLES[direction, unit], [])
        limits.append((f"/dev/block/{number}", rate or NO_LIMIT))
    return {**found, **{name: ("a(st)", entries) for name, entries in lists.items()}}


def _devices(resources: Resources, major_names: Mapping[tuple[int, int], str]) -> list[Property]:
    """Return what systemd is to allow: at least what the rules do, as it knows no rule that denies.

    Its own program stands beside ours, and both must allow, so ours decides the rest. A list that systemd
    has no words for makes it allow everything, for the same reason.
    """
    if not resources.get("devices"):
        return []
    allowed: list[tuple[str, str]] = []
    for rule in device_rules.effective(device_rules.parse(resources)):
        entries = _device_entries(rule, major_names) if rule.allow else []
        if entries is None:
            return [("DevicePolicy", ("s", "auto")), ("DeviceAllow", ("a(ss)", []))]
        allowed += [entry for entry in entries if entry not in allowed]
    found: list[Property] = [("DevicePolicy", ("s", "strict")), ("DeviceAllow", ("a(ss)", []))]
    return [*found, ("DeviceAllow", ("a(ss)", allowed))] if allowed else found


def _device_entries(rule: Rule, major_names: Mapping[tuple[int, int], str]) -> list[tuple[str, str]] | None:
    """Return the entries of DeviceAllow= for one rule, None where systemd has none."""
    if rule.everything or (rule.major is None and rule.minor is not None):
        return None
    letters = "".join(
        letter
        for letter, bit in (("r", device_rules.READ), ("w", device_rules.WRITE), ("m", device_rules.MKNOD))
        if rule.access & bit
    )
    found = []
    for kind in (device_rules.BLOCK, device_rules.CHARACTER) if rule.kind is None else (rule.kind,):
        word = "block" if kind == device_rules.BLOCK else "char"
        if rule.major is None:
            found.append((f"{word}-*", letters))
        elif rule.minor is not None:
            found.append((f"/dev/{word}/{rule.major}:{rule.minor}", letters))
        elif (kind, rule.major) in major_names:
            found.append((f"{word}-{major_names[kind, rule.major]}", letters))
        else:
            return None
    return found


# `unified`: files that systemd has properties for. What cannot be read here is left to the kernel to judge.


def _file_amount(name: str) -> Callable[[str], dict[str, Variant]]:
    def convert(text: str) -> dict[str, Variant]:
        value = _bytes(text)
        return {} if value is None else {name: ("t", value)}

    return convert


def _file_cpu_idle(text: str) -> dict[str, Variant]:
    return {"CPUWeight": ("t", 0)} if text == "1" else {}


def _file_cpu_max(text: str) -> dict[str, Variant]:
    both = _cpu_max(text)
    return {} if both is None else _ceiling(*both)


def _file_mask(name: str, file: str) -> Callable[[str], dict[str, Variant]]:
    return lambda text: {name: ("ay", cpu_mask(text, f"/unified/{file}"))} if text else {}


_FILES: dict[str, Callable[[str], dict[str, Variant]]] = {
    "cpu.weight": _file_amount("CPUWeight"),
    "cpu.idle": _file_cpu_idle,
    "cpu.max": _file_cpu_max,
    "cpuset.cpus": _file_mask("AllowedCPUs", "cpuset.cpus"),
    "cpuset.mems": _file_mask("AllowedMemoryNodes", "cpuset.mems"),
    "memory.min": _file_amount("MemoryMin"),
    "memory.low": _file_amount("MemoryLow"),
    "memory.high": _file_amount("MemoryHigh"),
    "memory.max": _file_amount("MemoryMax"),
    "memory.swap.max": _file_amount("MemorySwapMax"),
    "memory.zswap.max": _file_amount("MemoryZSwapMax"),
    "pids.max": _file_amount("TasksMax"),
}


def _bytes(text: str) -> int | None:
    """Return a number as the kernel reads it (memparse: K, M, G, T), "max" as no limit, None for others."""
    text = text.strip()
    if text == "max":
        return NO_LIMIT
    shift = {"K": 10, "M": 20, "G": 30, "T": 40}.get(text[-1:].upper(), 0)
    digits = text[:-1] if shift else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    value = int(digits) << shift
    return value if value <= NO_LIMIT else None


def _cpu_max(text: str) -> tuple[int, int] | None:
    """Return (quota, -1 for none; period) of the text of cpu.max, None when it is not such a text."""
    quota, _, period = text.strip().partition(" ")
    if not (quota == "max" or _is_number(quota)) or (period and not _is_number(period)):
        return None
    return -1 if quota == "max" else int(quota), int(period or 0) or DEFAULT_PERIOD_US


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


# Small pieces


def _known(found: Mapping[str, Variant], version: int) -> list[Property]:
    return [(name, value) for name, value in found.items() if version >= _SINCE.get(name, 0)]


def _amount(value: int) -> Variant:
    return "t", NO_LIMIT if value < 0 else value


def _per_second(quota: int, period: int) -> int:
    """Return µs of CPU time per second, rounded up to what systemd keeps."""
    exact = -(-quota * _USEC_PER_SEC // period)
    return -(-exact // _QUOTA_STEP_USEC) * _QUOTA_STEP_USEC


def _rounded(quota: int, period: int) -> int:
    return _per_second(quota, period) * period // _USEC_PER_SEC


def _shares(resources: Resources) -> int:
    return fields_of.integer(_cpu_fields(resources), "shares", "/cpu", 0, fields_of.UINT64_MAX) or 0


def _cpu_fields(resources: Resources) -> dict[str, Any]:
    return fields_of.group(resources, "cpu", cpubandwidth.CPU_FIELDS)


def _memory_fields(resources: Resources) -> dict[str, Any]:
    return fields_of.group(resources, "memory", memorylimit.FIELDS)


def _unified(resources: Resources) -> Mapping[str, Any]:
    unified = resources.get("unified") or {}
    return unified if isinstance(unified, dict) else {}
