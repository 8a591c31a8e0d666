"""From measured seconds to tables: medians, 90th percentiles and ratios, as text, Markdown or JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

# row → what it does
ROWS = {
    "floor": "the kernel's own work (bench/floor.c)",
    "libcontainer": "create, start, wait, delete in a Python process",
    "libcontainer, limits": "the same with limits of CPU, memory and tasks",
    "youki run": "youki run",
    "crun run": "crun run",
    "runc run": "runc run",
    "youki lifecycle": "youki create, start, delete --force",
    "crun lifecycle": "crun create, start, delete --force",
    "runc lifecycle": "runc create, start, delete --force",
    "libcontainer exec": "another process in a container, in a Python process",
    "youki exec": "youki exec",
    "crun exec": "crun exec",
    "runc exec": "runc exec",
}

# (row, compared with, target or None)
RATIOS: tuple[tuple[str, str, float | None], ...] = (
    ("libcontainer", "floor", 1.6),
    ("libcontainer, limits", "libcontainer", None),
    ("libcontainer", "crun run", 0.5),
    ("libcontainer", "runc run", None),
    ("youki run", "crun run", None),
    ("youki run", "runc run", 0.8),
    ("youki lifecycle", "crun lifecycle", None),
    ("youki lifecycle", "runc lifecycle", 1.0),
    ("libcontainer exec", "crun exec", 0.5),
    ("libcontainer exec", "runc exec", None),
    ("youki exec", "crun exec", None),
    ("youki exec", "runc exec", 0.8),
)

Samples = Mapping[str, Sequence[float]]
Table = list[list[str]]


def median_ms(samples: Sequence[float]) -> float:
    """Return the median in milliseconds."""
    return statistics.median(samples) * 1e3


def p90_ms(samples: Sequence[float]) -> float:
    """Return the 90th percentile in milliseconds (nearest rank)."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, round(0.9 * len(ordered)))] * 1e3


def ratios(samples: Samples) -> list[tuple[str, str, float, float | None]]:
    """Return (row, compared with, ratio of medians, target) for the pairs that were measured."""
    return [
        (row, other, statistics.median(samples[row]) / statistics.median(samples[other]), target)
        for row, other, target in RATIOS
        if row in samples and other in samples
    ]


def time_table(regimes: Mapping[str, Samples]) -> Table:
    """Return medians and 90th percentiles, two columns a regime."""
    table = [["", *[f"{regime}: {what}" for regime in regimes for what in ("median ms", "p90")]]]
    for row, words in ROWS.items():
        if all(row in samples for samples in regimes.values()):
            cells = [f"{of(samples[row]):.1f}" for samples in regimes.values() for of in (median_ms, p90_ms)]
            table.append([words, *cells])
    return table


def ratio_table(regimes: Mapping[str, Samples]) -> Table:
    """Return the ratios, a column a regime."""
    table = [["ratio of medians", *regimes, "target"]]
    columns = [ratios(samples) for samples in regimes.values()]
    for cells in zip(*columns, strict=True):
        row, other, _, target = cells[0]
        wanted = "" if target is None else f"≤ {target}"
        table.append([f"{row} / {other}", *[f"{ratio:.2f}" for _, _, ratio, _ in cells], wanted])
    return table


def memory_table(limits: Mapping[str, int | None]) -> Table:
    """Return the smallest memory limits."""
    rows = [[name, "none tried" if limit is None else f"{limit >> 10} KiB"] for name, limit in limits.items()]
    return [["", "smallest memory limit"], *rows]


def at_once_table(count: int, samples: Samples) -> Table:
    """Return the times of many containers at once."""
    rows = [[name, f"{median_ms(times):.0f}"] for name, times in samples.items()]
    return [["", f"{count} containers at once: median ms"], *rows]


def as_text(table: Table) -> str:
    """Return a table in columns: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        first, *rest = [f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([f"{row[0]:<{len(first)}}", *rest]))
    return "\n".join(lines)


def as_markdown(table: Table) -> str:
    """Return a table in Markdown."""
    head, *rows = table
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])
