"""A conversation over D-Bus: calls, each with a deadline, and the signals that arrive meanwhile.

Authority: D-Bus specification. The wire format is jeepney's (the extra `systemd` of this distribution), which
is imported only here; sockets, deadlines and authentication are ours, since a caller in a user namespace
speaks as another user than its effective id, and systemd may be met without a bus between.
"""

from __future__ import annotations

import errno
import os
import socket
import time

from libcgroups.cgroup import read_file
from libcgroups.errors import CgroupError, InUse, NotPermitted, Timeout, Unsupported
from libcgroups.systemd.address import endpoints, external_uid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

    from libcgroups.errors import Error

CALL_DEADLINE_S = 10.0
_LINE_BYTES = 4096

_NO_RIGHT = "run as root, or without privileges with a user manager that delegates cgroups (systemd 244)"
_OLD = "this version of systemd may not know it: use the cgroupfs driver, or a newer systemd"
_GONE = "check that systemd is running (systemctl status; with --user for a user's)"
_ANSWERS: dict[str, tuple[type[Error], str]] = {  # error name → what it is to the caller, and its remedy
    "org.freedesktop.DBus.Error.AccessDenied": (NotPermitted, _NO_RIGHT),
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired": (NotPermitted, _NO_RIGHT),
    "org.freedesktop.DBus.Error.Disconnected": (Unsupported, _GONE),
    "org.freedesktop.DBus.Error.InvalidArgs": (CgroupError, _OLD),
    "org.freedesktop.DBus.Error.NameHasNoOwner": (Unsupported, _GONE),
    "org.freedesktop.DBus.Error.NoReply": (Timeout, _GONE),
    "org.freedesktop.DBus.Error.PropertyReadOnly": (CgroupError, _OLD),
    "org.freedesktop.DBus.Error.ServiceUnknown": (Unsupported, _GONE),
    "org.freedesktop.DBus.Error.UnixProcessIdUnknown": (CgroupError, "the process has ended"),
    "org.freedesktop.DBus.Error.UnknownMethod": (Unsupported, _OLD),
    "org.freedesktop.systemd1.NoSuchUnit": (CgroupError, "the unit has ended: make a new one"),
    "org.freedesktop.systemd1.UnitExists": (InUse, "choose another name, or stop that unit"),
}


class CallError(Exception):
    """The other side answered a call with an error: its `name`, and its `text` for people."""

    def __init__(self, call: str, name: str, text: str) -> None:
        super().__init__(f"{call}: {text or name} ({name})")
        self.name = name
        self.text = text

    def translated(self, doing: str, unit: str) -> Error:
        """Return it as an error of this library that says what was being done to which unit."""
        kind, remedy = _ANSWERS.get(self.name, (CgroupError, f"see: systemctl status {unit}"))
        number = {NotPermitted: errno.EPERM, InUse: errno.EEXIST, Timeout: errno.ETIMEDOUT}.get(kind)
        return kind(f"cannot {doing} {unit}: systemd says {self}", value=unit, errno=number, remedy=remedy)


class Bus:
    """One connection. `user` tells whose systemd is there: the user's, or the system's. A context manager."""

    def __init__(self, connection: socket.socket, *, uid: int, direct: bool) -> None:
        self.user = uid != 0
        self._jeepney = load_jeepney()
        self._socket = connection
        self._parser = self._jeepney.Parser()
        self._serial = 0
        self.signals: list[Any] = []
        self.direct = direct

    @classmethod
    def connect(cls) -> Bus:
        """Return a connection to the caller's systemd: root's is the system's, another user's its own.

        Raises Unsupported (nobody listens, jeepney is missing), NotPermitted, Timeout, InvalidArgument.
        """
        load_jeepney()
        uid = external_uid(os.geteuid(), read_file("/proc/self/uid_map"))
        failures = []
        for path, direct in endpoints(uid, os.environ):
            try:
                return cls._connect(path, uid, direct)
            except (OSError, CallError) as error:
                cause = getattr(error, "strerror", None) or str(error)
                failures.append(f"{path.replace(chr(0), '@')}: {cause}")
        raise Unsupported(
            f"cannot reach systemd{'' if uid == 0 else f' of user {uid}'} over D-Bus ({'; '.join(failures)})",
            path=path.replace("\0", "@"),
            remedy=_GONE
            if uid == 0
            else "log in as that user (loginctl enable-linger keeps its systemd), "
            "set DBUS_SESSION_BUS_ADDRESS or XDG_RUNTIME_DIR, or use the cgroupfs driver",
        )

    @classmethod
    def _connect(cls, path: str, uid: int, direct: bool) -> Bus:
        deadline = time.monotonic() + CALL_DEADLINE_S
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(CALL_DEADLINE_S)
            connection.connect(path)
            _authenticate(connection, uid, deadline)
            bus = cls(connection, uid=uid, direct=direct)
            if not direct:
                bus.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")
        except BaseException:
            connection.close()
            raise
        return bus

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def call(
        self,
        name: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: tuple[Any, ...] = (),
    ) -> tuple[Any, ...]:
        """Call a method and return what it returns. Raises CallError, OSError (TimeoutError)."""
        jeepney = self._jeepney
        address = jeepney.DBusAddress(path, bus_name=name, interface=interface)
        message = jeepney.new_method_call(address, member, signature or None, body)
        self._serial += 1
        serial = self._serial
        deadline = time.monotonic() + CALL_DEADLINE_S
        self._socket.settimeout(CALL_DEADLINE_S)
        self._socket.sendall(message.serialise(serial=serial))
        while True:
            answer = self._receive(deadline)
            if answer.header.fields.get(jeepney.HeaderFields.reply_serial) == serial:
                break
            self._keep(answer)
        if answer.header.message_type is jeepney.MessageType.error:
            error = answer.header.fields.get(jeepney.HeaderFields.error_name, "")
            text = answer.body[0] if answer.body and isinstance(answer.body[0], str) else ""
            raise CallError(member, error, text)
        body_returned: tuple[Any, ...] = tuple(answer.body)
        return body_returned

    def next_signal(self, deadline: float) -> tuple[str, tuple[Any, ...]]:
        """Return the member and the body of the next signal. Raises OSError (TimeoutError at `deadline`)."""
        while not self.signals:
            self._keep(self._receive(deadline))
        signal = self.signals.pop(0)
        return signal.header.fields.get(self._jeepney.HeaderFields.member, ""), tuple(signal.body)

    def _keep(self, message: Any) -> None:
        if message.header.message_type is self._jeepney.MessageType.signal:
            self.signals.append(message)

    def _receive(self, deadline: float) -> Any:
        while True:
            message = self._parser.get_next_message()
            if message is not None:
                return message
            self._parser.add_data(_read(self._socket, deadline))


def load_jeepney() -> Any:
    """Return the module jeepney. Raises Unsupported when it is not installed."""
    try:
        return __import__("jeepney")
    except ImportError as error:
        raise Unsupported(
            "the systemd cgroup driver needs the Python package jeepney, which is not installed",
            value="jeepney",
            remedy="pip install 'libcontainer[systemd]', or use the cgroupfs driver",
        ) from error


def _read(connection: socket.socket, deadline: float) -> bytes:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    connection.settimeout(remaining)
    data = connection.recv(1 << 16)
    if not data:
        raise ConnectionResetError(errno.ECONNRESET, "the other side closed the connection")
    return data


def _authenticate(connection: socket.socket, uid: int, deadline: float) -> None:
    """Say who we are: the mechanism EXTERNAL, which the other side checks against the socket's credentials.

    BEGIN goes with it, as sd-bus does it: systemd's own end (252) forgets a first message that it reads
    together with BEGIN until another one comes.
    """
    identity = str(uid).encode().hex()
    connection.sendall(b"\0AUTH EXTERNAL " + identity.encode() + b"\r\nBEGIN\r\n")
    answer = b""
    while not answer.endswith(b"\r\n") and len(answer) < _LINE_BYTES:
        answer += _read(connection, deadline)
    if not answer.startswith(b"OK "):
        raise PermissionError(errno.EACCES, f"not accepted as user {uid}")
