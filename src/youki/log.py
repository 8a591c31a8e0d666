"""The log: what happened, in the two formats that callers of runc parse.

    text   time="2026-01-02T03:04:05Z" level=error msg="container \\"x\\" does not exist"
    json   {"level":"error","msg":"container \\"x\\" does not exist","time":"2026-01-02T03:04:05Z"}

Callers (containerd, podman, CRI-O) keep the last line, so each record is one line, each message stands alone.
With `--log FILE` records go to FILE, and errors are also told on standard error in words. Without it all goes
to standard error: in words, or as JSON where `--log-format json` asks for it. On the hot path: imports `os`.
"""

from __future__ import annotations

import os

from libcontainer.errors import InvalidArgument

LEVELS = ("error", "warning", "info", "debug")
# The files that name our own descriptors are symbolic links, which O_NOFOLLOW refuses.
STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2, "/proc/self/fd/1": 1, "/proc/self/fd/2": 2}
ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
STDERR = 2


class _Log:
    """Where records go; one per process."""

    fd: int | None = None
    json = False
    threshold = LEVELS.index("warning")


def configure(path: str | None, form: str, level: str) -> None:
    """Open the log. Raises InvalidArgument when `path` cannot be opened for appending."""
    _Log.json = form == "json"
    _Log.threshold = LEVELS.index(level)
    if path is not None:
        _Log.fd = open_log(path)


def open_log(path: str) -> int:
    """Return a descriptor that appends to `path`, which may be written `file:PATH` as for crun.

    A symbolic link as last component is refused: the directory may belong to somebody else, who could
    otherwise make a privileged runtime append to any file.
    """
    scheme, colon, rest = path.partition(":")
    if colon and scheme in ("journald", "syslog"):
        raise InvalidArgument(
            f"cannot log to {path}", remedy="give a file: youki logs to files and standard error only"
        )
    name = rest if colon and scheme == "file" else path
    if name in STANDARD:
        return STANDARD[name]
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
    try:
        return os.open(name, flags, 0o644)
    except OSError as error:
        raise InvalidArgument(
            f"cannot open the log {name}: {reason(error)}",
            syscall="openat",
            errno=error.errno,
            path=name,
            remedy="give --log a file in a directory that exists; symbolic links are refused",
        ) from None


def error(message: str) -> None:
    """Record an error, and tell it on standard error."""
    record("error", message)
    if _Log.fd not in (None, STDERR):
        emit(STDERR, f"youki: {escape(message)}\n")


def warning(message: str) -> None:
    """Record something that the caller should know and that did not stop the command."""
    record("warning", message)


def debug(message: str) -> None:
    """Record a detail for somebody who looks for a fault."""
    record("debug", message)


def record(level: str, message: str) -> None:
    """Write one record, if its level is wanted."""
    if LEVELS.index(level) > _Log.threshold:
        return
    if _Log.json:
        emit(STDERR if _Log.fd is None else _Log.fd, as_json(level, message))
    elif _Log.fd is not None:
        emit(_Log.fd, as_text(level, message))
    else:
        emit(STDERR, f"youki: {'' if level == 'error' else level + ': '}{escape(message)}\n")


def as_text(level: str, message: str) -> str:
    """Return the text record. As in logrus, only a message of plain characters goes without quotes."""
    plain = all(char.isascii() and (char.isalnum() or char in "-._/@^+") for char in message)
    shown = message if plain else '"' + escape(message.replace("\\", "\\\\").replace('"', '\\"')) + '"'
    return f'time="{now()}" level={level} msg={shown}\n'


def as_json(level: str, message: str) -> str:
    """Return the JSON record."""
    from libcontainer.strictjson import quote

    return f'{{"level":{quote(level)},"msg":{quote(message)},"time":{quote(now())}}}\n'


def escape(text: str) -> str:
    """Return `text` with everything that does not print written as an escape.

    Messages carry names that strangers chose; none of them may forge a line or command the reader's terminal.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ESCAPES.get(char) or _code(ord(char)) for char in text)


def _code(point: int) -> str:
    if 0xDC80 <= point <= 0xDCFF:  # a byte that is no UTF-8, as Python decodes file names (PEP 383)
        return f"\\x{point - 0xDC00:02x}"
    if point < 0x80:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def now() -> str:
    """Return the local time as RFC 3339, to the second."""
    import time

    text = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return f"{text[:-5]}Z" if text.endswith("+0000") else f"{text[:-2]}:{text[-2:]}"


def reason(error: OSError) -> str:
    """Return an errno in words and by name: "No such file or directory (ENOENT)"."""
    from errno import errorcode

    number = error.errno or 0
    return f"{os.strerror(number)} ({errorcode.get(number, number)})" if number else str(error)


def emit(fd: int, text: str) -> None:
    """Write `text` as UTF-8 in one call, so that records of processes that share the file do not mix."""
    try:
        os.write(fd, text.encode("utf-8", "backslashreplace"))
    except OSError:
        # Nobody is left to tell: the disk is full or the reader has gone. The exit code remains.
        return
