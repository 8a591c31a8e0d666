"""The operations: everything that init can do, one immutable record each.

An operation names its operands and the JSON pointer of the place in config.json that asked for it. It never
executes itself: `init` does (src/libcontainer/init/). This file is the only source of the boundary between
Python and C: `plan/generate.py` writes init/operations.h and docs/reference/operations.md from it, and
`BUILD_ID` is a digest of it, compared by both sides.

Operand kinds: `Int` (64 bits, two's complement), `Text` (bytes without NUL), `Blob` (any bytes), `Texts` (a
list of Text), `Fd` (the index of a descriptor that accompanies the plan, or NO_FD), `Slot` (a place in init
that holds a descriptor between operations).

On the hot path: imports nothing heavy.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, ClassVar, NoReturn, TypeAlias, dataclass_transform

    Int: TypeAlias = int
    Text: TypeAlias = bytes
    Blob: TypeAlias = bytes
    Texts: TypeAlias = Sequence[bytes]
    Fd: TypeAlias = int
    Slot: TypeAlias = int
else:

    def dataclass_transform(**_):
        """Stand in for typing.dataclass_transform, whose import costs milliseconds."""
        return lambda cls: cls


NO_FD = -1
NO_SLOT = 1023  # the last one, which is never filled

OPERATIONS: dict[int, type[Op]] = {}


@dataclass_transform(kw_only_default=True, frozen_default=True)
class _Record:
    """An immutable value whose fields are its class's annotations.

    What dataclasses do, without their import.
    """

    if TYPE_CHECKING:
        CODE: ClassVar[int]
        HEAD: ClassVar[int]  # first word of the wire form
        FIELDS: ClassVar[tuple[str, ...]]
        KINDS: ClassVar[tuple[str, ...]]
        DEFAULTS: ClassVar[dict[str, Any]]
        NAMES: ClassVar[frozenset[str]]
        operands: ClassVar[tuple[Any, ...]]
        pointer: str
    else:
        __slots__ = ("operands", "pointer")

    def __init_subclass__(cls, code: int = 0) -> None:
        if code == 0:
            return
        fields = cls.__dict__.get("__annotations__", {})
        cls.CODE, cls.FIELDS, cls.KINDS = code, tuple(fields), tuple(fields.values())
        cls.HEAD = code | len(fields) << 16
        cls.NAMES = frozenset(fields)
        cls.DEFAULTS = {name: cls.__dict__[name] for name in fields if name in cls.__dict__}
        for name in cls.DEFAULTS:
            delattr(cls, name)
        OPERATIONS[code] = cls  # type: ignore[assignment]  # only subclasses of Op have a code

    if not TYPE_CHECKING:

        def __init__(self, *, pointer, **operands):
            if tuple(operands) != self.FIELDS:
                operands = self._in_order(operands)
            _set_pointer(self, pointer)
            _set_operands(self, tuple(operands.values()))

        def _in_order(self, operands):
            values = {**self.DEFAULTS, **operands}
            if values.keys() != self.NAMES:
                raise TypeError(f"{type(self).__name__} takes {self.FIELDS}, not {tuple(operands)}")
            return {name: values[name] for name in self.FIELDS}

        def __getattr__(self, name):
            try:
                return self.operands[self.FIELDS.index(name)]
            except ValueError:
                raise AttributeError(f"{type(self).__name__} has no operand {name!r}") from None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in zip(self.FIELDS, self.operands, strict=True))
        return (
            f"{type(self).__name__}({self.pointer!r}, {shown})"
            if shown
            else f"{type(self).__name__}({self.pointer!r})"
        )

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and (self.pointer, self.operands) == (other.pointer, other.operands)

    def __hash__(self) -> int:
        return hash((self.CODE, self.pointer))


if not TYPE_CHECKING:
    # The slots themselves: the record's own __setattr__ refuses.
    _set_pointer, _set_operands = _Record.pointer.__set__, _Record.operands.__set__


class Op(_Record):
    """One step of a plan. Subclasses declare their operands as annotations.

    A class attribute gives a default.
    """

    if TYPE_CHECKING:
        pointer: str
    else:
        __slots__ = ()


# --- namespaces and processes


class JoinNamespace(Op, code=1):
    """Enter the namespace behind `fd`, which must be of the type `nstype` (a CLONE_NEW flag). setns(2)."""

    fd: Fd
    nstype: Int


class Unshare(Op, code=2):
    """Leave the namespaces named by `flags` for new ones. unshare(2)."""

    flags: Int


class Sync(Op, code=3):
    """Tell the runtime that `point` is reached and wait until it says to go on.

    A closed channel ends init.
    """

    point: Int


class BecomeRoot(Op, code=4):
    """Become uid 0 and gid 0 of the user namespace and drop the caller's supplementary groups as `groups`
    says.

    Done right after the mapping exists, so that no privileged credential of the host lingers in it
    (CVE-2015-8709). `groups` is GROUPS_KEEP, GROUPS_SET, or GROUPS_IF_PERMITTED, which tolerates EPERM.
    """

    groups: Int


class SetTimeOffsets(Op, code=5):
    """Write `offsets` to /proc/self/timens_offsets, before the first process enters the time namespace.

    time_namespaces(7).
    """

    offsets: Text


class SetOomScoreAdj(Op, code=6):
    """Write `value` to /proc/self/oom_score_adj. proc_pid_oom_score_adj(5)."""

    value: Text


class SetDumpable(Op, code=7):
    """Set whether other processes may trace init and read its /proc files.

    PR_SET_DUMPABLE(2const), CVE-2016-9962.
    """

    value: Int


class Clone(Op, code=8):
    """Create the process that carries out the rest of the plan; the spawned one reports its pid and exits.
    clone3(2).

    `flags` are namespaces to make on the way. `cgroup` is a cgroup2 directory to start in, or NO_FD. With
    `parent` 1 the new process becomes a child of the runtime itself (CLONE_PARENT), so that the runtime can
    wait for it.
    """

    flags: Int
    parent: Int
    cgroup: Fd = NO_FD


class NewSession(Op, code=9):
    """Start a new session without a controlling terminal.

    Nothing can be typed into the caller's (CVE-2017-5226). setsid(2).
    """


class JoinKeyring(Op, code=10):
    """Join a new session keyring called `name`, so that the caller's keys are out of reach. keyctl(2)."""

    name: Text


class BringLoopbackUp(Op, code=11):
    """Set the loopback interface of a new network namespace up. netdevice(7)."""


class OpenNetlink(Op, code=12):
    """Give the runtime a NETLINK_ROUTE socket of the container's network namespace. rtnetlink(7)."""


class JoinCgroup(Op, code=13):
    """Enter the v1 cgroup whose file `tasks` this is, and close it: no descriptor of the host's cgroups may
    reach the container (CVE-2024-21626).

    A thread that moves itself needs no lock on all others, so that the kernel does not wait for an RCU grace
    period (5 to 20 ms on an idle host), as it does when another process moves it. cgroups(7).
    """

    tasks: Fd


class JoinNamespaces(Op, code=14):
    """Enter those namespaces of the process behind the pidfd `process` that `flags` (CLONE_NEW flags) name, all
    at once.

    A pidfd cannot come to mean another process, as a number can. setns(2), Linux 5.8.
    """

    process: Fd
    flags: Int


class SetAffinity(Op, code=15):
    """Run only on the CPUs of the bit mask `cpus`; empty: on all of the cpuset. sched_setaffinity(2)."""

    cpus: Blob


# --- the root file system and mounts


class GuardDevices(Op, code=16):
    """Let `program`, of type BPF_PROG_TYPE_CGROUP_DEVICE, decide about the devices of the unified cgroup `cgroup`,
    beside those that others attached there. bpf(2).

    The kernel keeps it as long as the cgroup. By `name` an update finds it, to replace it. The cgroup is new, so
    there is none of ours to be replaced. Linux 5.11: before, a program counts as locked memory.
    """

    cgroup: Fd
    program: Blob
    name: Text


class SetPropagation(Op, code=20):
    """Set the propagation (`flags`, MS_*) of the mount at `path` of the current root. mount_namespaces(7)."""

    path: Text
    flags: Int


class MakeParentPrivate(Op, code=21):
    """Make the mount that `path` lies on private.

    pivot_root(2) refuses a shared one, and nothing must propagate to the host.
    """

    path: Text


class OpenRootfs(Op, code=22):
    """Take the directory at `path` as the root file system.

    With `bind` 1 it is first mounted on itself, as pivot_root(2) requires. With 2 likewise, but it is the
    working directory: the user namespace's root may not be permitted to search what leads there.
    """

    path: Text
    bind: Int


class OpenTree(Op, code=23):
    """Clone the mount at the host's `source` into `slot`, detached. open_tree(2) with `flags`."""

    slot: Slot
    source: Text
    flags: Int


class NewMount(Op, code=24):
    """Make a new file system of `fstype` into `slot`, detached. fsopen(2), fsconfig(2), fsmount(2).

    `parameters` are `key=value` or `flag`; `attributes` are MOUNT_ATTR_* of the mount.
    """

    slot: Slot
    fstype: Text
    source: Text
    parameters: Texts
    attributes: Int


class SetMountAttributes(Op, code=25):
    """Change the attributes or propagation of the mount in `slot`.

    mount_setattr(2); `userns` is the mapping of an idmapped mount.
    """

    slot: Slot
    set: Int = 0
    clear: Int = 0
    propagation: Int = 0
    userns: Fd = NO_FD
    recursive: Int = 0


class AttachMount(Op, code=26):
    """Attach the mount in `slot` at `target`, looked up (and made, if missing) below the rootfs.
    move_mount(2), CVE-2021-30465.

    `kind`: LIKE_SOURCE makes a file or a directory as the source is one, REAL_DIRECTORY refuses symbolic
    links (CVE-2019-19921), ON_PROCFS is LIKE_SOURCE for the few files of /proc that may be replaced: nothing
    else is attached on a procfs, and PROCFS is a REAL_DIRECTORY that takes nothing but a procfs
    (CVE-2019-16884).
    """

    slot: Slot
    target: Text
    kind: Int


class Mount(Op, code=27):
    """Mount `source` at `target` with the classic call and keep the new mount in `slot`.

    mount(2), for kernels without the newer calls.
    """

    slot: Slot
    source: Text
    target: Text
    fstype: Text
    flags: Int
    data: Text
    kind: Int


class Remount(Op, code=28):
    """Change the flags of the mount in `slot`, keeping those that the kernel has locked.

    mount(2) MS_REMOUNT, user_namespaces(7).
    """

    slot: Slot
    set: Int
    clear: Int


class ChangePropagation(Op, code=29):
    """Set the propagation of the mount in `slot` with the classic call. mount(2)."""

    slot: Slot
    flags: Int


class InheritMode(Op, code=30):
    """Give the root of the mount in `slot` the mode of the directory in `hidden`, and with `owner` 1 its
    owner, too.

    An owner that the user namespace does not map is left out. An empty `hidden` changes nothing.
    """

    slot: Slot
    hidden: Slot
    owner: Int


class CopyUp(Op, code=31):
    """Copy what is in the directory `hidden` into the mount in `slot` (`tmpcopyup`).

    An empty `hidden` holds nothing to copy.
    """

    slot: Slot
    hidden: Slot


class MakeDirectory(Op, code=32):
    """Make the directory `path` below the rootfs, with its parents. An existing one is left as it is."""

    path: Text
    mode: Int


class MakeSymlink(Op, code=33):
    """Make the symbolic link `path` to `target` below the rootfs.

    With `replace` 1 what is there is removed first.
    """

    path: Text
    target: Text
    replace: Int


class MakeDevice(Op, code=34):
    """Make the device or fifo `path` below the rootfs; an existing node must be the same one. mknod(2)."""

    path: Text
    mode: Int
    device: Int
    uid: Int
    gid: Int


class PivotRoot(Op, code=35):
    """Make the rootfs the root and detach the host's. pivot_root(2)."""


class MoveRoot(Op, code=36):
    """Move the rootfs over `/` and chroot into it, for hosts where pivot_root cannot be used (`--no-pivot`)."""


class ChangeRoot(Op, code=37):
    """Make the rootfs the root directory without a mount namespace. chroot(2)."""


class HideMount(Op, code=38):
    """Unmount the host's `path`, or cover it with an empty file system.

    Without pivot_root it would stay reachable.
    """

    path: Text


class MakeReadonly(Op, code=39):
    """Make `path` read-only, as a mount of its own where `bind` is 1 (`readonlyPaths`).

    A missing path is left alone then. `base` and `inside` as for MaskPath.
    """

    path: Text
    bind: Int
    base: Slot = NO_SLOT
    inside: Text = b""


class MaskPath(Op, code=40):
    """Hide `path`: a file behind /dev/null, a directory behind an empty read-only file system.

    A missing path is left alone. Where the slot `base` holds the mount that the path is in, `inside` is looked up
    there first: whoever renames entries of the image's root cannot make that miss.
    """

    path: Text
    base: Slot = NO_SLOT
    inside: Text = b""


class OpenConsole(Op, code=41):
    """Open a pseudo-terminal of the container's devpts, give its master to the runtime, make it stdio and
    /dev/console. pts(4).
    """

    uid: Int
    gid: Int
    rows: Int
    columns: Int
    bind: Int


class ReopenNull(Op, code=42):
    """Replace the host's /dev/null among stdio by the container's own, verified to be the device 1:3."""


class OpenTarget(Op, code=43):
    """Keep what is at `path` below the rootfs in `slot`: to look into it when a mount hides it, or to remount
    it.

    With `optional` 1 the slot stays empty where nothing is there.
    """

    slot: Slot
    path: Text
    optional: Int


class TakeRootfs(Op, code=44):
    """Take the directory behind `root` as the root file system: the root of a process that runs in it."""

    root: Fd


# --- attributes of the container and of the process


class SetHostname(Op, code=50):
    """sethostname(2)."""

    name: Text


class SetDomainname(Op, code=51):
    """setdomainname(2)."""

    name: Text


class WriteSysctl(Op, code=52):
    """Write `value` to `path` below /proc/sys of a trusted procfs, whatever is mounted in the container
    (CVE-2025-52881).
    """

    path: Text
    value: Text


class WriteLabel(Op, code=53):
    """Write `label` to the own /proc file `attribute` and read it back.

    apparmor(7), selinux(8), CVE-2019-16884.
    """

    attribute: Text
    label: Text


class SetUmask(Op, code=54):
    """umask(2)."""

    mask: Int


class SetNoNewPrivileges(Op, code=55):
    """No program run from here on gains privileges by execve. PR_SET_NO_NEW_PRIVS(2const)."""


class SetScheduler(Op, code=56):
    """sched_setattr(2); times in nanoseconds."""

    policy: Int
    flags: Int
    nice: Int
    priority: Int
    runtime: Int
    deadline: Int
    period: Int


class SetIoPriority(Op, code=57):
    """Set the I/O priority of the process group. ioprio_set(2)."""

    value: Int


class SetPersonality(Op, code=58):
    """personality(2)."""

    domain: Int


class SetMemoryPolicy(Op, code=59):
    """set_mempolicy(2); `nodes` is the node mask, `max_node` its number of bits."""

    mode: Int
    nodes: Blob
    max_node: Int


class ChangeDirectory(Op, code=60):
    """Enter the working directory. `make` 1 makes a missing one; `final` 1 is after the change of user:
    failure counts.

    The result must be inside the root: a leaked descriptor must not lead out of it (CVE-2024-21626).
    """

    path: Text
    make: Int
    final: Int


class CloseOnExec(Op, code=61):
    """Close what set the container up; mark every descriptor from `first` on close-on-exec. close_range(2)."""

    first: Int


class DropBoundingSet(Op, code=62):
    """Keep only `keep` in the capability bounding set. capabilities(7)."""

    keep: Int


class ChownStdio(Op, code=63):
    """Give terminals and pipes among stdio to the user of the payload, never the host's /dev/null
    (fchown(2)).
    """

    uid: Int
    gid: Int


class SetCredentials(Op, code=64):
    """Become `uid`, `gid` with the supplementary `groups` (32-bit ids), keeping permitted capabilities.
    credentials(7).

    `set_groups` is GROUPS_KEEP, GROUPS_SET or GROUPS_IF_PERMITTED.
    """

    uid: Int
    gid: Int
    groups: Blob
    set_groups: Int


class SetCapabilities(Op, code=65):
    """Set the capability sets and raise `ambient`. capset(2), PR_CAP_AMBIENT(2const)."""

    effective: Int
    permitted: Int
    inheritable: Int
    ambient: Int


class FindExecutable(Op, code=66):
    """Find `name` on `path` as execvp(3) would and check that it can be executed here, so that `create` fails
    and not `start`.
    """

    name: Text
    path: Texts


class AwaitStart(Op, code=67):
    """Close the channel to the creator and wait until someone connects to `listener` and says to start."""

    listener: Fd


class RunHook(Op, code=68):
    """Run a hook in the container's namespaces with the state (its pid put between `head` and `tail`) on its
    standard input.

    `env` is all of its environment, never the runtime's. It starts in `cwd`; empty: where init is.
    `timeout_ms` 0 waits without a limit.
    """

    name: Text
    path: Text
    args: Texts
    env: Texts
    cwd: Text
    timeout_ms: Int
    head: Text
    tail: Text


class Exec(Op, code=69):
    """Close every descriptor from `close_from` on and execute the program found by FindExecutable. execve(2).

    With `home` 1 HOME is added from the container's /etc/passwd entry of `uid` (`/` without one). The filter of
    PrepareFilter, if any, is loaded in between.
    """

    args: Texts
    env: Texts
    close_from: Int
    home: Int
    uid: Int


class PrepareFilter(Op, code=70):
    """Check that the kernel takes a filter with `flags`, and keep `program` for Exec, which loads it as its last act
    before execve(2): nothing of ours runs under it. seccomp(2). A listener (SECCOMP_FILTER_FLAG_NEW_LISTENER) is given
    to the runtime in between.

    With `privileged` 1 there is no no_new_privs, and loading takes the CAP_SYS_ADMIN that SetCapabilities has left
    permitted; execve(2) takes it away (capabilities(7)).
    """

    program: Blob
    flags: Int
    privileged: Int


class AwaitPlan(Op, code=71):
    """Receive the next part of the plan with the descriptors that it adds.

    The runtime makes it while the kernel makes namespaces and mounts. It is checked as a whole before its first
    step, too; steps and descriptors count on. A closed channel ends init. The last operation of its part.
    """


# AttachMount.kind, Mount.kind
LIKE_SOURCE, DIRECTORY, REAL_DIRECTORY, ON_PROCFS, PROCFS = 0, 1, 2, 3, 4

# BecomeRoot.groups, SetCredentials.set_groups
GROUPS_KEEP, GROUPS_SET, GROUPS_IF_PERMITTED = 0, 1, 2

# Sync.point
SYNC_MAPS, SYNC_HOOKS, SYNC_READY, SYNC_RLIMITS, SYNC_LIMITS, SYNC_AGENT = 1, 2, 3, 4, 5, 6

CONSTANTS = {
    "LIKE_SOURCE": LIKE_SOURCE,
    "DIRECTORY": DIRECTORY,
    "REAL_DIRECTORY": REAL_DIRECTORY,
    "ON_PROCFS": ON_PROCFS,
    "PROCFS": PROCFS,
    "GROUPS_KEEP": GROUPS_KEEP,
    "GROUPS_SET": GROUPS_SET,
    "GROUPS_IF_PERMITTED": GROUPS_IF_PERMITTED,
    "SYNC_MAPS": SYNC_MAPS,
    "SYNC_HOOKS": SYNC_HOOKS,
    "SYNC_READY": SYNC_READY,
    "SYNC_RLIMITS": SYNC_RLIMITS,
    "SYNC_LIMITS": SYNC_LIMITS,
    "SYNC_AGENT": SYNC_AGENT,
}
