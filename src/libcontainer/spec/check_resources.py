"""The check of `linux.resources`: config-linux.md "Control groups". Pure. On the hot path.

What a controller or its version cannot do is for libcgroups to say: it knows the host.
"""

from __future__ import annotations

from libcontainer.errors import Problem
from libcontainer.spec.rules import (
    INT64,
    LINE,
    MAJOR,
    MINOR,
    UINT32,
    UINT64,
    Array,
    Choice,
    FreeMap,
    Integer,
    Record,
    Text,
    boolean,
    describe,
    integer,
    missing,
    text,
    word,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Some callers write "leave it alone" as the unsigned form of -1.
SWAPPINESS_UNSET = 2**64 - 1
PAGE_UNITS = {"KB": 10, "MB": 20, "GB": 30}


def _is_access(value: str) -> bool:
    return value != "" and not value.strip("rwm")


def _is_page_size(value: str) -> bool:
    digits, unit = value[:-2], value[-2:]
    if (
        unit not in PAGE_UNITS
        or not (digits.isascii() and digits.isdecimal())
        or digits[0] == "0"
        or len(digits) > 9
    ):
        return False
    return int(digits).bit_count() == 1  # the unit is a power of two itself


def _is_file_name(value: str) -> bool:
    """A file of a cgroup, CONTROLLER.PARAMETER: it cannot lead to another directory (cgroup-v2.rst)."""
    return 0 < value.find(".") < len(value) - 1 and "/" not in value and "\n" not in value


def _is_device_name(value: str) -> bool:
    return value != "" and not any(character.isspace() for character in value)


def _swappiness(value: object, pointer: str, key: str | int, problems: list[Problem]) -> None:
    if value != SWAPPINESS_UNSET or type(value) is not int:
        SWAPPINESS(value, pointer, key, problems)


def _weight(value: object, pointer: str, key: str | int, problems: list[Problem]) -> None:
    if value != 0 or type(value) is not int:
        WEIGHT(value, pointer, key, problems)


def _check_device(device: dict[str, Any], here: str, problems: list[Problem]) -> None:
    """An absent access is all of it, which is the safer reading only where it is denied."""
    if device.get("allow") is True and device.get("access") is None:
        problems.append(missing(f"{here}/access", "what is allowed: one or more of r, w, m"))


def _check_memory(memory: dict[str, Any], here: str, problems: list[Problem]) -> None:
    """`swap` is memory and swap together, so it cannot be below `limit` (config-linux.md "Memory")."""
    limit, swap = integer(memory, "limit") or 0, integer(memory, "swap") or 0
    if swap <= 0 or limit == -1:
        return
    if limit == 0:
        expected = "a limit beside it: swap is the limit of memory and swap together"
        problems.append(Problem(f"{here}/swap", str(swap), expected))
    elif swap < limit:
        problems.append(Problem(f"{here}/swap", str(swap), f"at least the memory limit, {limit}"))


def _check_weights(device: dict[str, Any], here: str, problems: list[Problem]) -> None:
    if device.get("weight") is None and device.get("leafWeight") is None:
        problems.append(missing(f"{here}/weight", "weight or leafWeight, or both"))


def _check_page_sizes(limits: list[Any], here: str, problems: list[Problem]) -> None:
    seen: set[str] = set()
    for index, limit in enumerate(limits):
        size = word(limit, "pageSize")
        if size in seen:
            problems.append(Problem(f"{here}/{index}/pageSize", describe(size), "each page size once"))
        if size is not None:
            seen.add(size)


SWAPPINESS = Integer(0, 100)
WEIGHT = Integer(10, 1000, "an integer from 10 to 1000, or 0 for unset")
# -1 is "no limit"; the kernel's counters are signed.
LIMIT = Integer(-1, 2**63 - 1)
WILD_MAJOR = Integer(-1, MAJOR.high)
WILD_MINOR = Integer(-1, MINOR.high)

THROTTLE = Array(Record({"major": MAJOR, "minor": MINOR, "rate": UINT64}, ("major", "minor", "rate")))

DEVICES = Array(
    Record(
        {
            "allow": boolean,
            "type": Choice("a", "b", "c"),
            "major": WILD_MAJOR,
            "minor": WILD_MINOR,
            "access": Text("one or more of r, w, m", _is_access),
        },
        ("allow",),
        also=_check_device,
    )
)
CPU = Record(
    {
        "shares": UINT64,
        "quota": INT64,
        "burst": UINT64,
        "period": UINT64,
        "realtimeRuntime": INT64,
        "realtimePeriod": UINT64,
        "cpus": LINE,
        "mems": LINE,
        "idle": Integer(0, 1),
    }
)
MEMORY = Record(
    {
        "limit": LIMIT,
        "reservation": LIMIT,
        "swap": LIMIT,
        "kernel": LIMIT,
        "kernelTCP": LIMIT,
        "swappiness": _swappiness,
        "disableOOMKiller": boolean,
        "useHierarchy": boolean,
        "checkBeforeUpdate": boolean,
    },
    also=_check_memory,
)
BLOCK_IO = Record(
    {
        "weight": _weight,
        "leafWeight": _weight,
        "weightDevice": Array(
            Record(
                {"major": MAJOR, "minor": MINOR, "weight": _weight, "leafWeight": _weight},
                ("major", "minor"),
                also=_check_weights,
            )
        ),
        "throttleReadBpsDevice": THROTTLE,
        "throttleWriteBpsDevice": THROTTLE,
        "throttleReadIOPSDevice": THROTTLE,
        "throttleWriteIOPSDevice": THROTTLE,
    }
)
HUGEPAGE_LIMITS = Array(
    Record(
        {"pageSize": Text("a power of two of KB, MB or GB such as 2MB", _is_page_size), "limit": UINT64},
        ("pageSize", "limit"),
    ),
    also=_check_page_sizes,
)
NETWORK = Record(
    {
        "classID": UINT32,
        "priorities": Array(
            Record(
                {"name": Text("the name of a network interface", _is_device_name), "priority": UINT32},
                ("name", "priority"),
            )
        ),
    }
)
RDMA = FreeMap(
    Record({"hcaHandles": UINT32, "hcaObjects": UINT32}), _is_device_name, "the name of an RDMA device"
)
UNIFIED = FreeMap(text, _is_file_name, "the file of a controller such as memory.high")

RESOURCES = Record(
    {
        "devices": DEVICES,
        "memory": MEMORY,
        "cpu": CPU,
        "pids": Record({"limit": LIMIT}, ("limit",)),
        "blockIO": BLOCK_IO,
        "hugepageLimits": HUGEPAGE_LIMITS,
        "network": NETWORK,
        "rdma": RDMA,
        "unified": UNIFIED,
    },
    firm=("devices",),
)
