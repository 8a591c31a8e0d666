"""The check of `linux.seccomp`: config-linux.md "Seccomp", seccomp(2), seccomp_unotify(2).

Names of system calls are not judged: which ones exist depends on kernel and architecture. Pure; imported when
it is needed.
"""

from __future__ import annotations

from libcontainer.errors import Problem
from libcontainer.spec.rules import (
    FILLED,
    UINT32,
    UINT64,
    Array,
    Choice,
    Integer,
    Record,
    absolute,
    describe,
    integer,
    missing,
    records,
    strings,
    text,
    word,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NOTIFY = "SCMP_ACT_NOTIFY"

# Which actions take a number, and the largest: an errno (MAX_ERRNO), or the 16 bits of SECCOMP_RET_DATA for
# a tracer.
ERRNO_LIMITS = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 65535}

ACTION = Choice(
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    NOTIFY,
)
ARCHITECTURE = Choice(
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
)
FLAG = Choice(
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
)
OPERATOR = Choice(
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
)


def _check_errno(action: str | None, value: int | None, pointer: str, problems: list[Problem]) -> None:
    """config-linux.md: where the action takes no number, the runtime must fail."""
    if value is None or action is None:
        return
    limit = ERRNO_LIMITS.get(action)
    if limit is None:
        expected = f"nothing: {action} takes no number, only SCMP_ACT_ERRNO and SCMP_ACT_TRACE do"
        problems.append(Problem(pointer, str(value), expected))
    elif not 0 <= value <= limit:
        problems.append(Problem(pointer, str(value), f"an integer from 0 to {limit} with {action}"))


def _check_syscall(rule: dict[str, Any], here: str, problems: list[Problem]) -> None:
    _check_errno(word(rule, "action"), integer(rule, "errnoRet"), f"{here}/errnoRet", problems)


def _check_filter(seccomp: dict[str, Any], here: str, problems: list[Problem]) -> None:
    default = word(seccomp, "defaultAction")
    _check_contradictions(seccomp, here, problems)
    _check_errno(default, integer(seccomp, "defaultErrnoRet"), f"{here}/defaultErrnoRet", problems)
    if default == NOTIFY:
        expected = "any other action: the agent would have to answer the calls that reach it"
        problems.append(Problem(f"{here}/defaultAction", describe(default), expected))
    notifies = any(word(rule, "action") == NOTIFY for _, rule in records(seccomp, "syscalls"))
    if notifies and not word(seccomp, "listenerPath"):
        problems.append(
            missing(f"{here}/listenerPath", f"the socket of the agent, because a rule has {NOTIFY}")
        )
    if word(seccomp, "listenerMetadata") and not word(seccomp, "listenerPath"):
        expected = "nothing: it is sent to listenerPath, which is not set"
        problems.append(Problem(f"{here}/listenerMetadata", describe(seccomp["listenerMetadata"]), expected))
    wait = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
    if wait in strings(seccomp, "flags") and not notifies and default != NOTIFY:
        problems.append(
            Problem(f"{here}/flags", describe(wait), f"this flag only beside a rule with {NOTIFY}")
        )


def _check_contradictions(seccomp: dict[str, Any], here: str, problems: list[Problem]) -> None:
    """The same conditions cannot lead to two actions.

    Rules without any are left alone: engines' profiles hold some twice, and the first one counts. So does one without
    conditions before all that have some (seccomp_rule_add(3)).
    """
    seen: dict[tuple[str, frozenset[object]], tuple[str, int]] = {}
    for index, rule in records(seccomp, "syscalls"):
        if not rule.get("args"):
            continue
        action = _effect(rule)
        for key in [
            (name, condition) for name in strings(rule, "names") for condition in _alternatives(rule)
        ]:
            known, other = seen.setdefault(key, (action, index))
            if known != action:
                expected = f"{known}, as /linux/seccomp/syscalls/{other} says under the same conditions"
                problems.append(
                    Problem(f"{here}/syscalls/{index}/action", f"{action} for {describe(key[0])}", expected)
                )


def _effect(rule: dict[str, Any]) -> str:
    """Return the action as it will be, in words."""
    action = word(rule, "action") or ""
    if action in ERRNO_LIMITS:
        number = integer(rule, "errnoRet")
        return f"{action} {1 if number is None else number}"  # EPERM: config-linux.md "errnoRet"
    return "SCMP_ACT_KILL_THREAD" if action == "SCMP_ACT_KILL" else action


def _alternatives(rule: dict[str, Any]) -> list[frozenset[object]]:
    """Return the sets of conditions of which one has to hold: see `libcontainer.seccomp.profile.alternatives`."""
    conditions = [
        (integer(arg, "index"), word(arg, "op"), integer(arg, "value"), integer(arg, "valueTwo") or 0)
        for _, arg in records(rule, "args")
    ]
    if len({condition[0] for condition in conditions}) < len(conditions):
        return [frozenset([condition]) for condition in conditions]
    return [frozenset(conditions)]


def _check_argument(argument: dict[str, Any], here: str, problems: list[Problem]) -> None:
    operator, second = word(argument, "op"), integer(argument, "valueTwo")
    if operator not in (None, "SCMP_CMP_MASKED_EQ") and second:
        expected = "0: only SCMP_CMP_MASKED_EQ compares with a second value"
        problems.append(Problem(f"{here}/valueTwo", str(second), expected))
    mask = integer(argument, "value")
    if operator == "SCMP_CMP_MASKED_EQ" and mask is not None and second and second & ~mask:
        expected = f"no bit outside of the mask {mask:#x} in value: it could never be equal"
        problems.append(Problem(f"{here}/valueTwo", f"{second:#x}", expected))


ARGUMENT = Record(
    # A system call has six arguments (syscall(2)).
    {"index": Integer(0, 5), "value": UINT64, "valueTwo": UINT64, "op": OPERATOR},
    ("index", "value", "op"),
    also=_check_argument,
)
SYSCALL = Record(
    {
        "names": Array(FILLED, least=1),
        "action": ACTION,
        "errnoRet": UINT32,
        "args": Array(ARGUMENT),
    },
    ("names", "action"),
    firm=("args",),
    also=_check_syscall,
)
SECCOMP = Record(
    {
        "defaultAction": ACTION,
        "defaultErrnoRet": UINT32,
        "architectures": Array(ARCHITECTURE),
        "flags": Array(FLAG),
        "listenerPath": absolute,
        "listenerMetadata": text,
        "syscalls": Array(SYSCALL),
    },
    ("defaultAction",),
    firm=("architectures", "syscalls"),
    also=_check_filter,
)
