"""youki help [COMMAND]: print help."""

from __future__ import annotations

from youki import options
from youki.help import text
from youki.output import write
from youki.parser import unknown_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, _settings: Arguments) -> None:
    command = options.find(args.topic) if args.topic else None
    if args.topic and command is None:
        raise unknown_command(args.topic)
    write(text(command))
