"""The wire form of a plan: what init/wire.c reads. Mirrors libcontainer/plan/encode.py and operations.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcontainer.plan import encode, generate
from libcontainer.plan import operations as do
from libcontainer.plan.build_id import BUILD_ID

INTEGERS = st.integers(min_value=-(2**63), max_value=2**63 - 1)
TEXTS = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"."))
OPERANDS: dict[str, st.SearchStrategy[Any]] = {
    "Int": INTEGERS,
    "Text": TEXTS,
    "Blob": st.binary(max_size=40),
    "Texts": st.lists(TEXTS, max_size=4),
    "Fd": st.integers(min_value=-1, max_value=3),
    "Slot": st.integers(min_value=0, max_value=15),
}


def operations() -> st.SearchStrategy[do.Op]:
    """Any operation with any operands of the right kinds."""
    return st.one_of(
        [
            st.builds(
                kind,
                pointer=st.just(""),
                **{name: OPERANDS[k] for name, k in zip(kind.FIELDS, kind.KINDS, strict=True)},
            )
            for kind in do.OPERATIONS.values()
        ]
    )


@given(st.lists(operations(), min_size=1, max_size=12))
def test_decoding_gives_back_what_was_encoded(ops: list[do.Op]) -> None:
    """No operand is lost or changed on the way to init."""
    assert encode.decode(encode.encode(ops, 4)) == ops


def test_text_with_a_nul_is_refused() -> None:
    """A path cut short at a NUL would be another path: C strings end there."""
    with pytest.raises(ValueError, match="NUL"):
        encode.encode([do.SetHostname(pointer="/hostname", name=b"a\0b")], 0)


def test_integer_beyond_64_bits_is_refused() -> None:
    """A number that does not fit is never cut to another one (CVE-2021-43784)."""
    with pytest.raises(ValueError, match="64 bits"):
        encode.encode([do.SetUmask(pointer="", mask=2**64)], 0)


def test_plan_of_more_than_sixteen_mebibytes_is_refused() -> None:
    """init maps the plan, so its size is bounded on both sides."""
    with pytest.raises(ValueError, match="more than"):
        encode.encode([do.SetHostname(pointer="", name=b"x" * encode.MAX_SIZE)], 0)


def test_plan_of_another_version_is_refused() -> None:
    """Both halves compare the digest of the vocabulary."""
    data = bytearray(encode.encode([do.PivotRoot(pointer="")], 0))
    data[8] ^= 1
    with pytest.raises(ValueError, match="version"):
        encode.decode(bytes(data))


def test_operation_is_immutable_and_knows_its_operands() -> None:
    """A plan is data: nobody changes a step after it was decided."""
    op = do.MaskPath(pointer="/linux/maskedPaths/0", path=b"/proc/kcore")

    assert (op.path, op.pointer) == (b"/proc/kcore", "/linux/maskedPaths/0")
    with pytest.raises(AttributeError):
        op.path = b"/"  # type: ignore[misc]
    with pytest.raises(TypeError):
        do.MaskPath(pointer="", where=b"/")  # type: ignore[call-arg]


def test_codes_are_unique_and_every_operation_is_documented() -> None:
    """The code is what init dispatches on, the docstring what the manual shows."""
    for code, kind in do.OPERATIONS.items():
        assert code == kind.CODE
        assert kind.__doc__
        assert set(kind.KINDS) <= set(generate.KINDS)


def test_generated_files_are_fresh() -> None:
    """operations.h, the manual and BUILD_ID follow from operations.py and nothing else."""
    assert generate.build_id() == BUILD_ID
    assert generate.HEADER.read_text() == generate.header()
    assert generate.MANUAL.read_text() == generate.manual()
