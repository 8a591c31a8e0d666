"""Schemata: the lines in which resctrl is told the shares of a class of service.

    L3:0=f;1=ff         of the cache 0 these ways, of the cache 1 those: a bit mask, hexadecimal
    MB:0=20;1=70        of the bandwidth at each so much: percent, or megabytes a second (mba_MBps)

Specification: config-linux.md "IntelRdt".  Kernel: Documentation/filesystems/resctrl.rst.  Pure.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.spec.types import IntelRdt

    Share = int | str

POINTER = "/linux/intelRdt"
BANDWIDTHS = ("MB", "SMBA")


def parse(text: str) -> dict[tuple[str, str], Share]:
    """Return the shares by resource and domain: masks of caches are hexadecimal, bandwidths decimal.

    Leading zeros mean nothing; what is no number stays text.
    """
    found: dict[tuple[str, str], Share] = {}
    for line in text.splitlines():
        resource, _, rest = line.strip().partition(":")
        for part in rest.split(";"):
            domain, _, value = part.partition("=")
            base = 10 if resource in BANDWIDTHS else 16
            found[resource, str(integer(domain, 10))] = integer(value, base)
    return found


def integer(text: str, base: int) -> Share:
    """Return a number, or the text where it is none."""
    try:
        return int(text, base)
    except ValueError:
        return text.strip()


def writes(config: IntelRdt) -> list[tuple[str, str]]:
    """Return what is written to the file schemata, a write each, with the pointer of it.

    First the two older members together, then `schemata`: in one write the kernel takes a domain only once,
    and in two the later one counts.
    """
    cache, bandwidth = config.get("l3CacheSchema") or "", config.get("memBwSchema") or ""
    pointer = f"{POINTER}/l3CacheSchema" if cache else f"{POINTER}/memBwSchema"
    if bandwidth:
        cache = "\n".join([line for line in cache.splitlines() if not line.startswith("MB:")])
    older = "\n".join([text for text in (cache, bandwidth) if text])
    newer = "\n".join(config.get("schemata") or ())
    return [(where, text) for where, text in ((pointer, older), (f"{POINTER}/schemata", newer)) if text]


def shown(resource: str, share: Share | None) -> str:
    """Return a share as the file schemata has it."""
    if share is None:
        return "nothing"
    return f"{share:x}" if isinstance(share, int) and resource not in BANDWIDTHS else str(share)
