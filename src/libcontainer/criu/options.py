"""What checkpoint and restore have in common: the options of the caller, the directories, and who may do it."""

from __future__ import annotations

import os

from libcontainer.criu import messages
from libcontainer.errors import InvalidArgument, Unsupported, in_words
from libcontainer.host import Host
from libcontainer.plan.context import NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Path = str | os.PathLike[str]

LOG_LEVEL = 4
DESCRIPTORS = "descriptors.json"  # what standard input, output and error were


def request(mode: str, empty_ns: Sequence[str] = (), **flags: bool) -> messages.Message:
    """Return the part of a request that the caller decides: the mode for cgroups, the namespaces without what is in
    them, and flags of CRIU.

    Raises InvalidArgument.
    """
    for name in empty_ns:
        if name not in messages.EMPTY_NAMESPACES:
            known = ", ".join(messages.EMPTY_NAMESPACES)
            raise InvalidArgument(
                f"empty_ns is {name!r}", remedy=f"the only namespace that can be empty: {known}"
            )
    if mode not in messages.CGROUP_MODES:
        raise InvalidArgument(
            f"manage_cgroups_mode is {mode!r}", remedy=f"use one of: {', '.join(messages.CGROUP_MODES)}"
        )
    return {
        "log_level": LOG_LEVEL,
        "notify_scripts": True,
        "orphan_pts_master": True,
        "manage_cgroups": True,  # what a CRIU without modes understands
        "manage_cgroups_mode": messages.CGROUP_MODES[mode],
        **({"empty_ns": sum({NAMESPACES[name] for name in empty_ns})} if empty_ns else {}),
        **{name: True for name, wished in flags.items() if wished},
    }


def page_server(text: str) -> messages.Message:
    """Return the address of a page server that is given as ADDRESS:PORT. Raises InvalidArgument."""
    address, _, port = text.rpartition(":")
    if not address or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 1 << 16:
        raise InvalidArgument(
            f"page_server is {text!r}, expected ADDRESS:PORT", remedy="for example 192.0.2.1:27000"
        )
    return {"address": address.removeprefix("[").removesuffix("]"), "port": int(port)}


def open_descriptor(name: str, fd: int) -> int:
    """Return `fd`, which must be an open descriptor of this process. Raises InvalidArgument."""
    try:
        os.fstat(fd)
    except (OSError, TypeError, OverflowError) as error:
        raise InvalidArgument(
            f"{name} is {fd!r}, which is no open descriptor", remedy="open it, and let it be inherited"
        ) from error
    return fd


def require_root() -> None:
    """Raise Unsupported unless root of the host calls: CRIU needs all of its capabilities."""
    host = Host()
    if host.euid != 0 or host.in_user_namespace:
        raise Unsupported(
            "checkpoint and restore need root: CRIU cannot do it for an unprivileged user's container",
            step="criu",
            remedy="run the container, and this command, as root of the host",
        )


def absolute(name: str, path: Path | None) -> str:
    """Return the path as an absolute one. Raises InvalidArgument for none."""
    text = "" if path is None else os.fspath(path)
    if not text or "\0" in text:
        raise InvalidArgument(f"{name} is {text!r}, expected the path of a directory")
    return os.path.abspath(text)


def make_directory(name: str, path: str) -> bool:
    """Make the directory at `path` where it is missing, closed to others: what is in memory ends in it.

    Return whether it was missing. Raises InvalidArgument.
    """
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return False
    except OSError as error:
        raise _unusable(name, path, "mkdir", error) from error
    return True


def open_directory(name: str, path: str) -> int:
    """Return a descriptor of the directory at `path`. Raises InvalidArgument."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unusable(name, path, "open", error) from error


def _unusable(name: str, path: str, call: str, error: OSError) -> InvalidArgument:
    return InvalidArgument(
        f"cannot use {path} as {name}: {in_words(error.errno or 0)}",
        path=path,
        syscall=call,
        errno=error.errno,
        remedy="name a directory, in one that exists, for which there is room",
    )
