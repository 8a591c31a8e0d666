"""A table on a terminal that is refreshed in place, by rich (the extra `stats` of this distribution)."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from libcontainer.errors import Unsupported
from youki.usage import COLUMNS, row

if TYPE_CHECKING:
    from rich.table import Table

    from youki.usage import Monitor, Usage

CLOSE_TO_LIMIT = 0.9  # from there on memory is shown in red


def show(monitor: Monitor, interval_s: float) -> None:
    """Show what `monitor` sees until all has ended, or until the user interrupts. Raises Unsupported."""
    try:
        from rich.live import Live
    except ImportError:
        raise Unsupported(
            "the table that is refreshed in place needs the Python package rich, which is not installed",
            remedy="pip install 'libcontainer[stats]', or use --no-stream or --json",
        ) from None
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the cursor, too, is to be shown again
    live = Live(table(monitor.look()), auto_refresh=False)
    try:
        live.start(refresh=True)
        while not monitor.over:
            time.sleep(interval_s)
            live.update(table(monitor.look()), refresh=True)
    except KeyboardInterrupt:
        return  # how one leaves it
    finally:
        live.stop()  # also when the interrupt came while it started: it hides the cursor first


def table(usages: list[Usage]) -> Table:
    """Return the table of what the containers use now."""
    from rich.table import Table
    from rich.text import Text

    found = Table(box=None, pad_edge=False, header_style="bold")
    # Only the first column becomes narrower than its texts: engines' ids are 64 letters long.
    found.add_column(COLUMNS[0], overflow="ellipsis")
    for name in COLUMNS[1:]:
        found.add_column(name, justify="right", no_wrap=True)
    for usage in usages:
        texts = [Text(cell) for cell in row(usage)]  # never as rich's markup: an id is somebody's choice
        memory = usage["memory"]
        if memory["limit"] and (memory["usage"] or 0) > CLOSE_TO_LIMIT * memory["limit"]:
            texts[COLUMNS.index("MEMORY")].stylize("red")
        if usage["throttled_percent"]:
            texts[COLUMNS.index("THROTTLED %")].stylize("yellow")
        found.add_row(*texts)
    return found
