"""Capabilities: names, masks, and the sets that the payload gets. capabilities(7), config-linux.md
"capabilities".

A set that is absent is empty, and so are all of them when `capabilities` is absent: absent means none. On the
hot path.
"""

from __future__ import annotations

from libcontainer.host import CAP_SYS_ADMIN
from libcontainer.plan import operations as do

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from libcontainer.plan.context import Context
    from libcontainer.plan.operations import Op

# In the kernel's order: the position is the number (include/uapi/linux/capability.h).
NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
NUMBERS = {name: number for number, name in enumerate(NAMES)}

SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def mask(names: Iterable[str]) -> int:
    """Return the bit mask of capability names, in upper or lower case; unknown ones are left out (see `warnings`)."""
    value = 0
    for name in names:
        number = NUMBERS.get(name) if name in NUMBERS else NUMBERS.get(name.upper())
        if number is not None:
            value |= 1 << number
    return value


def names(value: int) -> list[str]:
    """Return the names of the bits in `value`, in the kernel's order."""
    return [name for number, name in enumerate(NAMES) if value >> number & 1]


def available(context: Context) -> int:
    """Return what can be granted at all: everything in a user namespace of the container's own, else what we may."""
    if context.userns:
        return (1 << len(NAMES)) - 1
    return context.host.capabilities & context.host.bounding


def sets(context: Context) -> dict[str, int]:
    """Return the five masks that the payload gets: requested and grantable, consistent with the kernel's
    rules.

    The kernel refuses effective outside permitted and ambient outside permitted and inheritable
    (capabilities(7)); the spec wants a capability that cannot be granted to be a warning, not an error
    (config.md), so these are left out and told by `warnings`.
    """
    wanted = context.process.get("capabilities") or {}
    grantable = available(context)
    masks = {name: mask(wanted.get(name) or ()) & grantable for name in SETS}
    masks["effective"] &= masks["permitted"]
    masks["ambient"] &= masks["permitted"] & masks["inheritable"]
    return masks


def warnings(context: Context) -> list[str]:
    """Return a sentence for each requested capability that the payload does not get."""
    wanted = context.process.get("capabilities") or {}
    granted = sets(context)
    sentences = []
    for name in SETS:
        for item in wanted.get(name) or ():
            if not mask([item]):
                sentences.append(f"/process/capabilities/{name}: {item} is not known and is ignored")
            elif not mask([item]) & granted[name]:
                sentences.append(
                    f"/process/capabilities/{name}: {item} cannot be granted here and is ignored"
                )
    return sentences


def drop_bounding(context: Context) -> Iterator[Op]:
    """Yield the reduction of the bounding set, which needs CAP_SETPCAP and so comes before the change of
    user.
    """
    yield do.DropBoundingSet(pointer="/process/capabilities/bounding", keep=sets(context)["bounding"])


def limit(context: Context) -> Iterator[Op]:
    """Yield the final sets, after the change of user.

    Exec needs CAP_SYS_ADMIN to load a filter without no_new_privs (seccomp(2)). The payload does not get it: what is
    permitted before execve(2) has no part in what is permitted afterwards.
    """
    context.warnings += warnings(context)
    masks = sets(context)
    del masks["bounding"]
    if context.linux.get("seccomp") and not context.process.get("noNewPrivileges"):
        masks["permitted"] |= 1 << CAP_SYS_ADMIN
    yield do.SetCapabilities(pointer="/process/capabilities", **masks)
