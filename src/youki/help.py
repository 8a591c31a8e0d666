"""Help text, from the tables of `options`."""

from __future__ import annotations

from textwrap import wrap

from youki import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from youki.options import Command, Option

WIDTH = 100
HEAD = "youki runs containers from OCI bundles."


def text(command: Command | None) -> str:
    """Return the help of one command, or of youki itself for None."""
    if command is None:
        return _join(
            HEAD,
            f"Usage: {options.usage(None)}",
            _section("Commands:", [(entry.name, entry.summary) for entry in options.COMMANDS]),
            _section("Global options:", _rows(options.GLOBALS)),
            "'youki help COMMAND' tells more about a command, 'youki man | man -l -' shows the manual page.",
        )
    arguments = [
        (argument.metavar, described(argument.about, argument.choices)) for argument in command.arguments
    ]
    return _join(
        f"youki {command.name}: {command.summary}",
        f"Usage: {options.usage(command)}",
        "\n".join(wrap(command.description, WIDTH)),
        _section("Arguments:", arguments),
        _section("Options:", _rows(command.shown)),
        "'youki --help' lists the global options.",
    )


def heading(option: Option) -> str:
    """Return an option as it is typed: "-b, --bundle DIR"."""
    names = ", ".join(option.names)
    return f"{names} {option.metavar}" if option.metavar else names


def described(about: str, choices: tuple[str, ...], default: object = None) -> str:
    """Return the help sentence with the choices and the default, where it does not name them itself."""
    notes = []
    if choices and not all(choice in about for choice in choices) and len(choices) < 10:
        notes.append("one of " + ", ".join(choices))
    if default not in (None, False) and "default:" not in about:
        notes.append(f"default: {default}")
    return f"{about} ({'; '.join(notes)})" if notes else about


def _rows(table: Iterable[Option]) -> list[tuple[str, str]]:
    # Options without a short name are indented, so that the long names stand in one column.
    return [
        (heading(option) if len(option.names) > 1 else "    " + heading(option), described_option(option))
        for option in table
    ]


def described_option(option: Option) -> str:
    """Return the help sentence of an option with its choices and default."""
    return described(option.about, option.choices, option.default)


def _section(title: str, rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    margin = max(len(name) for name, _ in rows) + 4
    lines = [title]
    for name, sentence in rows:
        first, *more = wrap(sentence, WIDTH - margin)
        lines.append(f"  {name}".ljust(margin) + first)
        lines += [" " * margin + line for line in more]
    return "\n".join(lines)


def _join(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
