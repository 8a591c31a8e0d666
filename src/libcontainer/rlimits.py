"""Resource limits of the payload: config.md "rlimits", prlimit(2).

Set by the runtime from outside when init is done with its own work, so that a low limit meets the payload and
not its making. On the hot path.
"""

from __future__ import annotations

import resource

from libcontainer.errors import SetupError, in_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# include/uapi/asm-generic/resource.h; the numbers that differ between architectures come from the resource
# module.
NUMBERS = {
    "RLIMIT_AS": resource.RLIMIT_AS,
    "RLIMIT_CORE": resource.RLIMIT_CORE,
    "RLIMIT_CPU": resource.RLIMIT_CPU,
    "RLIMIT_DATA": resource.RLIMIT_DATA,
    "RLIMIT_FSIZE": resource.RLIMIT_FSIZE,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_MEMLOCK": resource.RLIMIT_MEMLOCK,
    "RLIMIT_MSGQUEUE": resource.RLIMIT_MSGQUEUE,
    "RLIMIT_NICE": resource.RLIMIT_NICE,
    "RLIMIT_NOFILE": resource.RLIMIT_NOFILE,
    "RLIMIT_NPROC": resource.RLIMIT_NPROC,
    "RLIMIT_RSS": resource.RLIMIT_RSS,
    "RLIMIT_RTPRIO": resource.RLIMIT_RTPRIO,
    "RLIMIT_RTTIME": resource.RLIMIT_RTTIME,
    "RLIMIT_SIGPENDING": resource.RLIMIT_SIGPENDING,
    "RLIMIT_STACK": resource.RLIMIT_STACK,
}
INFINITY = (1 << 64) - 1


def apply(pid: int, rlimits: list[dict[str, Any]]) -> None:
    """Set the limits of the process `pid`.

    Raises SetupError naming the limit, for example when a hard limit would have to be raised.
    """
    for index, limit in enumerate(rlimits):
        soft, hard = _value(limit["soft"]), _value(limit["hard"])
        try:
            resource.prlimit(pid, NUMBERS[limit["type"]], (soft, hard))
        except (OSError, ValueError) as error:
            raise _error(pid, index, limit, error) from error


def _value(number: int) -> int:
    # RLIM_INFINITY is all ones to the kernel and -1 to Python; larger than the signed range does not fit
    # Python's conversion.
    return number - (1 << 64) if number >= 1 << 63 else number


def _error(pid: int, index: int, limit: dict[str, Any], error: OSError | ValueError) -> SetupError:
    pointer = f"/process/rlimits/{index}"
    number = error.errno if isinstance(error, OSError) else None
    words = str(error) if number is None else in_words(number)
    return SetupError(
        f"config.json {pointer}: cannot set {limit['type']} to {limit['soft']}:{limit['hard']}: {words}",
        step="rlimits",
        pointer=pointer,
        syscall="prlimit",
        errno=number,
        remedy=f"raising a hard limit{_now(pid, limit)} needs CAP_SYS_RESOURCE, "
        "and RLIMIT_NOFILE is bound by fs.nr_open",
    )


def _now(pid: int, limit: dict[str, Any]) -> str:
    try:
        hard = resource.prlimit(pid, NUMBERS[limit["type"]])[1]
    except OSError:
        return ""  # not ours to see either
    return f" (now {'unlimited' if hard == resource.RLIM_INFINITY else hard})"
