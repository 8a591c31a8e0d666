"""The payload's environment: config.md "env", sd_listen_fds(3). On the hot path."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.plan.context import Context


def compile_environment(context: Context) -> list[bytes]:
    """Return the environment: `process.env`, of duplicate names the last, an empty HOME left out so that init
    finds the real one.

    Nothing of the runtime's own environment is in it, except the descriptors that its caller passes on by the
    LISTEN_FDS protocol, and the container's own notify socket where its caller has one.
    """
    values: dict[str, str] = {}
    for item in context.process.get("env") or ():
        name, _, value = item.partition("=")
        values.pop(name, None)
        values[name] = value
    if context.options.listen_fds:
        values["LISTEN_FDS"] = str(context.options.listen_fds)
        values["LISTEN_PID"] = "1"
    if context.options.notify_directory is not None:
        from libcontainer.notify_socket import INSIDE_SOCKET

        values["NOTIFY_SOCKET"] = INSIDE_SOCKET
    if not values.get("HOME"):
        values.pop("HOME", None)
    return [f"{name}={value}".encode() for name, value in values.items()]
