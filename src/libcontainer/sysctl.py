"""Kernel parameters of the container's own namespaces.

Config-linux.md "Sysctl". Which names are allowed is checked in spec/check.py.
"""

from __future__ import annotations

from libcontainer.plan import operations as do

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer.plan.context import Context
    from libcontainer.plan.operations import Op


def compile_sysctl(context: Context) -> Iterator[Op]:
    """Yield one write for each entry."""
    for name, value in context.linux["sysctl"].items():
        escaped = name.replace("~", "~0").replace("/", "~1")
        yield do.WriteSysctl(
            pointer=f"/linux/sysctl/{escaped}", path=proc_path(name).encode(), value=value.encode()
        )


def proc_path(name: str) -> str:
    """Return the path below /proc/sys.

    The first separator decides, so `net/ipv4/conf/eth0.1/…` keeps its dot (sysctl(8)).
    """
    dot, slash = name.find("."), name.find("/")
    if slash >= 0 and (dot < 0 or slash < dot):
        return name
    # With dots as separators a slash stands for a dot in a name.
    return name.translate({ord("."): "/", ord("/"): "."})
