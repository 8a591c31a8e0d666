"""strictjson.py: what it reads, what it refuses and where, and that it writes what it reads."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libcontainer import strictjson
from libcontainer.errors import InvalidArgument, InvalidConfig
from libcontainer.strictjson import DEEPEST, dumps, loads, pointer_to, quote, read_file

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20) + 1, 10**20 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
)
BACKSLASH = "\\"


def refused(text: str | bytes) -> list[tuple[str, str]]:
    """The pointer and the finding of each problem with `text`."""
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(InvalidConfig) as caught:
        loads(data, source="a.json")
    assert caught.value.source == "a.json"
    return [(problem.pointer, problem.found) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        (" \t\r\n[true, false]\n ", [True, False]),
        ('{"a": {"b": [1, -2, 0]}}', {"a": {"b": [1, -2, 0]}}),
        ('{"": "", "ä": "€"}', {"": "", "ä": "€"}),
        ("[1.5, 1e3, -0.0]", [1.5, 1000.0, -0.0]),
        ("99999999999999999999", 10**20 - 1),
        ("-99999999999999999999", -(10**20) + 1),
        (r'"é\u20ac\ud83d\ude00\n\\u0000"', "é€😀\n" + BACKSLASH + "u0000"),
        ("[" * DEEPEST + "]" * DEEPEST, None),
    ],
)
def test_valid_json_is_read(text: str, value: object) -> None:
    """Strict means exact, not incomplete: every valid text without an ambiguity is read."""
    assert loads(text.encode(), source="a.json") == (json.loads(text) if value is None else value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "expecting value at line 1, column 1"),
        (" \n ", "expecting value at line 2, column 2"),
        ("{", "expecting property name enclosed in double quotes at line 1, column 2"),
        ('{"a": 1,\n "b" 2}', "expecting ':' delimiter at line 2, column 6"),
        ("[1 2]", "expecting ',' delimiter at line 1, column 4"),
        ("{} x", "something after the end at line 1, column 4"),
        ("1 2", "something after the end at line 1, column 3"),
        ("01", "something after the end at line 1, column 2"),
        ('{"a": nul}', "expecting value at line 1, column 7"),
        ("'a'", "expecting value at line 1, column 1"),
        ('"a\nb"', "invalid control character at line 1, column 3"),
        ('"a\0b"', "invalid control character at line 1, column 3"),
    ],
)
def test_a_syntax_error_is_told_with_line_and_column(text: str, found: str) -> None:
    """Who writes a configuration by hand needs the place."""
    assert refused(text) == [("", found)]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'\xef\xbb\xbf{"a": 1}', "a byte order mark"),
        (b'{\n "a": "\xff"}', "byte 0xff at line 2, column 8"),
        (b'"\xed\xa0\x80"', "byte 0xed at line 1, column 2"),
        (b'"\xc0\x80"', "byte 0xc0 at line 1, column 2"),
        ("[1]".encode("utf-16"), "byte 0xff at line 1, column 1"),
    ],
)
def test_only_utf_8_without_a_byte_order_mark_is_read(data: bytes, found: str) -> None:
    """A parser that guesses encodings reads another text than the one that was reviewed."""
    assert refused(data) == [("", found)]


def test_duplicate_names_are_refused_with_their_place() -> None:
    """Parsers disagree about which wins: a policy check and a runtime would see different containers."""
    assert refused('{"a": {"x/y": 1, "b": 2, "x/y": 3}}') == [("/a/x~1y", 'the name "x/y" twice')]
    assert refused('[{"a": 1, "a": 1}]') == [("/0/a", 'the name "a" twice')]
    assert refused('{"a": {"b": 1, "b": 2}, "a": 3}') == [("/a", 'the name "a" twice')]


def test_names_that_differ_only_in_spelling_are_duplicates() -> None:
    """An escape is another spelling of the same name."""
    assert refused(r'{"a": 1, "\u0061": 2}') == [("/a", 'the name "a" twice')]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("1e999", "1e999"),
        ("-1e999", "-1e999"),
        ("100000000000000000000", "an integer of 21 digits"),
        ("-100000000000000000000", "an integer of 21 digits"),
        ("1" * 10000, "an integer of 10000 digits"),
    ],
)
def test_numbers_that_are_not_exact_everywhere_are_refused(text: str, found: str) -> None:
    """JSON has no NaN and no infinity, and nothing in a configuration has more than 20 digits."""
    assert refused(f'{{"a": [0, {text}]}}') == [("/a/1", found)]


@pytest.mark.parametrize("escape", [r"\u0000", r"a\u0000b"])
def test_nul_is_refused_in_values_and_names(escape: str) -> None:
    """The kernel's strings end at NUL: what was checked and what is used would differ."""
    assert refused(f'["{escape}"]') == [("/0", f'"{escape}"')]
    assert [found for _, found in refused(f'{{"{escape}": 1}}')] == [f'"{escape}"']


@pytest.mark.parametrize("escape", [r"\ud800", r"\udfff", r"\udc00\ud800", r"x\ud83dy"])
def test_lone_surrogates_are_refused_in_values_and_names(escape: str) -> None:
    """They are no characters: every later encoding of the string would fail far from here."""
    assert refused(f'{{"k": "{escape}"}}') == [("/k", f'"{escape}"')]
    assert [found for _, found in refused(f'{{"{escape}": 1}}')] == [f'"{escape}"']


@pytest.mark.parametrize("depth", [DEEPEST + 1, 200])
def test_nesting_beyond_the_bound_is_refused_with_its_place(depth: int) -> None:
    """Whoever walks the value later may do so recursively."""
    assert refused("[" * depth + "]" * depth) == [("/0" * DEEPEST, f"a value nested {DEEPEST + 1} deep")]
    ((pointer, found),) = refused('{"a":' * depth + "1" + "}" * depth)
    assert (pointer, found) == ("/a" * DEEPEST, f"a value nested {DEEPEST + 1} deep")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000])
def test_nesting_that_would_exhaust_the_stack_is_an_ordinary_error(text: str) -> None:
    """A small file must not be able to crash the runtime."""
    assert [pointer for pointer, _ in refused(text)] == [""]


def test_all_refused_values_are_told_at_once() -> None:
    """One round of corrections is enough."""
    assert refused(r'{"a": NaN, "b": ["\u0000", {"c": 1, "c": 2}]}') == [
        ("/a", "NaN"),
        ("/b/0", r'"\u0000"'),
        ("/b/1/c", 'the name "c" twice'),
    ]


@given(VALUES, st.sampled_from([None, 0, 2, 4]))
def test_what_is_written_is_read_back(value: Any, indent: int | None) -> None:
    """State files and configurations survive the way to the disk and back, for the usual reader too."""
    text = dumps(value, indent=indent)
    assert loads(text.encode(), source="a.json") == value
    assert json.loads(text) == value


@given(VALUES)
def test_the_indented_form_is_the_usual_one(value: object) -> None:
    """`state` and `spec` print what callers of other runtimes are used to read."""
    assert dumps(value, indent=2) == json.dumps(value, indent=2, ensure_ascii=False)
    assert dumps(value) == json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_no_text_is_more_than_an_error(text: str) -> None:
    """Any input is either read or refused with InvalidConfig, and nothing is read that json does not read."""
    data = text.encode("utf-8", "surrogatepass")
    try:
        value = loads(data, source="a.json")
    except InvalidConfig:
        return
    assert value == json.loads(data.decode())


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), {1: 2}, {None: 1}, {1, 2}, b"x", object(), "\ud800", {"\udfff": 1}],
)
def test_what_json_cannot_hold_is_not_written(value: object) -> None:
    """A writer that writes what its reader refuses makes a container that cannot be deleted."""
    with pytest.raises(InvalidArgument, match="cannot be written as JSON"):
        dumps(value)


def test_a_value_that_holds_itself_is_not_written() -> None:
    """The recursion ends in an ordinary error."""
    value: list[object] = []
    value.append(value)
    with pytest.raises(InvalidArgument, match="nested too deeply"):
        dumps(value)


def test_tuples_and_subclasses_are_written_as_what_they_are() -> None:
    """Enumerations of int and str are values like others."""

    class Name(str):
        __slots__ = ()

    class Number(int):
        __slots__ = ()

    assert dumps({Name("a"): (Number(1), 2.5, True, None)}) == '{"a":[1,2.5,true,null]}'


@pytest.mark.parametrize(
    ("parent", "key", "pointer"),
    [("", "a", "/a"), ("/a", 3, "/a/3"), ("", "a/b~c", "/a~1b~0c"), ("", "~1", "/~01"), ("", "", "/")],
)
def test_a_pointer_is_escaped_as_rfc_6901_asks(parent: str, key: str | int, pointer: str) -> None:
    """A name with a slash must not look like two."""
    assert pointer_to(parent, key) == pointer


@given(st.text())
def test_a_quoted_string_is_printable_ascii(text: str) -> None:
    """It is shown on terminals, which act on control characters."""
    quoted = quote(text)
    assert quoted.isascii()
    assert json.loads(quoted) == text or not strictjson.is_text(text)
    assert all(character >= " " for character in quoted)


def test_a_file_is_read_up_to_the_limit_and_no_further(tmp_path: Path) -> None:
    """A file of any size must not fill the memory."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    assert read_file(str(path)) == read_file(str(path), limit=100) == b"x" * 100
    with pytest.raises(InvalidArgument, match="longer than 99 bytes"):
        read_file(str(path), limit=99)
    path.write_bytes(b"")
    assert read_file(str(path), limit=0) == b""


def test_a_file_whose_size_is_not_known_before_is_read() -> None:
    """Files of procfs say that they are empty."""
    assert b"Pid:" in read_file("/proc/self/status")


def test_a_large_file_is_read_whole(tmp_path: Path) -> None:
    """read(2) may return less than was asked for."""
    data = os.urandom(3 * 1024 * 1024)
    path = tmp_path / "a"
    path.write_bytes(data)
    assert read_file(str(path)) == data


def test_only_regular_files_are_read_and_a_fifo_does_not_block(tmp_path: Path) -> None:
    """A FIFO in the bundle must not hold the runtime for ever."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (str(fifo), str(tmp_path), "/dev/null"):
        with pytest.raises(InvalidArgument, match="is not a regular file") as caught:
            read_file(path)
        assert caught.value.path == path


@pytest.mark.parametrize("size", [0, 5, 200_000])
def test_a_fifo_that_the_caller_names_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    """A shell gives one for `<(command)`; its writer may be slow and writes in pieces."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    script = f"sleep 0.2; head -c {size} /dev/zero; sleep 0.1; printf end"
    with subprocess.Popen(["sh", "-c", f"({script}) > {fifo}"]):
        assert read_file(str(fifo), pipe=True) == bytes(size) + b"end"


def test_a_pipe_may_be_no_longer_than_a_file(tmp_path: Path) -> None:
    """Its writer may have no end."""
    reader, writer = os.pipe()
    os.write(writer, b"12345")
    try:
        with pytest.raises(InvalidArgument, match="longer than 4 bytes"):
            read_file(f"/dev/fd/{reader}", limit=4, pipe=True)
        with pytest.raises(InvalidArgument, match="is not a regular file"):
            read_file("/dev/null", pipe=True)
    finally:
        os.close(reader)
        os.close(writer)


def test_a_file_that_cannot_be_opened_is_told_with_its_errno(tmp_path: Path) -> None:
    """Callers act on the errno and people on the words."""
    with pytest.raises(InvalidArgument, match=r"No such file or directory \(ENOENT\)") as caught:
        read_file(str(tmp_path / "missing"))
    assert (caught.value.errno, caught.value.syscall) == (errno.ENOENT, "open")
    with pytest.raises(InvalidArgument, match="NUL"):
        read_file("a\0b")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """A leaked descriptor could reach the payload."""
    before = os.listdir("/proc/self/fd")
    for path in (str(tmp_path), "/proc/self/status"):
        with pytest.raises(InvalidArgument):
            read_file(path, limit=1)
    assert os.listdir("/proc/self/fd") == before


SCRIPT = """
import sys
sys.path.insert(0, {path!r})
{before}
from libcontainer import strictjson
value = strictjson.loads(b'{{"a": [1, "x"]}}', source="a")
assert strictjson.dumps(value) == '{{"a":[1,"x"]}}'
assert {expected} == ("json" in sys.modules)
for text in (b'[1 2]', b'{{"a":1,"a":2}}', b'NaN', b'[' * 100000, b'"', b'1 1'):
    try:
        strictjson.loads(text, source="a")
    except strictjson.InvalidConfig as error:
        print([(problem.pointer, problem.found) for problem in error.problems])
    else:
        sys.exit(f"accepted {{text!r}}")
"""


def run_alone(before: str, *, expected: bool) -> str:
    """What SCRIPT prints in a new interpreter."""
    path = str(Path(strictjson.__file__).parents[1])
    script = SCRIPT.format(path=path, before=before, expected=expected)
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_json_is_not_imported_for_valid_text_and_errors_do_not_depend_on_it() -> None:
    """The import costs more than all else here; and the scanner fails in another way without it."""
    plain = run_alone("", expected=False)
    assert plain == run_alone("import json", expected=True)
    assert plain == run_alone('sys.modules["_json"] = None', expected=True)
