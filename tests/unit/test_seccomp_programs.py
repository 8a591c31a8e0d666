"""Filters as programs: what libseccomp and our instructions before it answer, run by a reference interpreter.

The meaning of a profile is evaluated directly beside it (config-linux.md "Seccomp", seccomp_rule_add(3)).
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcontainer.errors import InvalidConfig, Unsupported
from libcontainer.seccomp import libseccomp
from libcontainer.seccomp.bpf import RETURN, Instruction, assemble
from libcontainer.seccomp.stub import stub

from ..tools.interpreter import run
from ..tools.meaning import (
    AARCH64,
    ARCHITECTURES,
    ARM,
    COMPARISONS,
    ENOSYS,
    KILL,
    X32,
    X86,
    X86_64,
    meaning,
)

X32_BIT = 0x4000_0000
ALLOW, EPERM = 0x7FFF_0000, 0x0005_0001

# The tables of the kernel: arch/x86/entry/syscalls/*.tbl, include/uapi/asm-generic/unistd.h.
NUMBERS: dict[str, dict[int, int]] = {
    "read": {X86_64: 0, X86: 3, X32: 0, AARCH64: 63, ARM: 3},
    "mkdir": {X86_64: 83, X86: 39, X32: 83, ARM: 39},
    "execve": {X86_64: 59, X86: 11, X32: 520, AARCH64: 221, ARM: 11},
    "personality": {X86_64: 135, X86: 136, X32: 135, AARCH64: 92, ARM: 136},
    "unshare": {X86_64: 272, X86: 310, X32: 272, AARCH64: 97, ARM: 337},
    "openat2": {X86_64: 437, X86: 437, X32: 437, AARCH64: 437, ARM: 437},
    "vm86": {X86: 166},
}
ACTIONS = ("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_LOG")
VALUES = st.sampled_from([0, 1, 2, 5, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 32, 5 << 32, (1 << 64) - 1])


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    try:
        native = libseccomp.library().native()
    except Unsupported:
        pytest.skip("needs libseccomp (Debian: libseccomp2)")
    if native != X86_64:
        pytest.skip("the tables of these tests are those of x86_64")


@st.composite
def profiles(draw: st.DrawFn) -> dict[str, Any]:
    """A seccomp object whose rules do not contradict each other."""
    condition = st.one_of(
        st.fixed_dictionaries(
            {"index": st.integers(0, 5), "op": st.sampled_from(sorted(COMPARISONS)), "value": VALUES}
        ),
        st.builds(
            lambda index, mask, bits: {
                "index": index,
                "op": "SCMP_CMP_MASKED_EQ",
                "value": mask,
                "valueTwo": mask & bits,
            },
            st.integers(0, 5),
            VALUES,
            VALUES,
        ),
    )
    names = draw(st.lists(st.sampled_from(sorted(NUMBERS)), unique=True, max_size=5))
    rules = []
    while names:
        taken = [names.pop() for _ in range(draw(st.integers(1, len(names))))]
        rules.append(
            {
                "names": taken,
                "action": draw(st.sampled_from(ACTIONS)),
                "args": draw(st.lists(condition, max_size=3)),
            }
        )
    seccomp: dict[str, Any] = {"defaultAction": draw(st.sampled_from(ACTIONS)), "syscalls": rules}
    for holder, name in [(seccomp, "defaultErrnoRet"), *[(rule, "errnoRet") for rule in rules]]:
        if holder.get("defaultAction", holder.get("action")) == "SCMP_ACT_ERRNO":
            number = draw(st.sampled_from([None, 0, 1, 38, 4094]))
            holder |= {} if number is None else {name: number}
    chosen = draw(st.lists(st.sampled_from(sorted(ARCHITECTURES)), unique=True))
    return seccomp | ({"architectures": chosen} if chosen else {})


@given(profiles(), st.data())
def test_program_means_what_the_profile_says(seccomp: dict[str, Any], data: st.DataObject) -> None:
    """For any call, known or not, of any architecture, with any arguments."""
    program = libseccomp.build(seccomp)
    for _ in range(8):
        arch = data.draw(st.sampled_from(sorted(ARCHITECTURES.values())))
        numbers = {name: table[arch] for name, table in NUMBERS.items() if arch in table}
        number = data.draw(st.one_of(st.sampled_from(sorted(numbers.values())), st.integers(0, 600)))
        args = tuple(data.draw(st.lists(VALUES, min_size=6, max_size=6)))
        if arch in (X86, ARM):
            args = tuple(value & 0xFFFF_FFFF for value in args)  # what a 32-bit program can pass
        seen = number | X32_BIT if arch == X32 else number

        found = run(program, seen, X86_64 if arch == X32 else arch, args)

        assert found == meaning(seccomp, numbers, arch, number, args), (hex(arch), number, args)


def allow(*names: str, **members: Any) -> dict[str, Any]:
    """A profile that lets these calls through and no other."""
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": list(names), "action": "SCMP_ACT_ALLOW"}],
        **members,
    }


@pytest.mark.parametrize("names", [("mkdir", "unshare"), ("unshare", "mkdir")])
def test_a_call_that_an_architecture_lacks_takes_nothing_from_the_others(names: tuple[str, ...]) -> None:
    """libseccomp 2.5 forgets the conditional rule of unshare on aarch64, which has no mkdir, when both are there."""
    conditions = {"unshare": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 0}]}
    rules = [
        {"names": [name], "action": "SCMP_ACT_ALLOW", "args": conditions.get(name, [])} for name in names
    ]
    architectures = ["SCMP_ARCH_AARCH64"]
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules, "architectures": architectures}
    program = libseccomp.build(profile)

    assert run(program, NUMBERS["unshare"][AARCH64], AARCH64) == ALLOW
    assert run(program, NUMBERS["unshare"][AARCH64], AARCH64, (1, 0, 0, 0, 0, 0)) == EPERM


def test_calls_newer_than_the_profile_are_unknown_and_not_forbidden() -> None:
    """A C library tries clone3, and clone where that is missing: EPERM would end it."""
    program = libseccomp.build(allow("read", "unshare"))

    assert [run(program, number, X86_64) for number in (0, 1, 271, 272, 273, 435, 9999)] == [
        ALLOW,
        EPERM,
        EPERM,
        ALLOW,
        ENOSYS,
        ENOSYS,
        ENOSYS,
    ]


def test_what_a_rule_forbids_counts_as_named() -> None:
    """The author knew it, whatever is said of it, and also where it is said anyway."""
    seccomp = allow("read")
    seccomp["syscalls"].append({"names": ["unshare"], "action": "SCMP_ACT_ERRNO"})

    program = libseccomp.build(seccomp)

    assert [run(program, number, X86_64) for number in (271, 272, 273)] == [EPERM, EPERM, ENOSYS]


@pytest.mark.parametrize(
    ("default", "members", "expected"),
    [
        ("SCMP_ACT_ALLOW", {}, ALLOW),
        ("SCMP_ACT_LOG", {}, 0x7FFC_0000),
        ("SCMP_ACT_TRACE", {}, 0x7FF0_0001),
        ("SCMP_ACT_ERRNO", {"defaultErrnoRet": 38}, ENOSYS),
        ("SCMP_ACT_ERRNO", {"defaultErrnoRet": 13}, ENOSYS),
        ("SCMP_ACT_KILL", {}, ENOSYS),
        ("SCMP_ACT_KILL_PROCESS", {}, ENOSYS),
        ("SCMP_ACT_TRAP", {}, ENOSYS),
    ],
)
def test_default_that_lets_calls_through_knows_of_newer_ones(
    default: str, members: dict[str, int], expected: int
) -> None:
    """A tracer, too, can tell for itself what is unknown."""
    action = "SCMP_ACT_LOG" if default == "SCMP_ACT_ALLOW" else "SCMP_ACT_ALLOW"
    seccomp = {"defaultAction": default, "syscalls": [{"names": ["read"], "action": action}], **members}

    assert run(libseccomp.build(seccomp), 9999, X86_64) == expected


def test_each_architecture_has_newest_calls_of_its_own() -> None:
    """unshare is 272 there and 310 here."""
    program = libseccomp.build(allow("unshare", architectures=["SCMP_ARCH_X86", "SCMP_ARCH_X32"]))

    assert [run(program, number, X86) for number in (272, 309, 310, 311)] == [EPERM, EPERM, ALLOW, ENOSYS]
    assert [run(program, X32_BIT | number, X86_64) for number in (271, 272, 273)] == [EPERM, ALLOW, ENOSYS]
    assert [run(program, number, X86_64) for number in (272, 273)] == [ALLOW, ENOSYS]
    assert run(program, 1, AARCH64) == KILL


def test_other_gates_are_closed_where_they_are_not_listed() -> None:
    """The same number is another call there: a rule for read would let write through."""
    program = libseccomp.build(allow("read", architectures=["SCMP_ARCH_X86_64"]))

    assert run(program, 3, X86) == KILL
    assert run(program, 9999, X86) == KILL
    assert run(program, X32_BIT, X86_64) == KILL
    assert run(program, X32_BIT | 9999, X86_64) == KILL
    assert run(program, 0, X86_64) == ALLOW


def test_the_number_of_a_skipped_call_is_left_to_the_profile() -> None:
    """-1 is what a tracer writes to skip a call: no table has it."""
    for members in ({}, {"architectures": ["SCMP_ARCH_X32", "SCMP_ARCH_X86"]}):
        assert run(libseccomp.build(allow("read", **members)), -1, X86_64) == EPERM
    assert run(libseccomp.build(allow("read", **members)), -1, X86) == EPERM


def test_names_that_nobody_knows_are_passed_over() -> None:
    """A profile is written for many kernels; what does not exist needs no rule, and is not counted either."""
    program = libseccomp.build(allow("read", "no_such_call", "also-not"))

    assert [run(program, number, X86_64) for number in (0, 1)] == [ALLOW, ENOSYS]


def test_several_conditions_on_one_argument_are_alternatives() -> None:
    """As engines write the personalities that they allow."""
    seccomp = allow("personality")
    seccomp["syscalls"][0]["args"] = [
        {"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (0, 8, 0xFFFF_FFFF)
    ]

    program = libseccomp.build(seccomp)

    assert [run(program, 135, X86_64, (value,)) for value in (0, 8, 0xFFFF_FFFF)] == [ALLOW] * 3
    assert [run(program, 135, X86_64, (value,)) for value in (1, 1 << 32, (1 << 64) - 1)] == [EPERM] * 3


def test_conditions_on_several_arguments_must_all_hold() -> None:
    """And compare all 64 bits."""
    seccomp = allow("read")
    seccomp["syscalls"][0]["args"] = [
        {"index": 0, "value": 1 << 40, "op": "SCMP_CMP_GE"},
        {"index": 2, "value": 0xF << 32, "valueTwo": 5 << 32, "op": "SCMP_CMP_MASKED_EQ"},
    ]

    program = libseccomp.build(seccomp)

    assert run(program, 0, X86_64, (1 << 40, 0, 5 << 32 | 7)) == ALLOW
    assert run(program, 0, X86_64, ((1 << 40) - 1, 0, 5 << 32)) == EPERM
    assert run(program, 0, X86_64, (1 << 40, 0, 5)) == EPERM


def test_a_profile_that_is_too_long_for_the_kernel_is_refused() -> None:
    """4096 instructions are the most (BPF_MAXINSNS); the kernel would say EINVAL and no more."""
    seccomp = allow("read")
    seccomp["syscalls"] = [
        {
            "names": ["ioctl"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 1, "value": value << 20, "op": "SCMP_CMP_EQ"}],
        }
        for value in range(5000)
    ]

    with pytest.raises(InvalidConfig, match="at most 4096") as caught:
        libseccomp.build(seccomp)

    assert caught.value.pointer == "/linux/seccomp/syscalls"


def test_contradicting_conditions_are_refused_with_their_place() -> None:
    """The check of the configuration finds them first; libseccomp would, too."""
    seccomp = allow("read")
    condition = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]
    seccomp["syscalls"] = [
        {"names": ["read"], "action": action, "args": condition}
        for action in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
    ]

    with pytest.raises(InvalidConfig, match="read") as caught:
        libseccomp.build(seccomp)

    assert caught.value.pointer == "/linux/seccomp/syscalls/1"


@pytest.mark.parametrize(
    ("name", "why"), [("SCMP_ARCH_S390X", "byte order"), ("SCMP_ARCH_SHEB", "does not know|byte order")]
)
def test_architectures_that_cannot_be_served_are_refused(name: str, why: str) -> None:
    """With their place."""
    with pytest.raises(Unsupported, match=why) as caught:
        libseccomp.build(allow("read", architectures=["SCMP_ARCH_X86", name]))

    assert caught.value.pointer == "/linux/seccomp/architectures/1"


@given(
    st.dictionaries(st.sampled_from(sorted(ARCHITECTURES.values())), st.integers(0, 1000), max_size=5),
    st.sampled_from([X86_64, X86, AARCH64, ARM, 0]),
    st.one_of(st.integers(0, 1100), st.integers(X32_BIT, X32_BIT + 1100), st.just(0xFFFF_FFFF)),
)
def test_stub_answers_beyond_the_largest_number_and_nothing_else(
    largest: dict[int, int], arch: int, number: int
) -> None:
    """Whatever follows it is reached by all other calls. The machine's own architecture is always there."""
    known = {X86_64: 334, **largest}
    if X32 in known:
        known[X32] |= X32_BIT
    token = X32 if arch == X86_64 and number >= X32_BIT else arch
    beyond = token in known and number > known[token] and number != 0xFFFF_FFFF

    found = run(stub(known) + assemble([Instruction(RETURN, ALLOW)]), number, arch)

    assert found == (ENOSYS if beyond else ALLOW)
