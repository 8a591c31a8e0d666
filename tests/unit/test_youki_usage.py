"""usage.py: rows of `youki stats` from two looks at a container."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcgroups.stats import UNLIMITED, Count, CpuStats, IoEntry, IoStats, MemoryStats, Pressure, Stall, Stats
from youki import quantity
from youki.usage import COLUMNS, row, size, usage

SECOND = 10**9


def look(
    at: int, used_ns: int | None = None, periods: int | None = None, throttled: int | None = None
) -> Any:
    """A look at the time `at`, in seconds."""
    cpu = CpuStats(usage_ns=used_ns, periods=periods, throttled_periods=throttled)
    return at * SECOND, Stats(cpu=cpu)


@pytest.mark.parametrize(
    ("before", "now", "cpu", "throttled"),
    [
        (None, look(1, 5), None, None),
        (look(0, 0), look(2, SECOND), 50.0, None),
        (look(0, 0, 0, 0), look(1, 2 * SECOND, 10, 5), 200.0, 50.0),
        (look(0, 7, 10, 10), look(1, 7, 10, 10), 0.0, None),
        (look(0, 7, 10, 10), look(0, 9, 20, 10), None, 0.0),
        (look(0), look(1), None, None),
        (look(0, 0, None, None), look(1, 0, 1, 1), 0.0, None),
    ],
)
def test_shares_are_of_the_time_between_two_looks(
    before: Any, now: Any, cpu: float | None, throttled: float | None
) -> None:
    """100 % is one CPU. What cannot be known is None, never 0."""
    found = usage("a", before, now)

    assert (found["cpu_percent"], found["throttled_percent"]) == (cpu, throttled)


def test_a_row_shows_everything_in_the_order_of_the_columns() -> None:
    """Limits stand beside what they limit."""
    entries = (IoEntry(operation="Read", value=4096), IoEntry(operation="Write", value=3 << 20))
    stall = Pressure(some=Stall(avg10=1.25))
    stats = Stats(
        cpu=CpuStats(usage_ns=SECOND // 4, pressure=stall),
        memory=MemoryStats(usage_bytes=5 << 20, limit_bytes=64 << 20, peak_bytes=1 << 30, pressure=stall),
        pids=Count(current=3, limit=20),
        io=IoStats(service_bytes=entries, pressure=stall),
    )
    cells = row(usage("box", look(0, 0), (SECOND, stats)))

    assert cells == ("box", "25.0", "5m", "64m", "1g", "3/20", "4k", "3m", "1.2/1.2/1.2", "-")
    assert len(cells) == len(COLUMNS)


def test_what_is_not_known_is_a_dash_and_no_limit_is_none() -> None:
    """A kernel without a controller, or without pressure, is no kernel where nothing is used."""
    cells = row(usage("box", None, look(0)))
    assert cells == ("box", *["-"] * (len(COLUMNS) - 1))

    stats = Stats(memory=MemoryStats(limit_bytes=UNLIMITED), pids=Count(current=1, limit=UNLIMITED))
    found = usage("box", None, (0, stats))
    assert (found["memory"]["limit"], found["pids"]) == (None, {"current": 1, "limit": None})
    assert row(found)[5] == "1"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1k"),
        (1536, "1.5k"),
        (1 << 20, "1m"),
        ((1 << 20) - 1, "1m"),
        (1 << 61, "2048p"),
    ],
)
def test_a_size_is_short(value: int, text: str) -> None:
    """Four digits at most, with a unit."""
    assert size(value) == text


@given(st.integers(0, 1 << 60))
def test_a_size_can_be_typed_again(value: int) -> None:
    """What the table shows is what `update --memory` takes, as exact as it is shown."""
    assert quantity.size(size(value)) == pytest.approx(value, rel=0.06, abs=1)
