"""What commands print: JSON, tables and plain text, laid out as runc does it, straight to standard output.

On the hot path: imports `os` and the library's JSON writer only.
"""

from __future__ import annotations

import os

from libcontainer.errors import Error
from libcontainer.strictjson import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STDOUT = 1


def write_json(value: object, *, indent: int | None = None) -> None:
    """Print `value` as JSON: on one line, or indented by `indent` spaces per level."""
    write(dumps(value, indent=indent) + "\n")


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a table as runc's `list` prints it: columns at least twelve wide and three apart."""
    widths = [max(12, 3 + max(len(cell) for cell in column)) for column in zip(*rows, strict=True)]
    lines = (
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
    return "".join(line + "\n" for line in lines)


def fields(pairs: Mapping[str, str]) -> str:
    """Return name and value pairs, one per line, the values aligned."""
    width = max(map(len, pairs)) + 2
    return "".join(f"{name.ljust(width)}{value}".rstrip() + "\n" for name, value in pairs.items())


def write(text: str) -> None:
    """Write `text` to standard output, all of it; a name that is no UTF-8 comes out as the bytes it is.

    Raises Error when that fails: a caller that reads half a state must not believe it was all.
    """
    data = memoryview(text.encode("utf-8", "surrogateescape"))
    try:
        while data:
            data = data[os.write(STDOUT, data) :]
    except OSError as error:
        from youki.log import reason

        raise Error(
            f"cannot write to standard output: {reason(error)}", syscall="write", errno=error.errno
        ) from None
