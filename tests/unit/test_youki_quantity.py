"""quantity.py: sizes, durations and whole numbers as people and the callers of runc write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from youki import quantity


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("-1", -1),
        ("4096", 4096),
        ("1k", 1 << 10),
        ("50M", 50 << 20),
        ("50mb", 50 << 20),
        ("50 MiB", 50 << 20),
        ("1.5g", 3 << 29),
        ("2T", 2 << 40),
        ("0.1k", 102),
        ("7b", 7),
    ],
)
def test_a_size_has_a_unit_of_base_1024(text: str, expected: int) -> None:
    """As docker and runc read it."""
    assert quantity.size(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k",
        "-2",
        "-1k",
        "1x",
        "1kk",
        "1,5g",
        ".5g",
        "1.g",
        "0x10",
        "1e3",
        " 1",
        "٣",
        "9" * 30,
        "16e",
        "8192p",
    ],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    """Also what does not fit into 64 bits."""
    with pytest.raises(ValueError):
        quantity.size(text)


@given(st.integers(0, (1 << 63) - 1))
def test_every_number_of_bytes_is_itself(number: int) -> None:
    """Without a unit nothing is lost."""
    assert quantity.size(str(number)) == number


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5s", 5), ("500ms", 0.5), ("1m30s", 90), ("1h", 3600), ("1.5s", 1.5), (".5s", 0.5), ("250us", 0.00025)],
)
def test_a_duration_is_written_as_in_go(text: str, expected: float) -> None:
    """Callers of runc pass them through."""
    assert quantity.duration(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    ["", "5", "s", "0s", "-5s", "5 s", "5s ", "1m 30s", "5sec", "1d", "1e3s", "inf", "nan", "99999999999s"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Nor is one that never ends, or lets no time pass."""
    with pytest.raises(ValueError):
        quantity.duration(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("0", 0), ("-1", -1), ("007", 7), (str((1 << 63) - 1), (1 << 63) - 1)]
)
def test_a_whole_number_has_64_bits(text: str, expected: int) -> None:
    """With a sign."""
    assert quantity.integer(text) == expected


@pytest.mark.parametrize("text", ["", "-", "+1", "1.0", "1_000", " 1", "0x1", "--1", "٣", str(1 << 63)])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    """Python itself would read some of these."""
    with pytest.raises(ValueError):
        quantity.integer(text)


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Never another exception."""
    for read in (quantity.integer, quantity.size, quantity.duration):
        try:
            read(text)
        except ValueError:
            continue
