"""youki completion SHELL: print a completion script."""

from __future__ import annotations

from youki.completion import SHELLS
from youki.output import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, _settings: Arguments) -> None:
    write(SHELLS[args.shell]())
