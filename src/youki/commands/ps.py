"""youki ps CONTAINER [OPTION]...: show the processes of a container, by ps(1) or as JSON."""

from __future__ import annotations

from libcontainer.container import Container
from libcontainer.errors import Error, InvalidArgument, Unsupported
from youki.output import write, write_json
from youki.settings import state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from youki.parser import Arguments


def run(args: Arguments, settings: Arguments) -> None:
    pids = Container.load(state_root(settings), args.id).processes()
    if args.format == "json":
        write_json(pids)
    else:
        write(rows(listed(args.options or ["-ef"]), pids))


def listed(options: Sequence[str]) -> str:
    """Return what ps prints with these options. Raises Unsupported without ps, InvalidArgument when it fails."""
    import subprocess

    try:
        done = subprocess.run(["ps", *options], capture_output=True, check=False)
    except FileNotFoundError as error:
        remedy = "install it (Debian: procps), or use --format json"
        raise Unsupported("the program ps is not installed", errno=error.errno, remedy=remedy) from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
        raise InvalidArgument(f"ps {' '.join(options)}: {said or f'exit status {done.returncode}'}")
    return done.stdout.decode("utf-8", "surrogateescape")


def rows(table: str, pids: Sequence[int]) -> str:
    """Return the heading of `table` and those of its lines that are about one of `pids`, whole as they are.

    Raises Error where the table does not show process ids.
    """
    heading, *lines = table.splitlines(keepends=True) or [""]
    names = heading.split()
    column = names.index("PID") if "PID" in names else len(names)
    if column == len(names) or {"CMD", "COMMAND"} & set(names[:column]):  # commands hold spaces and numbers
        raise Error("the output of ps has no column PID before the command", remedy="begin with -o pid")
    wanted = {str(pid) for pid in pids}
    return heading + "".join([line for line in lines if wanted & set(line.split()[column : column + 1])])
