"""inotify(7): changes of files, and directories that are removed.

Python has no call for it, hence ctypes. The kernel announces a change of a cgroup's events file as a
modification (cgroup-v2.rst, "cgroup.events"), and the removal of a cgroup as a deletion in its parent; one that
goes through the mount of another cgroup namespace is not announced.
"""

from __future__ import annotations

import ctypes
import os
import struct

from libcgroups.errors import from_os

MODIFY, DELETE = 0x2, 0x200  # linux/inotify.h
_HEADER = struct.Struct("iIII")  # struct inotify_event: watch, mask, cookie, bytes of the name
_READ_BYTES = 1 << 16

_LIBRARY = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """An inotify descriptor, non-blocking and close-on-exec."""

    def __init__(self) -> None:
        self.fd = _checked(_LIBRARY.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify_init1", "")

    def watch(self, path: str, mask: int) -> int:
        """Have the events of `mask` at `path` announced from now on, and return the watch's number.

        Raises CgroupError.
        """
        return _checked(
            _LIBRARY.inotify_add_watch(self.fd, os.fsencode(path), ctypes.c_uint32(mask)),
            "inotify_add_watch",
            path,
        )

    def read(self) -> list[int]:
        """Return the watches of the events that wait to be read; does not block."""
        try:
            data = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return []
        found, offset = [], 0
        while offset < len(data):
            watch, _, _, length = _HEADER.unpack_from(data, offset)
            found.append(watch)
            offset += _HEADER.size + length
        return found

    def close(self) -> None:
        """Close the descriptor, and with it every watch."""
        os.close(self.fd)


def _checked(result: int, call: str, path: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise from_os(OSError(number, os.strerror(number)), call, path)
    return result
