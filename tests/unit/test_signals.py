"""signals.py: what people write for a signal, and the number that the kernel takes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcontainer import signals
from libcontainer.errors import InvalidArgument


@pytest.mark.parametrize("text", ["TERM", "SIGTERM", "term", "SigTerm", "15", "015", 15, signal.SIGTERM])
def test_every_way_to_write_sigterm_gives_its_number(text: str | int) -> None:
    """Callers write signals as number, short name or long name in any case, and all mean the same."""
    assert signals.parse(text) == signal.SIGTERM


@pytest.mark.parametrize("member", list(signal.Signals), ids=lambda member: str(member.name))
def test_every_signal_of_the_c_library_is_known_by_its_name(member: signal.Signals) -> None:
    """The table has no holes: each name the standard library knows here parses to its number."""
    assert signals.parse(member.name) == int(member)
    assert signals.parse(int(member)) == int(member)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("RTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+0", signal.SIGRTMIN),
        ("rtmin+3", signal.SIGRTMIN + 3),
        ("RTMAX", signal.SIGRTMAX),
        ("SIGRTMAX-3", signal.SIGRTMAX - 3),
    ],
)
def test_realtime_signals_count_from_both_ends(text: str, number: int) -> None:
    """systemd in a container is stopped with RTMIN+3, so the arithmetic must be right."""
    assert signals.parse(text) == number


@pytest.mark.parametrize(
    "value",
    [
        "", "SIG", "FOO", "TERM ", " TERM", "TERM\n", "SIGSIGTERM", "_DFL", "SIG_IGN",
        "15 ", "+15", "-1", "1_5", "1e1", "٩", "65", "999", "0", "9" * 5000,
        0, -9, 65, True, 9.0, None, b"TERM",
        "RTMIN-1", "RTMAX+1", "RTMIN+", "RTMIN+31", "RTMAX-31", "RTMIN+ 1", "RTMINX", "RT",
    ],
)  # fmt: skip
def test_what_is_not_wholly_a_signal_is_refused(value: object) -> None:
    """A half-understood signal would reach a container's process; everything doubtful is refused."""
    with pytest.raises(InvalidArgument):
        signals.parse(value)  # type: ignore[arg-type]


def test_the_refusal_lists_what_is_accepted() -> None:
    """A person who mistyped a name learns the right ones from the message alone."""
    with pytest.raises(InvalidArgument) as caught:
        signals.parse("TREM")

    text = str(caught.value)
    assert "'TREM'" in text
    assert all(word in text for word in ("1 to 64", "TERM", "KILL", "RTMIN+1", "RTMAX-1"))


def test_zero_is_a_signal_only_when_asked_for() -> None:
    """kill(2) takes 0 as a question, not as a signal, so only a caller that means it may pass it."""
    assert signals.parse("0", allow_zero=True) == 0
    assert signals.parse(0, allow_zero=True) == 0


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGCHLD, "SIGCHLD"),
        (signal.SIGABRT, "SIGABRT"),
        (signal.SIGIO, "SIGIO"),
        (signal.SIGRTMIN, "SIGRTMIN"),
        (signal.SIGRTMIN + 3, "SIGRTMIN+3"),
        (signal.SIGRTMAX, "SIGRTMAX"),
    ],
)
def test_a_number_has_its_usual_name(number: int, name: str) -> None:
    """Messages name a signal as everyone knows it, not by a second name such as SIGCLD or SIGIOT."""
    assert signals.name(number) == name


@pytest.mark.parametrize("number", [0, -1, 65, 1000])
def test_a_number_that_is_no_signal_has_no_name(number: int) -> None:
    """A wrong number is an error of the caller, not a made-up name."""
    with pytest.raises(InvalidArgument):
        signals.name(number)


@given(st.integers(1, signals.HIGHEST))
def test_names_parse_back_to_their_number(number: int) -> None:
    """What is printed can be typed in again, for every signal."""
    assert signals.parse(signals.name(number)) == number


@given(st.text())
def test_any_text_is_a_signal_or_refused(text: str) -> None:
    """No text makes the parser fail in another way than InvalidArgument."""
    try:
        assert 1 <= signals.parse(text) <= signals.HIGHEST
    except InvalidArgument:
        pass


def test_importing_signals_does_not_import_the_signal_module() -> None:
    """The signal module costs milliseconds through enum; the hot path must not pay them."""
    code = "import libcontainer.signals; print([m for m in ('signal', 'enum', 're') if m in sys.modules])"
    source = os.path.dirname(os.path.dirname(signals.__file__))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {source!r}); {code}"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
