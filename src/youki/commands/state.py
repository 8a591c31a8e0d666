"""youki state CONTAINER: print the state of a container as JSON."""

from __future__ import annotations

from libcontainer.container import Container
from youki.output import write_json
from youki.settings import state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, settings: Arguments) -> None:
    write_json(Container.load(state_root(settings), args.id).state(), indent=2)
