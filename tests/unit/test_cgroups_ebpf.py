"""The compiler of device rules: its programs, interpreted, decide what the ordered list means."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcgroups import Hierarchy, InvalidArgument, Setup, new
from libcgroups.devices.program import INSTRUCTION_BYTES, compile_rules
from libcgroups.devices.rules import parse
from libcgroups.v2.devices import settings

KINDS = {"b": 1, "c": 2}
BITS = {"m": 1, "r": 2, "w": 4}
TOP = (1 << 32) - 1
ACCESSES = ["r", "w", "m", "rw", "rm", "wm", "rwm"]
DENY_ALL = {"allow": False, "access": "rwm"}

numbers = st.sampled_from([None, -1, 0, 1, 3, 1 << 31, TOP])
rules = st.lists(
    st.fixed_dictionaries(
        {
            "allow": st.booleans(),
            "type": st.sampled_from(["a", "b", "c", None]),
            "major": numbers,
            "minor": numbers,
            "access": st.sampled_from([*ACCESSES, None, ""]),
        }
    ),
    max_size=12,
)
concrete = st.sampled_from([0, 1, 2, 3, 1 << 31, TOP])
requests = st.tuples(st.sampled_from("bc"), concrete, concrete, st.sampled_from(["", *ACCESSES]))
Request = tuple[str, int, int, str]


def reference(listed: list[dict[str, Any]], request: Request) -> bool:
    """The specification, word for word: for each letter the last rule that matches counts, else denied."""
    kind, major, minor, access = request
    return all(
        next(
            (
                bool(rule["allow"])
                for rule in reversed(listed)
                if (rule.get("type") or "a") in ("a", kind)
                and rule.get("major") in (None, -1, major)
                and rule.get("minor") in (None, -1, minor)
                and letter in (rule.get("access") or "rwm")
            ),
            False,
        )
        for letter in access
    )


class Machine:
    """An interpreter of the instructions of eBPF that device programs need (instruction-set.rst).

    Whatever the kernel's verifier would refuse fails: an unknown code, reading a register that was never
    written, a read outside the context, a jump out of the program, a program that does not end.
    """

    CONTEXT = 1 << 40

    def __init__(self, code: bytes, byteorder: str = "little") -> None:
        assert len(code) % INSTRUCTION_BYTES == 0
        mark = "<" if byteorder == "little" else ">"
        self.program = []
        for operation, registers, offset, immediate in struct.iter_unpack(f"{mark}BBhi", code):
            low, high = registers & 15, registers >> 4
            dst, src = (low, high) if byteorder == "little" else (high, low)
            self.program.append((operation, dst, src, offset, immediate))

    def run(self, kind: int, access: int, major: int, minor: int) -> int:
        """Return r0 at the exit for a call with this `struct bpf_cgroup_dev_ctx`."""
        context = {0: access << 16 | kind, 4: major, 8: minor}
        registers: dict[int, int] = {1: self.CONTEXT}
        position = 0
        for _ in range(len(self.program) + 1):
            operation, dst, src, offset, immediate = self.program[position]
            position += 1
            if operation == 0x95:  # exit
                return registers[0]
            if operation == 0x61:  # 32-bit load
                assert registers[src] == self.CONTEXT
                registers[dst] = context[offset]
            elif operation & 7 == 4:  # arithmetic on 32 bits
                registers[dst] = self._arithmetic(operation, registers, dst, src, immediate)
            else:
                assert operation & 7 == 5
                assert offset >= 0
                if self._jumps(operation, registers, dst, src, immediate):
                    position += offset
        raise AssertionError("the program does not end")

    @staticmethod
    def _arithmetic(operation: int, registers: dict[int, int], dst: int, src: int, immediate: int) -> int:
        value = registers[src] if operation & 8 else immediate
        results = {
            0xB0: lambda: value,
            0x50: lambda: registers[dst] & value,
            0x70: lambda: (registers[dst] & TOP) >> value,
        }
        return results[operation & 0xF0]() & TOP

    @staticmethod
    def _jumps(operation: int, registers: dict[int, int], dst: int, src: int, immediate: int) -> bool:
        if operation == 0x05:
            return True
        mask = (1 << 64) - 1  # an immediate is sign-extended to 64 bits
        value = registers[src] if operation & 8 else immediate & mask
        left = registers[dst]
        return {0x10: left == value, 0x50: left != value, 0x40: bool(left & value)}[operation & 0xF0]


def program(listed: list[dict[str, Any]], byteorder: str = "little") -> bytes:
    """The program of an OCI list."""
    return compile_rules(parse({"devices": listed}), byteorder)


def permits(machine: Machine, request: Request) -> bool:
    """What the program says to a request."""
    kind, major, minor, access = request
    result = machine.run(KINDS[kind], sum(BITS[letter] for letter in access), major, minor)
    assert result in (0, 1)
    return result == 1


@given(rules, st.lists(requests, min_size=1, max_size=40), st.sampled_from(["little", "big"]))
def test_the_program_decides_what_the_ordered_list_means(
    listed: list[dict[str, Any]], asked: list[Request], byteorder: str
) -> None:
    """That holds for every overlap of allow and deny, and for an access that asks for several rights."""
    machine = Machine(program(listed, byteorder), byteorder)

    for request in asked:
        assert permits(machine, request) == reference(listed, request), request


@given(rules, st.tuples(st.sampled_from("bc"), concrete, concrete))
def test_right_that_no_rule_can_name_is_denied(
    listed: list[dict[str, Any]], device: tuple[str, int, int]
) -> None:
    """A future kernel may ask for more than read, write and mknod; what nobody allowed stays shut."""
    machine = Machine(program(listed))
    kind, major, minor = device

    for access in (8, 8 | 2, 1 << 15):
        assert machine.run(KINDS[kind], access, major, minor) == 0


@given(rules)
def test_every_instruction_can_be_reached_and_every_jump_lands_inside(listed: list[dict[str, Any]]) -> None:
    """The verifier refuses a program with dead code or with a jump beyond its end."""
    machine = Machine(program(listed))
    reached: set[int] = set()
    pending = [0]
    while pending:
        position = pending.pop()
        if position in reached:
            continue
        reached.add(position)
        operation, _, _, offset, _ = machine.program[position]
        if operation == 0x95:
            continue
        if operation & 7 == 5:
            pending.append(position + 1 + offset)
        if operation != 0x05:
            pending.append(position + 1)

    assert reached == set(range(len(machine.program)))
    assert machine.program[-1][0] == 0x95


def test_a_rule_for_only_some_of_the_requested_rights_leaves_the_others_to_earlier_rules() -> None:
    """Read allowed by one rule and write by another is read and write; one of them denied is neither."""
    read, write = (
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": access} for access in ("r", "w")
    )
    no_write = {"allow": False, "type": "c", "major": 1, "access": "w"}

    assert permits(Machine(program([DENY_ALL, read, write])), ("c", 1, 3, "rw"))
    assert not permits(Machine(program([DENY_ALL, read])), ("c", 1, 3, "rw"))
    assert not permits(Machine(program([DENY_ALL, read, write, no_write])), ("c", 1, 3, "rw"))
    assert permits(Machine(program([DENY_ALL, read, write, no_write])), ("c", 1, 3, "r"))
    assert permits(Machine(program([DENY_ALL, no_write, read, write])), ("c", 1, 3, "rw"))


def test_nothing_is_allowed_without_a_rule() -> None:
    """Absent means safer: the empty list denies, as does one that only denies."""
    for listed in ([], [DENY_ALL]):
        assert not permits(Machine(program(listed)), ("c", 1, 3, "r"))
        assert len(program(listed)) == len(program([]))


def test_rules_before_one_about_everything_cost_nothing() -> None:
    """Engines send their own deny-all after ours; what it overrides is not part of the program."""
    allow = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}

    assert program([allow, allow, DENY_ALL, allow]) == program([allow])


def test_a_device_number_beyond_the_signed_range_is_compared_whole() -> None:
    """An immediate is sign-extended to 64 bits, so that it never equals a number above 2**31 - 1."""
    machine = Machine(program([{"allow": True, "type": "c", "major": TOP, "minor": 1 << 31, "access": "r"}]))

    assert permits(machine, ("c", TOP, 1 << 31, "r"))
    assert not permits(machine, ("c", TOP, 1, "r"))


@pytest.mark.parametrize(
    ("rule", "pointer"),
    [
        ({"allow": 1}, "/devices/1/allow"),
        ({}, "/devices/1/allow"),
        ({"allow": True, "type": "p"}, "/devices/1/type"),
        ({"allow": True, "access": "rx"}, "/devices/1/access"),
        ({"allow": True, "major": -2}, "/devices/1/major"),
        ({"allow": True, "minor": 1 << 32}, "/devices/1/minor"),
        ({"allow": True, "minor": "3"}, "/devices/1/minor"),
        ({"allow": True, "name": "null"}, "/devices/1/name"),
    ],
)
def test_a_rule_that_is_not_valid_is_refused_with_its_place(rule: dict[str, Any], pointer: str) -> None:
    """A rule that was misread would open or close something else than its author meant."""
    with pytest.raises(InvalidArgument) as caught:
        settings({"devices": [DENY_ALL, rule]})

    assert caught.value.pointer == pointer


def test_the_v2_manager_accepts_device_rules_without_touching_anything() -> None:
    """`check` needs neither the cgroup nor the right to load programs."""
    manager = new("/x", container_id="x", setup=Setup("v2", (), Hierarchy("/nowhere")))

    manager.check({"devices": [DENY_ALL]})


def test_no_rules_are_no_program() -> None:
    """An update of other resources leaves the program that is attached alone."""
    assert settings({"devices": []}) == []
    assert settings({}) == []
