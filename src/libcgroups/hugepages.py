"""What v1 and v2 share of the limits on huge pages. Spec: config-linux.md, `hugepageLimits`."""

from __future__ import annotations

import os

from libcgroups import resources as fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcgroups.cgroup import Cgroup
    from libcgroups.resources import Resources

_POOLS = (
    "/sys/kernel/mm/hugepages"  # admin-guide/mm/hugetlbpage.rst: one directory hugepages-<size>kB per size
)


def limits(resources: Resources, sizes: list[str]) -> Iterator[tuple[str, int]]:
    """Yield (page size as in "2MB", limit in bytes).

    Raises InvalidArgument for a size that is not in `sizes`.
    """
    pointer = "/hugepageLimits"
    for index, entry in enumerate(fields_of.entries(resources.get("hugepageLimits"), pointer)):
        here = f"{pointer}/{index}"
        size = fields_of.text(entry, "pageSize", here)
        # The size becomes a part of a file name, so nothing but a known one may pass.
        if size not in sizes:
            raise fields_of.invalid(
                f"{here}/pageSize", size, f"one of {', '.join(sizes) or 'none on this kernel'}"
            )
        yield size, fields_of.required(entry, "limit", here, 0, fields_of.UINT64_MAX)


def page_sizes(pools: str = _POOLS) -> list[str]:
    """Return the sizes of huge pages of this kernel as in the names of hugetlb files: "2MB", "1GB"."""
    try:
        names = os.listdir(pools)
    except FileNotFoundError:
        return []  # a kernel without huge pages
    return [_size(int(name[len("hugepages-") : -len("kB")])) for name in sorted(names)]


def _size(kib: int) -> str:
    for unit, factor in (("GB", 1 << 20), ("MB", 1 << 10)):
        if kib >= factor:
            return f"{kib // factor}{unit}"
    return f"{kib}KB"


def without_absent_reservations(cgroup: Cgroup, settings: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return `settings` without the reservation files that kernels before 5.7 do not have."""
    return [(file, value) for file, value in settings if ".rsvd." not in file or cgroup.has(file)]
