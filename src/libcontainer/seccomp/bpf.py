"""A small assembler for classic BPF, as seccomp(2) runs it over struct seccomp_data.

The kernel's words: Documentation/networking/filter.rst, include/uapi/linux/filter.h.
"""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
JUMP = 0x05  # BPF_JMP | BPF_JA
JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JUMP_GREATER = 0x25  # BPF_JMP | BPF_JGT | BPF_K
JUMP_GREATER_EQUAL = 0x35  # BPF_JMP | BPF_JGE | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K

# struct seccomp_data
NUMBER, ARCHITECTURE = 0, 4

INSTRUCTION = Struct("=HBBI")  # struct sock_filter
MOST = 4096  # BPF_MAXINSNS


class Instruction:
    """One instruction. `then` and `otherwise` are labels, or None for the instruction that follows."""

    __slots__ = ("code", "operand", "otherwise", "then")

    def __init__(
        self, code: int, operand: int = 0, then: str | None = None, otherwise: str | None = None
    ) -> None:
        self.code = code
        self.operand = operand
        self.then = then
        self.otherwise = otherwise


def assemble(program: Sequence[Instruction | str]) -> bytes:
    """Return the bytes of a program in which a string labels the instruction that follows it.

    A label at the end means what is put behind the program. Jumps lead forward only, as the kernel demands; a
    conditional one over at most 255 instructions.
    """
    places: dict[str, int] = {}
    instructions: list[Instruction] = []
    for item in program:
        if isinstance(item, str):
            places[item] = len(instructions)
        else:
            instructions.append(item)
    parts = []
    for place, item in enumerate(instructions):
        then = 0 if item.then is None else places[item.then] - place - 1
        otherwise = 0 if item.otherwise is None else places[item.otherwise] - place - 1
        if item.code == JUMP:
            parts.append(INSTRUCTION.pack(JUMP, 0, 0, then))
        else:
            parts.append(INSTRUCTION.pack(item.code, then, otherwise, item.operand))
    return b"".join(parts)
