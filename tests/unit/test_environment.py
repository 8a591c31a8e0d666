"""environment.py: what becomes of `process.env`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from libcontainer.environment import compile_environment
from libcontainer.host import Host
from libcontainer.plan.context import Context, Options

NAME = st.text(alphabet="ABCH", min_size=1, max_size=4)
VALUE = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8)


def environment(env: list[str] | None, **options: int) -> list[bytes]:
    process = {} if env is None else {"env": env}
    return compile_environment(Context({"process": process}, Host(), Options(**options)))


@given(st.lists(st.tuples(NAME, VALUE)))
def test_each_name_comes_once_with_its_last_value_and_nothing_is_added(pairs: list[tuple[str, str]]) -> None:
    """In the order of the last mentions, as runc has it."""
    last = dict(pairs)
    seen = environment([f"{name}={value}" for name, value in pairs])

    assert {item.decode() for item in seen} == {f"{name}={value}" for name, value in last.items()}
    assert len(seen) == len(last)


def test_an_empty_home_is_left_out() -> None:
    """Init puts the one of /etc/passwd there."""
    assert environment(["A=1", "HOME="]) == [b"A=1"]
    assert environment(["HOME=/x", "HOME="]) == []


def test_absent_is_empty() -> None:
    """Never the runtime's own."""
    assert environment(None) == []


def test_passed_sockets_are_announced_to_the_first_process() -> None:
    """sd_listen_fds(3), over what the configuration says."""
    assert environment(["LISTEN_FDS=9", "LISTEN_PID=9"], listen_fds=2) == [b"LISTEN_FDS=2", b"LISTEN_PID=1"]
