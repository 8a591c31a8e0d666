"""youki pause CONTAINER: stop every process of a container where it stands."""

from __future__ import annotations

from libcontainer.container import Container
from youki.settings import state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, settings: Arguments) -> None:
    Container.load(state_root(settings), args.id).pause()
