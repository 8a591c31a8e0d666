"""The integration tests, and engines, on arrangements of control groups that this machine does not have."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from .arrangements import MODULES

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Inside


def test_module_passes_inside(inside: Callable[[str], Inside], arrangement: str, module: str) -> None:
    """Most machines have cgroup v2 only, and systemd manages it: the same tests as here must hold there."""
    if module in MODULES[arrangement].clients and shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    found = inside(arrangement)
    assert found.outcome.code is not None, found.outcome
    failed = found.results(found.failed, module)

    assert not failed, "\n".join(
        f"--- {name} of {module} in the guest:\n{text}" for name, text in failed.items()
    )
    assert found.results(found.ran, module), (found.results(found.skipped, module), found.outcome)


def test_guest_comes_to_its_end(inside: Callable[[str], Inside], arrangement: str) -> None:
    """What fails outside of every test, at collection or at the end, is no success."""
    found = inside(arrangement)

    assert found.outcome.complaint == "", found.outcome
    assert found.outcome.code == 0 or found.failed, found.outcome
