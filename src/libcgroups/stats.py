"""What a cgroup uses: the types that `Manager.stats` returns, the same on v1 and v2.

Times are nanoseconds, sizes bytes, whatever unit the kernel's file has. None is a value that this kernel, or
the hierarchy that is mounted, does not offer; 0 is a value that was read. UNLIMITED, -1 as in config.json,
stands for no limit. Everything counts the cgroup with all cgroups below it, but for `oom_kills` on v1.

Authority: cgroup-v2.rst, cgroup-v1/*.rst, accounting/psi.rst. Pure.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, NoReturn, Self, dataclass_transform
else:

    def dataclass_transform(**_):
        """Stand in for typing.dataclass_transform, whose import costs milliseconds."""
        return lambda cls: cls


UNLIMITED = -1


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Record:
    """An immutable value whose fields are its class's annotations, each with a default.

    What dataclasses do, without their import.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        # Not inspect.get_annotations: importing inspect costs more than reading a cgroup.
        cls.FIELDS = (*cls.FIELDS, *cls.__dict__.get("__annotations__", ()))

    if not TYPE_CHECKING:

        def __init__(self, **values):
            unknown = values.keys() - set(self.FIELDS)
            if unknown:
                raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
            self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __or__(self, other: Self) -> Self:
        """Return this record with what only `other` knows filled in."""
        return type(self)(
            **{name: _merged(getattr(self, name), getattr(other, name)) for name in self.FIELDS}
        )

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # some fields are dictionaries

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name in self.FIELDS if (value := getattr(self, name)) is not None)
        return f"{type(self).__name__}({', '.join(shown)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON data, those of records in it too; None where nothing was offered."""
        return {name: _plain(getattr(self, name)) for name in self.FIELDS}


def _merged(one: Any, two: Any) -> Any:
    if isinstance(one, Record):
        return one | two
    return two if one is None else one


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, dict):
        return {key: _plain(content) for key, content in value.items()}
    if isinstance(value, tuple):
        return [_plain(content) for content in value]
    return value


class Stall(Record):
    """How long tasks waited for a resource: shares of the last seconds in percent, and all in all."""

    avg10: float | None = None
    avg60: float | None = None
    avg300: float | None = None
    total_ns: int | None = None


class Pressure(Record):
    """Stalls for want of one resource (PSI): of `some` task at least, and of all at once (`full`)."""

    some: Stall = Stall()
    full: Stall = Stall()


class Usage(Record):
    """How much of some memory is in use; `failures` counts how often the limit was hit."""

    usage_bytes: int | None = None
    limit_bytes: int | None = None
    peak_bytes: int | None = None
    failures: int | None = None


class Count(Record):
    """How many of something there are; `failures` counts how often the limit was hit."""

    current: int | None = None
    limit: int | None = None
    peak: int | None = None
    failures: int | None = None


class CpuStats(Record):
    """CPU time used, in all and on each CPU (the index is the CPU's number), and what a quota took away."""

    usage_ns: int | None = None
    user_ns: int | None = None
    system_ns: int | None = None
    per_cpu_ns: tuple[int, ...] | None = None
    per_cpu_user_ns: tuple[int, ...] | None = None
    per_cpu_system_ns: tuple[int, ...] | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_ns: int | None = None
    bursts: int | None = None
    burst_ns: int | None = None
    pressure: Pressure = Pressure()


class CpusetStats(Record):
    """The CPUs and memory nodes that tasks may really use, and the flags of a v1 cpuset."""

    cpus: tuple[int, ...] | None = None
    mems: tuple[int, ...] | None = None
    cpu_exclusive: bool | None = None
    mem_exclusive: bool | None = None
    mem_hardwall: bool | None = None
    memory_migrate: bool | None = None
    memory_pressure: int | None = None
    memory_spread_page: bool | None = None
    memory_spread_slab: bool | None = None
    sched_load_balance: bool | None = None
    sched_relax_domain_level: int | None = None


class MemoryStats(Usage):
    """Memory, and its parts.

    `with_swap` counts memory and swap together, as `memory.swap` of config.json does; `rss_bytes` is
    anonymous memory, `stat` the whole memory.stat. On v1 `oom_kills` leaves out the cgroups below.
    """

    with_swap: Usage = Usage()
    swap_bytes: int | None = None
    cache_bytes: int | None = None
    rss_bytes: int | None = None
    kernel: Usage = Usage()
    kernel_tcp: Usage = Usage()
    ooms: int | None = None
    oom_kills: int | None = None
    stat: dict[str, int] | None = None
    pressure: Pressure = Pressure()


class IoEntry(Record):
    """One number about a block device; `operation` is "Read", "Write", …, or "" for the device as a whole."""

    major: int = 0
    minor: int = 0
    operation: str = ""
    value: int = 0


class IoStats(Record):
    """What was asked of block devices. `serviced`, `queued` and `merged` count requests."""

    service_bytes: tuple[IoEntry, ...] | None = None
    serviced: tuple[IoEntry, ...] | None = None
    queued: tuple[IoEntry, ...] | None = None
    merged: tuple[IoEntry, ...] | None = None
    service_time_ns: tuple[IoEntry, ...] | None = None
    wait_time_ns: tuple[IoEntry, ...] | None = None
    time_ns: tuple[IoEntry, ...] | None = None
    sectors: tuple[IoEntry, ...] | None = None
    pressure: Pressure = Pressure()

    @property
    def read_bytes(self) -> int | None:
        """The bytes read from all devices."""
        return self._bytes("Read")

    @property
    def written_bytes(self) -> int | None:
        """The bytes written to all devices."""
        return self._bytes("Write")

    def _bytes(self, operation: str) -> int | None:
        if self.service_bytes is None:
            return None
        return sum(entry.value for entry in self.service_bytes if entry.operation == operation)


class HugetlbStats(Usage):
    """Huge pages of one size: those in use, and those reserved."""

    reserved: Usage = Usage()


class RdmaStats(Record):
    """The handles and objects of one RDMA device."""

    handles: int | None = None
    handle_limit: int | None = None
    objects: int | None = None
    object_limit: int | None = None


class Stats(Record):
    """What a cgroup uses.

    `hugetlb` is by page size ("2MB"), `rdma` by device, `misc` by resource; None without the controller.
    """

    cpu: CpuStats = CpuStats()
    cpuset: CpusetStats = CpusetStats()
    memory: MemoryStats = MemoryStats()
    pids: Count = Count()
    io: IoStats = IoStats()
    hugetlb: dict[str, HugetlbStats] | None = None
    rdma: dict[str, RdmaStats] | None = None
    misc: dict[str, Count] | None = None
