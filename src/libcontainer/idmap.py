"""User and group id mappings of a user namespace: who writes them, in which order, and what they say.

Authority: user_namespaces(7), newuidmap(1), subuid(5), runtime-spec config-linux.md ("User namespace
mappings"). A mapping is a list of `{"containerID", "hostID", "size"}`, as in config.json.

The order is setgroups, gid_map, uid_map: an unprivileged gid_map is refused until setgroups is denied,
because a group may also take a right away (CVE-2014-8989). A mapping that cannot be had is an error, never
a smaller mapping. On the hot path: nothing heavy is imported; what starts newuidmap is imported when it is
needed.
"""

from __future__ import annotations

import errno
import os

from libcontainer.errors import InvalidArgument, InvalidConfig, Problem, SetupError, Unsupported, in_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypedDict

    class Mapping(TypedDict):
        containerID: int
        hostID: int
        size: int

    Ranges = tuple[tuple[int, int], ...]

# user_namespaces(7): the kernel takes this many lines, in one write shorter than a page.
MOST_EXTENTS = 340
# 4294967295, (uid_t) -1, is no id: chown(2) and setreuid(2) take it as "leave unchanged".
_ID_LIMIT = 0xFFFFFFFF
# Where distributions install newuidmap and newgidmap. Not $PATH: the caller's environment is not asked
# which program may write ids.
_DIRECTORIES = ("/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/run/wrappers/bin")
_HELPER_TIMEOUT_S = 10.0

DIRECT = "direct"
HELPER = "helper"


class _Kind:
    """What differs between user ids and group ids."""

    __slots__ = ("file", "helper", "option", "pointer", "subordinate", "word")

    def __init__(self, word: str, field: str, option: str) -> None:
        self.word = word
        self.file = f"{word}_map"
        self.helper = f"new{word}map"
        self.subordinate = f"/etc/sub{word}"
        self.pointer = f"/linux/{field}"
        self.option = option


_UID = _Kind("uid", "uidMappings", "--add-subuids")
_GID = _Kind("gid", "gidMappings", "--add-subgids")


def writer(mappings: Sequence[Mapping], *, privileged: bool, own_id: int) -> str:
    """Who may write this mapping: DIRECT, this process itself, or HELPER, newuidmap or newgidmap for it.

    user_namespaces(7): without CAP_SETUID (CAP_SETGID) in the parent namespace a process may only map its
    own effective id, in a single line.
    """
    if privileged or (len(mappings) == 1 and mappings[0]["size"] == 1 and mappings[0]["hostID"] == own_id):
        return DIRECT
    return HELPER


def must_deny_setgroups(gid_mappings: Sequence[Mapping], *, privileged: bool, own_gid: int) -> bool:
    """Whether the kernel asks for setgroups to be denied before this gid_map is written.

    Only where an unprivileged process writes it itself. newgidmap is privileged, and decides by
    /etc/subgid.
    """
    return not privileged and writer(gid_mappings, privileged=False, own_id=own_gid) == DIRECT


def write_maps(
    pid: int,
    uid_mappings: Sequence[Mapping],
    gid_mappings: Sequence[Mapping],
    *,
    privileged: bool,
    newuidmap: str | None = None,
    newgidmap: str | None = None,
    procfs: str = "/proc",
) -> bool:
    """Write the id mappings of the user namespace of `pid`; return whether setgroups(2) is allowed in it.

    `pid` must be a child of the caller that has not been reaped. `privileged` says that the caller holds
    CAP_SETUID and CAP_SETGID in its own user namespace. `newuidmap` and `newgidmap` are absolute paths of
    these programs; None looks in the usual directories. `procfs` is where procfs is mounted. Raises
    SetupError with what is missing, Unsupported where the programs are not installed, and InvalidArgument
    for an empty or overlong mapping. Nothing is written in part: each file takes one write.
    """
    uid_text = _text(uid_mappings, _UID)
    gid_text = _text(gid_mappings, _GID)
    directory = f"{procfs}/{pid}"
    if must_deny_setgroups(gid_mappings, privileged=privileged, own_gid=os.getegid()):
        _write(f"{directory}/setgroups", b"deny", _GID)
    if writer(gid_mappings, privileged=privileged, own_id=os.getegid()) == DIRECT:
        _write(f"{directory}/{_GID.file}", gid_text, _GID)
    else:
        _run_helper(newgidmap, pid, gid_mappings, _GID)
    if writer(uid_mappings, privileged=privileged, own_id=os.geteuid()) == DIRECT:
        _write(f"{directory}/{_UID.file}", uid_text, _UID)
    else:
        _run_helper(newuidmap, pid, uid_mappings, _UID)
    return _setgroups_allowed(directory)


def check_maps(pid: int, uid_mappings: Sequence[Mapping], gid_mappings: Sequence[Mapping]) -> None:
    """Raise InvalidConfig unless the user namespace of `pid`, which was joined, maps ids just so.

    An empty list asks for nothing. Ids are those that the caller sees (user_namespaces(7)).
    """
    problems = []
    for side, mappings in ((_UID, uid_mappings), (_GID, gid_mappings)):
        with open(f"/proc/{pid}/{side.file}") as file:
            lines = [tuple(int(word) for word in line.split()) for line in file]
        if mappings and _merged([(m["containerID"], m["hostID"], m["size"]) for m in mappings]) != _merged(
            lines
        ):
            there = (
                ", ".join([f"{first} → {host} ({size} ids)" for first, host, size in lines]) or "no mapping"
            )
            expected = (
                f"those of the user namespace that is joined, {there}; or none, to take them as they are"
            )
            problems.append(Problem(side.pointer, "other mappings", expected))
    if problems:
        raise InvalidConfig("config.json", problems)


def _merged(extents: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the extents (first, host's first, size) in order, neighbours that go on like one as one."""
    found: list[tuple[int, ...]] = []
    for first, host, size in sorted(extents):
        if found and (first, host) == (found[-1][0] + found[-1][2], found[-1][1] + found[-1][2]):
            found[-1] = (*found[-1][:2], found[-1][2] + size)
        else:
            found.append((first, host, size))
    return found


def is_mapped(mappings: Sequence[Mapping], container_id: int) -> bool:
    """Whether the id `container_id`, as seen in the container, exists there."""
    return any(_covers(mapping, container_id) for mapping in mappings)


def to_host(mappings: Sequence[Mapping], container_id: int) -> int:
    """Return the host's id for `container_id`. Raises InvalidArgument when it is not mapped."""
    for mapping in mappings:
        if _covers(mapping, container_id):
            return mapping["hostID"] + container_id - mapping["containerID"]
    ranges = ", ".join(f"{m['containerID']}-{m['containerID'] + m['size'] - 1}" for m in mappings)
    raise InvalidArgument(
        f"the id {container_id} is not mapped in the container's user namespace",
        remedy=f"use an id that is ({ranges or 'there is none'}), or extend the mapping",
    )


def subordinate_ids(
    name_or_uid: str | int, *, subuid: str = "/etc/subuid", subgid: str = "/etc/subgid"
) -> tuple[Ranges, Ranges]:
    """Return the subordinate user and group ids of a user, each as (first id, count), in the files' order.

    subuid(5): a line names its user by login name or by uid, and both are looked for. A file that does not
    exist gives no ranges. Lines of other users are not judged; a line of this user that is not
    `user:first:count` with ids that exist raises InvalidArgument. Only the files are read, not the `subid`
    source of nsswitch.conf.
    """
    names = _names(name_or_uid)
    return _read_ranges(subuid, names), _read_ranges(subgid, names)


def _covers(mapping: Mapping, container_id: int) -> bool:
    # The upper bound is not part of the range.
    return mapping["containerID"] <= container_id < mapping["containerID"] + mapping["size"]


def _text(mappings: Sequence[Mapping], kind: _Kind) -> bytes:
    """The mapping as the kernel reads it, checked against what one write can hold."""
    if not mappings:
        raise InvalidArgument(
            f"the {kind.word} mapping is empty",
            pointer=kind.pointer,
            remedy="map at least id 0 of the container",
        )
    lines = [f"{m['containerID']} {m['hostID']} {m['size']}\n" for m in mappings]
    text = "".join(lines).encode()
    if len(lines) > MOST_EXTENTS or len(text) >= os.sysconf("SC_PAGE_SIZE"):
        raise InvalidArgument(
            f"the {kind.word} mapping is too long for the kernel: {len(lines)} ranges in {len(text)} bytes",
            pointer=kind.pointer,
            remedy=f"use at most {MOST_EXTENTS} ranges and less than {os.sysconf('SC_PAGE_SIZE')} bytes",
        )
    return text


_WRITE_REMEDIES = {
    errno.EPERM: (
        "the ids must be mapped in this process's own user namespace, and writing them needs CAP_SETUID and "
        "CAP_SETGID there (and CAP_SETFCAP to map id 0); a mapping can be written only once"
    ),
    errno.EINVAL: "ranges must not overlap, and may not pass id 4294967294",
    errno.EACCES: "the process must be dumpable and of this user while its mapping is written",
    errno.ENOENT: "the process has ended, or this kernel has no user namespaces",
}


def _write(path: str, text: bytes, kind: _Kind) -> None:
    syscall = "open"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            syscall = "write"
            os.write(fd, text)
        finally:
            os.close(fd)
    except OSError as error:
        number = error.errno or 0
        raise SetupError(
            f"cannot write the {kind.word} mapping to {path}: {syscall}: {in_words(number)}",
            step="write id mappings",
            pointer=kind.pointer,
            syscall=syscall,
            errno=error.errno,
            path=path,
            remedy=_WRITE_REMEDIES.get(number),
        ) from error


def _run_helper(program: str | None, pid: int, mappings: Sequence[Mapping], kind: _Kind) -> None:
    from libcontainer import hooks

    path = program or _find(kind)
    argv = [path, str(pid)]
    for mapping in mappings:
        argv += [str(mapping["containerID"]), str(mapping["hostID"]), str(mapping["size"])]
    try:
        outcome = hooks.execute(path, argv, env={}, cwd="/", timeout_s=_HELPER_TIMEOUT_S)
    except OSError as error:
        number = error.errno or 0
        raise SetupError(
            f"cannot start {path}: {os.strerror(number)} ({errno.errorcode.get(number, number)})",
            step="write id mappings",
            pointer=kind.pointer,
            syscall="execve",
            errno=error.errno,
            path=path,
            remedy=_install(kind),
        ) from error
    if outcome.succeeded:
        return
    late = f"did not end within {_HELPER_TIMEOUT_S:g} s" + outcome.last_words()
    raise SetupError(
        f"{path} {late if outcome.timed_out else 'failed: ' + outcome.in_words()}",
        step="write id mappings",
        pointer=kind.pointer,
        path=path,
        remedy=_helper_remedy(path, mappings, kind),
    )


def _find(kind: _Kind) -> str:
    for directory in _DIRECTORIES:
        path = f"{directory}/{kind.helper}"
        if os.access(path, os.X_OK):
            return path
    raise Unsupported(
        f"the {kind.word} mapping needs {kind.helper}, which is in none of {', '.join(_DIRECTORIES)}",
        step="write id mappings",
        pointer=kind.pointer,
        remedy=f"{_install(kind)}, or map only your own {kind.word}, as one range of size 1",
    )


def _install(kind: _Kind) -> str:
    return f"install {kind.helper} (package uidmap on Debian and Ubuntu, shadow-utils on Fedora and Arch)"


def _helper_remedy(path: str, mappings: Sequence[Mapping], kind: _Kind) -> str | None:
    """What the administrator has to change so that the helper agrees."""
    user, missing = _missing_ranges(mappings, kind)
    if missing:
        lines = " and ".join(f"{user}:{first}:{count}" for first, count in missing)
        options = " ".join(f"{kind.option} {first}-{first + count - 1}" for first, count in missing)
        return f"add {lines} to {kind.subordinate} (as root: usermod {options} {user})"
    if _no_new_privileges():
        return f"{path} gains its rights by set-user-ID or file capabilities, which no_new_privs forbids here"
    status = os.stat(path)
    if status.st_uid != 0 or not status.st_mode & 0o4000:
        return f"{path} must be owned by root and set-user-ID, or have the file capability cap_set{kind.word}"
    return None


def _missing_ranges(mappings: Sequence[Mapping], kind: _Kind) -> tuple[str, list[tuple[int, int]]]:
    """The user's name, and the host ranges of the mapping that the subordinate ids do not hold."""
    own_id = os.getuid() if kind is _UID else os.getgid()
    names = _names(os.getuid())
    held = _read_ranges(kind.subordinate, names)
    missing = [
        (mapping["hostID"], mapping["size"])
        for mapping in mappings
        if (mapping["hostID"], mapping["size"]) != (own_id, 1)
        and not any(
            first <= mapping["hostID"] and mapping["hostID"] + mapping["size"] <= first + count
            for first, count in held
        )
    ]
    return names[0], missing


def _no_new_privileges() -> bool:
    with open("/proc/self/status", "rb") as status:
        return b"\nNoNewPrivs:\t1\n" in status.read()


def _setgroups_allowed(directory: str) -> bool:
    try:
        with open(f"{directory}/setgroups", "rb") as file:
            return file.read().strip() == b"allow"
    except OSError as error:
        number = error.errno or 0
        raise SetupError(
            f"cannot read {directory}/setgroups: {in_words(number)}",
            step="write id mappings",
            pointer=_GID.pointer,
            syscall="read",
            errno=error.errno,
            path=f"{directory}/setgroups",
            remedy=_WRITE_REMEDIES.get(number),
        ) from error


def _names(name_or_uid: str | int) -> tuple[str, ...]:
    """The words that stand for this user in /etc/subuid, the login name first where there is one."""
    import pwd

    text = str(name_or_uid)
    try:
        if text.isascii() and text.isdigit():
            return (pwd.getpwuid(int(text)).pw_name, text)
        return (text, str(pwd.getpwnam(text).pw_uid))
    except (KeyError, OverflowError):
        return (text,)


def _read_ranges(path: str, names: tuple[str, ...]) -> Ranges:
    try:
        with open(path, "rb") as file:
            lines = file.read().decode("utf-8", "surrogateescape").split("\n")
    except FileNotFoundError:
        return ()
    except OSError as error:
        number = error.errno or 0
        reason = f"{in_words(number)}"
        raise InvalidArgument(
            f"cannot read {path}: {reason}", syscall="open", errno=error.errno, path=path
        ) from error
    return tuple(
        _range(line, path, number) for number, line in enumerate(lines, 1) if line.partition(":")[0] in names
    )


def _range(line: str, path: str, number: int) -> tuple[int, int]:
    fields = line.split(":")[1:]
    if len(fields) == 2 and all(field.isascii() and field.isdigit() and len(field) <= 10 for field in fields):
        first, count = int(fields[0]), int(fields[1])
        if count > 0 and first + count <= _ID_LIMIT:
            return first, count
    raise InvalidArgument(
        f"{path}, line {number}: {line!r} is not a range of subordinate ids",
        path=path,
        remedy="write it as user:first:count, in decimal, below 4294967295; for example alice:100000:65536",
    )
