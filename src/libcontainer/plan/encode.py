"""The wire form of a plan, and its decoder for tests.

A plan is little-endian 64-bit words followed by string bytes:

    word 0      magic "OCIPLAN1"
    word 1      BUILD_ID
    word 2      number of operations | number of descriptors << 32
    word 3      number of words | size of the whole in bytes << 32
    then        for each operation: its code | number of operands << 16, and one word an operand
    then        the tables of the `Texts` operands
    then        the bytes of all strings, each followed by NUL

An integer, descriptor or slot is its word. A string is its offset | length << 32, a list the offset of its
table | count << 32, a table entry again a string. Offsets count bytes from the start. init checks every one
of them before it carries out the first step (init/wire.c), since a length believed is a length exploited
(CVE-2021-43784).

On the hot path: imports nothing heavy.
"""

from __future__ import annotations

from struct import pack, unpack_from

from . import operations
from .build_id import BUILD_ID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC = int.from_bytes(b"OCIPLAN1", "little")
HEADER_WORDS = 4
MAX_SIZE = 16 << 20
LEAST, MASK = -(1 << 63), (1 << 64) - 1
_INTEGERS = (int, bool)
_SINGLE = (int, bool, bytes)


def encode(ops: Sequence[operations.Op], descriptors: int) -> bytes:
    """Return the wire form of `ops`, which refer to `descriptors` accompanying file descriptors.

    Raises ValueError for a NUL in a Text operand, an integer beyond 64 bits, or a plan of more than 16 MiB.
    """
    record_words = sum([1 + len(op.operands) for op in ops])
    table_words = sum([len(value) for op in ops for value in op.operands if value.__class__ not in _SINGLE])
    table_offset = 8 * (HEADER_WORDS + record_words)
    string_offset = table_offset + 8 * table_words
    words: list[int] = []
    tables: list[int] = []
    strings: list[bytes] = []
    # One loop without calls: a plan has some three hundred operands, and a call for each would double the cost.
    for op in ops:
        words.append(op.HEAD)
        for value in op.operands:
            if value.__class__ in _INTEGERS:
                if not LEAST <= value <= MASK:
                    raise ValueError(f"{_place(op)}: {value} does not fit 64 bits")
                words.append(value & MASK)
                continue
            cells, texts = words, (value,)
            if value.__class__ is not bytes:
                words.append(table_offset | len(value) << 32)
                table_offset += 8 * len(value)
                cells, texts = tables, value
            for text in texts:
                if b"\0" in text:
                    _refuse_nul(op)
                cells.append(string_offset | len(text) << 32)
                strings.append(text)
                string_offset += len(text) + 1
    if string_offset > MAX_SIZE:
        raise ValueError(f"the plan takes {string_offset} bytes, more than {MAX_SIZE}")
    total_words = HEADER_WORDS + record_words + table_words
    counts, sizes = len(ops) | descriptors << 32, total_words | string_offset << 32
    body = pack(f"<{total_words}Q", MAGIC, BUILD_ID, counts, sizes, *words, *tables)
    return body + b"\0".join(strings) + b"\0" if strings else body


def _refuse_nul(op: operations.Op) -> None:
    """Raise ValueError if a NUL is in an operand of `op` that is a C string on the other side."""
    for value, kind in zip(op.operands, op.KINDS, strict=True):
        for text in value if kind == "Texts" else (value,) if kind == "Text" else ():
            if b"\0" in text:
                raise ValueError(f"{_place(op)}: {text!r} has a NUL byte")


def _place(op: operations.Op) -> str:
    return f"{type(op).__name__} at {op.pointer or '/'}"


def decode(data: bytes) -> list[operations.Op]:
    """Return the operations of a wire form (their pointers are not part of it and come back empty).

    For tests and tools.
    """
    magic, build_id, counts, _sizes = unpack_from(f"<{HEADER_WORDS}Q", data)
    if magic != MAGIC or build_id != BUILD_ID:
        raise ValueError("not a plan of this version")
    ops: list[operations.Op] = []
    offset = 8 * HEADER_WORDS
    for _ in range(counts & 0xFFFFFFFF):
        (record,) = unpack_from("<Q", data, offset)
        kind = operations.OPERATIONS[record & 0xFFFF]
        cells = unpack_from(f"<{len(kind.FIELDS)}Q", data, offset + 8)
        operands = {
            name: _value(data, cell, k) for name, cell, k in zip(kind.FIELDS, cells, kind.KINDS, strict=True)
        }
        ops.append(kind(pointer="", **operands))
        offset += 8 * (1 + len(cells))
    return ops


def _value(data: bytes, cell: int, kind: str) -> object:
    offset, count = cell & 0xFFFFFFFF, cell >> 32
    if kind == "Text" or kind == "Blob":
        return data[offset : offset + count]
    if kind == "Texts":
        return [_value(data, entry, "Text") for entry in unpack_from(f"<{count}Q", data, offset)]
    return cell - (1 << 64) if cell >> 63 else cell
