"""CPU affinity of a tenant: config.md "execCPUAffinity", sched_setaffinity(2).

Not of the first process, whose CPUs are those of its cgroup. Imported when it is asked for.
"""

from __future__ import annotations

import os

from libcontainer.errors import SetupError, in_words
from libcontainer.memory_policy import list_mask
from libcontainer.plan import operations as do

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from libcontainer.plan.context import Context
    from libcontainer.plan.operations import Op


def set_initial(pid: int, process: dict[str, Any]) -> None:
    """Put init on the CPUs on which it is to work before it enters the cgroup. Raises SetupError."""
    wanted = (process.get("execCPUAffinity") or {}).get("initial") or ""
    mask = int.from_bytes(list_mask(wanted), "little")
    if not mask:
        return
    try:
        os.sched_setaffinity(pid, [cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1])
    except OSError as error:
        pointer, words = "/process/execCPUAffinity/initial", in_words(error.errno or 0)
        raise SetupError(
            f"config.json {pointer}: cannot run on the CPUs {wanted}: {words}",
            step="affinity",
            pointer=pointer,
            syscall="sched_setaffinity",
            errno=error.errno,
            remedy="name CPUs that are online and in the cpuset of the caller",
        ) from error


def compile_final(context: Context) -> Iterator[Op]:
    """Yield the CPUs of the payload, once it is in its cgroup; without a list all of that one.

    The kernel remembers the wish of the initial list beyond the change of cgroup, so it has to be undone.
    """
    wanted = context.process["execCPUAffinity"]
    final = list_mask(wanted.get("final") or "")
    if final:
        yield do.SetAffinity(pointer="/process/execCPUAffinity/final", cpus=final)
    elif wanted.get("initial"):
        yield do.SetAffinity(pointer="/process/execCPUAffinity", cpus=b"")
