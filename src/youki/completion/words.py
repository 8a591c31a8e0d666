"""What completes an option's value or an argument, in one form for all shells."""

from __future__ import annotations

from youki import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.options import Argument, Option


def completes(row: Option | Argument) -> str:
    """Return file, directory, container, flag, text, or "choice" and the words to choose from."""
    if row.kind == "command":
        return "choice " + " ".join(command.name for command in options.COMMANDS)
    if row.choices:
        return "choice " + " ".join(row.choices)
    return row.kind if row.kind in ("file", "directory", "container", "flag", "signal") else "text"
