"""Classes of service for cache and memory bandwidth (Intel RDT, AMD QoS): `linux.intelRdt`.

Specification: config-linux.md "IntelRdt".  Kernel: Documentation/filesystems/resctrl.rst.

    <resctrl>/                      the mount; itself the class `/`, in which every task is until it is moved
        schemata                    shares of the caches and of the bandwidth, a line for each resource
        tasks                       the threads in it; children are born where their parent is
        mon_data/mon_L3_00/…        counters of each last-level cache
        mon_groups/<id>/            a subset of the tasks that is counted by itself
        info/                       what the hardware has; last_cmd_status says why a write was refused
        <closID or id>/             another class, with the same files

A life: `plan(…)` → below `locked()`: `look()`, `to_state()` (written down by the caller as an intent), `create()` →
`add_task(pid)` → … → `remove()`. What was there before is joined and never changed or removed. The hardware has
few classes (16 at most, often 8 or fewer), so that nothing may be left behind. Imported only when a configuration
asks for it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager

from libcgroups.cgroup import read_file, write_file
from libcontainer import schemata, state
from libcontainer.errors import InvalidArgument, Problem, RdtError, Timeout, Unsupported, in_words
from libcontainer.schemata import POINTER
from libcontainer.spec.check_linux import INTEL_RDT, NO_CLASSES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from libcontainer.host import MountEntry
    from libcontainer.spec.types import IntelRdt

LOCK_TIMEOUT_S = 10.0

_REMEDIES = {
    errno.ENOSPC: "the hardware's classes or monitoring ids are used up (info/L3/num_closids, info/L3_MON/num_rmids): "
    "remove directories below resctrl that nobody needs",
    errno.EACCES: "resctrl belongs to root of the host: leave linux.intelRdt out for a rootless container",
    errno.EPERM: "resctrl belongs to root of the host: leave linux.intelRdt out for a rootless container",
    errno.EROFS: "mount resctrl writable",
    errno.EINVAL: "compare the schemata with those in the file schemata of resctrl, and with info/*/cbm_mask",
}


class Group:
    """The class of service of one container, with its monitoring group if it has one.

    `path` is the directory of the class, `made` whether it is made for this container, `monitoring` the
    directory of the monitoring group that is made for it, or None. Both are known after `look`.
    """

    def __init__(self, root: str, path: str, made: bool, monitoring: str | None) -> None:
        self.root = root
        self.path = path
        self.made = made
        self.monitoring = monitoring
        self.config: IntelRdt = {}
        self.container_id = ""
        self.in_megabytes = False

    def to_state(self) -> dict[str, Any]:
        """Return what `from_state` needs, as plain data."""
        return {"root": self.root, "path": self.path, "made": self.made, "monitoring": self.monitoring}

    @classmethod
    def from_state(cls, record: dict[str, Any]) -> Group:
        """Continue with what another process has made."""
        return cls(record["root"], record["path"], record["made"], record["monitoring"])

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that resctrl.rst ("Resctrl filesystem locking") asks of whoever changes something.

        Raises Timeout.
        """
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            deadline = time.monotonic() + LOCK_TIMEOUT_S
            while not _try_lock(fd):
                if time.monotonic() > deadline:
                    raise Timeout(
                        f"{self.root} is busy: another program has locked it for {LOCK_TIMEOUT_S:g} s",
                        step="intelRdt",
                        path=self.root,
                        remedy="see with lslocks(8) who holds it",
                    )
                time.sleep(0.005)
            yield
        finally:
            os.close(fd)

    # Making and joining

    def look(self) -> None:
        """See whether the class is there already, and refuse what cannot be joined. Changes nothing.

        Raises RdtError.
        """
        named = self.config.get("closID")
        made = not os.path.isdir(self.path)
        if not made and not named:
            raise _taken(self.path, "closID")
        if made and named and not schemata.writes(self.config):
            raise RdtError(
                f"config.json {POINTER}/closID: the class of service {named} does not exist",
                step="intelRdt",
                pointer=f"{POINTER}/closID",
                path=self.path,
                remedy=f"make {self.path} first, or say with schemata what it shall have",
            )
        monitoring = None
        if self.config.get("enableMonitoring"):
            monitoring = f"{self.path}/mon_groups/{self.container_id}"
            if os.path.isdir(monitoring):
                raise _taken(monitoring, "enableMonitoring")
        self.made, self.monitoring = made, monitoring

    def create(self) -> None:
        """Make the class with its schemata, or compare them with those of the one that is there.

        After `look`, below the same lock. Raises RdtError.
        """
        if self.made:
            self._make(self.path, "closID")
            for pointer, text in schemata.writes(self.config):
                self.write_schemata(text, pointer)
        else:
            self._compare()
        if self.monitoring is not None:
            self._make(self.monitoring, "enableMonitoring")

    def add_task(self, tid: int) -> None:
        """Move one thread, and with it what it will give birth to. Raises RdtError."""
        # Into the monitoring group only from its own class.
        for directory in (self.path, self.monitoring):
            if directory is not None:
                self._write(f"{directory}/tasks", str(tid), POINTER)

    def read(self, file: str) -> str:
        """Return the content of a file of the class. Raises RdtError."""
        path = f"{self.path}/{file}"
        try:
            return read_file(path)
        except OSError as error:
            raise self._failure("read", path, error) from error

    def write_schemata(self, text: str, pointer: str | None = None) -> None:
        """Write lines of schemata, all or none of which take effect. Raises RdtError."""
        self._write(f"{self.path}/schemata", f"{text}\n", pointer)

    def remove(self) -> list[str]:
        """Remove what was made for the container and tell, in sentences, what had to stay.

        A class that others have joined meanwhile stays: without it they would have the whole cache. Raises
        RdtError and Timeout.
        """
        if not os.path.isdir(self.root) or not (self.made or self.monitoring):
            return []
        with self.locked():
            if self.monitoring is not None:
                self._remove(self.monitoring)
            if not self.made or not os.path.isdir(self.path):
                return []
            if others := _occupants(self.path):
                return [f"the class of service {self.path} stays: others use it ({others})"]
            self._remove(self.path)
        return []

    def _make(self, path: str, member: str) -> None:
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            # By somebody who does not care for the lock: then it is not ours to remove.
            self.made, self.monitoring = self.made and path != self.path, None
            raise _taken(path, member) from None
        except OSError as error:
            raise self._failure("make", path, error, f"{POINTER}/{member}") from error

    def _remove(self, path: str) -> None:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._failure("remove", path, error) from error

    def _write(self, path: str, text: str, pointer: str | None) -> None:
        try:
            write_file(path, text)
        except OSError as error:
            raise self._failure(f"write {text.strip()!r} to", path, error, pointer) from error

    def _failure(self, what: str, path: str, error: OSError, pointer: str | None = None) -> RdtError:
        where = "" if pointer is None else f"config.json {pointer}: "
        number = error.errno or 0
        words = _last_command_status(self.root)
        return RdtError(
            f"{where}cannot {what} {path}: {in_words(number)}{words and f': {words}'}",
            step="intelRdt",
            pointer=pointer,
            syscall=what.partition(" ")[0],
            errno=number,
            path=path,
            remedy=_REMEDIES.get(number),
        )

    def _compare(self) -> None:
        """Raise RdtError unless the class that is there has the schemata that are asked for."""
        wanted: dict[tuple[str, str], tuple[int | str, str]] = {}
        for pointer, text in schemata.writes(self.config):
            wanted |= {share: (value, pointer) for share, value in schemata.parse(text).items()}
        found = schemata.parse(self.read("schemata")) if wanted else {}
        for share, (value, pointer) in wanted.items():
            if found.get(share) not in (value, self._rounded(share[0], value)):
                raise _different(self.path, pointer, share, found.get(share), value)

    def _rounded(self, resource: str, value: int | str) -> int | str:
        """Return a bandwidth as the kernel stores it: percentages in the hardware's steps, upwards."""
        if resource != "MB" or self.in_megabytes or not isinstance(value, int):
            return value
        step = _info(self.root, "MB/bandwidth_gran")
        if not isinstance(step, int) or step < 1:
            return value
        return -(-value // step) * step


def plan(config: IntelRdt, container_id: str, mounts: Iterable[MountEntry]) -> Group:
    """Return the group that `config` asks for; nothing is made.

    `mounts` is the host's mount table. Raises Unsupported without resctrl, or without monitoring where that is
    asked for; InvalidArgument for an id that cannot name a class.
    """
    entry = next((item for item in mounts if item.fstype == "resctrl" and item.root == "/"), None)
    if entry is None:
        raise Unsupported(
            f"config.json {POINTER}: no resctrl file system is mounted",
            step="intelRdt",
            pointer=POINTER,
            remedy="mount -t resctrl resctrl /sys/fs/resctrl, where processor and kernel have it; or leave "
            "linux.intelRdt out",
        )
    root = entry.mount_point
    name = config.get("closID") or container_id
    if name in NO_CLASSES:
        raise InvalidArgument(
            f"a container of the id {name} needs linux.intelRdt.closID: resctrl uses that name itself",
            pointer=f"{POINTER}/closID",
            remedy="choose another id, or set closID",
        )
    path = root if name == "/" else f"{root}/{name}"
    if config.get("enableMonitoring") and not os.path.isdir(f"{root}/mon_groups"):
        raise Unsupported(
            f"config.json {POINTER}/enableMonitoring: this host has no monitoring of caches and bandwidth",
            step="intelRdt",
            pointer=f"{POINTER}/enableMonitoring",
            path=f"{root}/mon_groups",
            remedy="leave enableMonitoring out",
        )
    group = Group(root, path, made=False, monitoring=None)
    group.config, group.container_id = config, container_id
    group.in_megabytes = "mba_MBps" in entry.super_options
    return group


def update(
    record: dict[str, Any],
    *,
    container_id: str,
    mounts: Iterable[MountEntry],
    save: Callable[[], None],
    processes: Callable[[], Iterable[int]],
    l3_cache_schema: str | None = None,
    mem_bw_schema: str | None = None,
) -> None:
    """Change the schemata of a container's class of service; a container without one gets its own.

    `record` is the container's state record, which `save` writes down: before a class is made, so that it is
    removed with the container whatever happens. `processes` returns the numbers of all the container's
    processes. Raises InvalidArgument for a value that is none, and for a class that is not the container's
    own; Unsupported, RdtError and Timeout.
    """
    config = _checked(l3_cache_schema, mem_bw_schema)
    group = Group.from_state(record["rdt"]) if record.get("rdt") else None
    if group is None or (group.made and not os.path.isdir(group.path)):
        _move_to_own(plan(config, container_id, mounts), record, save, processes)
        return
    if not group.made:
        raise InvalidArgument(
            f"the class of service {group.path} was there before {container_id}, and others may use it",
            path=group.path,
            remedy=f"change {group.path}/schemata itself",
        )
    with group.locked():
        for _, text in schemata.writes(config):
            group.write_schemata(text)


def _checked(l3_cache_schema: str | None, mem_bw_schema: str | None) -> IntelRdt:
    config: IntelRdt = {}
    if l3_cache_schema:
        config["l3CacheSchema"] = l3_cache_schema
    if mem_bw_schema:
        config["memBwSchema"] = mem_bw_schema
    problems: list[Problem] = []
    INTEL_RDT.whole(config, POINTER, problems)
    if problems:
        raise InvalidArgument(str(problems[0]), pointer=problems[0].pointer)
    return config


def _move_to_own(
    group: Group, record: dict[str, Any], save: Callable[[], None], processes: Callable[[], Iterable[int]]
) -> None:
    try:
        with group.locked():
            group.look()
            record["rdt"] = group.to_state()
            save()
            group.create()
    except BaseException:
        group.remove()
        if record.pop("rdt", None):
            save()
        raise
    # A thread that is born meanwhile has a parent that was moved before, or is found in the next round.
    moved: set[int] = set()
    while new := set(_threads(processes())) - moved:
        for tid in new:
            try:
                group.add_task(tid)
            except RdtError as error:
                if error.errno != errno.ESRCH:
                    raise
        moved |= new


def _threads(processes: Iterable[int]) -> Iterator[int]:
    for pid in processes:
        try:
            yield from [int(name) for name in os.listdir(f"/proc/{pid}/task")]
        except OSError:
            continue  # it has ended


def stats(record: dict[str, Any]) -> dict[str, Any]:
    """Return what a class of service allows and has used, in the shape of `intel_rdt` in runc's events.

    `record` is `rdt` of the container's state record. What is counted is the monitoring group, or the class
    where it was made for the container; `mbm_stats` and `cmt_stats` have an entry for each last-level cache,
    and are left out of a class that others share. A counter that the hardware does not offer is None, and so
    is one that it cannot tell at the moment. Raises RdtError.
    """
    group = Group.from_state(record)
    whole = Group(group.root, group.root, made=False, monitoring=None).read("schemata").split()
    own = group.read("schemata").split()
    found: dict[str, Any] = {"schemata": own}
    for resource, (label, names) in _INFO.items():
        if os.path.isdir(f"{group.root}/info/{resource}"):
            found[f"{label}_info"] = {name: _info(group.root, f"{resource}/{name}") for name in names}
            found[f"{label}_schema_root"] = _line(whole, resource)
            found[f"{label}_schema"] = _line(own, resource)
    counted = group.monitoring or (group.path if group.made else None)
    if counted is not None:
        found |= _counters(f"{counted}/mon_data")
    return found


_INFO = {
    "L3": ("l3_cache", ("cbm_mask", "min_cbm_bits", "num_closids")),
    "MB": ("mem_bw", ("bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids")),
}
_COUNTERS = {"mbm_stats": ("mbm_total_bytes", "mbm_local_bytes"), "cmt_stats": ("llc_occupancy",)}


def _counters(directory: str) -> dict[str, list[dict[str, int | None]]]:
    if not os.path.isdir(directory):
        return {}
    caches = sorted([f"{directory}/{name}" for name in os.listdir(directory) if name.startswith("mon_L3_")])
    return {
        label: [{counter: _counter(f"{cache}/{counter}") for counter in counters} for cache in caches]
        for label, counters in _COUNTERS.items()
    }


def _counter(path: str) -> int | None:
    """Return a counter; None where the file is missing or holds a word: Unavailable, Error, Unassigned."""
    try:
        return int(read_file(path))
    except (FileNotFoundError, ValueError):
        return None


def _line(lines: list[str], resource: str) -> str | None:
    return next((line for line in lines if line.startswith(f"{resource}:")), None)


def _info(root: str, name: str) -> int | str | None:
    """Return a fact of the hardware: a number, or a mask as text."""
    try:
        text = read_file(f"{root}/info/{name}").strip()
    except FileNotFoundError:
        return None
    return text if name.endswith("mask") else schemata.integer(text, 10)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _occupants(path: str) -> str:
    """Return the numbers of the threads in a group that still run, in words; a zombie needs no cache."""
    found = [int(tid) for tid in read_file(f"{path}/tasks").split()]
    alive = [tid for tid in found if (known := state.start_time(tid)) is not None and known[0] not in "ZX"]
    return ", ".join([f"thread {tid}" for tid in alive[:3]]) + (" and others" if len(alive) > 3 else "")


def _last_command_status(root: str) -> str:
    """Return the kernel's own words about what it refused last, which is ours below the lock."""
    try:
        text = read_file(f"{root}/info/last_cmd_status").strip()
    except OSError:
        return ""
    return "" if text == "ok" else text


def _taken(path: str, member: str) -> RdtError:
    return RdtError(
        f"config.json {POINTER}/{member}: the group {path} exists already, so it would not be the container's own",
        step="intelRdt",
        pointer=f"{POINTER}/{member}",
        path=path,
        remedy=f"rmdir {path} if nobody needs it, or name the class to join as closID",
    )


def _different(
    path: str, pointer: str, share: tuple[str, str], there: int | str | None, value: int | str
) -> RdtError:
    resource, domain = share
    return RdtError(
        f"config.json {pointer}: the class of service {path} exists with {schemata.shown(resource, there)} of "
        f"{resource} in domain {domain}, not {schemata.shown(resource, value)}",
        step="intelRdt",
        pointer=pointer,
        path=path,
        remedy="ask for what it has, leave the schemata out to join it as it is, or choose another closID",
    )
