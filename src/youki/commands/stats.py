"""youki stats [CONTAINER]...: show what containers use, for a person or as JSON lines."""

from __future__ import annotations

import gc
import os
import time

from libcontainer.strictjson import dumps
from youki.output import STDOUT, columns, write
from youki.settings import state_root
from youki.usage import COLUMNS, Monitor, row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments

INTERVAL_S = 1.0


def run(args: Arguments, settings: Arguments) -> None:
    gc.enable()  # this command may run for days
    monitor = Monitor(state_root(settings), args.ids)
    interval_s = args.interval or INTERVAL_S
    if not args.json and not args.no_stream and os.isatty(STDOUT):
        from youki.live import show

        show(monitor, interval_s)
        return
    monitor.look()
    while not monitor.over:
        time.sleep(interval_s)
        usages = monitor.look()
        if args.json:
            write("".join(dumps(usage) + "\n" for usage in usages))
        elif usages or not monitor.over:
            write(columns([COLUMNS, *map(row, usages)]))
        if args.no_stream:
            return
