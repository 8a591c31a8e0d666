"""memory_policy.py: modes, flags and node masks of set_mempolicy(2)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcontainer.host import Host
from libcontainer.memory_policy import compile_memory_policy, list_mask
from libcontainer.plan import operations as do
from libcontainer.plan.context import Context, Options


def plan(**policy: Any) -> do.Op:
    spec = {"linux": {"memoryPolicy": policy}}
    (op,) = compile_memory_policy(Context(spec, Host(), Options()))
    return op


@given(st.sets(st.integers(0, 1023), max_size=20))
def test_a_node_list_becomes_its_bits_in_whole_words(nodes: set[int]) -> None:
    """The kernel reads machine words."""
    mask = list_mask(",".join(str(node) for node in sorted(nodes)))

    assert len(mask) % 8 == 0
    assert {bit for bit in range(8 * len(mask)) if mask[bit // 8] >> bit % 8 & 1} == nodes


@pytest.mark.parametrize(
    ("text", "mask"),
    [("", 0), ("0", 1), ("0-2,4", 0b10111), (" 1 - 1 ", 0b10), ("63", 1 << 63), ("64", 1 << 64)],
)
def test_ranges_and_spaces(text: str, mask: int) -> None:
    """cpuset(7), "List format"."""
    assert int.from_bytes(list_mask(text), "little") == mask


def test_the_number_of_bits_is_one_more_than_the_mask_has() -> None:
    """The kernel reads one bit less than it is told (set_mempolicy(2))."""
    op = plan(mode="MPOL_BIND", nodes="64", flags=["MPOL_F_STATIC_NODES"])

    assert op.operands == (2 | 1 << 15, (1 << 64).to_bytes(16, "little"), 129)


def test_without_nodes_there_is_no_mask() -> None:
    """MPOL_DEFAULT and MPOL_LOCAL take none."""
    assert plan(mode="MPOL_LOCAL").operands == (4, b"", 0)
    assert plan(mode="MPOL_DEFAULT", nodes="").operands == (0, b"", 0)
