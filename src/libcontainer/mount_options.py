"""Mount options: the table of all that exist, and what the options of one mount ask for together.

mount(8), mount(2), mount_setattr(2), config-linux.md "Linux mount options". Whatever is not in the table goes to the
file system itself. Pure. On the hot path.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# mount(2) flags.
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_SYNCHRONOUS, MS_REMOUNT, MS_MANDLOCK, MS_DIRSYNC = 16, 32, 64, 128
MS_NOSYMFOLLOW, MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC, MS_SILENT = 256, 1024, 2048, 4096, 16384, 32768
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_RELATIME, MS_I_VERSION, MS_STRICTATIME, MS_LAZYTIME = 1 << 21, 1 << 23, 1 << 24, 1 << 25

# mount_setattr(2) attributes. The three access time settings are values of one field, cleared as a whole.
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC, ATTR_NOATIME, ATTR_STRICTATIME = 1, 2, 4, 8, 0x10, 0x20
ATTR_ATIME, ATTR_NODIRATIME, ATTR_IDMAP, ATTR_NOSYMFOLLOW = 0x70, 0x80, 0x100000, 0x200000

# fsconfig(2) takes a value of at most 255 bytes; mount(2) a page of them all together.
LONGEST_VALUE = 255

# A row: option → (kind, mount attribute to set, to clear, mount(2) flag to set, to clear).
# Kinds: "attribute" of the mount; "superblock" of the file system; "classic", which only mount(2) knows; and
# the rest by name.
OPTIONS: dict[str, tuple[str, int, int, int, int]] = {
    "defaults": ("none", 0, 0, 0, 0),
    "ro": ("attribute", ATTR_RDONLY, 0, MS_RDONLY, 0),
    "rw": ("attribute", 0, ATTR_RDONLY, 0, MS_RDONLY),
    "nosuid": ("attribute", ATTR_NOSUID, 0, MS_NOSUID, 0),
    "suid": ("attribute", 0, ATTR_NOSUID, 0, MS_NOSUID),
    "nodev": ("attribute", ATTR_NODEV, 0, MS_NODEV, 0),
    "dev": ("attribute", 0, ATTR_NODEV, 0, MS_NODEV),
    "noexec": ("attribute", ATTR_NOEXEC, 0, MS_NOEXEC, 0),
    "exec": ("attribute", 0, ATTR_NOEXEC, 0, MS_NOEXEC),
    "noatime": ("attribute", ATTR_NOATIME, ATTR_ATIME, MS_NOATIME, MS_STRICTATIME | MS_RELATIME),
    "atime": ("attribute", 0, ATTR_ATIME, MS_RELATIME, MS_NOATIME),
    "relatime": ("attribute", 0, ATTR_ATIME, MS_RELATIME, MS_NOATIME | MS_STRICTATIME),
    "norelatime": ("attribute", 0, ATTR_ATIME, 0, MS_RELATIME),
    "strictatime": ("attribute", ATTR_STRICTATIME, ATTR_ATIME, MS_STRICTATIME, MS_NOATIME | MS_RELATIME),
    "nostrictatime": ("attribute", 0, ATTR_ATIME, MS_RELATIME, MS_STRICTATIME),
    "nodiratime": ("attribute", ATTR_NODIRATIME, 0, MS_NODIRATIME, 0),
    "diratime": ("attribute", 0, ATTR_NODIRATIME, 0, MS_NODIRATIME),
    "nosymfollow": ("attribute", ATTR_NOSYMFOLLOW, 0, MS_NOSYMFOLLOW, 0),
    "symfollow": ("attribute", 0, ATTR_NOSYMFOLLOW, 0, MS_NOSYMFOLLOW),
    "sync": ("superblock", 0, 0, MS_SYNCHRONOUS, 0),
    "async": ("superblock", 0, 0, 0, MS_SYNCHRONOUS),
    "dirsync": ("superblock", 0, 0, MS_DIRSYNC, 0),
    "lazytime": ("superblock", 0, 0, MS_LAZYTIME, 0),
    "nolazytime": ("superblock", 0, 0, 0, MS_LAZYTIME),
    "mand": ("superblock", 0, 0, MS_MANDLOCK, 0),
    "nomand": ("superblock", 0, 0, 0, MS_MANDLOCK),
    "iversion": ("classic", 0, 0, MS_I_VERSION, 0),
    "noiversion": ("classic", 0, 0, 0, MS_I_VERSION),
    "silent": ("classic", 0, 0, MS_SILENT, 0),
    "loud": ("classic", 0, 0, 0, MS_SILENT),
    "remount": ("classic", 0, 0, MS_REMOUNT, 0),
    "bind": ("bind", 0, 0, MS_BIND, 0),
    "rbind": ("bind", 0, 0, MS_BIND | MS_REC, 0),
    "private": ("propagation", 0, 0, MS_PRIVATE, 0),
    "rprivate": ("propagation", 0, 0, MS_PRIVATE | MS_REC, 0),
    "shared": ("propagation", 0, 0, MS_SHARED, 0),
    "rshared": ("propagation", 0, 0, MS_SHARED | MS_REC, 0),
    "slave": ("propagation", 0, 0, MS_SLAVE, 0),
    "rslave": ("propagation", 0, 0, MS_SLAVE | MS_REC, 0),
    "unbindable": ("propagation", 0, 0, MS_UNBINDABLE, 0),
    "runbindable": ("propagation", 0, 0, MS_UNBINDABLE | MS_REC, 0),
    "rro": ("recursive", ATTR_RDONLY, 0, 0, 0),
    "rrw": ("recursive", 0, ATTR_RDONLY, 0, 0),
    "rnosuid": ("recursive", ATTR_NOSUID, 0, 0, 0),
    "rsuid": ("recursive", 0, ATTR_NOSUID, 0, 0),
    "rnodev": ("recursive", ATTR_NODEV, 0, 0, 0),
    "rdev": ("recursive", 0, ATTR_NODEV, 0, 0),
    "rnoexec": ("recursive", ATTR_NOEXEC, 0, 0, 0),
    "rexec": ("recursive", 0, ATTR_NOEXEC, 0, 0),
    "rnoatime": ("recursive", ATTR_NOATIME, ATTR_ATIME, 0, 0),
    "ratime": ("recursive", 0, ATTR_ATIME, 0, 0),
    "rrelatime": ("recursive", 0, ATTR_ATIME, 0, 0),
    "rnorelatime": ("recursive", 0, ATTR_ATIME, 0, 0),
    "rstrictatime": ("recursive", ATTR_STRICTATIME, ATTR_ATIME, 0, 0),
    "rnostrictatime": ("recursive", 0, ATTR_ATIME, 0, 0),
    "rnodiratime": ("recursive", ATTR_NODIRATIME, 0, 0, 0),
    "rdiratime": ("recursive", 0, ATTR_NODIRATIME, 0, 0),
    "rnosymfollow": ("recursive", ATTR_NOSYMFOLLOW, 0, 0, 0),
    "rsymfollow": ("recursive", 0, ATTR_NOSYMFOLLOW, 0, 0),
    "idmap": ("idmap", 0, 0, 0, 0),
    "ridmap": ("idmap", 0, 0, 0, 1),
    "tmpcopyup": ("tmpcopyup", 0, 0, 0, 0),
}

PROPAGATION = {name: row[3] for name, row in OPTIONS.items() if row[0] == "propagation"}


class Request:
    """What one entry of `mounts` asks for, read off its options."""

    def __init__(self, entry: dict[str, Any], pointer: str, bundle: str) -> None:
        self.pointer = pointer
        self.slot = 0  # of init, in which the mount is while it is made
        self.destination = os.path.normpath("/" + entry["destination"].lstrip("/"))
        self.fstype = entry.get("type") or ""
        self.source = entry.get("source") or ""
        self.bind = self.recursive_bind = self.classic = self.copy_up = False
        self.set = self.clear = self.recursive_set = self.recursive_clear = self.flags_set = (
            self.flags_clear
        ) = 0
        self.propagation: list[int] = []
        self.data: list[str] = []
        self.superblock: list[str] = []
        self.idmap = entry.get("uidMappings") is not None
        self.idmap_recursive = False
        self.mappings = (entry.get("uidMappings") or [], entry.get("gidMappings") or [])
        for option in entry.get("options") or ():
            self._read(option)
        if self.fstype == "bind" and not self.bind:
            # docker, podman and youki all write it: the type alone asks for a bind mount too.
            self.bind, self.flags_set = True, self.flags_set | MS_BIND
        if self.bind and self.source:
            self.source = os.path.join(bundle, self.source)
        self.remount = self.flags_set & MS_REMOUNT != 0
        too_long = any([len(item.encode()) > LONGEST_VALUE for item in (*self.data, self.source)])
        # A bind has no file system to be configured; what only mount(2) takes means nothing to it.
        self.classic = not self.bind and (self.classic or too_long)

    def _read(self, option: str) -> None:
        row = OPTIONS.get(option)
        if row is None:
            self.data.append(option)
            return
        kind, attributes, cleared, flags, flags_cleared = row
        if kind == "propagation":
            self.propagation.append(flags)
        elif kind == "recursive":
            self.recursive_set = self.recursive_set & ~cleared | attributes
            self.recursive_clear = self.recursive_clear & ~attributes | cleared
        elif kind == "idmap":
            self.idmap, self.idmap_recursive = True, bool(flags_cleared)
        elif kind == "tmpcopyup":
            self.copy_up = True
        else:
            self._read_flags(option, row)

    def _read_flags(self, option: str, row: tuple[str, int, int, int, int]) -> None:
        kind, attributes, cleared, flags, flags_cleared = row
        self.set = self.set & ~cleared | attributes
        self.clear = self.clear & ~attributes | cleared
        self.flags_set = self.flags_set & ~flags_cleared | flags
        self.flags_clear = self.flags_clear & ~flags | flags_cleared
        if kind == "bind":
            self.bind, self.recursive_bind = True, flags & MS_REC != 0
        elif kind == "superblock":
            self.superblock.append(option)
        elif kind == "classic":
            self.classic = True

    @property
    def readonly(self) -> bool:
        """Whether the mount itself (not only what is below it) is asked to be read-only."""
        return self.set & ATTR_RDONLY != 0
