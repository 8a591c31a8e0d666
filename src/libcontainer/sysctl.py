"""Kernel parameters of the container's own namespaces.

config-linux.md "Sysctl". Which names are allowed is checked in spec/check.py.
"""

from __future__ import annotations

from libcontainer.plan import operations as do
from libcontainer.spec.check_linux import sysctl_path
from libcontainer.strictjson import pointer_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer.plan.context import Context
    from libcontainer.plan.operations import Op


def compile_sysctl(context: Context) -> Iterator[Op]:
    """Yield one write for each entry."""
    for name, value in context.linux["sysctl"].items():
        yield do.WriteSysctl(
            pointer=pointer_to("/linux/sysctl", name), path=sysctl_path(name).encode(), value=value.encode()
        )
