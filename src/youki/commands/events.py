"""youki events CONTAINER: print what happens in a container, as JSON lines, until it ends."""

from __future__ import annotations

import gc

from libcontainer.container import Container
from libcontainer.events import INTERVAL_S, current
from youki import log
from youki.output import write_json
from youki.settings import state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, settings: Arguments) -> None:
    gc.enable()  # this command may run for days
    container = Container.load(state_root(settings), args.id)
    with container.events(args.interval or INTERVAL_S) as events:
        if args.stats:
            write_json(current(container).to_dict())
            return
        for warning in container.warnings:
            log.warning(warning)
        for event in events:
            write_json(event.to_dict())
