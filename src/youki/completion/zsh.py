"""Completion for zsh: see zshcompsys(1), `_arguments`."""

from __future__ import annotations

from youki import options
from youki.completion.words import completes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from youki.options import Argument, Option

SCRIPT = r"""#compdef youki
# zsh completion for youki; put it into a directory of $fpath as _youki, or: source <(youki completion zsh)

_youki_containers() {
    local -a ids
    ids=(${(f)"$(_call_program containers ${program} ${root:+--root=${root}} list --quiet 2>/dev/null)"})
    compadd -a ids
}

_youki() {
    local curcontext=$curcontext context state line program=${words[1]} root
    local -A opt_args
    _arguments -C \
@GLOBALS@
        '1:command:->command' \
        '*::argument:->argument' && return
    root=${opt_args[--root]:-${opt_args[-r]}}
    case $state in
        command)
            local -a commands=(
@COMMANDS@
            )
            _describe command commands
            ;;
        argument)
            case $line[1] in
@ARGUMENTS@
            esac
            ;;
    esac
}

if [[ ${funcstack[1]} == _youki ]]; then
    _youki "$@"
else
    compdef _youki youki
fi
"""
ACTIONS = {"file": "_files", "directory": "_files -/", "container": "_youki_containers", "text": " "}


def script() -> str:
    """Return the script."""
    names = [f"{command.name}:{command.summary}" for command in options.COMMANDS]
    parts = {
        "@GLOBALS@": [f"        {_option(option)} \\" for option in options.GLOBALS],
        "@COMMANDS@": [f"                {quote(name)}" for name in names],
        "@ARGUMENTS@": list(_commands()),
    }
    text = SCRIPT
    for mark, lines in parts.items():
        text = text.replace(mark, "\n".join(lines))
    return text


def quote(text: str) -> str:
    """Return `text` in single quotes, as every shell of the Bourne family reads them."""
    return "'" + text.replace("'", "'\\''") + "'"


def escape(text: str) -> str:
    """Return `text` for a description of `_arguments`, where brackets and colons have a meaning."""
    return "".join("\\" + char if char in "[]:\\" else char for char in text)


def _commands() -> Iterator[str]:
    for command in options.COMMANDS:
        specs = [_option(option) for option in command.shown]
        specs += [_argument(number, argument) for number, argument in enumerate(command.arguments, 1)]
        if not specs:
            continue
        yield f"                {command.name})"
        yield "                    _arguments \\"
        yield " \\\n".join(f"                        {spec}" for spec in specs)
        yield "                    ;;"


def _option(option: Option) -> str:
    exclusive = f"({' '.join(option.names)})" if len(option.names) > 1 else ""
    about = f"[{escape(option.about)}]"
    value = "" if option.kind == "flag" else f":{escape(option.metavar)}:{_action(option)}"
    names = [name + ("=" if value and name.startswith("--") else "") for name in option.names]
    if len(names) == 1:
        return quote(names[0] + about + value)
    return quote(exclusive) + "{" + ",".join(names) + "}" + quote(about + value)


def _argument(number: int, argument: Argument) -> str:
    position = "*" if argument.rest or argument.many else f"{number}{'' if argument.required else ':'}"
    return quote(f"{position}:{escape(argument.metavar)}:{_action(argument)}")


def _action(row: Option | Argument) -> str:
    kind = completes(row)
    return f"({kind.removeprefix('choice ')})" if kind.startswith("choice ") else ACTIONS[kind]
