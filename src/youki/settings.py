"""What the global options mean to the library: the state root and the cgroup manager.

On the hot path: imports the error tree only.
"""

from __future__ import annotations

from libcontainer.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def state_root(settings: Arguments) -> str:
    """Return the absolute directory that holds the containers' state: `--root`, or the library's default."""
    if settings.root is None:
        from libcontainer.state import default_root

        return default_root()
    from os.path import abspath

    return abspath(str(settings.root))


def systemd(settings: Arguments) -> bool:
    """Say whether systemd shall make the cgroups. Raises InvalidArgument when two options contradict."""
    if settings.systemd_cgroup and settings.cgroup_manager == "cgroupfs":
        raise InvalidArgument(
            "--systemd-cgroup contradicts --cgroup-manager cgroupfs", remedy="give one of them"
        )
    return bool(settings.systemd_cgroup) or settings.cgroup_manager == "systemd"
