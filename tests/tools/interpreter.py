"""A reference interpreter for classic BPF as seccomp(2) runs it: what the kernel would answer to a system call.

Only what filters use; anything else, and a program that runs past its end, is an error, as to the kernel's checker.
"""

from __future__ import annotations

import struct

MASK = 0xFFFF_FFFF
JUMPS = {
    0x15: lambda a, k: a == k,
    0x25: lambda a, k: a > k,
    0x35: lambda a, k: a >= k,
    0x45: lambda a, k: bool(a & k),
}


def run(program: bytes, number: int, arch: int, args: tuple[int, ...] = ()) -> int:
    """Return the answer (SECCOMP_RET_…, with its data) for one system call of one architecture (AUDIT_ARCH_…)."""
    filled = (*args, *[0] * (6 - len(args)))
    data = struct.pack("<IIQ6Q", number & MASK, arch, 0, *filled)  # struct seccomp_data
    instructions = list(struct.iter_unpack("<HBBI", program))
    place = accumulator = 0
    while True:
        code, then, otherwise, k = instructions[place]
        place += 1
        if code == 0x06:
            return int(k)
        if code == 0x20:
            assert k % 4 == 0
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif code == 0x54:
            accumulator &= k
        elif code == 0x05:
            place += k
        else:
            place += then if JUMPS[code](accumulator, k) else otherwise
