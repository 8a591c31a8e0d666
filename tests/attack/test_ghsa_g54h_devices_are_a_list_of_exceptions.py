"""GHSA-g54h-m393-cpwq: device rules that begin with an allow were read as exceptions to "everything is allowed"."""

from __future__ import annotations

import os
from typing import Any

import pytest

from ..integration.conftest import Bundle
from .hostile import grant_all

RULES: list[list[dict[str, Any]]] = [
    [],
    [{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}],
    [{"allow": False, "type": "c", "major": 1, "minor": 1, "access": "rwm"}],
]


@pytest.mark.parametrize("rules", RULES, ids=["none", "an allow first", "a single deny"])
def test_disk_and_memory_of_the_host_cannot_be_opened(bundle: Bundle, rules: list[dict[str, Any]]) -> None:
    """A privileged payload makes the nodes (that is allowed) and cannot open them."""
    grant_all(bundle)
    bundle.linux["resources"] = {"devices": rules}
    disk = os.stat("/").st_dev
    script = f"""
    mknod /tmp/disk b {os.major(disk)} {os.minor(disk)} && echo made
    mknod /tmp/mem c 1 1
    mknod /tmp/kmsg c 1 11
    for node in disk mem kmsg; do
      (exec 3< /tmp/$node) 2>/dev/null && echo read $node
      (exec 3<> /tmp/$node) 2>/dev/null && echo written $node
    done
    head -c 1 /dev/zero > /dev/null && echo defaults
    """
    assert bundle.sh(script).lines == ["made", "defaults"]
