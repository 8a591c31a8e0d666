"""Handing a cgroup to a user, who may then divide it: cgroup-v2.rst, "Delegation".

The owner of the directory and of some files makes cgroups below, moves processes between them and hands controllers
down; limits of the cgroup itself stay with whoever set them.
"""

from __future__ import annotations

import errno
import os

from libcgroups.cgroup import Cgroup, read_file
from libcgroups.errors import from_os

FILES = "/sys/kernel/cgroup/delegate"  # what this kernel has to hand over, since Linux 4.15
_FILES_BEFORE = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")


def delegate(cgroup: Cgroup, uid: int, *, files: str = FILES) -> None:
    """Make the user `uid` of this user namespace the owner; the group stays. Raises CgroupError."""
    for name in ("", *_names(files)):
        path = f"{cgroup.directory}/{name}".rstrip("/")
        try:
            os.chown(path, uid, -1, follow_symlinks=False)
        except OSError as error:
            if name and error.errno == errno.ENOENT:
                continue  # its controller is not enabled here
            raise from_os(error, "chown", path, str(uid)) from error


def _names(files: str) -> tuple[str, ...] | list[str]:
    try:
        return read_file(files).split()
    except FileNotFoundError:
        return _FILES_BEFORE
    except OSError as error:
        raise from_os(error, "read", files) from error
