"""Lists of CPUs and memory nodes, the same in v1 and v2: "0-3,5".

Spec: config-linux.md, `cpu.cpus`, `cpu.mems`. Format: bitmap list of the kernel (cpuset(7), "List format").
"""

from __future__ import annotations

from libcgroups import resources as fields_of
from libcgroups.cpubandwidth import CPU_FIELDS
from libcgroups.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.cgroup import Cgroup
    from libcgroups.resources import Resources

HIGHEST = 8191  # CONFIG_NR_CPUS of the largest kernels


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return the writes of cpuset.cpus and cpuset.mems that are asked for. Raises InvalidArgument."""
    cpu = fields_of.group(resources, "cpu", CPU_FIELDS)
    found = []
    for field in ("cpus", "mems"):
        value = fields_of.text(cpu, field, "/cpu")
        if value is not None:
            found.append((f"cpuset.{field}", check(value, f"/cpu/{field}")))
    return found


def check(value: str, pointer: str) -> str:
    """Return `value` if it is a list like "0-3,5" (steps as in "0-31:1/4" too); raises InvalidArgument."""
    if not all(_is_range(part.strip()) for part in value.strip().split(",")):
        raise InvalidArgument(
            f"{pointer}: found {value!r}, expected a list like '0-3,5'",
            value=value,
            pointer=pointer,
            remedy=None,
        )
    return value.strip()


def read(cgroup: Cgroup, file: str) -> tuple[int, ...] | None:
    """Return the numbers of the list in `file`, None where there is no such file. Raises CgroupError."""
    from libcgroups import formats

    return formats.parsed(cgroup, file, numbers)


def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a list as the kernel writes it; raises ValueError."""
    found: list[int] = []
    for part in text.strip().split(",") if text.strip() else ():
        first, _, last = part.partition("-")
        if int(last or first) > HIGHEST:
            raise ValueError(part)
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def _is_range(part: str) -> bool:
    span, colon, step = part.partition(":")
    first, dash, last = span.partition("-")
    if not _is_number(first) or (dash and not (_is_number(last) and int(first) <= int(last))):
        return False
    if not colon:
        return True
    used, slash, size = step.partition("/")
    return bool(dash and slash) and _is_number(used) and _is_number(size) and 0 < int(used) <= int(size)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6 and int(text) <= HIGHEST
