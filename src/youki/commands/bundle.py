"""youki bundle DIR [COMMAND…]: write a complete bundle to start from."""

from __future__ import annotations

from libcontainer import bundle
from youki import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, _settings: Arguments) -> None:
    bundle.create(
        args.directory,
        source=getattr(args, "from"),
        args=args.command,
        rootless=args.rootless or None,
        readonly=not args.writable,
        terminal=args.tty or None,
        warn=log.warning,
    )
