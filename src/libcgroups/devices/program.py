"""The compiler from device rules to a program of type BPF_PROG_TYPE_CGROUP_DEVICE. Pure.

The kernel calls the program for every open(2) of a device and every mknod(2) in the cgroup, with a pointer to
`struct bpf_cgroup_dev_ctx` (linux/bpf.h) in r1; a result of 1 allows, 0 refuses with EPERM.

The program goes through the rules backwards, since the last that matches counts, and keeps in a register the
requested bits that no rule has decided yet. A rule that matches the device and denies one of them refuses
the whole access; one that allows some of them takes those off, and the access is allowed when none is left.
So a rule for only a part of what was asked decides only that part. What no rule decides is denied. An access
that asks for nothing (access(2) with F_OK) is allowed: it opens nothing.

Instruction set: Documentation/bpf/standardization/instruction-set.rst; only what Linux 4.15 knows is used.
"""

from __future__ import annotations

import struct
import sys

from libcgroups.devices.rules import effective

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.devices.rules import Rule

# Registers. R0 is the result, R1 the context on entry.
_RESULT, _CONTEXT, _KIND, _UNDECIDED, _MAJOR, _MINOR, _SCRATCH = range(7)

# Operation codes: class | source | operation.
_LDX_W = 0x61  # dst = *(u32 *)(src + offset)
_MOV32_K, _AND32_K, _RSH32_K = 0xB4, 0x54, 0x74  # on 32 bits; the upper half becomes zero
_MOV32_X = 0xBC
_JA, _JEQ_K, _JNE_K, _JSET_K, _JNE_X = 0x05, 0x15, 0x55, 0x45, 0x5D
_EXIT = 0x95

_CONTEXT_FIELDS = {_KIND: 0, _MAJOR: 4, _MINOR: 8}  # struct bpf_cgroup_dev_ctx: access_type, major, minor
_ACCESS_SHIFT = 16  # access_type: the access in the upper half, the kind of device in the lower
_KIND_MASK = 0xFFFF
_SIGNED_MAX = (1 << 31) - 1
INSTRUCTION_BYTES = 8
PROGRAM_NAME = b"libcgroups_dev"  # by which ours are known; at most 15 characters: BPF_OBJ_NAME_LEN

_Instruction = tuple[int, int, int, int, int]  # code, dst, src, offset, immediate


def compile_rules(rules: list[Rule], byteorder: str = sys.byteorder) -> bytes:
    """Return the program that decides as `rules` say, in the byte order of the kernel that will load it.

    Up to 10 instructions of 8 bytes for a rule; all jumps stay within their rule.
    """
    code: list[_Instruction] = [
        *((_LDX_W, register, _CONTEXT, offset, 0) for register, offset in _CONTEXT_FIELDS.items()),
        (_MOV32_X, _UNDECIDED, _KIND, 0, 0),
        (_RSH32_K, _UNDECIDED, 0, 0, _ACCESS_SHIFT),
        (_AND32_K, _KIND, 0, 0, _KIND_MASK),
    ]
    for rule in reversed(effective(rules)):
        code += _rule(rule)
    code += [
        (_MOV32_K, _RESULT, 0, 0, 1),
        (_JEQ_K, _UNDECIDED, 0, 1, 0),
        (_MOV32_K, _RESULT, 0, 0, 0),
        (_EXIT, 0, 0, 0, 0),
    ]
    return b"".join(_encode(instruction, byteorder) for instruction in code)


def _rule(rule: Rule) -> list[_Instruction]:
    """Return the instructions of one rule; a device that it does not match jumps behind them."""
    code = _decision(rule)
    wanted = ((_MINOR, rule.minor), (_MAJOR, rule.major), (_KIND, rule.kind))
    for register, number in wanted:  # from the end, so that the length of what is jumped over is known
        if number is not None:
            code = _unless_equal(register, number, len(code)) + code
    return code


def _decision(rule: Rule) -> list[_Instruction]:
    """Return what a rule does to an access to its device."""
    if not rule.allow:
        return [
            (_JSET_K, _UNDECIDED, 0, 1, rule.access),
            (_JA, 0, 0, 2, 0),
            (_MOV32_K, _RESULT, 0, 0, 0),
            (_EXIT, 0, 0, 0, 0),
        ]
    return [
        (_AND32_K, _UNDECIDED, 0, 0, ~rule.access),
        (_JNE_K, _UNDECIDED, 0, 2, 0),
        (_MOV32_K, _RESULT, 0, 0, 1),
        (_EXIT, 0, 0, 0, 0),
    ]


def _unless_equal(register: int, number: int, skipped: int) -> list[_Instruction]:
    """Return the jump over `skipped` instructions unless `register` holds `number`."""
    if number <= _SIGNED_MAX:
        return [(_JNE_K, register, 0, skipped, number)]
    # The immediate of a jump is sign-extended to 64 bits: larger numbers are compared in a register.
    return [
        (_MOV32_K, _SCRATCH, 0, 0, number - (1 << 32)),
        (_JNE_X, register, _SCRATCH, skipped, 0),
    ]


def _encode(instruction: _Instruction, byteorder: str) -> bytes:
    """Return one `struct bpf_insn`; its two registers are bit-fields, which lie as the byte order says."""
    code, dst, src, offset, immediate = instruction
    if byteorder == "little":
        return struct.pack("<BBhi", code, dst | src << 4, offset, immediate)
    return struct.pack(">BBhi", code, dst << 4 | src, offset, immediate)
