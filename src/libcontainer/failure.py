"""What a failed step means: init's report as an error with the place in config.json, the system call, and
what to do about it.

An errno means what the call means by it: the table below is keyed by both. Imported only when something
failed.
"""

from __future__ import annotations

import errno as _errno
import os

from libcontainer.errors import Error, ExecError, HookError, ProtocolError, SetupError, Unsupported, in_words
from libcontainer.plan import operations as do

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.channel import Report
    from libcontainer.plan.context import Plan
    from libcontainer.plan.operations import Op

USERNS = "in a user namespace only what belongs to it can be changed"

# (system call, errno) → what to do about it. An empty call matches any.
REMEDIES = {
    (
        "unshare",
        _errno.EPERM,
    ): "making namespaces needs root, or a new user namespace (youki spec --rootless); "
    "a security module may forbid user namespaces (kernel.apparmor_restrict_unprivileged_userns)",
    (
        "unshare",
        _errno.ENOSPC,
    ): "the limit of namespaces is reached: raise user.max_user_namespaces and its neighbours",
    ("clone", _errno.EPERM): "making namespaces needs root, or a new user namespace (youki spec --rootless)",
    (
        "clone",
        _errno.ENOSPC,
    ): "the limit of namespaces is reached: raise user.max_*_namespaces, or nest fewer",
    (
        "clone",
        _errno.EAGAIN,
    ): "the limit of processes is reached: see RLIMIT_NPROC and the pids limit of the cgroup",
    (
        "clone",
        _errno.ENOMEM,
    ): "the host or the cgroup is out of memory, or the joined pid namespace has no init any more",
    (
        "setns",
        _errno.EPERM,
    ): "joining needs CAP_SYS_ADMIN in the user namespace that owns the namespace; join that one, too",
    (
        "setns",
        _errno.EINVAL,
    ): "the namespace cannot be joined from here (a user namespace of one's own, or a multithreaded process)",
    (
        "fsopen",
        _errno.ENODEV,
    ): "this kernel does not know that file system: check the type, or load its module",
    ("fsopen", _errno.EPERM): f"{USERNS}: this file system cannot be mounted there; use a bind mount",
    ("fsconfig", _errno.EINVAL): "the file system refuses that option: check the options of the mount",
    (
        "fsconfig",
        _errno.EPERM,
    ): f"{USERNS}: the file system must be of a kind that may be mounted there and show a namespace "
    "that the container owns (for proc its pid, for sysfs its network, for mqueue its ipc namespace)",
    ("fsconfig", _errno.ENOENT): "the source or a directory among the options does not exist",
    (
        "fsmount",
        _errno.EPERM,
    ): f"{USERNS}: where the host's own proc or sysfs is partly covered, a fresh one would reveal more; "
    "use a bind mount (type none, options rbind)",
    ("open_tree", _errno.ENOENT): "the source of the bind mount does not exist on the host",
    (
        "open_tree",
        _errno.EACCES,
    ): "the source of the bind mount, or a directory above it, may not be searched by this user",
    (
        "open_tree",
        _errno.EINVAL,
    ): "the source is an unbindable mount, or a mount locked by a user namespace: use rbind instead of bind",
    (
        "mount_setattr",
        _errno.EPERM,
    ): f"{USERNS}: flags that a mount had outside (ro, nosuid, nodev, noexec, atime) are locked; ask for the same",
    (
        "mount_setattr",
        _errno.EINVAL,
    ): "the mount does not support that attribute (id mappings: not every file system does)",
    ("move_mount", _errno.ELOOP): "the tree would contain itself",
    (
        "mount",
        _errno.EPERM,
    ): f"{USERNS}: this file system cannot be mounted there, or locked flags would be cleared",
    ("mount", _errno.EINVAL): "the file system refuses an option, or the mount point is not one",
    ("mount", _errno.ENODEV): "this kernel does not know that file system: check the type",
    ("mount", _errno.ENOSPC): "the limit of mounts is reached: see fs.mount-max",
    (
        "mknod",
        _errno.EEXIST,
    ): "something else of that name is in the root file system: remove it, or leave the device out",
    (
        "mknod",
        _errno.EPERM,
    ): "device nodes cannot be made here: see nodev, the device cgroup and user namespaces",
    (
        "pivot_root",
        _errno.EINVAL,
    ): "the root cannot be changed on an initramfs, or a parent mount is shared: try --no-pivot",
    ("setgroups", _errno.EPERM): "additional groups need a mapping written with newgidmap, or root",
    (
        "setresuid",
        _errno.EINVAL,
    ): "the user id is not mapped in the container's user namespace: see /linux/uidMappings",
    (
        "setresgid",
        _errno.EINVAL,
    ): "the group id is not mapped in the container's user namespace: see /linux/gidMappings",
    ("chown", _errno.EINVAL): "the owner is not mapped in the container's user namespace",
    ("prctl", _errno.EPERM): "the runtime lacks the capability for that (CAP_SETPCAP)",
    (
        "capset",
        _errno.EPERM,
    ): "inheritable capabilities have to be in the bounding set, too (capabilities(7))",
    (
        "keyctl",
        _errno.EDQUOT,
    ): "the user's quota of keys is used up: see kernel.keys.maxkeys, or use --no-new-keyring",
    ("keyctl", _errno.EPERM): "a filter around the runtime forbids keys: use --no-new-keyring",
    (
        "seccomp",
        _errno.EINVAL,
    ): "this kernel does not know the flags or an action of the filter: see linux.seccomp.flags",
    (
        "seccomp",
        _errno.EACCES,
    ): "without no_new_privs a filter needs CAP_SYS_ADMIN: set process.noNewPrivileges to true",
    (
        "seccomp",
        _errno.EBUSY,
    ): "a filter around the runtime notifies an agent already, and there can be one only",
    ("seccomp", _errno.ENOMEM): "the filters of the runtime and of the payload are too long together",
    ("chdir", _errno.ENOENT): "the working directory does not exist in the container and could not be made",
    ("chdir", _errno.EACCES): "the container's user may not enter that directory",
    ("getcwd", _errno.ENOENT): "the working directory lies outside of the container (CVE-2024-21626)",
    ("getcwd", _errno.EXDEV): "the working directory lies outside of the container (CVE-2024-21626)",
    (
        "sched_setattr",
        _errno.EPERM,
    ): "that priority needs CAP_SYS_NICE; real-time policies also a cpu cgroup with real-time budget",
    ("sched_setaffinity", _errno.EINVAL): "none of these CPUs is in the container's cpuset",
    ("ioprio_set", _errno.EPERM): "the real-time I/O class needs CAP_SYS_ADMIN or CAP_SYS_NICE",
    (
        "execve",
        _errno.E2BIG,
    ): "arguments and environment together may take a quarter of RLIMIT_STACK, and no string over 128 KiB",
    (
        "execve",
        _errno.EAGAIN,
    ): "the container's user has more processes than its RLIMIT_NPROC, wherever they run",
    (
        "execve",
        _errno.EPERM,
    ): "a security module or the filter of linux.seccomp, which must allow execve, forbids it",
    (
        "execve",
        _errno.ENOENT,
    ): "the program or the interpreter in its first line does not exist in the container",
    (
        "execve",
        _errno.EACCES,
    ): "the program is not executable for the container's user, or lies on a noexec mount",
    ("execve", _errno.EISDIR): "name a program, not a directory",
    ("execve", _errno.ENOEXEC): "the program is for another architecture, or a script without #!",
    (
        "open",
        _errno.EACCES,
    ): f"{USERNS}: make the mount point in the root file system beforehand, or give that "
    "to the ids of the namespace",
    (
        "mkdir",
        _errno.EACCES,
    ): f"{USERNS}: make the directory in the root file system beforehand, or give that "
    "to the ids of the namespace",
    ("open", _errno.ELOOP): "a symbolic link stands where none is allowed: the image redirects this path",
    ("open", _errno.EROFS): "the mount point does not exist and cannot be made on a read-only file system",
    ("open", _errno.ENOTDIR): "a component of the path is not a directory",
    ("write", _errno.EACCES): "writing that needs a privilege which the caller does not have",
    ("write", _errno.EPERM): "writing that needs a privilege which the caller does not have",
    ("write", _errno.EINVAL): "the kernel refuses the value",
    ("set_mempolicy", _errno.EINVAL): "the mode, flags or nodes do not fit this machine",
    (
        "",
        _errno.ENOMEM,
    ): "the host or the container's cgroup is out of memory: the memory limit may be too low",
    ("", _errno.EMFILE): "too many open files: raise RLIMIT_NOFILE",
    ("", _errno.ENFILE): "the host has too many open files: see fs.file-max",
}

# The same where the operation says more than the call.
REMEDIES_OF_STEPS = {
    (
        "SetOomScoreAdj",
        _errno.EACCES,
    ): "lowering oom_score_adj below that of the caller needs CAP_SYS_RESOURCE; raising it does not",
    ("WriteSysctl", _errno.ENOENT): "this kernel has no such parameter, or not in the container's namespaces",
    ("WriteSysctl", _errno.EINVAL): "the kernel refuses the value: it is no number, or out of range",
}

# What a step was about, in words, where the operation's own name does not say it. Texts in braces are
# operands.
SUBJECTS = {
    "JoinNamespace": "joining the namespace",
    "Unshare": "making a namespace",
    "BecomeRoot": "becoming root of the user namespace",
    "SetTimeOffsets": "setting the time offsets",
    "SetOomScoreAdj": "setting oom_score_adj to {value}",
    "JoinCgroup": "entering the cgroup",
    "Clone": "starting the process",
    "JoinNamespaces": "joining the container's namespaces",
    "SetAffinity": "setting the CPU affinity",
    "TakeRootfs": "taking the container's root",
    "JoinKeyring": "making a session keyring",
    "BringLoopbackUp": "bringing the loopback interface up",
    "SetPropagation": "setting the propagation of {path}",
    "MakeParentPrivate": "making the mount of {path} private",
    "OpenRootfs": "opening the root file system {path}",
    "MakeDirectory": "making the directory {path}",
    "MakeSymlink": "making the link {path}",
    "MakeDevice": "making the device {path}",
    "PivotRoot": "changing the root",
    "MoveRoot": "changing the root",
    "ChangeRoot": "changing the root",
    "HideMount": "hiding the host's {path}",
    "MakeReadonly": "making {path} read-only",
    "MaskPath": "masking {path}",
    "OpenConsole": "opening the terminal",
    "ReopenNull": "opening the container's /dev/null",
    "SetHostname": "setting the hostname {name}",
    "SetDomainname": "setting the domainname {name}",
    "WriteSysctl": "writing {value} to /proc/sys/{path}",
    "WriteLabel": "setting the label {label}",
    "SetNoNewPrivileges": "setting no_new_privs",
    "SetScheduler": "setting the scheduling policy",
    "SetIoPriority": "setting the I/O priority",
    "SetPersonality": "setting the personality",
    "SetMemoryPolicy": "setting the memory policy",
    "ChangeDirectory": "entering the working directory {path}",
    "DropBoundingSet": "reducing the capability bounding set",
    "SetCredentials": "becoming user {uid}, group {gid}",
    "SetCapabilities": "setting the capabilities",
    "CopyUp": "copying {target} up",
    "PrepareFilter": "loading the system call filter",
    "GuardDevices": "guarding the devices",
}

NEW_MOUNT_CALLS = frozenset(
    ("fsopen", "fsconfig", "fsmount", "open_tree", "move_mount", "mount_setattr", "clone")
)


def setup_error(report: Report, plan: Plan, spec: dict[str, Any]) -> Error:
    """Return the error for a report of a failed step."""
    if report.call == "plan" or report.step >= len(plan.ops):
        return ProtocolError(
            f"init refused the plan: {report.detail or in_words(report.errno)}",
            remedy="reinstall libcontainer",
        )
    op = plan.ops[report.step]
    if isinstance(op, do.FindExecutable) or (isinstance(op, do.Exec) and report.call == "execve"):
        return _exec_error(report, op)
    if isinstance(op, do.RunHook):
        return _hook_error(report, op)
    if isinstance(op, do.Exec):
        # What Exec does beside execve is to load the filter.
        op = do.PrepareFilter(pointer="/linux/seccomp", program=b"", flags=0, privileged=0)
    kind: type[Error] = SetupError
    if report.errno == _errno.ENOSYS:
        kind = Unsupported
    subject = _subject(op, spec)
    where = f"config.json {op.pointer}: " if op.pointer else ""
    # The kernel marks its own words as error, warning or information (fsopen(2)).
    said = report.detail.replace("; e ", "; ").replace("; w ", "; ").replace("; i ", "; ")
    detail = f" [{report.call} {said}]" if said and said not in subject else f" [{report.call}]"
    return kind(
        f"{where}{subject} failed: {in_words(report.errno)}{detail}",
        step=type(op).__name__,
        pointer=op.pointer,
        syscall=report.call,
        errno=report.errno,
        path=report.detail or None,
        remedy=REMEDIES_OF_STEPS.get((type(op).__name__, report.errno))
        or REMEDIES.get((report.call, report.errno))
        or REMEDIES.get(("", report.errno)),
    )


def _subject(op: Op, spec: dict[str, Any]) -> str:
    if op.pointer.startswith("/mounts/"):
        entry = spec["mounts"][int(op.pointer.split("/")[2])]
        what = entry.get("type") or "none"
        if what in ("none", "bind") or set(entry.get("options") or ()) & {"bind", "rbind"}:
            what = f"bind {entry.get('source')}"
        return f"mount {what} on {entry['destination']}"
    if isinstance(op, (do.OpenTree, do.AttachMount)):
        path = op.source if isinstance(op, do.OpenTree) else op.target
        return f"providing {path.decode('utf-8', 'replace')}"
    text = SUBJECTS.get(type(op).__name__, type(op).__name__)
    for name, value in zip(op.FIELDS, op.operands, strict=True):
        if "{" + name + "}" in text:
            text = text.replace(
                "{" + name + "}", value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            )
    return text


def _exec_error(report: Report, op: Op) -> ExecError:
    """Return the error for a payload that cannot be executed.

    Engines look for these words to choose exit status 126 or 127.
    """
    name = op.name.decode("utf-8", "replace") if isinstance(op, do.FindExecutable) else report.detail
    words = os.strerror(report.errno)
    words = words[0].lower() + words[1:]
    if report.errno == _errno.ENOENT and isinstance(op, do.FindExecutable) and "/" not in name:
        words = f"executable file not found in $PATH: {words}"
    pointer = "/process/args/0"
    if report.errno == _errno.EISDIR:
        words = f"{words}: permission denied"
    return ExecError(
        f'config.json {pointer}: exec: "{name}": {words}',
        step="exec",
        pointer=pointer,
        syscall="execve",
        errno=report.errno,
        path=name,
        remedy=REMEDIES.get(("execve", report.errno)),
    )


def _hook_error(report: Report, op: do.RunHook) -> HookError:
    name = op.name.decode()
    number = op.pointer.rpartition("/")[2]
    what = report.detail if report.call == "hook" else f"{report.call}: {in_words(report.errno)}"
    return HookError(
        f"config.json {op.pointer}: {name} hook #{number} failed: {what}",
        step=name,
        pointer=op.pointer,
        errno=report.errno or None,
        path=op.path.decode("utf-8", "replace"),
        remedy="run the hook by hand with the container's state on its standard input",
    )
