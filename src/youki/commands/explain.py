"""youki explain: print the plan of a bundle, or of a process in a container, one operation per line."""

from __future__ import annotations

from libcontainer.errors import InvalidArgument
from libcontainer.plan.explain import explain
from youki.output import write
from youki.settings import state_root, systemd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, settings: Arguments) -> None:
    lines = of_tenant(args, settings) if args.exec else of_bundle(args, settings)
    write("".join(line + "\n" for line in lines))


def of_bundle(args: Arguments, settings: Arguments) -> list[str]:
    """Return the plan of the bundle. Raises InvalidArgument for words that say what only --exec asks for."""
    if args.command or args.process is not None:
        raise InvalidArgument("explain: COMMAND and --process are of --exec CONTAINER", remedy="add --exec")
    return explain(
        args.bundle,
        config=args.config,
        no_pivot=args.no_pivot,
        no_new_keyring=args.no_new_keyring,
        systemd=systemd(settings),
    )


def of_tenant(args: Arguments, settings: Arguments) -> list[str]:
    """Return the plan of one more process in a running container."""
    from libcontainer.builder import ContainerBuilder

    builder = ContainerBuilder(args.exec).with_root_path(state_root(settings)).as_tenant()
    builder.with_process(args.process)
    return (builder.with_container_args(args.command) if args.command else builder).explain()
