"""youki list: print the containers of the state root."""

from __future__ import annotations

from libcontainer.container import Container
from youki.log import escape
from youki.output import columns, write, write_json
from youki.settings import state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from youki.parser import Arguments

COLUMNS = ("id", "pid", "status", "bundle", "created", "owner")


def run(args: Arguments, settings: Arguments) -> None:
    containers = Container.list(state_root(settings))
    if args.quiet:
        write("".join(f"{container.id}\n" for container in containers))
        return
    states = [container.state() for container in containers]
    if args.format == "json":
        write_json(states)
        return
    write(columns([[name.upper() for name in COLUMNS], *map(row, states)]))


def row(state: Mapping[str, Any]) -> list[str]:
    """Return one line of the table. A bundle's name may not forge a line or drive the terminal."""
    return [escape(str(state.get(name, 0 if name == "pid" else ""))) for name in COLUMNS]
