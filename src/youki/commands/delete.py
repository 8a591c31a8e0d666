"""youki delete CONTAINER: remove a container and all that the host holds for it."""

from __future__ import annotations

from libcontainer.container import Container
from libcontainer.errors import NotFound
from youki.settings import state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, settings: Arguments) -> int:
    root = state_root(settings)

    def delete(name: str) -> None:
        try:
            Container.load(root, name).delete(force=args.force)
        except NotFound:
            # --force asks for a result, and it is there: callers clean up with it after a failed create.
            if not args.force:
                raise

    if args.regex:
        from youki.select import each, matching

        return each(matching(root, args.id), delete)
    delete(args.id)
    return 0
