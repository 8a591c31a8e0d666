"""The runtimes that a check is made with, and what its outcomes with them say together.

A check runs once with each. What runc or crun cannot do on this host is reported as such, not as a failure of
ours; what runc can do and youki cannot is one; and so is what a check has put down in `observed` and differs.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCES = ("runc", "crun")
OURS = "youki"
ALL = (*REFERENCES, OURS)  # in this order: ours is compared with what the others did before
FEW = 20  # checks that say nothing about the rest
SEARCHED = "/usr/sbin:/usr/bin:/sbin:/bin"


def program(runtime: str) -> Path | None:
    """Return the path of a runtime, None where it is not installed."""
    if runtime == OURS:
        return Path(sys.executable).with_name("youki")
    found = shutil.which(runtime, path=SEARCHED)
    return Path(found) if found else None


def installed() -> dict[str, Path]:
    """Return the runtimes that are here, by name."""
    found = {runtime: program(runtime) for runtime in ALL}
    return {runtime: path for runtime, path in found.items() if path}


class Outcome:
    """What one check came to with one runtime: why it failed, if it did, and what it observed."""

    def __init__(self, failure: str | None, observed: list[Any]) -> None:
        self.failure = failure
        self.observed = observed


class Outcomes(dict[tuple[str, str], Outcome]):
    """The outcomes of a session, by check and runtime."""

    def judge(self, check: str, runtime: str, report: pytest.TestReport, observed: list[Any]) -> None:
        """Note the outcome that `report` tells, and let it say what it means."""
        failure = _last_line(report) if report.failed else None
        self[check, runtime] = Outcome(failure, observed)
        if runtime in REFERENCES:
            if failure:
                _skip(report, f"{runtime} cannot: {failure}")
            return
        reference = self.get((check, "runc"))
        if reference is None:
            return
        if failure and reference.failure:
            _skip(report, f"runc cannot either: {reference.failure}")
        elif not failure and not reference.failure and observed != reference.observed:
            report.outcome = "failed"
            report.longrepr = f"youki differs from runc:\n  runc:  {reference.observed}\n  youki: {observed}"

    def complaint(self) -> str | None:
        """Return what is wrong when runc fails so often that it cannot be runc: then nothing has been compared."""
        told = [outcome.failure for (_, runtime), outcome in self.items() if runtime == "runc"]
        failed = [failure for failure in told if failure]
        if len(told) < FEW or len(failed) * 10 < len(told):
            return None
        return f"runc failed {len(failed)} of {len(told)} checks, the last time with: {failed[-1]}"


def _last_line(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    return " ".join(text.splitlines()[0].split())[:200] if text else "(it said nothing)"


def _skip(report: pytest.TestReport, reason: str) -> None:
    report.outcome = "skipped"
    report.longrepr = (report.nodeid, report.location[1] or 0, f"Skipped: {reason}")


OUTCOMES = pytest.StashKey[Outcomes]()
OBSERVED = pytest.StashKey[list[Any]]()


def outcomes(session: pytest.Session) -> Outcomes:
    """Return the outcomes of a session so far."""
    return session.stash.setdefault(OUTCOMES, Outcomes())


def make_report(item: pytest.Item, report: pytest.TestReport) -> None:
    """Judge the report of a check that ran with a runtime."""
    if not hasattr(item, "callspec") or report.when != "call" or report.skipped:
        return
    runtime = item.callspec.params.get("runtime")
    if runtime is None:
        return
    parameters = {name: value for name, value in item.callspec.params.items() if name != "runtime"}
    check = f"{item.nodeid.partition('[')[0]}{parameters}"
    outcomes(item.session).judge(check, runtime, report, item.stash.get(OBSERVED, []))


def observations(item: pytest.Item) -> Iterator[list[Any]]:
    """Yield the list of what a check observes."""
    yield item.stash.setdefault(OBSERVED, [])
