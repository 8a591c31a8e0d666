"""The v1 device rules: what is written gives, in the kernel's model, what the ordered list means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcgroups import Unsupported
from libcgroups.v1.devices import ALL, ANY, Access, evaluate, parse_list, settings, transition

DENY_ALL = {"allow": False, "access": "rwm"}
numbers = st.sampled_from([None, 1, 3])
rules = st.lists(
    st.fixed_dictionaries(
        {
            "allow": st.booleans(),
            "type": st.sampled_from(["a", "b", "c", None]),
            "major": numbers,
            "minor": numbers,
            "access": st.sampled_from(["r", "w", "m", "rw", "rwm"]),
        }
    ),
    max_size=6,
)
requests = st.tuples(
    st.sampled_from("bc"),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([1, 2, 3]),
    st.sampled_from(["r", "w", "rw", "m"]),
)
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
                and rule.get("major") in (None, major)
                and rule.get("minor") in (None, minor)
                and letter in (rule.get("access") or "rwm")
            ),
            False,
        )
        for letter in access
    )


class Kernel:
    """The kernel's model (security/device_cgroup.c): a default, and exceptions of which one alone decides."""

    def __init__(self) -> None:
        self.allowed = True
        self.exceptions: dict[tuple[str, str, str], set[str]] = {}

    def write(self, file: str, value: str) -> None:
        """Carry out one write to devices.allow or devices.deny."""
        allow = file == "devices.allow"
        kind, device, access = value.split(" ")
        if kind == "a":
            self.allowed, self.exceptions = allow, {}
            return
        major, minor = device.split(":")
        if allow == self.allowed:
            self.exceptions.get((kind, major, minor), set()).difference_update(access)
        else:
            self.exceptions.setdefault((kind, major, minor), set()).update(access)

    def permits(self, request: Request) -> bool:
        """Tell whether the request passes."""
        kind, major, minor, access = request
        matching = [
            found
            for (k, a, i), found in self.exceptions.items()
            if k == kind and a in ("*", str(major)) and i in ("*", str(minor))
        ]
        if self.allowed:
            return not any(found & set(access) for found in matching)
        return any(found >= set(access) for found in matching)

    def list(self) -> str:
        """The text of devices.list."""
        if self.allowed:
            return f"{ALL}\n"
        lines = (
            f"{k} {a}:{i} {''.join(sorted(f, key='rwm'.index))}\n"
            for (k, a, i), f in self.exceptions.items()
            if f
        )
        return "".join(lines)


@given(rules, st.lists(requests, min_size=1, max_size=20))
def test_the_result_is_what_the_ordered_list_means(
    listed: list[dict[str, Any]], asked: list[Request]
) -> None:
    """Or it is refused: cgroup v1 cannot express every list, and must not silently allow more."""
    kernel = Kernel()
    try:
        writes = settings({"devices": [DENY_ALL, *listed]})
    except Unsupported:
        return
    for file, value in writes:
        kernel.write(file, value)

    for request in asked:
        assert kernel.permits(request) == reference(listed, request), request


@given(rules, rules, st.lists(requests, min_size=1, max_size=20))
def test_an_update_never_interrupts_what_is_allowed_before_and_after(
    before: list[dict[str, Any]], after: list[dict[str, Any]], asked: list[Request]
) -> None:
    """A program that opens /dev/null in the very moment of an update must not fail."""
    try:
        old, wanted = evaluate([DENY_ALL, *before]), evaluate([DENY_ALL, *after])
    except Unsupported:
        return
    if old.allowed or wanted.allowed:
        return  # the kernel can then only start afresh
    kernel = Kernel()
    for file, value in transition(None, old):
        kernel.write(file, value)
    kept = [request for request in asked if kernel.permits(request) and reference(after, request)]

    current = parse_list(kernel.list())
    assert current is not None
    for file, value in transition(current, wanted):
        kernel.write(file, value)
        assert all(kernel.permits(request) for request in kept)
    for request in asked:
        assert kernel.permits(request) == reference(after, request)


def test_the_usual_list_is_written_as_it_stands() -> None:
    """Deny all, then the base set: the common case needs one write per rule."""
    listed = [
        DENY_ALL,
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        {"allow": True, "type": "c", "major": 136, "access": "rwm"},
    ]

    assert settings({"devices": listed}) == [
        ("devices.deny", ALL),
        ("devices.allow", "c *:* m"),
        ("devices.allow", "c 1:3 rwm"),
        ("devices.allow", "c 136:* rwm"),
    ]


def test_a_rule_for_all_types_but_one_number_does_not_open_everything() -> None:
    """The kernel reads a line that begins with `a` as "everything" and ignores the rest of it."""
    assert settings({"devices": [DENY_ALL, {"allow": True, "major": 5, "access": "r"}]}) == [
        ("devices.deny", ALL),
        ("devices.allow", "b 5:* r"),
        ("devices.allow", "c 5:* r"),
    ]


def test_an_exception_that_the_kernel_would_ignore_is_refused() -> None:
    """Denying one device after allowing its whole major would be accepted by v1 and have no effect."""
    with pytest.raises(Unsupported) as caught:
        settings(
            {
                "devices": [
                    DENY_ALL,
                    {"allow": True, "type": "c", "major": 1, "access": "rwm"},
                    {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"},
                ]
            }
        )

    assert caught.value.pointer == "/devices/2"


def test_an_unchanged_list_needs_no_write() -> None:
    """An update of other resources leaves the devices alone."""
    access = Access(allowed=False, exceptions={("c", 1, ANY): frozenset("rw")})

    assert transition(access, access) == []
