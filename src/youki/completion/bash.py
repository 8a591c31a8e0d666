"""Completion for bash(1), "Programmable Completion"."""

from __future__ import annotations

from youki import options
from youki.completion.words import completes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# COMP_WORDBREAKS splits --option=value into three words; "=" is skipped, so that both forms look alike.
# Container ids are compared in a loop: compgen -W would expand what they contain.
SCRIPT = r"""# bash completion for youki; load it with: source <(youki completion bash)

_youki_option() { # COMMAND OPTION: print what completes the option's value
    case "$1 $2" in
@VALUES@
    esac
}

_youki_argument() { # COMMAND NUMBER: print what completes the argument
    case "$1 $2" in
@ARGUMENTS@
    esac
}

_youki_options() { # COMMAND: print its options
    case "$1" in
@OPTIONS@
    esac
}

_youki_containers() {
    local id
    while read -r id; do
        [[ $id == "$current"* ]] && COMPREPLY+=("$id")
    done < <("${COMP_WORDS[0]}" "${root[@]}" list --quiet 2>/dev/null)
}

_youki_complete() { # KIND
    case $1 in
        choice\ *) mapfile -t COMPREPLY < <(compgen -W "${1#choice }" -- "$current") ;;
        file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        directory) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
        container) _youki_containers ;;
    esac
}

_youki() {
    local current=${COMP_WORDS[COMP_CWORD]} command="" option="" kind="" ended="" word i
    local -i count=0
    local -a root=()
    COMPREPLY=()
    [[ $current == "=" ]] && current=""
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == "=" ]]; then
            continue
        elif [[ -n $option ]]; then
            [[ $option == --root || ($option == -r && -z $command) ]] && root=(--root "$word")
            option=""
        elif [[ -z $ended && $word == -- ]]; then
            ended=yes
        elif [[ -z $ended && $word == -?* ]]; then
            kind=$(_youki_option "$command" "$word")
            [[ -n $kind ]] && option=$word
        elif [[ -z $command ]]; then
            command=$word
        else
            count+=1
        fi
    done
    if [[ -n $option ]]; then
        _youki_complete "$kind"
    elif [[ -z $ended && $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_youki_options "$command")" -- "$current")
    elif [[ -z $command ]]; then
        mapfile -t COMPREPLY < <(compgen -W "@COMMANDS@" -- "$current")
    else
        _youki_complete "$(_youki_argument "$command" "$count")"
    fi
}

complete -F _youki youki
"""


def script() -> str:
    """Return the script."""
    parts = {
        "@VALUES@": _values(),
        "@ARGUMENTS@": _arguments(),
        "@OPTIONS@": _options(),
        "@COMMANDS@": [" ".join(command.name for command in options.COMMANDS)],
    }
    text = SCRIPT
    for mark, lines in parts.items():
        text = text.replace(mark, "\n".join(lines))
    return text


def _values() -> Iterator[str]:
    for command in options.COMMANDS:
        for option in command.options:
            yield from _value(command.name, option)
    # A global option may follow the command; the command's own rows stand above and win.
    for option in options.GLOBALS:
        yield from _value("*", option)


def _value(command: str, option: options.Option) -> Iterator[str]:
    where = "*" if command == "*" else f'"{command}"'
    patterns = "|".join(f'{where}" {name}"' for name in option.names)
    answer = "" if option.kind == "flag" else f' echo "{completes(option)}"'
    yield f"        {patterns}){answer} ;;"


def _arguments() -> Iterator[str]:
    for command in options.COMMANDS:
        for number, argument in enumerate(command.arguments):
            place = f'"{command.name} "*' if argument.many else f'"{command.name} {number}"'
            yield f'        {place}) echo "{completes(argument)}" ;;'


def _options() -> Iterator[str]:
    for command in options.COMMANDS:
        names = " ".join(name for option in command.shown for name in option.names)
        yield f'        {command.name}) echo "{names} -h --help" ;;'
    names = " ".join(name for option in options.GLOBALS for name in option.names)
    yield f'        "") echo "{names}" ;;'
