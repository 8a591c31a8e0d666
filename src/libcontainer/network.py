"""Network devices of the host that are given to a container: `linux.netDevices`.

Specification: config-linux.md "Network Devices".  Kernel: rtnetlink(7), netlink(7).  A device keeps its MTU,
its other settings and its permanent global addresses; it gets the name that the container asks for and is set
up there. It is never moved back: when the container's network namespace ends, the kernel gives a physical
device back and removes a virtual one.

Python stays outside: what is done in the container's network namespace goes through a socket that init has
opened there. Everything that can be known is checked for all devices before the first one is moved, and the
kernel's move either happens or leaves the device as it was (the host's side is not set down first: the kernel
does that itself, after its own checks). Imported only when a configuration has such devices.
"""

from __future__ import annotations

import _socket
import errno
import os
from struct import Struct

from libcontainer.errors import SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Attributes = dict[int, bytes]

# linux/netlink.h
_HEADER = Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = Struct("=HH")  # struct nlattr: length, type
_INT = Struct("=i")
_UNSIGNED = Struct("=I")
_REQUEST, _ACK, _EXCLUSIVE, _CREATE, _DUMP = 0x1, 0x4, 0x200, 0x400, 0x300
_ERROR, _DONE = 2, 3
_TYPE_MASK = 0x3FFF
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_ACK_TLVS, _ACK_MESSAGE = 0x200, 1
_BUFFER_BYTES = 1 << 17

# linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h
_NEWLINK, _GETLINK, _SETLINK, _NEWADDR, _GETADDR = 16, 18, 19, 20, 22
_LINK = Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, mask of the flags
_ADDRESS = Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
_IFNAME, _MTU, _NET_NS_PID = 3, 4, 19
_UP = 0x1
_GLOBAL_SCOPE = 0
_PERMANENT = 0x80
_IFA_FLAGS = 8
# What of an address is copied: IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_RT_PRIORITY.
_COPIED = (1, 2, 4, 9)
# Flags that belong to the address and not to its state: NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE,
# MCAUTOJOIN.
_KEPT_FLAGS = 0x02 | 0x10 | 0x100 | 0x200 | 0x400

LONGEST_NAME = 15


def move_devices(netlink_fd: int, pid: int, devices: dict[str, Any]) -> None:
    """Move the host's network devices into the network namespace of the process `pid`.

    `netlink_fd` is a NETLINK_ROUTE socket of that namespace; it is closed. `devices` maps names on the host
    to objects with an optional `name` inside, where `%d` stands for the first free number. Raises SetupError
    with the pointer of the device that cannot be moved: then either none was, or what failed came after the
    move of that device, and the container's network namespace has to go.
    """
    inside = _Route(_socket.socket(-1, -1, -1, netlink_fd))
    try:
        outside = _Route(_socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0))
        try:
            for move in _prepare(outside, inside, devices):
                move.carry_out(outside, inside, pid)
        finally:
            outside.close()
    finally:
        inside.close()


def _prepare(outside: _Route, inside: _Route, devices: dict[str, Any]) -> list[_Move]:
    taken = inside.names()
    moves = []
    for source, settings in devices.items():
        move = _Move(source, (settings or {}).get("name") or source)
        move.look_up(outside)
        move.choose_name(taken)
        taken.add(move.name)
        moves.append(move)
    return moves


class _Move:
    """One device on its way: what it is on the host, and what it shall be in the container."""

    def __init__(self, source: str, name: str) -> None:
        self.source = source
        self.name = name
        self.index = 0
        self.mtu = 0
        self.addresses: list[tuple[bytes, Attributes]] = []

    def look_up(self, outside: _Route) -> None:
        """Find the device on the host, with what is to be kept."""
        _check_name(self.source, self)
        try:
            self.index, attributes = outside.link(self.source)
        except OSError as error:
            raise self.failure("is not to be had", error) from error
        self.mtu = _UNSIGNED.unpack(attributes[_MTU])[0]
        self.addresses = list(outside.permanent_addresses(self.index))

    def choose_name(self, taken: set[str]) -> None:
        """Settle the name in the container, which must be free there."""
        name = self.name
        if "%" in name:
            name = _first_free(name, taken, self)
        _check_name(name, self)
        if name in taken:
            raise self.failure(f"cannot be called {name}", OSError(errno.EEXIST, ""))
        self.name = name

    def carry_out(self, outside: _Route, inside: _Route, pid: int) -> None:
        """Move the device, then give it in the container what it had outside, and set it up."""
        try:
            outside.move_link(self.index, self.name, pid)
        except OSError as error:
            raise self.failure("cannot be moved", error) from error
        try:
            index, attributes = inside.link(self.name)
            if _UNSIGNED.unpack(attributes[_MTU])[0] != self.mtu:
                inside.set_mtu(index, self.mtu)
            for head, address in self.addresses:
                inside.add_address(index, head, address)
            inside.set_up(index)
        except OSError as error:
            raise self.failure("cannot be set up in the container", error) from error

    def failure(self, what: str, error: OSError) -> SetupError:
        """Return the error for this device."""
        pointer = "/linux/netDevices/" + self.source.replace("~", "~0").replace("/", "~1")
        number = error.errno or 0
        words = f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"
        told = f": {error.strerror}" if error.strerror else ""
        return SetupError(
            f"config.json {pointer}: network device {self.source} {what}: {words}{told}",
            step="move network device",
            pointer=pointer,
            syscall="rtnetlink",
            errno=number,
            path=self.source,
            remedy=_REMEDIES.get(number),
        )


_REMEDIES = {
    errno.ENODEV: "name a device of the host's network namespace (ip link)",
    errno.EPERM: "moving devices needs CAP_NET_ADMIN in both network namespaces: not possible rootless",
    errno.EEXIST: "a device of that name is in the container's network namespace already; choose another",
    errno.EINVAL: "the name is not acceptable, or devices of this kind (lo, some tunnels) cannot be moved",
    errno.EBUSY: "another program uses the device; release it first",
}


def _check_name(name: str, move: _Move) -> None:
    """What the kernel's dev_valid_name() takes, so that no other program is confused by a name of ours."""
    bad = not name or name in (".", "..") or len(name.encode()) > LONGEST_NAME
    if bad or any(character in "/:" or character.isspace() for character in name):
        raise move.failure(f"has or gets the name {name!r}", OSError(errno.EINVAL, ""))


def _first_free(template: str, taken: set[str], move: _Move) -> str:
    """Return the name with the first number that is free, as the kernel fills `%d` in."""
    head, _, tail = template.partition("%d")
    if template.count("%") != 1 or "%d" not in template:
        raise move.failure(f"cannot be called {template!r}", OSError(errno.EINVAL, ""))
    number = 0
    while f"{head}{number}{tail}" in taken:
        number += 1
    return f"{head}{number}{tail}"


class _Route:
    """A NETLINK_ROUTE socket: requests and their answers."""

    def __init__(self, socket: _socket.socket) -> None:
        self._socket = socket
        self._sequence = 0
        # Errors in words, without our own message in front of them (Linux 4.12).
        for option in (_CAP_ACK, _EXT_ACK):
            try:
                socket.setsockopt(_SOL_NETLINK, option, 1)
            except OSError:
                continue

    def close(self) -> None:
        self._socket.close()

    def names(self) -> set[str]:
        """Return the names of all devices."""
        links = self._request(_GETLINK, _DUMP, _LINK.pack(0, 0, 0, 0, 0))
        return {_name(_attributes(payload, _LINK.size)) for kind, payload in links if kind == _NEWLINK}

    def link(self, name: str) -> tuple[int, Attributes]:
        """Return a device's index and attributes. Raises OSError (ENODEV)."""
        body = _LINK.pack(0, 0, 0, 0, 0) + _attribute(_IFNAME, name.encode() + b"\0")
        for kind, payload in self._request(_GETLINK, 0, body):
            if kind == _NEWLINK:
                return _LINK.unpack_from(payload)[2], _attributes(payload, _LINK.size)
        raise OSError(errno.ENODEV, "")

    def permanent_addresses(self, index: int) -> Iterator[tuple[bytes, Attributes]]:
        """Yield the addresses that an administrator set, of global scope: head and attributes of each."""
        for kind, payload in self._request(_GETADDR, _DUMP, _ADDRESS.pack(0, 0, 0, 0, 0)):
            if kind != _NEWADDR:
                continue
            _, _, flags, scope, owner = _ADDRESS.unpack_from(payload)
            attributes = _attributes(payload, _ADDRESS.size)
            if _IFA_FLAGS in attributes:
                flags = _UNSIGNED.unpack(attributes[_IFA_FLAGS])[0]
            if owner == index and scope == _GLOBAL_SCOPE and flags & _PERMANENT:
                kept = {number: attributes[number] for number in _COPIED if number in attributes}
                kept[_IFA_FLAGS] = _UNSIGNED.pack(flags & _KEPT_FLAGS)
                yield payload[: _ADDRESS.size], kept

    def move_link(self, index: int, name: str, pid: int) -> None:
        """Move a device into the network namespace of `pid`, where it gets `name`."""
        namespace = _attribute(_NET_NS_PID, _UNSIGNED.pack(pid))
        named = _attribute(_IFNAME, name.encode() + b"\0")
        self._request(_SETLINK, _ACK, _LINK.pack(0, 0, index, 0, 0) + namespace + named)

    def set_mtu(self, index: int, mtu: int) -> None:
        self._request(_SETLINK, _ACK, _LINK.pack(0, 0, index, 0, 0) + _attribute(_MTU, _UNSIGNED.pack(mtu)))

    def set_up(self, index: int) -> None:
        self._request(_SETLINK, _ACK, _LINK.pack(0, 0, index, _UP, _UP))

    def add_address(self, index: int, head: bytes, attributes: Attributes) -> None:
        family, length, _, scope, _ = _ADDRESS.unpack(head)
        body = _ADDRESS.pack(family, length, 0, scope, index)
        body += b"".join([_attribute(number, value) for number, value in attributes.items()])
        self._request(_NEWADDR, _ACK | _CREATE | _EXCLUSIVE, body)

    def _request(self, kind: int, flags: int, body: bytes) -> list[tuple[int, bytes]]:
        """Send one request and return what comes back. Raises OSError, with the kernel's words."""
        self._sequence += 1
        length = _HEADER.size + len(body)
        # A request that is not a dump is always acknowledged, so that its end is known.
        flags |= _REQUEST | (0 if flags & _DUMP == _DUMP else _ACK)
        self._socket.send(_HEADER.pack(length, kind, flags, self._sequence, 0) + body)
        found: list[tuple[int, bytes]] = []
        while True:
            for answer, answer_flags, sequence, payload in _messages(self._socket.recv(_BUFFER_BYTES)):
                if sequence != self._sequence:
                    continue
                if answer in (_DONE, _ERROR):
                    _raise_error(payload, answer_flags)
                    return found
                found.append((answer, payload))


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    position = 0
    while position + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, position)
        yield kind, flags, sequence, data[position + _HEADER.size : position + length]
        position += _aligned(max(length, _HEADER.size))


def _raise_error(payload: bytes, flags: int) -> None:
    """Raise the error that an acknowledgement tells; none when it is one of success."""
    if len(payload) < _INT.size or not (number := _INT.unpack_from(payload)[0]):
        return
    words = b""
    if flags & _ACK_TLVS:
        words = _attributes(payload, _INT.size + _HEADER.size).get(_ACK_MESSAGE, b"")
    raise OSError(-number, words.rstrip(b"\0").decode("utf-8", "replace"))


def _attributes(payload: bytes, start: int) -> Attributes:
    found: Attributes = {}
    while start + _ATTRIBUTE.size <= len(payload):
        length, kind = _ATTRIBUTE.unpack_from(payload, start)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_MASK] = payload[start + _ATTRIBUTE.size : start + length]
        start += _aligned(length)
    return found


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + b"\0" * (_aligned(length) - length)


def _aligned(length: int) -> int:
    return length + 3 & ~3


def _name(attributes: Attributes) -> str:
    return attributes.get(_IFNAME, b"").rstrip(b"\0").decode("utf-8", "replace")
