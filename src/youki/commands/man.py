"""youki man: print the manual page."""

from __future__ import annotations

from youki.manpage import page
from youki.output import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(_args: Arguments, _settings: Arguments) -> None:
    write(page())
