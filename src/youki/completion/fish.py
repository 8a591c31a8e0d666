"""Completion for fish(1): see complete(1) of fish."""

from __future__ import annotations

from youki import options
from youki.completion.words import completes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from youki.options import Argument, Command, Option

SCRIPT = r"""# fish completion for youki; load it with: youki completion fish | source

function __youki_command --description 'Print the command on the line; fail if there is none'
    set -l words (commandline -opc)
    set -e words[1]
    while set -q words[1]
        switch $words[1]
            case @VALUED@
                set -e words[1]
            case '-*'
            case '*'
                echo $words[1]
                return 0
        end
        set -e words[1]
    end
    return 1
end

function __youki_in --description 'Say whether the command on the line is the one given'
    contains -- $argv[1] (__youki_command)
end

function __youki_containers --description 'Print the ids of the containers of the root on the line'
    set -l words (commandline -opc)
    set -l root
    for number in (seq (count $words))
        switch $words[$number]
            case --root
                set root --root $words[(math $number + 1)]
            case -r # after the command it is that command's own option
                contains -- (__youki_command) $words[1..$number]
                or set root --root $words[(math $number + 1)]
            case '--root=*'
                set root $words[$number]
        end
    end
    $words[1] $root list --quiet 2>/dev/null
end

complete -c youki -f
@ROWS@
"""


def script() -> str:
    """Return the script."""
    valued = " ".join(name for option in options.GLOBALS if option.kind != "flag" for name in option.names)
    return SCRIPT.replace("@VALUED@", valued).replace("@ROWS@", "\n".join(_rows()))


def quote(text: str) -> str:
    """Return `text` in single quotes, as fish reads them."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _rows() -> Iterator[str]:
    first = quote("not __youki_command >/dev/null")
    for option in options.GLOBALS:
        yield f"complete -c youki -n {first} {_option(option)}"
    for command in options.COMMANDS:
        yield f"complete -c youki -n {first} -a {command.name} -d {quote(command.summary)}"
        yield from _command(command)


def _command(command: Command) -> Iterator[str]:
    inside = quote(f"__youki_in {command.name}")
    for option in command.shown:
        yield f"complete -c youki -n {inside} {_option(option)}"
    for argument in command.arguments:
        if completes(argument) != "text":
            yield f"complete -c youki -n {inside} {_source(argument)}"


def _option(option: Option) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    value = "" if option.kind == "flag" else f" -r {_source(option)}"
    return f"{names}{value} -d {quote(option.about)}"


def _source(row: Option | Argument) -> str:
    kind = completes(row)
    if kind.startswith("choice "):
        return f"-f -a {quote(kind.removeprefix('choice '))}"
    sources = {
        "file": "-F",
        "directory": "-f -a '(__fish_complete_directories)'",
        "container": "-f -a '(__youki_containers)'",
        "text": "-f",
    }
    return sources[kind]
