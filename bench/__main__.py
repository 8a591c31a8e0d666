"""Measure this runtime beside crun, runc and the kernel's floor, in turn. docs/performance.md tells how."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import report
from .bundle import Bundle
from .contestants import (
    ContainerError,
    Floor,
    Library,
    Measurement,
    Runtime,
    installed,
    measurements,
    smallest_limit,
)
from .hierarchies import complete_hierarchies, enter_private_namespace, in_memory

ALONE, IN_A_ROW = "alone", "in a row"
PAUSE_S = 0.05  # after it the kernel has finished what the container before left to it
RUN = "/run"  # where every runtime keeps its records unless told otherwise
MEMORY_STEP, MEMORY_STEPS = 64 << 10, 128


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="measurements of each row (default: 30)")
    parser.add_argument(
        "--at-once", type=int, default=20, metavar="N", help="containers at once (default: 20)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="two rounds of everything, only to see that it works"
    )
    parser.add_argument("--no-memory", action="store_true", help="leave out the smallest memory limit")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    output.add_argument("--json", action="store_true", help="print everything measured as JSON")
    return parser.parse_args()


def alone(rows: Sequence[Measurement], rounds: int) -> dict[str, list[float]]:
    """Measure each row after a pause, in turn."""
    samples: dict[str, list[float]] = {name: [] for name, _ in rows}
    for _ in range(rounds):
        for name, measure in rows:
            time.sleep(PAUSE_S)
            samples[name].append(measure())
    return samples


def in_a_row(rows: Sequence[Measurement], rounds: int) -> dict[str, list[float]]:
    """Measure each row right after another container of the same kind, in turn."""
    samples: dict[str, list[float]] = {name: [] for name, _ in rows}
    for _ in range(rounds):
        for name, measure in rows:
            measure()
            samples[name].append(measure())
    return samples


def at_once(contestants: Sequence[Library | Runtime], count: int, rounds: int) -> dict[str, list[float]]:
    """Measure many containers at once, in turn."""
    samples: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for _ in range(rounds):
        for contestant in contestants:
            time.sleep(PAUSE_S)
            samples[contestant.name].append(contestant.at_once(count))
    return samples


def works(runtime: Runtime) -> bool:
    """Tell whether the runtime can make the container at all; if not, say why."""
    try:
        runtime.run()
    except ContainerError as error:
        print(f"bench: {runtime.name} is left out: {error}", file=sys.stderr)
        return False
    return True


def measure(options: argparse.Namespace, directory: Path, records: Path) -> dict[str, Any]:
    """Measure everything and return it. The bundle is made in `directory`, all runtimes keep their `records`."""
    bundle = Bundle(directory)
    runtimes = installed(bundle, records)
    runtimes = [runtime for runtime in runtimes if works(runtime)]
    library, floor = Library(bundle, records), Floor(bundle)
    try:
        for contestant in (library, *runtimes):
            contestant.prepare()
        rows = measurements(library, floor, runtimes)
        for _, once in rows:  # programs and files into the page cache
            once()
        regimes = {ALONE: alone(rows, options.rounds), IN_A_ROW: in_a_row(rows, options.rounds)}
    finally:
        for closing in (floor, library, *runtimes):
            closing.close()
    many = at_once([library, *runtimes], options.at_once, max(2, options.rounds // 6))
    limits: dict[str, int | None] = {}
    if not options.no_memory:
        limits = {runtime.name: smallest_limit(runtime, MEMORY_STEP, MEMORY_STEPS, 3) for runtime in runtimes}
    return {
        "host": f"Linux {platform.release()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "versions": {runtime.name: runtime.version for runtime in runtimes},
        "rounds": options.rounds,
        "seconds": regimes,
        "ratios": {
            regime: {f"{row} / {other}": ratio for row, other, ratio, _ in report.ratios(samples)}
            for regime, samples in regimes.items()
        },
        "atOnce": {"count": options.at_once, "seconds": many},
        "smallestMemoryLimit": limits,
    }


def tables(found: dict[str, Any], form: Callable[[report.Table], str]) -> str:
    """Return everything measured as tables."""
    many = found["atOnce"]
    parts = [
        f"{found['host']}; {', '.join(found['versions'].values())}; {found['rounds']} rounds in turn",
        form(report.time_table(found["seconds"])),
        form(report.ratio_table(found["seconds"])),
        form(report.at_once_table(many["count"], many["seconds"])),
    ]
    if found["smallestMemoryLimit"]:
        parts.append(form(report.memory_table(found["smallestMemoryLimit"])))
    return "\n\n".join(parts)


def main() -> None:
    """Measure and print."""
    options = arguments()
    if os.geteuid() != 0:
        sys.exit("bench: needs root: the containers are made without a user namespace")
    if options.quick:
        options.rounds, options.at_once, options.no_memory = 2, 4, True
    enter_private_namespace()
    with (
        complete_hierarchies(),
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        tempfile.TemporaryDirectory(prefix="bench-", dir=RUN) as records,
        in_memory(records),
    ):
        found = measure(options, Path(directory), Path(records))
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print(tables(found, report.as_markdown if options.markdown else report.as_text))


if __name__ == "__main__":
    main()
