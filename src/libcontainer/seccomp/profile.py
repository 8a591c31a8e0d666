"""The seccomp object of the configuration in the terms of seccomp(2) and libseccomp. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# seccomp(2), SECCOMP_RET_*; the lower 16 bits are data: an errno, or a number for the tracer.
ACTIONS = {
    "SCMP_ACT_KILL": 0x0000_0000,
    "SCMP_ACT_KILL_PROCESS": 0x8000_0000,
    "SCMP_ACT_KILL_THREAD": 0x0000_0000,
    "SCMP_ACT_TRAP": 0x0003_0000,
    "SCMP_ACT_ERRNO": 0x0005_0000,
    "SCMP_ACT_NOTIFY": 0x7FC0_0000,
    "SCMP_ACT_TRACE": 0x7FF0_0000,
    "SCMP_ACT_LOG": 0x7FFC_0000,
    "SCMP_ACT_ALLOW": 0x7FFF_0000,
}
WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
EPERM, ENOSYS = 1, 38

# seccomp_rule_add(3), enum scmp_compare
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}

# The names of seccomp_arch_resolve_name(3).
ARCHITECTURES = {
    "SCMP_ARCH_X86": "x86",
    "SCMP_ARCH_X86_64": "x86_64",
    "SCMP_ARCH_X32": "x32",
    "SCMP_ARCH_ARM": "arm",
    "SCMP_ARCH_AARCH64": "aarch64",
    "SCMP_ARCH_LOONGARCH64": "loongarch64",
    "SCMP_ARCH_M68K": "m68k",
    "SCMP_ARCH_MIPS": "mips",
    "SCMP_ARCH_MIPS64": "mips64",
    "SCMP_ARCH_MIPS64N32": "mips64n32",
    "SCMP_ARCH_MIPSEL": "mipsel",
    "SCMP_ARCH_MIPSEL64": "mipsel64",
    "SCMP_ARCH_MIPSEL64N32": "mipsel64n32",
    "SCMP_ARCH_PPC": "ppc",
    "SCMP_ARCH_PPC64": "ppc64",
    "SCMP_ARCH_PPC64LE": "ppc64le",
    "SCMP_ARCH_S390": "s390",
    "SCMP_ARCH_S390X": "s390x",
    "SCMP_ARCH_SH": "sh",
    "SCMP_ARCH_SHEB": "sheb",
    "SCMP_ARCH_PARISC": "parisc",
    "SCMP_ARCH_PARISC64": "parisc64",
    "SCMP_ARCH_RISCV64": "riscv64",
}

# seccomp(2). TSYNC brings the other threads of a process under the filter: of init there is one that goes on.
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 1 << 5,
}
NEW_LISTENER = 1 << 3

# The kernel that first had a flag: seccomp(2), seccomp_unotify(2).
FLAGS_SINCE = {
    "SECCOMP_FILTER_FLAG_TSYNC": (3, 17),
    "SECCOMP_FILTER_FLAG_LOG": (4, 14),
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": (4, 17),
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": (5, 19),
}

# What decides about the program; the rest (flags, agent) may differ between containers that share it.
MEMBERS = ("defaultAction", "defaultErrnoRet", "architectures", "syscalls")


class Rule:
    """One condition list for one system call: all of `conditions` (index, operator, value, second value) must hold."""

    __slots__ = ("action", "conditions", "name", "pointer")

    def __init__(
        self, name: str, action: int, conditions: tuple[tuple[int, int, int, int], ...], pointer: str
    ) -> None:
        self.name = name
        self.action = action
        self.conditions = conditions
        self.pointer = pointer


def action(name: str, errno: int | None) -> int:
    """Return an action with its errno, EPERM where none is given (config-linux.md "errnoRet")."""
    value = ACTIONS[name]
    if name in WITH_ERRNO:
        value |= EPERM if errno is None else errno
    return value


def default_action(seccomp: dict[str, Any]) -> int:
    """Return what happens to a system call that no rule is about."""
    return action(seccomp["defaultAction"], seccomp.get("defaultErrnoRet"))


def rules(seccomp: dict[str, Any]) -> Iterator[Rule]:
    """Yield the rules in order, without those that say what happens anyway.

    Conditions on different arguments must all hold. Several on one argument are alternatives, each a rule of its own,
    as engines have written profiles since runc read them so.
    """
    default = default_action(seccomp)
    for index, entry in enumerate(seccomp.get("syscalls") or ()):
        value = action(entry["action"], entry.get("errnoRet"))
        if value == default:
            continue
        pointer = f"/linux/seccomp/syscalls/{index}"
        for name in entry["names"]:
            for conditions in alternatives(entry.get("args") or ()):
                yield Rule(name, value, conditions, pointer)


def alternatives(args: Any) -> list[tuple[tuple[int, int, int, int], ...]]:
    """Return the condition lists that `args` stands for; at least one of them must hold."""
    conditions = [
        (arg["index"], OPERATORS[arg["op"]], arg["value"], arg.get("valueTwo") or 0) for arg in args
    ]
    if len({condition[0] for condition in conditions}) < len(conditions):
        return [(condition,) for condition in conditions]
    return [tuple(conditions)]


def notifies(seccomp: dict[str, Any]) -> bool:
    """Tell whether an agent answers some of the system calls."""
    return any([entry["action"] == "SCMP_ACT_NOTIFY" for entry in seccomp.get("syscalls") or ()])


def flags(seccomp: dict[str, Any]) -> int:
    """Return the flags for seccomp(2)."""
    value = NEW_LISTENER if notifies(seccomp) else 0
    for name in seccomp.get("flags") or ():
        value |= FLAGS[name]
    return value


def needs_stub(seccomp: dict[str, Any]) -> bool:
    """Tell whether system calls newer than the profile get ENOSYS instead of its default action.

    Programs try a new call and fall back to an older one when it is missing, not when it is forbidden. A default that
    lets calls through, or asks a tracer, knows better; one that is ENOSYS says it already.
    """
    return seccomp["defaultAction"] not in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE") and (
        default_action(seccomp) != ACTIONS["SCMP_ACT_ERRNO"] | ENOSYS
    )
