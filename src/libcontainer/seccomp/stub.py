"""ENOSYS for system calls that are newer than the profile: instructions that stand before its program.

A profile that forbids by default cannot name what did not exist when it was written, and EPERM tells a C library that a
call is forbidden, not that it should try the older one. So a number beyond the largest one that the profile names, by
architecture, is answered with ENOSYS, which is also the truth on an older kernel. Numbers below stay the profile's.
"""

from __future__ import annotations

from libcontainer.seccomp.bpf import (
    ARCHITECTURE,
    JUMP,
    JUMP_EQUAL,
    JUMP_GREATER,
    JUMP_GREATER_EQUAL,
    LOAD,
    NUMBER,
    RETURN,
    Instruction,
    assemble,
)
from libcontainer.seccomp.profile import ACTIONS, ENOSYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# x32 is called through the gate of x86_64 with this bit in the number: linux/audit.h, asm/unistd.h.
X86_64, X32 = 0xC000003E, 0x4000003E
X32_BIT = 0x4000_0000
SKIPPED = 0xFFFF_FFFF


def stub(largest: Mapping[int, int]) -> bytes:
    """Return the instructions for the largest number of each architecture (its token of seccomp_arch_native(3)).

    Other architectures, and x32 where it is not among them, are left to the program that follows.
    """
    if not largest:
        return b""
    program: list[Instruction | str] = [Instruction(LOAD, ARCHITECTURE)]
    for token, number in largest.items():
        if token == X32:
            continue  # beside X86_64
        after = f"after {token:#x}"
        program += [Instruction(JUMP_EQUAL, token, otherwise=after), Instruction(LOAD, NUMBER)]
        if token == X86_64:
            program += [Instruction(JUMP_GREATER_EQUAL, X32_BIT, then="x32")]
        program += _limit(number)
        if token == X86_64:
            program += ["x32", *(_limit(largest[X32]) if X32 in largest else ())]
        program += [Instruction(JUMP, then="program"), after]
    return assemble([*program, "program"])


def _limit(number: int) -> list[Instruction]:
    """Answer what is beyond `number` but for -1, which is a tracer's "skip": that is the program's own affair."""
    return [
        Instruction(JUMP_GREATER, number, otherwise="program"),
        Instruction(JUMP_EQUAL, SKIPPED, then="program"),
        Instruction(RETURN, ACTIONS["SCMP_ACT_ERRNO"] | ENOSYS),
    ]
