"""Reads a command line by the tables of `options`.

`--flag=value` and `--flag value` mean the same; `--` ends the options; a global option may stand before the
command or, where the command has no option of that name, after it. What is wrong raises InvalidArgument with
one sentence and a hint. On the hot path: imports the error tree and the tables only.
"""

from __future__ import annotations

from libcontainer.errors import InvalidArgument
from youki import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from youki.options import Argument, Command, Option

NUMBERS = {  # kinds of number that `quantity` reads, and what to say they are
    "integer": "a whole number",
    "size": "a size such as 64m or 2g, or -1 for no limit",
    "duration": "a duration such as 5s, 500ms or 1m30s",
}
TRUTH = {"true": True, "1": True, "false": False, "0": False}


class Arguments:
    """The values of a command line, as attributes named after the options and arguments."""

    def __init__(self, table: Iterable[Option]) -> None:
        for option in table:
            self.__dict__[option.key] = [] if option.repeat else option.default

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


def parse(words: list[str], settings: Arguments) -> tuple[Command | None, Arguments]:
    """Return the command and its values; global options are put into `settings`, also when an error follows.

    The command is None when the line has none and asks for `--help` or `--version`. Raises InvalidArgument.
    """
    table = index(options.GLOBALS)
    position = 0
    while position < len(words) and is_option(words[position]):
        position = take(words, position, table, settings, settings, "")
    if position < len(words):
        command = options.find(words[position])
        if command is None:
            raise unknown_command(words[position])
        return command, parse_command(command, words[position + 1 :], settings)
    if settings.help or settings.version:
        return None, Arguments(())
    raise InvalidArgument("missing command", remedy="see 'youki --help' for the commands")


def parse_command(command: Command, words: list[str], settings: Arguments) -> Arguments:
    """Return the values of one command's options and arguments."""
    args = Arguments(command.options)
    table = index(options.GLOBALS) | index(command.options)
    positional: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        if options_ended(command, positional) or word == "--":
            positional += words[position + (word == "--") :]
            break
        if is_option(word):
            position = take(words, position, table, args, settings, command.name)
            continue
        positional.append(word)
        position += 1
    if not settings.help:
        assign(command, positional, args)
    return args


def index(table: Iterable[Option]) -> dict[str, Option]:
    """Return the options by each of their names."""
    return {name: option for option in table for name in option.names}


def is_option(word: str) -> bool:
    """Say whether a word is an option; a single dash is an argument by custom (standard input)."""
    return word.startswith("-") and word != "-"


def options_ended(command: Command, positional: list[str]) -> bool:
    """Say whether what follows belongs to the container's program, not to youki."""
    if not positional:
        return False
    rest = bool(command.arguments) and command.arguments[-1].rest
    return command.options_first or (rest and len(positional) >= len(command.arguments))


def take(
    words: list[str], position: int, table: dict[str, Option], args: Arguments, settings: Arguments, who: str
) -> int:
    """Read the option at `position` into `args`, a global one into `settings`; return the next position."""
    name, equals, attached = words[position].partition("=")
    option = table.get(name)
    if option is None:
        raise unknown_option(name, table, who)
    position += 1
    value: str | None = attached if equals else None
    if value is None and option.kind != "flag":
        if position == len(words):
            raise wrong(who, f"option {name} needs a value, {option.metavar}")
        value = words[position]
        position += 1
    target = settings if option in options.GLOBALS else args
    converted = convert(option, name, value, who)
    if option.repeat:
        target.__dict__[option.key].append(converted)
    else:
        target.__dict__[option.key] = converted
    return position


def convert(option: Option, name: str, value: str | None, who: str) -> str | float | bool:
    """Return the value as its kind; raises InvalidArgument that says what was found and what is expected."""
    if option.kind == "flag":
        if value is None:
            return True
        if value in TRUTH:
            return TRUTH[value]
        raise wrong(who, f"option {name} is {value!r}, expected true or false")
    assert value is not None
    if option.kind == "count":
        # isdecimal() alone would accept the digits of other scripts.
        if value.isascii() and value.isdecimal():
            return int(value)
        raise wrong(who, f"option {name} is {value!r}, expected a whole number, 0 or more")
    if option.kind in NUMBERS:
        return number(option, name, value, who)
    if option.choices and value not in option.choices:
        raise wrong(who, f"option {name} is {value!r}, expected {listing(option.choices)}")
    if value == "":
        raise wrong(who, f"option {name} has an empty value, expected {option.metavar}")
    return value


def number(option: Option, name: str, value: str, who: str) -> int | float:
    """Return a number with its unit; raises InvalidArgument."""
    from youki import quantity

    read: Callable[[str], int | float] = getattr(quantity, option.kind)
    try:
        return read(value)
    except ValueError:
        raise wrong(who, f"option {name} is {value!r}, expected {NUMBERS[option.kind]}") from None


def assign(command: Command, positional: list[str], args: Arguments) -> None:
    """Give the positional words to the command's arguments, in order."""
    left = list(positional)
    for argument in command.arguments:
        if argument.rest or argument.many:
            args.__dict__[argument.key], left = left, []
        elif left:
            args.__dict__[argument.key] = checked(command, argument, left.pop(0))
        elif argument.required:
            raise wrong(command.name, f"missing argument {argument.metavar}", options.usage(command))
        else:
            args.__dict__[argument.key] = None
    if left:
        raise wrong(command.name, f"unexpected argument {left[0]!r}", options.usage(command))


def checked(command: Command, argument: Argument, word: str) -> str:
    """Return the word if the argument allows it."""
    if argument.kind == "choice" and word not in argument.choices:
        raise wrong(
            command.name, f"argument {argument.metavar} is {word!r}, expected {listing(argument.choices)}"
        )
    return word


def listing(choices: tuple[str, ...]) -> str:
    """Return choices in words: "a, b or c"."""
    return ", ".join(choices[:-1]) + f" or {choices[-1]}" if len(choices) > 1 else choices[0]


def wrong(who: str, message: str, usage: str | None = None) -> InvalidArgument:
    """Return the error for a wrong command line of command `who` ("" for youki itself)."""
    remedy = f"usage: {usage}" if usage else f"see 'youki {who} --help'" if who else "see 'youki --help'"
    return InvalidArgument(f"{who}: {message}" if who else message, remedy=remedy)


def unknown_option(name: str, table: dict[str, Option], who: str) -> InvalidArgument:
    """Return the error for an option that nobody has, with the nearest one that exists."""
    return wrong(who, f"unknown option {name}{nearest(name, table)}")


def unknown_command(name: str) -> InvalidArgument:
    """Return the error for a command that does not exist, with the nearest one that does."""
    return wrong(
        "", f"unknown command {name!r}{nearest(name, [command.name for command in options.COMMANDS])}"
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean …?)" when a known name looks like `name`, else nothing."""
    from difflib import get_close_matches  # dear, but the run ends here

    close = get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f" (did you mean {close[0]}?)" if close else ""
