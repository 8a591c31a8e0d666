"""Labels of the security modules: AppArmor profiles and SELinux labels.

config.md "apparmorProfile", "selinuxLabel". A label that was requested and cannot be had is an error: a payload
must not run unconfined by mistake.
"""

from __future__ import annotations

from libcontainer.errors import Unsupported
from libcontainer.plan import operations as do

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer.plan.context import Context
    from libcontainer.plan.operations import Op


def compile_labels(context: Context) -> Iterator[Op]:
    """Yield the writes of the labels that the next execve takes on.

    Raises Unsupported where the module is not active.
    """
    profile = context.process.get("apparmorProfile")
    if profile:
        _require(context.host.apparmor, "/process/apparmorProfile", "AppArmor", profile)
        yield do.WriteLabel(
            pointer="/process/apparmorProfile",
            attribute=b"attr/apparmor/exec",
            label=f"exec {profile}".encode(),
        )
    label = context.process.get("selinuxLabel")
    if label:
        _require(context.host.selinux, "/process/selinuxLabel", "SELinux", label)
        yield do.WriteLabel(pointer="/process/selinuxLabel", attribute=b"attr/exec", label=label.encode())


def _require(active: bool, pointer: str, module: str, label: str) -> None:
    if not active:
        raise Unsupported(
            f"config.json {pointer}: {label!r} was requested, but {module} is not active in this kernel",
            pointer=pointer,
            remedy=f"remove {pointer.rpartition('/')[2]}, or boot with {module} enabled",
        )
