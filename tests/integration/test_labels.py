"""Security modules that a configuration asks for: config.md "apparmorProfile", "selinuxLabel"."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from libcontainer import Unsupported
from libcontainer.host import Host

if TYPE_CHECKING:
    from .conftest import Bundle


@pytest.mark.parametrize(
    ("field", "module", "fact"),
    [("apparmorProfile", "AppArmor", "apparmor"), ("selinuxLabel", "SELinux", "selinux")],
)
def test_a_label_that_cannot_be_had_is_an_error(bundle: Bundle, field: str, module: str, fact: str) -> None:
    """A payload that was to be confined must not run free (the fault of crun 1.27)."""
    if getattr(Host(), fact):
        pytest.skip(f"{module} is active on this host")
    bundle.process[field] = "some_profile"

    with pytest.raises(Unsupported, match=f"{module} is not active in this kernel") as caught:
        bundle.build("true")

    assert caught.value.pointer == f"/process/{field}"
    assert caught.value.remedy
    assert not os.path.exists(bundle.root / bundle.id)


@pytest.mark.parametrize("field", ["apparmorProfile", "selinuxLabel"])
def test_an_empty_label_asks_for_nothing(bundle: Bundle, field: str) -> None:
    """Engines write empty strings for what they leave out."""
    bundle.process[field] = ""

    assert bundle.run("true").status.code == 0
