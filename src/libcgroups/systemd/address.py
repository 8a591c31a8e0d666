"""Where systemd listens, and as whom to speak to it.

Authority: D-Bus specification ("Server Addresses", "EXTERNAL"), sd_bus_default_system(3), systemd.exec(5) on
XDG_RUNTIME_DIR, user_namespaces(7). Pure.
"""

from __future__ import annotations

from libcgroups.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM_BUS = "/run/dbus/system_bus_socket"
SYSTEM_PRIVATE = "/run/systemd/private"  # systemd itself, without a bus between; for root only

Endpoint = tuple[str, bool]  # the socket's address as socket(7) takes it; whether systemd itself is there


def endpoints(uid: int, environment: Mapping[str, str]) -> list[Endpoint]:
    """Return where to try, in this order: the system's manager for uid 0, else that of the user.

    Raises InvalidArgument when a variable of the environment holds no address of a local socket.
    """
    if uid == 0:
        named = environment.get("DBUS_SYSTEM_BUS_ADDRESS")
        paths = [SYSTEM_BUS] if not named else parse(named)
        return [*((path, False) for path in paths), (SYSTEM_PRIVATE, True)]
    named = environment.get("DBUS_SESSION_BUS_ADDRESS")
    if named:
        return [(path, False) for path in parse(named)]
    runtime = environment.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    return [(f"{runtime}/bus", False)]


def parse(addresses: str) -> list[str]:
    r"""Return the local sockets of a D-Bus address list: "unix:path=/run/bus;unix:abstract=/tmp/x".

    An abstract one begins with "\0". Raises InvalidArgument when there is none.
    """
    found = []
    for address in addresses.split(";"):
        transport, _, rest = address.partition(":")
        keys = dict(pair.partition("=")[::2] for pair in rest.split(",") if pair)
        if transport == "unix" and "path" in keys:
            found.append(_unescape(keys["path"]))
        elif transport == "unix" and "abstract" in keys:
            found.append("\0" + _unescape(keys["abstract"]))
    if not found:
        raise InvalidArgument(
            f"the D-Bus address {addresses!r} names no local socket",
            value=addresses,
            remedy="use an address like unix:path=/run/dbus/system_bus_socket",
        )
    return found


def external_uid(euid: int, uid_map: str) -> int:
    """Return the user id as which the other side of a socket sees the caller.

    In a user namespace that is what its map makes of the effective id: the owner's. `uid_map` is the text of
    /proc/self/uid_map.
    """
    for line in uid_map.splitlines():
        inside, outside, count = (int(number) for number in line.split())
        if inside <= euid < inside + count:
            return outside + euid - inside
    return euid


def _unescape(value: str) -> str:
    first, *rest = value.split("%")
    try:
        return first + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest)
    except ValueError as error:
        raise InvalidArgument(
            f"the D-Bus address holds a wrong escape: {value!r}", value=value, remedy="write %XX"
        ) from error
