"""What a seccomp object says, evaluated directly: the reference for programs and for the kernel.

config-linux.md "Seccomp", seccomp_rule_add(3).
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from libcontainer.seccomp import profile

if TYPE_CHECKING:
    from collections.abc import Mapping

# Tokens of architectures: AUDIT_ARCH_… but for x32, which shares its own with x86_64.
X86_64, X86, X32, AARCH64, ARM = 0xC000003E, 0x40000003, 0x4000003E, 0xC00000B7, 0x40000028
ARCHITECTURES = {
    "SCMP_ARCH_X86_64": X86_64,
    "SCMP_ARCH_X86": X86,
    "SCMP_ARCH_X32": X32,
    "SCMP_ARCH_AARCH64": AARCH64,
    "SCMP_ARCH_ARM": ARM,
}
NARROW = (X86, X32, ARM)  # libseccomp compares the lower half of an argument there
KILL, ENOSYS = 0x0000_0000, 0x0005_0026
COMPARISONS = {
    "SCMP_CMP_NE": operator.ne,
    "SCMP_CMP_LT": operator.lt,
    "SCMP_CMP_LE": operator.le,
    "SCMP_CMP_EQ": operator.eq,
    "SCMP_CMP_GE": operator.ge,
    "SCMP_CMP_GT": operator.gt,
}


def holds(condition: dict[str, Any], args: tuple[int, ...], narrow: bool) -> bool:
    """Say whether one condition is met."""
    mask = 0xFFFF_FFFF if narrow else (1 << 64) - 1
    found, value = args[condition["index"]] & mask, condition["value"] & mask
    if condition["op"] == "SCMP_CMP_MASKED_EQ":
        return found & value == condition["valueTwo"] & mask
    return bool(COMPARISONS[condition["op"]](found, value))


def matches(rule: dict[str, Any], args: tuple[int, ...], narrow: bool) -> bool:
    """Say whether the conditions of a rule are met: all of them, or one of several on one argument."""
    conditions = rule.get("args") or []
    split = len({item["index"] for item in conditions}) < len(conditions)
    judge = any if split else all
    return judge([holds(item, args, narrow) for item in conditions])


def meaning(
    seccomp: dict[str, Any], numbers: Mapping[str, int], arch: int, number: int, args: tuple[int, ...]
) -> int:
    """Return the answer (SECCOMP_RET_…) to a call by its number on an x86_64 machine; `numbers` are those of `arch`."""
    listed = {X86_64, *[ARCHITECTURES[item] for item in seccomp.get("architectures", ())]}
    if arch not in listed:
        return KILL
    named = [numbers[name] for rule in seccomp["syscalls"] for name in rule["names"] if name in numbers]
    if profile.needs_stub(seccomp) and named and number > max(named):
        return ENOSYS
    for rule in seccomp["syscalls"]:
        if any(numbers.get(name) == number for name in rule["names"]) and matches(rule, args, arch in NARROW):
            return profile.action(rule["action"], rule.get("errnoRet"))
    return profile.default_action(seccomp)
