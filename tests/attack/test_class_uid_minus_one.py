"""User ids that mean something else to the kernel than they say: 4294967295 is "leave it" to setresuid(2), and what
does not fit is cut (CVE-2024-40635, CVE-2026-46680, CVE-2026-30892).
"""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from libcontainer import Container, InvalidConfig
from libcontainer.plan import operations as do
from libcontainer.plan.encode import encode
from libcontainer.sealed import sealed_bytes

from ..integration.conftest import Bundle
from .test_class_init_without_a_runtime import end, send, start

VALUES = (2**32 - 1, 2**32, 2**32 + 1, 2**64 - 1, 2**64, -1, -0.5, 1.5, "0", "root", True, [0], 10**30)


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_number_that_would_leave_the_payload_root_is_refused(bundle: Bundle, value: Any) -> None:
    """As user, as group, and in the list of groups; and nothing is made."""
    for user in (
        {"uid": value, "gid": 1000},
        {"uid": 1000, "gid": value},
        {"uid": 1000, "gid": 1000, "additionalGids": [1, value]},
    ):
        bundle.process["user"] = user
        with pytest.raises(InvalidConfig):
            bundle.build("id")
    assert Container.list(bundle.root) == []


def test_largest_id_is_that_id(bundle: Bundle) -> None:
    """4294967294 is a user like any other: nothing on the way reads it as a signed number."""
    bundle.process["user"] = {"uid": 2**32 - 2, "gid": 2**32 - 2, "additionalGids": [2**32 - 2]}
    assert bundle.sh("id -u; id -g; id -G").stdout.split() == ["4294967294"] * 3


@pytest.mark.parametrize(("uid", "gid"), [(2**32 - 1, 0), (0, 2**32 - 1)])
def test_init_refuses_what_the_check_of_the_configuration_would_let_pass(uid: int, gid: int) -> None:
    """The second lock: init does not take the kernel's "leave it" from a plan either."""
    plan = [
        do.SetCredentials(pointer="", uid=uid, gid=gid, groups=b"", set_groups=do.GROUPS_KEEP),
        do.Sync(pointer="", point=do.SYNC_READY),
    ]
    fd = sealed_bytes("plan", encode(plan, 0))
    process, channel = start(socket.SOCK_SEQPACKET)
    with channel:
        send(channel, fd)
        os.close(fd)
        assert b"setresuid" in channel.recv(2000)
    assert end(process) == 1
