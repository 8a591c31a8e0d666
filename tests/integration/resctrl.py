"""A file system that behaves as resctrl, for machines whose processor has no classes of service.

A FUSE server (linux/fuse.h) in a thread of the test: groups come with their files, schemata are parsed and
rounded as the kernel does it, tasks are in one class at a time, `rmdir` gives them back to the whole, and
`info/last_cmd_status` tells why something was refused. What it cannot show: that children are born in the
class of their parent, and any effect on caches or bandwidth.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import threading
from pathlib import Path
from struct import Struct

from libcontainer.host import MountEntry

CLASSES = 4
MASK = 0xFFFFF
STEP = 10

_IN = Struct("=IIQQIIIHH")
_OUT = Struct("=IiQ")
_ATTRIBUTES = Struct("=6Q10I")
_ENTRY = Struct("=4Q2I")
_DIRENT = Struct("=QQII")
(LOOKUP, FORGET, GETATTR, SETATTR, MKDIR, RMDIR) = (1, 2, 3, 4, 9, 11)
(OPEN, READ, WRITE, RELEASE, FLUSH, INIT) = (14, 15, 16, 18, 25, 26)
(OPENDIR, READDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET) = (27, 28, 29, 36, 42)
_SILENT = (FORGET, BATCH_FORGET, INTERRUPT)
_DIRECT_IO = 1


class RefusedError(OSError):
    """An errno with the words for info/last_cmd_status."""


class Group:
    """A class of service, or a monitoring group, whose `parent` is then its class."""

    def __init__(self, parent: Group | None) -> None:
        self.parent = parent
        self.tasks: set[int] = set()
        self.shares = {"L3": {0: MASK, 1: MASK}, "MB": {0: 100, 1: 100}}

    def schemata(self) -> str:
        caches = ";".join(f"{domain}={share:05x}" for domain, share in self.shares["L3"].items())
        bandwidths = ";".join(f"{domain}={share:4}" for domain, share in self.shares["MB"].items())
        return f"    L3:{caches}\n    MB:{bandwidths.replace(' ', '')}\n"


class Resctrl:
    """The mounted file system. `log` holds what was done: (operation, path, text)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.groups: dict[str, Group] = {"": Group(None)}
        self.log: list[tuple[str, str, str]] = []
        self.kill_after: tuple[str, str] | None = None
        self.status = "ok"
        self._paths = {1: ""}
        self._nodes = {"": 1}
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._fd},rootmode=40755,user_id=0,group_id=0"
        command = ["mount", "-i", "-t", "fuse", "-o", options, "resctrl", str(path)]
        subprocess.run(command, check=True, pass_fds=[self._fd])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=True)
        self._thread.join(5)
        os.close(self._fd)

    @property
    def mount_entry(self) -> MountEntry:
        """The line that the real one has in the mount table."""
        return MountEntry(f"99 1 0:99 / {self.path} rw,relatime - resctrl resctrl rw\n")

    # What resctrl is

    def files(self, path: str) -> dict[str, str | None]:
        """Return what is in a directory: name → content, None for a directory. Raises KeyError."""
        if path in self.groups:
            group = self.groups[path]
            found: dict[str, str | None] = {
                "tasks": "".join(f"{tid}\n" for tid in sorted(group.tasks) if os.path.exists(f"/proc/{tid}")),
                "mon_data": None,
            }
            if group.parent is None:
                found |= {"schemata": group.schemata(), "mon_groups": None}
            if path == "":
                found["info"] = None
            return found | self._children(path)
        head, _, name = path.rpartition("/")
        if name == "mon_groups" and head in self.groups:
            return self._children(path)
        if name == "mon_data" and head in self.groups:
            return {"mon_L3_00": None, "mon_L3_01": None}
        if name.startswith("mon_L3_"):
            number = int(name[-2:]) + 1
            return {
                "llc_occupancy": f"{number * 4096}\n",
                "mbm_total_bytes": f"{number * 1000}\n",
                "mbm_local_bytes": "Unavailable\n",
            }
        return dict(self._info()[path])

    def _info(self) -> dict[str, dict[str, str | None]]:
        return {
            "info": {"L3": None, "MB": None, "last_cmd_status": f"{self.status}\n"},
            "info/L3": {"cbm_mask": "fffff\n", "min_cbm_bits": "1\n", "num_closids": f"{CLASSES}\n"},
            "info/MB": {
                "bandwidth_gran": f"{STEP}\n",
                "min_bandwidth": "10\n",
                "num_closids": f"{CLASSES}\n",
            },
        }

    def _children(self, path: str) -> dict[str, str | None]:
        return {
            known.rpartition("/")[2]: None
            for known in self.groups
            if known and known.rpartition("/")[0] == path
        }

    def make(self, path: str) -> None:
        head, _, name = path.rpartition("/")
        if name in self.files(head):
            raise RefusedError(errno.EEXIST, "ok")
        monitored = head.endswith("mon_groups")
        if head and not monitored:
            raise RefusedError(errno.EPERM, "ok")
        if not monitored and sum(group.parent is None for group in self.groups.values()) >= CLASSES:
            raise RefusedError(errno.ENOSPC, "Out of CLOSIDs")
        self.groups[path] = Group(self.groups[head.rpartition("/")[0]] if monitored else None)

    def remove(self, path: str) -> None:
        if not path or path not in self.groups:
            raise RefusedError(errno.EPERM, "ok")
        group = self.groups.pop(path)
        (group.parent or self.groups[""]).tasks |= group.tasks
        for below in [known for known in self.groups if known.startswith(f"{path}/")]:
            del self.groups[below]

    def write(self, path: str, text: str) -> None:
        head, _, name = path.rpartition("/")
        group = self.groups[head]
        if name == "tasks":
            self._move(group, int(text))
        else:
            group.shares |= self._parse(group, text)

    def _move(self, group: Group, tid: int) -> None:
        if not os.path.exists(f"/proc/{tid}"):
            raise RefusedError(errno.ESRCH, f"No task {tid}")
        if group.parent is not None and tid not in group.parent.tasks:
            raise RefusedError(errno.EINVAL, "Can't move task to different control group")
        for other in self.groups.values():
            if other is not group.parent:
                other.tasks.discard(tid)
        group.tasks.add(tid)

    def _parse(self, group: Group, text: str) -> dict[str, dict[int, int]]:
        if not text.endswith("\n"):
            raise RefusedError(errno.EINVAL, "ok")
        staged = {resource: dict(domains) for resource, domains in group.shares.items()}
        seen = set()
        for line in text.splitlines():
            resource, _, rest = line.partition(":")
            if resource not in staged:
                raise RefusedError(errno.EINVAL, f"Unknown or unsupported resource name '{resource}'")
            for part in rest.split(";"):
                domain, _, share = part.partition("=")
                if (resource, domain) in seen:
                    raise RefusedError(errno.EINVAL, f"Duplicate domain {domain}")
                seen.add((resource, domain))
                staged[resource][int(domain)] = self._share(resource, share)
        return staged

    def _share(self, resource: str, text: str) -> int:
        if resource == "MB":
            return -(-int(text) // STEP) * STEP
        if not 0 < int(text, 16) <= MASK:
            raise RefusedError(errno.EINVAL, "Mask out of range")
        return int(text, 16)

    # How a file system is served

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._fd, 1 << 18)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT):
                    continue
                return  # ENODEV: unmounted
            _, operation, unique, node, _, _, pid, _, _ = _IN.unpack_from(request)
            if operation in _SILENT:
                continue
            number, answer = 0, b""
            try:
                answer = self._answer(operation, self._paths.get(node, ""), request[_IN.size :], pid)
            except RefusedError as error:
                number, self.status = error.errno or errno.EIO, error.strerror
            except KeyError:
                number = errno.ENOENT
            try:
                os.write(self._fd, _OUT.pack(_OUT.size + len(answer), -number, unique) + answer)
            except OSError:
                continue  # who asked is gone

    def _answer(self, operation: int, path: str, body: bytes, pid: int) -> bytes:
        if operation == INIT:
            return Struct("=4I2H2I2H8I").pack(7, 31, 0, 0, 0, 0, 1 << 16, 1, 0, 0, *[0] * 8)
        if operation == LOOKUP:
            return self._entry(self._below(path, body))
        if operation in (GETATTR, SETATTR):
            return Struct("=QII").pack(0, 0, 0) + self._attributes(path)
        if operation in (OPEN, OPENDIR):
            return Struct("=QII").pack(0, _DIRECT_IO if operation == OPEN else 0, 0)
        if operation in (READ, READDIR):
            _, offset, size = Struct("=QQI").unpack_from(body)
            whole = self._content(path).encode() if operation == READ else self._listing(path)
            return whole[offset : offset + size]
        if operation in (MKDIR, RMDIR, WRITE):
            return self._change(operation, path, body, pid)
        if operation in (RELEASE, RELEASEDIR, FLUSH):
            return b""
        raise RefusedError(errno.ENOSYS, self.status)

    def _change(self, operation: int, path: str, body: bytes, pid: int) -> bytes:
        self.status = "ok"
        if operation == WRITE:
            text = body[40:].decode()
            what, answer = ("write", path, text), Struct("=II").pack(len(body) - 40, 0)
            self.write(path, text)
        elif operation == MKDIR:
            path = self._below(path, body[8:])
            what = ("mkdir", path, "")
            self.make(path)
            answer = self._entry(path)
        else:
            path = self._below(path, body)
            what, answer = ("rmdir", path, ""), b""
            self.remove(path)
        self.log.append(what)
        if self.kill_after == what[:2]:
            os.kill(pid, signal.SIGKILL)
        return answer

    def _below(self, path: str, name: bytes) -> str:
        return os.path.join(path, name.rstrip(b"\0").decode())

    def _content(self, path: str) -> str:
        head, _, name = path.rpartition("/")
        content = self.files(head)[name]
        assert content is not None
        return content

    def _is_directory(self, path: str) -> bool:
        if not path:
            return True
        head, _, name = path.rpartition("/")
        return self.files(head)[name] is None

    def _listing(self, path: str) -> bytes:
        whole = b""
        for name in self.files(path):
            entry = (
                _DIRENT.pack(1, len(whole) + _DIRENT.size + -(-len(name) // 8) * 8, len(name), 0)
                + name.encode()
            )
            whole += entry + b"\0" * (-len(entry) % 8)
        return whole

    def _entry(self, path: str) -> bytes:
        attributes = self._attributes(path)
        node = self._nodes.setdefault(path, len(self._nodes) + 1)
        self._paths[node] = path
        return _ENTRY.pack(node, 0, 0, 0, 0, 0) + attributes

    def _attributes(self, path: str) -> bytes:
        mode = stat.S_IFDIR | 0o755 if self._is_directory(path) else stat.S_IFREG | 0o644
        node = self._nodes.setdefault(path, len(self._nodes) + 1)
        return _ATTRIBUTES.pack(node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
