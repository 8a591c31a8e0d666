"""The v1 hugetlb controller: how many bytes of huge pages a cgroup may use and reserve.

Files: hugetlb.<size>.limit_in_bytes, hugetlb.<size>.rsvd.limit_in_bytes (cgroup-v1/hugetlb.rst).
Spec: config-linux.md, `hugepageLimits`.
"""

from __future__ import annotations

from libcgroups import hugepages
from libcgroups.controllers import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcgroups.cgroup import Cgroup
    from libcgroups.resources import Resources
    from libcgroups.stats import Stats, Usage

NAME = "hugetlb"
POINTERS: dict[str, str] = {}  # the files are named after the page sizes; the error names the file


def settings(resources: Resources, sizes: list[str] | None = None) -> list[tuple[str, str]]:
    """Return what to write, [(file, value)]; empty when nothing was asked for. Raises InvalidArgument.

    `sizes` are the page sizes that exist; None asks this kernel.
    """
    known = hugepages.page_sizes() if sizes is None else sizes
    return [
        (f"hugetlb.{size}.{kind}limit_in_bytes", str(limit))
        for size, limit in hugepages.limits(resources, known)
        for kind in ("", "rsvd.")
    ]


def write(cgroup: Cgroup, settings: list[tuple[str, str]], pointers: Mapping[str, str]) -> None:
    """Write the settings. Raises CgroupError."""
    write_all(cgroup, hugepages.without_absent_reservations(cgroup, settings), pointers)


def stats(cgroup: Cgroup, sizes: list[str] | None = None) -> Stats:
    """Return the huge pages in use and reserved, by page size; `sizes` as in `settings`. Raises CgroupError."""
    from libcgroups.stats import HugetlbStats, Stats

    known = hugepages.page_sizes() if sizes is None else sizes
    return Stats(
        hugetlb={
            size: HugetlbStats(
                **_usage(cgroup, f"hugetlb.{size}").to_dict(), reserved=_usage(cgroup, f"hugetlb.{size}.rsvd")
            )
            for size in known
            if cgroup.has(f"hugetlb.{size}.usage_in_bytes")
        }
    )


def _usage(cgroup: Cgroup, name: str) -> Usage:
    from libcgroups import formats
    from libcgroups.stats import Usage

    return Usage(
        usage_bytes=formats.number(cgroup, f"{name}.usage_in_bytes"),
        limit_bytes=formats.limit(cgroup, f"{name}.limit_in_bytes"),
        peak_bytes=formats.number(cgroup, f"{name}.max_usage_in_bytes"),
        failures=formats.number(cgroup, f"{name}.failcnt"),
    )
