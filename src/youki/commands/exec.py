"""youki exec CONTAINER COMMAND: run one more process in a running container; the exit code is its own."""

from __future__ import annotations

from youki import log
from youki.tenant import tenant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, settings: Arguments) -> int:
    builder = tenant(args, settings)
    if not args.detach:
        code = builder.run().returncode
        return 1 if code is None else code  # None: somebody else has waited for our child
    for warning in builder.build().warnings:
        log.warning(warning)
    return 0
