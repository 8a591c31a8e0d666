"""System call filters: config-linux.md "Seccomp", seccomp(2).

    profile.py      what the configuration says: actions, operators, rules
    libseccomp.py   the rules as a BPF program, made by the system's library
    stub.py         ENOSYS for system calls that are newer than the profile;  bpf.py: its assembler
    cache.py        programs kept, so that a repeated profile needs neither library nor time
    notify.py       the agent that answers SCMP_ACT_NOTIFY

A filter is loaded by init as its last act before execve(2), so that nothing of ours runs under it and a profile need
not know what init does. Without no_new_privs that takes CAP_SYS_ADMIN: init keeps it until then, permitted and not
effective, and execve(2) takes it away (capabilities(7), "Transformation of capabilities during execve()": the new
sets follow from the bounding, inheritable and ambient ones). Imported when a spec asks for a filter.
"""

from __future__ import annotations

from libcontainer import capabilities
from libcontainer.errors import Unsupported
from libcontainer.host import CAP_SYS_ADMIN, kernel_version
from libcontainer.plan import operations as do
from libcontainer.seccomp import profile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from libcontainer.host import Host
    from libcontainer.plan.context import Context
    from libcontainer.plan.operations import Op


def prepare(seccomp: dict[str, Any], host: Host, root: str) -> None:
    """Give `host` the filters that are kept below `root`, and see that there is a socket for an agent.

    Raises InvalidArgument.
    """
    from libcontainer.seccomp.cache import Cache

    host.filters = Cache(root)
    if profile.notifies(seccomp):
        from libcontainer.seccomp.notify import check_listener

        check_listener(seccomp["listenerPath"])


def compile_filter(context: Context) -> Iterator[Op]:
    """Yield the filter of the payload, for Exec to load. Any place before Exec will do; `create` fails with it early.

    Raises InvalidConfig and Unsupported.
    """
    seccomp = context.linux["seccomp"]
    privileged = not context.process.get("noNewPrivileges")
    if privileged and not capabilities.available(context) >> CAP_SYS_ADMIN & 1:
        raise Unsupported(
            "config.json /linux/seccomp: a filter needs no_new_privs or CAP_SYS_ADMIN, and this process has neither",
            pointer="/linux/seccomp",
            remedy="set process.noNewPrivileges to true",
        )
    yield do.PrepareFilter(
        pointer="/linux/seccomp",
        program=context.host.filters.program(seccomp),
        flags=profile.flags(seccomp),
        privileged=int(privileged),
    )


def meet_agent(context: Context) -> Iterator[Op]:
    """Yield the wait for the runtime to reach the agent that answers SCMP_ACT_NOTIFY, right before Exec."""
    if profile.notifies(context.linux["seccomp"]):
        yield do.Sync(pointer="/linux/seccomp/listenerPath", point=do.SYNC_AGENT)


def features() -> dict[str, Any]:
    """Return what `features` says of seccomp (features-linux.md "Seccomp")."""
    return {
        "actions": sorted(profile.ACTIONS),
        "operators": sorted(profile.OPERATORS),
        "archs": sorted(profile.ARCHITECTURES),
        "knownFlags": sorted(profile.FLAGS),
        "supportedFlags": sorted(
            [name for name, since in profile.FLAGS_SINCE.items() if since <= kernel_version()]
        ),
    }
