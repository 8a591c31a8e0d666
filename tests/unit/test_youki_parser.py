"""parser.py: what people and callers type, and what the commands get."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcontainer.errors import InvalidArgument
from youki import options
from youki.options import Argument, Command, Option
from youki.parser import Arguments, parse, parse_command

VALUED = [
    (command, option)
    for command in options.COMMANDS
    for option in command.options
    if option.kind in ("text", "file", "directory")
]
EXEC = Command(
    "exec",
    "",
    "",
    (Argument("id", "CONTAINER", "container", ""), Argument("command", "COMMAND", "text", "", rest=True)),
    (
        Option("-e --env", "text", "NAME=VALUE", None, "", repeat=True),
        Option("-t --tty", "flag", "", False, ""),
    ),
    options_first=True,
)


def read(*words: str) -> tuple[str, Arguments, Arguments]:
    settings = Arguments(options.GLOBALS)
    command, args = parse(list(words), settings)
    return command.name if command else "", args, settings


def refused(*words: str) -> str:
    with pytest.raises(InvalidArgument) as caught:
        read(*words)
    return str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ("create", "--bundle", "/b", "--pid-file", "/p", "job-7"),
        ("create", "--bundle=/b", "--pid-file=/p", "job-7"),
        ("create", "job-7", "-b", "/b", "-p", "/p"),
        ("create", "-b=/b", "job-7", "--pid-file", "/p"),
        ("create", "-b", "/b", "-p", "/p", "--", "job-7"),
    ],
)
def test_all_ways_to_write_an_option_mean_the_same(words: tuple[str, ...]) -> None:
    """Callers of runc and of crun write options differently and put them before or after the id."""
    _, args, _ = read(*words)

    assert (args.bundle, args.pid_file, args.id) == ("/b", "/p", "job-7")


def test_absent_options_have_their_defaults() -> None:
    """A command reads every value without asking whether it was given."""
    _, args, settings = read("run", "job-7")

    assert (args.bundle, args.pid_file, args.preserve_fds, args.detach) == (".", None, 0, False)
    assert (settings.root, settings.log_format, settings.rootless) == (None, "text", "auto")


@pytest.mark.parametrize(("command", "option"), VALUED, ids=lambda row: getattr(row, "name", None) or row.key)
@given(value=st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_a_value_arrives_unchanged(command: Command, option: Option, value: str) -> None:
    """No byte of a path is interpreted: not =, not -, not a blank; attached or as a word of its own."""
    rest = [
        argument.choices[0] if argument.kind == "choice" else argument.key
        for argument in command.arguments
        if argument.required
    ]
    attached = parse_command(command, [f"{option.names[-1]}={value}", *rest], Arguments(options.GLOBALS))
    separate = parse_command(command, [option.names[0], value, *rest], Arguments(options.GLOBALS))

    expected = [value] if option.repeat else value
    assert getattr(attached, option.key) == expected
    assert getattr(separate, option.key) == expected


@given(st.lists(st.text()))
def test_no_command_line_breaks_the_parser(words: list[str]) -> None:
    """Whatever is typed is either understood or refused with a sentence; nothing else is raised."""
    try:
        read(*words)
    except InvalidArgument as error:
        refusal = error
    else:
        return
    assert refusal.message
    assert refusal.remedy


def test_global_options_are_understood_on_both_sides_of_the_command() -> None:
    """crun accepts `crun state --root DIR ID`; the words mean the same before the command."""
    before = read("--root", "/r", "-s", "--log-format=json", "state", "job-7")[2]
    after = read("state", "--root", "/r", "job-7", "-s", "--log-format=json")[2]

    assert vars(before) == vars(after)
    assert (before.root, before.systemd_cgroup, before.log_format) == ("/r", True, "json")


def test_an_option_of_the_command_hides_the_global_one_of_the_same_name() -> None:
    """`-r` is the root before `kill`, a regular expression after it; `spec --rootless` takes no value."""
    _, kill, settings = read("-r", "/r", "kill", "-r", "job-.*")
    _, spec, spec_settings = read("--rootless=true", "spec", "--rootless")

    assert (settings.root, kill.regex, kill.id) == ("/r", True, "job-.*")
    assert (spec_settings.rootless, spec.rootless) == ("true", True)


@pytest.mark.parametrize(
    ("word", "value"),
    [("--debug", True), ("--debug=true", True), ("--debug=false", False), ("--debug=0", False)],
)
def test_a_flag_may_carry_a_truth_value(word: str, value: bool) -> None:
    """Programs that build command lines for Go programs write `--flag=true`."""
    assert read(word, "list")[2].debug is value


def test_what_follows_two_dashes_is_no_option() -> None:
    """The command in a new bundle may have options of its own."""
    _, args, _ = read("bundle", "/b", "--from", "host", "--", "ls", "--from", "-b")

    assert (args.directory, getattr(args, "from"), args.command) == ("/b", "host", ["ls", "--from", "-b"])


def test_options_end_where_the_containers_command_begins() -> None:
    """`bundle DIR sh -c …` gives -c to sh, not to youki."""
    _, args, _ = read("bundle", "/b", "sh", "-c", "--from")

    assert args.command == ["sh", "-c", "--from"]


@pytest.mark.parametrize(
    "words",
    [["-t", "job-7", "ls", "-t"], ["--tty", "job-7", "--", "ls", "-t"], ["-t", "--", "job-7", "ls", "-t"]],
)
def test_a_command_may_end_its_options_at_the_container(words: list[str]) -> None:
    """What exec and ps get after the container's id belongs to the other program, as with runc."""
    args = parse_command(EXEC, words, Arguments(options.GLOBALS))

    assert (args.id, args.tty, args.command) == ("job-7", True, ["ls", "-t"])


def test_a_repeated_option_collects_its_values() -> None:
    """`-e A=1 -e B=2` sets both, and one command line does not leak into the next."""
    for _ in range(2):
        args = parse_command(EXEC, ["-e", "A=1", "--env=B=2", "job-7", "ls"], Arguments(options.GLOBALS))

        assert args.env == ["A=1", "B=2"]


def test_the_last_of_two_values_counts() -> None:
    """A wrapper can append an option to override an earlier one."""
    assert read("create", "-b", "/a", "--bundle=/b", "job-7")[1].bundle == "/b"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "missing command – see 'youki --help' for the commands"),
        (("crate",), "unknown command 'crate' (did you mean create?) – see 'youki --help'"),
        (("--rot", "/r", "list"), "unknown option --rot (did you mean --root?) – see 'youki --help'"),
        (
            ("create", "--bundel=/b", "x"),
            "create: unknown option --bundel (did you mean --bundle?) – see 'youki create --help'",
        ),
        (
            ("create", "x", "--pid-file"),
            "create: option --pid-file needs a value, FILE – see 'youki create --help'",
        ),
        (("start",), "start: missing argument CONTAINER – usage: youki start CONTAINER"),
        (("start", "a", "b"), "start: unexpected argument 'b' – usage: youki start CONTAINER"),
        (("--log-format=xml",), "option --log-format is 'xml', expected text or json – see 'youki --help'"),
        (
            ("completion", "tcsh"),
            (
                "completion: argument SHELL is 'tcsh', "
                "expected bash, zsh or fish – see 'youki completion --help'"
            ),
        ),
        (
            ("run", "--detach=maybe", "x"),
            "run: option --detach is 'maybe', expected true or false – see 'youki run --help'",
        ),
        (("--root=", "list"), "option --root has an empty value, expected DIR – see 'youki --help'"),
    ],
)
def test_a_wrong_command_line_is_answered_with_one_sentence_and_a_hint(
    words: tuple[str, ...], sentence: str
) -> None:
    """The reader learns what was found, what is expected and where to read more."""
    assert refused(*words) == sentence


@pytest.mark.parametrize("value", ["-1", "+1", "1.5", "", "one", "٣", "0x10", " 1", "1_000"])
def test_a_count_is_a_plain_number(value: str) -> None:
    """int() takes blanks, underscores and other scripts' digits; a typing error must not become a number."""
    assert "expected a whole number, 0 or more" in refused("create", f"--preserve-fds={value}", "x")


@pytest.mark.parametrize("words", [("--help",), ("-h", "--root", "/r"), ("create", "--help"), ("kill", "-h")])
def test_help_is_given_although_arguments_are_missing(words: tuple[str, ...]) -> None:
    """Who asks for help does not know the arguments yet."""
    assert read(*words)[2].help is True


def test_settings_read_before_a_mistake_are_kept() -> None:
    """The mistake is written to the log that the caller named before it."""
    settings = Arguments(options.GLOBALS)
    with pytest.raises(InvalidArgument):
        parse(["--log", "/l", "--log-format", "json", "state"], settings)

    assert (settings.log, settings.log_format) == ("/l", "json")


@pytest.mark.parametrize(
    "command", [None, *options.COMMANDS], ids=lambda command: getattr(command, "name", "youki")
)
def test_no_name_in_the_tables_is_used_twice(command: Command | None) -> None:
    """Two rows of one name would make the second one unreachable."""
    table = command.options if command else options.GLOBALS
    names = [name for option in table for name in option.names]
    keys = [option.key for option in table] + [item.key for item in (command.arguments if command else ())]

    assert len(set(names)) == len(names)
    assert len(set(keys)) == len(keys)
