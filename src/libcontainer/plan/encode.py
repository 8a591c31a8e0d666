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
MASK = (1 << 64) - 1


class _Writer:
    """Collects words, tables and strings of one plan."""

    def __init__(self, table_offset: int, string_offset: int) -> None:
        self.words: list[int] = []
        self.tables: list[int] = []
        self.strings: list[bytes] = []
        self.table_offset = table_offset
        self.string_offset = string_offset

    def text(self, value: bytes) -> int:
        """Add a string and return its word."""
        length = len(value)
        word = self.string_offset | length << 32
        self.strings.append(value)
        self.string_offset += length + 1
        return word

    def texts(self, values: Sequence[bytes]) -> int:
        """Add a list of strings and return its word."""
        word = self.table_offset | len(values) << 32
        self.tables += [self.text(value) for value in values]
        self.table_offset += 8 * len(values)
        return word


def encode(ops: Sequence[operations.Op], descriptors: int) -> bytes:
    """Return the wire form of `ops`, which refer to `descriptors` accompanying file descriptors.

    Raises ValueError for a NUL in a Text operand, an integer beyond 64 bits, or a plan of more than 16 MiB.
    """
    record_words = sum([1 + len(op.KINDS) for op in ops])
    table_words = sum(
        [
            len(value)
            for op in ops
            for value, kind in zip(op.operands, op.KINDS, strict=True)
            if kind == "Texts"
        ]
    )
    table_offset = 8 * (HEADER_WORDS + record_words)
    writer = _Writer(table_offset, table_offset + 8 * table_words)
    words = writer.words
    for op in ops:
        words.append(op.CODE | len(op.KINDS) << 16)
        for value, kind in zip(op.operands, op.KINDS, strict=True):
            if kind == "Text" or kind == "Blob":
                words.append(writer.text(_checked(op, value, kind)))
            elif kind == "Texts":
                words.append(writer.texts([_checked(op, item, "Text") for item in value]))
            else:
                words.append(_integer(op, value))
    if writer.string_offset > MAX_SIZE:
        raise ValueError(f"the plan takes {writer.string_offset} bytes, more than {MAX_SIZE}")
    total_words = HEADER_WORDS + record_words + table_words
    head = (
        MAGIC,
        BUILD_ID,
        len(ops) | descriptors << 32,
        total_words | writer.string_offset << 32,
    )
    body = pack(f"<{total_words}Q", *head, *words, *writer.tables)
    return body + b"\0".join(writer.strings) + b"\0" if writer.strings else body


def _checked(op: operations.Op, value: bytes, kind: str) -> bytes:
    if kind == "Text" and b"\0" in value:
        raise ValueError(f"{type(op).__name__} at {op.pointer or '/'}: {value!r} has a NUL byte")
    return value


def _integer(op: operations.Op, value: int) -> int:
    if not -(1 << 63) <= value <= MASK:
        raise ValueError(f"{type(op).__name__} at {op.pointer or '/'}: {value} does not fit 64 bits")
    return value & MASK


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
