"""An OCI container runtime as a library: create, start, signal, watch and delete containers from an OCI
bundle, without a daemon.

    from libcontainer import ContainerBuilder

    container = ContainerBuilder("job-7").as_init("/var/lib/bundle/job").build()
    container.start()
    status = container.wait()
    container.delete()

Importing it starts nothing and changes nothing; each name is loaded when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.builder import ContainerBuilder, InitContainerBuilder
    from libcontainer.container import Container
    from libcontainer.errors import (
        AlreadyExists,
        CgroupError,
        CheckpointError,
        Error,
        ExecError,
        HookError,
        InvalidArgument,
        InvalidConfig,
        NotFound,
        Problem,
        ProtocolError,
        RdtError,
        SetupError,
        StateError,
        Timeout,
        Unsupported,
    )
    from libcontainer.exit_status import ExitStatus
    from libcontainer.process import Process
    from libcontainer.restored import RestoredContainerBuilder
    from libcontainer.spawn import DEVNULL, PIPE
    from libcontainer.tenant import TenantContainerBuilder
    from libcontainer.version import VERSION as __version__

_HOMES = {
    "ContainerBuilder": "builder",
    "InitContainerBuilder": "builder",
    "Container": "container",
    "ExitStatus": "exit_status",
    "Process": "process",
    "RestoredContainerBuilder": "restored",
    "TenantContainerBuilder": "tenant",
    "DEVNULL": "spawn",
    "PIPE": "spawn",
}

__all__ = [
    "DEVNULL",
    "PIPE",
    "AlreadyExists",
    "CgroupError",
    "CheckpointError",
    "Container",
    "ContainerBuilder",
    "Error",
    "ExecError",
    "ExitStatus",
    "HookError",
    "InitContainerBuilder",
    "InvalidArgument",
    "InvalidConfig",
    "NotFound",
    "Problem",
    "Process",
    "ProtocolError",
    "RdtError",
    "RestoredContainerBuilder",
    "SetupError",
    "StateError",
    "TenantContainerBuilder",
    "Timeout",
    "Unsupported",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from libcontainer.version import VERSION

        return VERSION
    if name not in __all__:
        raise AttributeError(f"module 'libcontainer' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"libcontainer.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
