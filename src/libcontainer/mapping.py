"""User namespaces as values: an id mapping that an id-mapped mount refers to.

mount_setattr(2) MOUNT_ATTR_IDMAP. The namespace is made by a short-lived init, whose maps are written from
outside; its descriptor keeps it alive.
"""

from __future__ import annotations

import os

from libcontainer import idmap
from libcontainer.channel import SYNC
from libcontainer.errors import SetupError
from libcontainer.plan import operations as do
from libcontainer.plan.context import NAMESPACES
from libcontainer.plan.encode import encode
from libcontainer.spawn import reap, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def open_user_namespace(
    uid_mappings: Sequence[idmap.Mapping],
    gid_mappings: Sequence[idmap.Mapping],
    *,
    pointer: str,
    privileged: bool,
) -> int:
    """Return a descriptor of a new user namespace with these mappings.

    The caller closes it. Raises SetupError.
    """
    ops = [
        do.Unshare(pointer=pointer, flags=NAMESPACES["user"]),
        do.Sync(pointer=pointer, point=do.SYNC_MAPS),
    ]
    pid, channel = spawn()
    try:
        try:
            channel.send_plan(encode(ops, 0), [])
        except ConnectionError:
            pass  # it has ended; `receive` tells
        report = channel.receive()
        if report is None or report.kind != SYNC:
            raise SetupError(
                f"config.json {pointer}: cannot make a user namespace for an id-mapped mount",
                pointer=pointer,
                syscall="unshare",
                errno=report.errno if report else None,
                remedy="check user.max_user_namespaces",
            )
        idmap.write_maps(pid, uid_mappings, gid_mappings, privileged=privileged)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        channel.close()  # init ends: nobody will tell it to go on
        reap(pid)
