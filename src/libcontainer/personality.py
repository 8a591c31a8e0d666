"""The execution domain: config-linux.md "Personality", personality(2)."""

from __future__ import annotations

from libcontainer.plan import operations as do

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer.plan.context import Context
    from libcontainer.plan.operations import Op

DOMAINS = {"LINUX": 0x0000, "LINUX32": 0x0008}


def compile_personality(context: Context) -> Iterator[Op]:
    """Yield the change of the execution domain.

    No flags are defined by the spec; spec/check.py refuses them.
    """
    domain = context.linux["personality"]["domain"]
    yield do.SetPersonality(pointer="/linux/personality", domain=DOMAINS[domain])
