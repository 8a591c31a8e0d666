"""What all tests share: the `root` requirement, and a summary of how much of each kind ran."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from pathlib import Path

    from _pytest.reports import BaseReport
    from _pytest.terminal import TerminalReporter

# No test fails for being slow: the first examples of a fresh checkout, or a busy machine, take what they take.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

NEEDS_ROOT = "needs root"
OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `root` where the tests do not run as root."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason=NEEDS_ROOT))


@pytest.fixture(scope="session")
def root() -> None:
    """Skip the test where it does not run as root."""
    if os.geteuid() != 0:
        pytest.skip(NEEDS_ROOT)


@pytest.fixture(scope="session")
def source_tree(pytestconfig: pytest.Config) -> Path:
    """Return the directory that holds pyproject.toml."""
    return pytestconfig.rootpath


def kind_of(nodeid: str) -> str:
    """Return the directory below tests/ that a test is in: its kind."""
    parts = nodeid.split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "tests" else "other"


def skip_reason(report: BaseReport) -> str:
    """Return why a test was skipped, without pytest's prefix."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


def count_line(kind: str, counts: Counter[str], reasons: Counter[str]) -> str:
    """Return one line of the summary."""
    parts = [f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome] or outcome == "passed"]
    line = f"{kind}: {', '.join(parts)}"
    if reasons:
        line += f" ({'; '.join(f'{reason}: {count}' for reason, count in reasons.most_common())})"
    return line


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print for each kind of test how many ran, and why the others did not."""
    counts: dict[str, Counter[str]] = {}
    reasons: dict[str, Counter[str]] = {}
    for outcome in OUTCOMES:
        for report in terminalreporter.stats.get(outcome, []):
            kind = kind_of(report.nodeid)
            counts.setdefault(kind, Counter())[outcome] += 1
            if outcome == "skipped":
                reasons.setdefault(kind, Counter())[skip_reason(report)] += 1
    terminalreporter.section("what ran on this machine")
    for kind in sorted(counts):
        terminalreporter.line(count_line(kind, counts[kind], reasons.get(kind, Counter())))
