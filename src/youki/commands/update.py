"""youki update CONTAINER: change the limits of a container."""

from __future__ import annotations

from libcontainer.container import Container
from youki import log
from youki.settings import state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from youki.parser import Arguments

FIELDS = {  # option → where its value belongs in linux.resources
    "blkio_weight": ("blockIO", "weight"),
    "cpu_burst": ("cpu", "burst"),
    "cpu_idle": ("cpu", "idle"),
    "cpu_period": ("cpu", "period"),
    "cpu_quota": ("cpu", "quota"),
    "cpu_rt_period": ("cpu", "realtimePeriod"),
    "cpu_rt_runtime": ("cpu", "realtimeRuntime"),
    "cpu_share": ("cpu", "shares"),
    "cpuset_cpus": ("cpu", "cpus"),
    "cpuset_mems": ("cpu", "mems"),
    "memory": ("memory", "limit"),
    "memory_reservation": ("memory", "reservation"),
    "memory_swap": ("memory", "swap"),
    "pids_limit": ("pids", "limit"),
}


def run(args: Arguments, settings: Arguments) -> None:
    given = [key for key in FIELDS if getattr(args, key) is not None]
    resources = asked(args, given) if args.resources is None else read(args.resources)
    for key in given if args.resources is not None else ():
        log.warning(f"--{key.replace('_', '-')} is ignored: --resources was given")
    if args.kernel_memory is not None or args.kernel_memory_tcp is not None:
        log.warning("limits of kernel memory are ignored")
    container = Container.load(state_root(settings), args.id)
    container.update(resources, l3_cache_schema=args.l3_cache_schema, mem_bw_schema=args.mem_bw_schema)
    for warning in container.warnings:
        log.warning(warning)


def asked(args: Arguments, given: list[str]) -> dict[str, Any]:
    """Return the resources that the options `given` ask for."""
    resources: dict[str, Any] = {}
    for key, (group, field) in [(key, FIELDS[key]) for key in given]:
        resources.setdefault(group, {})[field] = getattr(args, key)
    return resources


def read(name: str) -> Any:
    """Return the value in the JSON file `name`, "-" for standard input. Raises InvalidArgument, InvalidConfig."""
    from libcontainer.state import read_all
    from libcontainer.strictjson import loads, read_file

    data = read_all(0) if name == "-" else read_file(name, pipe=True)
    return loads(data, source="standard input" if name == "-" else name)
