"""The containers that a command line means: one by its id, or with `--regex` all whose id matches.

On the hot path: imports the library's container only.
"""

from __future__ import annotations

from libcontainer.container import Container
from libcontainer.errors import Error, InvalidArgument
from youki import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def matching(root: str, pattern: str) -> list[str]:
    """Return the ids below `root` in which the regular expression `pattern` is found, as crun does it.

    Raises InvalidArgument for a pattern that is no regular expression.
    """
    import re

    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise InvalidArgument(
            f"{pattern!r} is no regular expression: {error}",
            remedy="escape special characters with a backslash",
        ) from None
    return [container.id for container in Container.list(root) if search(container.id)]


def each(ids: list[str], act: Callable[[str], None]) -> int:
    """Call `act` with every id, also after one failed; return the exit code. Every failure is told."""
    code = 0
    for name in ids:
        try:
            act(name)
        except Error as error:
            log.error(str(error))
            code = 1
    return code
