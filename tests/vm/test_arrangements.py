"""The integration tests on arrangements of control groups that this machine does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Inside


def test_module_passes_inside(inside: Callable[[str], Inside], arrangement: str, module: str) -> None:
    """Most machines have cgroup v2 only, and systemd manages it: the same tests as here must hold there."""
    found = inside(arrangement)
    assert found.outcome.code is not None, found.outcome
    failed = found.failed.get(module, {})

    assert not failed, "\n".join(
        f"--- {name} of {module} in the guest:\n{text}" for name, text in failed.items()
    )
    assert found.ran.get(module), (found.skipped.get(module), found.outcome)


def test_guest_comes_to_its_end(inside: Callable[[str], Inside], arrangement: str) -> None:
    """What fails outside of every test, at collection or at the end, is no success."""
    found = inside(arrangement)

    assert found.outcome.complaint == "", found.outcome
    assert found.outcome.code == 0 or found.failed, found.outcome
