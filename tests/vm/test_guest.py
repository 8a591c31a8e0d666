"""The guest itself: what it leaves when it does not come to its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import guest

PATIENCE_S = 10  # too little for a boot


def test_guest_that_hangs_is_ended_and_shows_how_far_it_came(tmp_path: Path) -> None:
    """Nothing of it outlives its time, and whoever reads the failure sees the console."""
    reason = guest.lacking("v2")
    if reason is not None:
        pytest.skip(reason)
    shared = tmp_path / "shared"

    outcome = guest.boot("v2", "sleep infinity", shared, timeout_s=PATIENCE_S - guest.BOOT_S)

    assert outcome.code is None
    assert f"not done after {PATIENCE_S} s" in outcome.complaint
    assert "the end of its console" in repr(outcome)
    assert [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(shared) in _words(path)] == []
    assert not (shared / "tree.tar").exists()


def _words(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""  # it ended meanwhile
