"""What ran inside of the guests, told at the end."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from . import guest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from _pytest.terminal import TerminalReporter

INSIDE: list[str] = []  # lines for the summary


class Inside:
    """The tests that ran inside, by their names: `ran`, `failed` (with the reason), `skipped`."""

    def __init__(self, report: Path) -> None:
        self.ran: list[str] = []
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        for case in ET.parse(report).iter("testcase"):
            self._add(f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}", case)

    def _add(self, name: str, case: ET.Element) -> None:
        skipped = case.find("skipped")
        if skipped is not None:
            self.skipped[name] = skipped.get("message", "")
            return
        self.ran.append(name)
        for problem in (*case.findall("failure"), *case.findall("error")):
            self.failed[name] = problem.text or ""

    def ran_of(self, module: str) -> list[str]:
        """The tests of one module that ran."""
        return [name for name in self.ran if name.startswith(f"{module}::")]


@pytest.fixture
def run_inside(tmp_path: Path) -> Callable[..., Inside]:
    """Run test modules of tests/integration in a guest; every one of them must run, and none may fail."""
    reason = guest.lacking()
    if reason is not None:
        pytest.skip(reason)

    def run(*modules: str, timeout_s: float, systemd: bool = False) -> Inside:
        paths = " ".join(f"tests/integration/{module}.py" for module in modules)
        script = f"python -m pytest -p no:cacheprovider -q --junitxml={guest.SHARED}/report.xml {paths}"
        outcome = guest.boot(script, tmp_path / "shared", timeout_s=timeout_s, systemd=systemd)
        assert outcome.code is not None, outcome
        inside = Inside(outcome.directory / "report.xml")
        kind = "systemd" if systemd else "cgroup v2"
        counts = f"{len(inside.ran)} ran, {len(inside.failed)} failed, {len(inside.skipped)} skipped"
        INSIDE.append(f"{kind}: {counts} ({', '.join(modules)})")
        assert inside.failed == {}, outcome
        assert outcome.code == 0, outcome
        assert [module for module in modules if not inside.ran_of(module)] == []
        return inside

    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the long ones to `make test-vm`, which asks for them in the environment."""
    if os.environ.get("TEST_VM") == "all":
        return
    for item in items:
        if item.path.parent.name == "vm" and item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: make test-vm"))


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print for each guest how many tests ran in it."""
    if INSIDE:
        terminalreporter.section("what ran in virtual machines")
    for line in INSIDE:
        terminalreporter.line(line)
