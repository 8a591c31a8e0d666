"""The manual page youki(1) as troff source with the man(7) macros, from the tables of `options`."""

from __future__ import annotations

from libcontainer.version import VERSION
from youki import options
from youki.help import HEAD, described, described_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from youki.options import Command, Option

DESCRIPTION = (
    "A bundle is a directory with a configuration, config.json, and a root file system. youki makes a "
    "container of it, starts, signals and deletes it, as the OCI runtime specification defines these "
    "operations. Its options, output and exit codes are those of runc, so that podman, containerd and "
    "other callers can use it in place of runc."
)
EXIT_CODES = (
    ("0", "The command succeeded."),
    ("1", "The command failed; standard error says why."),
    ("N", "run without --detach: the exit code of the container's process, or 128+N when signal N ended it."),
)
FILES = (
    ("/run/youki", "The state of the containers of root."),
    ("$XDG_RUNTIME_DIR/youki", "The state of the containers of an unprivileged user."),
)
ENVIRONMENT = (
    (
        "NOTIFY_SOCKET",
        "The service manager's socket: the container gets one of its own, on which its payload says that it is ready.",
    ),
    ("LISTEN_FDS", "How many descriptors from 3 on are passed to the payload, as systemd.socket(5) does it."),
    ("XDG_RUNTIME_DIR", "Where the state of an unprivileged user's containers is."),
)
EXAMPLES = (
    (
        "Run a command with the host's own programs:",
        "youki bundle hello -- echo hello; youki run -b hello hello-1",
    ),
    ("See what youki would do for a bundle:", "youki explain -b hello"),
    ("Read this page:", "youki man | man -l -"),
)


def page() -> str:
    """Return the whole page."""
    return "\n".join(_lines()) + "\n"


def escape(text: str) -> str:
    r"""Return `text` for troff: `\` and `-` as themselves, no line taken for a request. See groff_char(7)."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace('"', "\\(dq")
    return "\\&" + escaped if escaped.startswith(".") else escaped


def _lines() -> Iterator[str]:
    yield f'.TH YOUKI 1 "" "youki {VERSION}" "User Commands"'
    yield from (".SH NAME", escape("youki - run containers from OCI bundles"))
    yield from (".SH SYNOPSIS", f".B {escape(options.usage(None))}")
    yield from (".SH DESCRIPTION", escape(HEAD), escape(DESCRIPTION))
    yield from (".SH GLOBAL OPTIONS", *_options(options.GLOBALS))
    yield ".SH COMMANDS"
    for command in options.COMMANDS:
        yield from _command(command)
    yield from (".SH EXIT STATUS", *_pairs(EXIT_CODES))
    yield from (".SH ENVIRONMENT", *_pairs(ENVIRONMENT))
    yield from (".SH FILES", *_pairs(FILES))
    yield ".SH EXAMPLES"
    for sentence, line in EXAMPLES:
        yield from (".PP", escape(sentence), ".PP", ".RS 4", ".nf", escape(line), ".fi", ".RE")


def _command(command: Command) -> Iterator[str]:
    yield from (f".SS {escape(options.usage(command))}", escape(command.description))
    arguments = [(item.metavar, described(item.about, item.choices)) for item in command.arguments]
    yield from _pairs(arguments, font="I")
    yield from _options(command.shown)


def _options(table: Iterable[Option]) -> Iterator[str]:
    for option in table:
        names = ", ".join(f"\\fB{escape(name)}\\fR" for name in option.names)
        value = f" \\fI{escape(option.metavar)}\\fR" if option.metavar else ""
        yield from (".TP", names + value, escape(described_option(option)))


def _pairs(pairs: Iterable[tuple[str, str]], font: str = "B") -> Iterator[str]:
    for name, sentence in pairs:
        yield from (".TP", f".{font} {escape(name)}", escape(sentence))
