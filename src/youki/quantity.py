"""Numbers with units on a command line, as the callers of runc write them. Pure."""

from __future__ import annotations

import re

INT64 = range(-(1 << 63), 1 << 63)
PREFIXES = {letter: 1 << (10 * power) for power, letter in enumerate(("", "k", "m", "g", "t", "p"))}
_SIZE = re.compile(r"(\d+)(?:\.(\d+))? ?([kmgtp]?)(?:i?b)?", re.ASCII | re.IGNORECASE)
SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)


def integer(text: str) -> int:
    """Return a whole number of 64 bits. Raises ValueError."""
    digits = text.removeprefix("-")
    # int() alone would also take spaces, underscores and the digits of other scripts.
    if not (digits.isascii() and digits.isdecimal()) or int(text) not in INT64:
        raise ValueError(text)
    return int(text)


def size(text: str) -> int:
    """Return a number of bytes: "64m", "1.5GiB", "4096", all with base 1024 (as docker has it); -1 is no limit.

    Raises ValueError.
    """
    if text == "-1":
        return -1
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(text)
    whole, fraction, prefix = found.groups(default="")
    unit = PREFIXES[prefix.lower()]
    value = int(whole) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
    if value not in INT64:
        raise ValueError(text)
    return value


def duration(text: str) -> float:
    """Return the seconds of a duration as Go writes it, above zero: "5s", "500ms", "1m30s". Raises ValueError."""
    parts = list(_DURATION.finditer(text))
    seconds = sum(float(part[1]) * SECONDS[part[2]] for part in parts)
    if "".join(part[0] for part in parts) != text or not 0 < seconds < 1e9:
        raise ValueError(text)
    return seconds
