"""youki kill CONTAINER [SIGNAL]: send a signal to a container."""

from __future__ import annotations

from libcontainer.container import Container
from youki.settings import state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, settings: Arguments) -> int:
    root = state_root(settings)
    signal = args.signal or "TERM"

    def kill(name: str) -> None:
        Container.load(root, name).kill(signal, all=args.all)

    if args.regex:
        from youki.select import each, matching

        return each(matching(root, args.id), kill)
    kill(args.id)
    return 0
