"""youki install ENGINE: tell an engine of youki, or with --remove let it forget."""

from __future__ import annotations

import os

from youki import engines
from youki.engines.place import Place, apply
from youki.output import write
from youki.program import own_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from youki.engines.place import Edit
    from youki.parser import Arguments


def run(args: Arguments, _settings: Arguments) -> None:
    engine = engines.load(args.engine)
    place = Place(args.destdir, user=os.geteuid() != 0)
    edits = engine.removal(place) if args.remove else engine.edits(place, own_program(), default=args.default)
    changes = [edit for edit in edits if edit]
    if args.dry_run:
        write("".join(edit.diff for edit in changes))
        return
    apply(changes)
    write(told(engine, changes, args))


def told(engine: ModuleType, changes: list[Edit], args: Arguments) -> str:
    """Return what has been done, and what to do next."""
    if not changes:
        return f"{args.engine} {'does not know youki' if args.remove else 'knows youki'} already\n"
    lines = [f"{'removed' if edit.after is None else 'wrote'} {edit.path}" for edit in changes]
    restart = getattr(engine, "RESTART", None)
    if args.remove:
        restart = getattr(engine, "RESTART_TO_FORGET", restart)
    if restart:
        lines.append(f"now let it read that: {restart}")
    if not args.remove:
        lines.append(f"then: {engine.NEXT[bool(args.default)]}")
    return "".join(f"{line}\n" for line in lines)
