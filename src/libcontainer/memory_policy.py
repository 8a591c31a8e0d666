"""The NUMA memory policy: config-linux.md "Memory policy", set_mempolicy(2)."""

from __future__ import annotations

from libcontainer.plan import operations as do

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer.plan.context import Context
    from libcontainer.plan.operations import Op

MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
FLAGS = {"MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_STATIC_NODES": 1 << 15}
LONG_BYTES = 8


def compile_memory_policy(context: Context) -> Iterator[Op]:
    """Yield the memory policy of the payload."""
    policy = context.linux["memoryPolicy"]
    mode = MODES[policy["mode"]] | sum([FLAGS[flag] for flag in set(policy.get("flags") or ())])
    nodes = list_mask(policy.get("nodes") or "")
    # The kernel reads one bit less than it is told (set_mempolicy(2), BUGS).
    yield do.SetMemoryPolicy(
        pointer="/linux/memoryPolicy", mode=mode, nodes=nodes, max_node=8 * len(nodes) + 1 if nodes else 0
    )


def list_mask(numbers: str) -> bytes:
    """Return the mask of a list of numbers such as `0-2,4` in whole machine words; empty for an empty list."""
    value = 0
    for part in numbers.split(","):
        first, _, last = part.strip().partition("-")
        if first:
            for number in range(int(first), int(last or first) + 1):
                value |= 1 << number
    words = (value.bit_length() + 8 * LONG_BYTES - 1) // (8 * LONG_BYTES)
    return value.to_bytes(words * LONG_BYTES, "little")
