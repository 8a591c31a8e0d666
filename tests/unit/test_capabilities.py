"""capabilities.py: names, masks, and the sets that a payload gets."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from libcontainer import capabilities
from libcontainer.host import Host
from libcontainer.plan.context import Context, Options

ALL = (1 << len(capabilities.NAMES)) - 1
SETS = st.dictionaries(
    st.sampled_from(capabilities.SETS), st.lists(st.sampled_from([*capabilities.NAMES, "CAP_FLY", "x"]))
)


def context(wanted: dict[str, list[str]] | None, have: int = ALL, userns: bool = False) -> Context:
    """A context whose process asks for `wanted` on a host that has `have`."""
    process: dict[str, Any] = {} if wanted is None else {"capabilities": wanted}
    namespaces = [{"type": "user"}] if userns else []
    spec = {"process": process, "linux": {"namespaces": namespaces}}
    return Context(spec, Host(capabilities=have, bounding=have), Options())


def test_numbers_are_those_of_the_kernel() -> None:
    """One name out of place would give every later capability to the wrong payload."""
    known = {"CAP_CHOWN": 0, "CAP_SETPCAP": 8, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27, "CAP_BPF": 39}

    assert {name: capabilities.NUMBERS[name] for name in known} == known
    assert capabilities.NUMBERS["CAP_CHECKPOINT_RESTORE"] == 40
    assert len(set(capabilities.NAMES)) == len(capabilities.NAMES) == 41


@given(st.integers(0, ALL))
def test_names_and_masks_are_inverse(mask: int) -> None:
    """What explain shows is what was asked for."""
    assert capabilities.mask(capabilities.names(mask)) == mask


def test_names_may_be_written_in_lower_case() -> None:
    """As runc takes them; a name without CAP_ is unknown."""
    assert capabilities.mask(["cap_kill", "Cap_Chown"]) == capabilities.mask(["CAP_KILL", "CAP_CHOWN"])
    assert capabilities.mask(["KILL"]) == 0


@given(st.one_of(st.none(), SETS), st.integers(0, ALL))
def test_sets_are_never_more_than_asked_for_nor_than_there_is(
    wanted: dict[str, list[str]] | None, have: int
) -> None:
    """And consistent, so that the kernel takes them: effective within permitted, ambient within both."""
    sets = capabilities.sets(context(wanted, have))

    for name in capabilities.SETS:
        assert sets[name] & ~capabilities.mask((wanted or {}).get(name, ())) == 0
        assert sets[name] & ~have == 0
    assert sets["effective"] & ~sets["permitted"] == 0
    assert sets["ambient"] & ~(sets["permitted"] & sets["inheritable"]) == 0


def test_absent_is_none_of_them() -> None:
    """Absent means safer."""
    assert set(capabilities.sets(context(None)).values()) == {0}
    assert set(capabilities.sets(context({})).values()) == {0}


def test_in_a_user_namespace_of_its_own_everything_can_be_granted() -> None:
    """Whatever the caller has: they count inside only (user_namespaces(7))."""
    wanted = {"permitted": list(capabilities.NAMES)}

    assert capabilities.sets(context(wanted, have=0, userns=True))["permitted"] == ALL
    assert capabilities.sets(context(wanted, have=0))["permitted"] == 0


@given(SETS, st.integers(0, ALL))
def test_each_name_that_is_not_granted_is_told(wanted: dict[str, list[str]], have: int) -> None:
    """One sentence each, with its place, and none for what was granted."""
    here = context(wanted, have)
    granted = capabilities.sets(here)
    sentences = capabilities.warnings(here)

    missing = [
        (kind, name)
        for kind in capabilities.SETS
        for name in wanted.get(kind, ())
        if not capabilities.mask([name]) & granted[kind]
    ]
    assert len(sentences) == len(missing)
    for sentence, (kind, name) in zip(sentences, missing, strict=True):
        assert sentence.startswith(f"/process/capabilities/{kind}: {name} ")
