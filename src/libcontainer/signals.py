"""Signals by number and by name, as a person or a caller of the runtime writes them.

Authority: signal(7). The table comes from the C library's own constants (`_signal`), as the numbers differ
between architectures (mips, parisc), and the first real-time signal between C libraries (glibc 34, musl
35). Names and numbers only: sending is the container's business. On the hot path: imports nothing but
`_signal`, since the `signal` module builds its enumerations on import.
"""

from __future__ import annotations

from libcontainer.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

HIGHEST = int(_signal.NSIG) - 1
# Every signal that a program may use: without the numbers that the C library keeps for itself.
ALL: tuple[int, ...] = tuple(sorted(int(number) for number in _signal.valid_signals()))
_RT_FIRST = int(_signal.SIGRTMIN)
_RT_LAST = int(_signal.SIGRTMAX)

# Second names of a signal; the first name is the one that `name` gives. signal(7), "Standard signals".
_ALIASES = frozenset(("CLD", "IOT", "POLL"))
_RT_NAMES = frozenset(("RTMIN", "RTMAX"))

# name without SIG → number
NUMBERS: dict[str, int] = {
    constant[3:]: int(getattr(_signal, constant))
    for constant in dir(_signal)
    if constant.startswith("SIG") and not constant.startswith("SIG_") and constant[3:] not in _RT_NAMES
}
_NAMES: dict[int, str] = {number: name for name, number in NUMBERS.items() if name not in _ALIASES}


def parse(value: str | int, *, allow_zero: bool = False) -> int:
    """Return the number of the signal that `value` names.

    Accepted: a number from 1 to 64 (also as text); a name with or without `SIG`, in any case (`TERM`);
    `RTMIN+n` and `RTMAX-n`. 0, which kill(2) takes as "only look", is accepted with `allow_zero`.
    The whole text must match; there is no stripping. Raises InvalidArgument.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise _unknown(value, allow_zero)
    number = _from_text(value) if isinstance(value, str) else int(value)
    if number is None or not (0 if allow_zero else 1) <= number <= HIGHEST:
        raise _unknown(value, allow_zero)
    return number


def name(number: int) -> str:
    """Return the usual name of a signal, such as `SIGTERM` or `SIGRTMIN+3`; `parse` takes it back.

    The numbers that the C library keeps for itself (glibc: 32, 33) have no name: they give the bare number.
    Raises InvalidArgument for a number that is no signal.
    """
    if number in _NAMES:
        return "SIG" + _NAMES[number]
    if _RT_FIRST <= number <= _RT_LAST:
        return _realtime_name(number)
    return str(parse(number))


def _realtime_name(number: int) -> str:
    if number == _RT_LAST:
        return "SIGRTMAX"
    return "SIGRTMIN" if number == _RT_FIRST else f"SIGRTMIN+{number - _RT_FIRST}"


def _from_text(text: str) -> int | None:
    if _is_number(text):
        return int(text)
    word = text.upper().removeprefix("SIG")
    if word in NUMBERS:
        return NUMBERS[word]
    return _from_realtime(word)


def _from_realtime(word: str) -> int | None:
    """The number of `RTMIN`, `RTMIN+n`, `RTMAX` or `RTMAX-n`; None for anything else or out of range."""
    base, sign = (_RT_FIRST, "+") if word.startswith("RTMIN") else (_RT_LAST, "-")
    rest = word[5:]
    if word[:5] not in _RT_NAMES or (rest and not (rest[0] == sign and _is_number(rest[1:]))):
        return None
    offset = int(rest[1:]) if rest else 0
    number = base + offset if sign == "+" else base - offset
    return number if _RT_FIRST <= number <= _RT_LAST else None


def _is_number(text: str) -> bool:
    """Whether `text` is a short run of ASCII digits; int() also takes spaces, signs, `_` and more."""
    return 0 < len(text) <= 3 and text.isascii() and text.isdigit()


def _unknown(value: object, allow_zero: bool) -> InvalidArgument:
    span = _RT_LAST - _RT_FIRST
    names = ", ".join(sorted(NUMBERS))
    return InvalidArgument(
        f"{value!r} is not a signal",
        remedy=(
            f"use a number from {0 if allow_zero else 1} to {HIGHEST}, or a name in any case, "
            f"with or without SIG: {names}, RTMIN, RTMIN+1 to RTMIN+{span}, RTMAX-{span} to RTMAX-1, RTMAX"
        ),
    )
