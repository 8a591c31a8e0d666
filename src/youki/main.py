"""youki: parse the command line, run one command, tell what went wrong in one sentence.

Only the module of the command that runs is imported. A traceback is shown with `--debug` only.
"""

from __future__ import annotations

from libcontainer.errors import Error
from youki import log, parser
from youki.options import GLOBALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.options import Command
    from youki.parser import Arguments

INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


def main(words: list[str]) -> int:
    """Run the command line `words` (without the program's name) and return the exit code."""
    settings = parser.Arguments(GLOBALS)
    command: Command | None = None
    try:
        try:
            command, args = parser.parse(words, settings)
        finally:
            # Also before a wrong command line is reported: the caller may read the log and nothing else.
            log.configure(settings.log, settings.log_format, level(settings))
        return execute(command, args, settings)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        report(error, settings.debug)
        return command.failure if command else 1


def level(settings: Arguments) -> str:
    """Return the log level that the global options ask for."""
    return str(settings.log_level or ("debug" if settings.debug else "warning"))


def execute(command: Command | None, args: Arguments, settings: Arguments) -> int:
    """Run one command, or print the help or version asked for in its place."""
    if settings.help:
        from youki.help import text

        return show(text(command))
    if settings.version:
        from youki.version import text as version

        return show(version())
    assert command is not None
    log.debug(f"command {command.name}")
    module = __import__(f"youki.commands.{command.name}", fromlist=["run"])
    code: int | None = module.run(args, settings)
    return code or 0


def show(text: str) -> int:
    """Print `text` and return the exit code of success."""
    from youki.output import write

    write(text)
    return 0


def report(error: Exception, debug: bool) -> None:
    """Tell an error: one of the library in its own words, any other as the fault of ours that it is."""
    if debug:
        from traceback import format_exception

        for line in "".join(format_exception(error)).splitlines():
            log.debug(line)
    for note in getattr(error, "__notes__", ()):
        log.warning(note)
    log.error(sentence(error))


def sentence(error: Exception) -> str:
    """Return an error as one sentence."""
    if isinstance(error, Error):
        return str(error)
    from libcgroups.errors import Error as CgroupError  # not at the top: only a failure needs it

    if isinstance(error, CgroupError):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{log.reason(error)}"
    return f"internal error: {type(error).__name__}: {error} – run with --debug to see where"
