"""One guest for each arrangement, and what ran inside of it, told at the end."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from . import guest
from .arrangements import MODULES, Modules, path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from _pytest.terminal import TerminalReporter

EVERYTHING = os.environ.get("TEST_VM") == "all"  # `make test-vm`
STUCK_S = 240  # a test that takes longer shows where it stands
GUESTS: dict[str, Inside] = {}  # those that were booted, for the summary


class Inside:
    """What ran in one guest: `outcome`, and of each module which tests `ran`, `failed` and were `skipped`, and why."""

    def __init__(self, outcome: guest.Outcome) -> None:
        self.outcome = outcome
        self.ran: dict[str, dict[str, str]] = {}
        self.failed: dict[str, dict[str, str]] = {}
        self.skipped: dict[str, dict[str, str]] = {}
        report = outcome.shared / "report.xml"
        for case in ET.parse(report).iter("testcase") if report.exists() else ():
            # A module that could not be imported is a case of its own, with no class.
            module = (case.get("classname") or case.get("name", "")).rpartition(".")[2]
            self._add(module.removeprefix("test_"), case.get("name", ""), case)

    def _add(self, module: str, name: str, case: ET.Element) -> None:
        skipped = case.find("skipped")
        if skipped is not None:
            self.skipped.setdefault(module, {})[name] = skipped.get("message", "")
            return
        self.ran.setdefault(module, {})[name] = ""
        for problem in (*case.findall("failure"), *case.findall("error")):
            self.failed.setdefault(module, {})[name] = problem.text or ""

    @staticmethod
    def results(outcome: dict[str, dict[str, str]], name: str) -> dict[str, str]:
        """Return of one outcome's tests those of a module, or of one test of it, as arrangements.py names them."""
        module, _, test = name.partition("::")
        cases = outcome.get(module, {}).items()
        return {case: text for case, text in cases if test in ("", case.partition("[")[0])}

    def summary(self) -> str:
        """Return the counts, and the reasons of the skips."""
        ran, failed = (sum(map(len, found.values())) for found in (self.ran, self.failed))
        reasons = Counter(reason for module in self.skipped.values() for reason in module.values())
        line = f"{ran} ran, {failed} failed, {reasons.total()} skipped"
        why = "; ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
        return f"{line} ({why})" if why else line


def chosen(arrangement: str) -> dict[str, str]:
    """Return what runs in this guest: the path of each module, or of its one test, by the name of it."""
    modules: Modules = MODULES[arrangement]
    found = {name: path(name, "integration") for name in modules.core}
    if EVERYTHING:
        found |= {name: path(name, "integration") for name in modules.more}
        found |= {name: path(name, "clients") for name in modules.clients}
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that asks for an arrangement all of them, and for a module those that run there, guest by guest."""
    if "module" in metafunc.fixturenames:
        pairs = [(arrangement, module) for arrangement in MODULES for module in chosen(arrangement)]
        metafunc.parametrize(("arrangement", "module"), pairs)
    elif "arrangement" in metafunc.fixturenames:
        metafunc.parametrize("arrangement", list(MODULES))


@pytest.fixture(scope="session")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Inside]:
    """Boot the guest of an arrangement, once, and run its modules there; the result holds for all tests."""

    def run(arrangement: str) -> Inside:
        if arrangement not in GUESTS:
            reason = guest.lacking(arrangement)
            if reason is not None:
                pytest.skip(reason)
            GUESTS[arrangement] = Inside(_boot(arrangement, tmp_path_factory.mktemp(arrangement)))
        return GUESTS[arrangement]

    return run


def _boot(arrangement: str, shared: Path) -> guest.Outcome:
    paths = " ".join(chosen(arrangement).values())
    command = (
        f"TEST_CLIENTS=all python -m pytest -p no:cacheprovider -q --junitxml={guest.SHARED}/report.xml "
        f"-o faulthandler_timeout={STUCK_S} -o junit_family=xunit2 {paths}"
    )
    modules = MODULES[arrangement]
    timeout_s = modules.core_s + (modules.more_s + modules.clients_s if EVERYTHING else 0)
    return guest.boot(arrangement, command, shared, timeout_s=timeout_s)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print for each guest how many tests ran in it."""
    if GUESTS:
        terminalreporter.section("what ran in virtual machines")
    for arrangement, found in GUESTS.items():
        terminalreporter.line(f"{arrangement}: {found.summary()}")
