"""youki explain: print the plan of a bundle, one operation per line."""

from __future__ import annotations

from libcontainer.plan.explain import explain
from youki.output import write
from youki.settings import systemd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, settings: Arguments) -> None:
    lines = explain(
        args.bundle,
        config=args.config,
        no_pivot=args.no_pivot,
        no_new_keyring=args.no_new_keyring,
        systemd=systemd(settings),
    )
    write("".join(line + "\n" for line in lines))
