"""The messages of CRIU's RPC (its images/rpc.proto), as dictionaries: a codec for the little of Protocol Buffers
that they need, and a table of fields for each message.

A field is in a table by its name, with its number and kind: a kind of number or text, or the table of a message in
it. A list has one item, the kind of its items. A field that a table does not have is passed over when it comes, as
newer versions of CRIU send more. https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from libcontainer.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Message = dict[str, Any]
    Table = dict[str, tuple[int, Any]]

BOOL, INT, UINT, TEXT = "bool", "int", "uint", "text"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10

# Types of requests and responses.
DUMP, RESTORE, PRE_DUMP, NOTIFY, FEATURE_CHECK, VERSION = 1, 2, 4, 6, 9, 10
# How CRIU treats cgroups, by the names that runc and crun have for it on their command lines.
CGROUP_MODES = {"ignore": 0, "soft": 3, "full": 4, "strict": 5}

# Namespaces that CRIU can make without what was in them.
EMPTY_NAMESPACES = ("network",)

PAGE_SERVER: Table = {"address": (1, TEXT), "port": (2, INT)}
EXTERNAL_MOUNT: Table = {"key": (1, TEXT), "val": (2, TEXT)}
JOINED_NAMESPACE: Table = {"ns": (1, TEXT), "ns_file": (2, TEXT)}
INHERITED: Table = {"key": (1, TEXT), "fd": (2, INT)}
CGROUP_ROOT: Table = {"ctrl": (1, TEXT), "path": (2, TEXT)}
OPTIONS: Table = {
    "images_dir_fd": (1, INT),
    "pid": (2, INT),
    "leave_running": (3, BOOL),
    "ext_unix_sk": (4, BOOL),
    "tcp_established": (5, BOOL),
    "evasive_devices": (6, BOOL),
    "shell_job": (7, BOOL),
    "file_locks": (8, BOOL),
    "log_level": (9, INT),
    "log_file": (10, TEXT),
    "ps": (11, PAGE_SERVER),
    "notify_scripts": (12, BOOL),
    "root": (13, TEXT),
    "parent_img": (14, TEXT),
    "track_mem": (15, BOOL),
    "auto_dedup": (16, BOOL),
    "work_dir_fd": (17, INT),
    "link_remap": (18, BOOL),
    "ext_mnt": (23, [EXTERNAL_MOUNT]),
    "manage_cgroups": (24, BOOL),
    "cg_root": (25, [CGROUP_ROOT]),
    "rst_sibling": (26, BOOL),
    "inherit_fd": (27, [INHERITED]),
    "manage_cgroups_mode": (34, INT),
    "external": (37, [TEXT]),
    "empty_ns": (38, UINT),
    "join_ns": (39, [JOINED_NAMESPACE]),
    "freeze_cgroup": (44, TEXT),
    "tcp_skip_in_flight": (46, BOOL),
    "lazy_pages": (48, BOOL),
    "status_fd": (49, INT),
    "orphan_pts_master": (50, BOOL),
    "config_file": (51, TEXT),
    "lsm_profile": (53, TEXT),
    "lsm_mount_context": (63, TEXT),
}
FEATURES: Table = {"mem_track": (1, BOOL), "lazy_pages": (2, BOOL)}
REQUEST: Table = {
    "type": (1, INT),
    "opts": (2, OPTIONS),
    "notify_success": (3, BOOL),
    "features": (5, FEATURES),
}
NOTIFICATION: Table = {"script": (1, TEXT), "pid": (2, INT)}
RELEASE: Table = {
    "major": (1, INT),
    "minor": (2, INT),
    "gitid": (3, TEXT),
    "sublevel": (4, INT),
}
RESPONSE: Table = {
    "type": (1, INT),
    "success": (2, BOOL),
    "restore": (4, {"pid": (1, INT)}),
    "notify": (5, NOTIFICATION),
    "cr_errno": (7, INT),
    "features": (8, FEATURES),
    "cr_errmsg": (9, TEXT),
    "version": (10, RELEASE),
}


def encode(message: Message, table: Table) -> bytes:
    """Return the message in the form in which it is sent; a field that is None is left out."""
    parts = []
    for name, value in message.items():
        number, kind = table[name]
        if value is None:
            continue
        items, kind = (value, kind[0]) if isinstance(kind, list) else ([value], kind)
        parts += [_field(number, kind, item) for item in items]
    return b"".join(parts)


def decode(data: bytes, table: Table) -> Message:
    """Return the message that was received. Raises ProtocolError for one that is broken off or of another form."""
    by_number = {number: (name, kind) for name, (number, kind) in table.items()}
    message: Message = {}
    for number, wire, raw in _fields(data):
        if number not in by_number:
            continue
        name, kind = by_number[number]
        if isinstance(kind, list):
            message.setdefault(name, []).append(_value(name, kind[0], wire, raw))
        else:
            message[name] = _value(name, kind, wire, raw)
    return message


def _field(number: int, kind: Any, value: Any) -> bytes:
    if kind in (BOOL, INT, UINT):
        return _varint(number << 3 | VARINT) + _varint(int(value))
    data = value.encode("utf-8", "surrogateescape") if kind == TEXT else encode(value, kind)
    return _varint(number << 3 | BYTES) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    """Return seven bits in each byte, the lowest first; a negative number is that of 64 bits."""
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Yield number, wire type and value of each field."""
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, position = _read_varint(data, position)
            yield number, wire, value
            continue
        if wire == BYTES:
            length, position = _read_varint(data, position)
        elif wire in (FIXED64, FIXED32):
            length = 8 if wire == FIXED64 else 4
        else:
            raise _broken(f"wire type {wire}")
        if position + length > len(data):
            raise _broken("its end is missing")
        yield number, wire, data[position : position + length]
        position += length


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for count in range(LONGEST_VARINT):
        if position + count >= len(data):
            raise _broken("its end is missing")
        byte = data[position + count]
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value & (1 << 64) - 1, position + count + 1
    raise _broken("a number is too long")


def _value(name: str, kind: Any, wire: int, raw: int | bytes) -> Any:
    if isinstance(raw, int) != (kind in (BOOL, INT, UINT)) or wire in (FIXED64, FIXED32):
        raise _broken(f"field {name} has wire type {wire}")
    if isinstance(raw, bytes):
        return raw.decode("utf-8", "surrogateescape") if kind == TEXT else decode(raw, kind)
    if kind == BOOL:
        return raw != 0
    return raw - (1 << 64) if kind == INT and raw >> 63 else raw


def _broken(what: str) -> ProtocolError:
    return ProtocolError(
        f"a message of criu cannot be read: {what}",
        step="criu",
        remedy="install a criu of version 3.15 or later from your distribution",
    )
