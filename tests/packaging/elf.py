"""The few facts about a 64-bit ELF program that the packaging tests ask for. elf(5)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

PT_INTERP, PT_DYNAMIC, PT_LOAD = 3, 2, 1
PT_GNU_STACK, PT_GNU_RELRO = 0x6474E551, 0x6474E552
PF_X, PF_W = 1, 2
SHT_SYMTAB = 2
HEADER = "<16sHHIQQQIHHHHHH"
PROGRAM_HEADER = "<IIQQQQQQ"
SECTION_HEADER = "<IIQQQQIIQQ"


class Segment(NamedTuple):
    """A program header: its type and its permission flags."""

    kind: int
    flags: int


class Elf(NamedTuple):
    """An ELF file's segments, and the types of its sections."""

    segments: list[Segment]
    sections: list[int]

    @property
    def kinds(self) -> set[int]:
        """The types of all segments."""
        return {segment.kind for segment in self.segments}


def read(path: Path) -> Elf:
    """Parse a little-endian 64-bit ELF file."""
    data = path.read_bytes()
    assert data[:6] == b"\x7fELF\x02\x01", f"{path} is not a little-endian 64-bit ELF file"
    header = struct.unpack_from(HEADER, data)
    program_offset, section_offset = header[5], header[6]
    program_size, program_count, section_size, section_count = header[9:13]
    programs = [
        struct.unpack_from(PROGRAM_HEADER, data, program_offset + i * program_size)
        for i in range(program_count)
    ]
    sections = [
        struct.unpack_from(SECTION_HEADER, data, section_offset + i * section_size)[1]
        for i in range(section_count)
    ]
    return Elf([Segment(entry[0], entry[1]) for entry in programs], sections)
