"""youki create CONTAINER: make a container; its process waits for `start`."""

from __future__ import annotations

from youki.build import build

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, settings: Arguments) -> None:
    build(args, settings, detach=True)
