"""Strict JSON: what two parsers could read differently is refused.

RFC 8259 leaves open what a parser does with duplicate names, lone surrogates, a byte order mark, huge
numbers and deep nesting. A configuration is often judged by one program (a policy check) and carried out by
another (this runtime), so each of these is an error here, named with its place. NUL is refused too: no
system call takes it.

On the hot path. `import json` costs several milliseconds because it imports `re`; the scanner behind it is
the built-in `_json`, which is used directly. `json` itself is imported only where `_json` is missing, and
to find the line and column of a syntax error.
"""

from __future__ import annotations

import errno
import os
import stat

from libcontainer.errors import OF_DESCRIPTORS, InvalidArgument, InvalidConfig, Problem, shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Scanner = Callable[[str, int], tuple[object, int]]

    def encode_basestring(text: str, /) -> str: ...
    def encode_basestring_ascii(text: str, /) -> str: ...
    def make_scanner(hooks: _Hooks, /) -> Scanner: ...

    HAS_SCANNER = True
else:
    try:
        from _json import encode_basestring, encode_basestring_ascii, make_scanner

        HAS_SCANNER = True
    except ImportError:  # another implementation than CPython
        from json.encoder import encode_basestring, encode_basestring_ascii

        HAS_SCANNER = False

DEEPEST = 64
"""How deep objects and arrays may nest. An OCI configuration needs 9 levels."""

LONGEST_INTEGER = 20
"""How many digits an integer may have: the largest unsigned 64-bit integer has 20."""

LARGEST_FILE = 16 * 1024 * 1024
"""How many bytes `read_file` reads unless told otherwise."""

_WHITESPACE = " \t\n\r"


class _Refused:
    """Stands in the parsed value where a number was that this module refuses."""

    __slots__ = ("expected", "found")

    def __init__(self, found: str, expected: str) -> None:
        self.found = found
        self.expected = expected


class _Hooks:
    """What the scanner calls and asks while it reads one text; it remembers what was wrong on the way."""

    strict = True  # control characters inside strings are errors
    object_hook = None

    def __init__(self) -> None:
        self.memo: dict[str, str] = {}
        self.duplicates: list[tuple[dict[str, object], list[str]]] = []
        self.refused = False

    def object_pairs_hook(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        value = dict(pairs)
        if len(value) != len(pairs):
            self.duplicates.append((value, [name for name, _ in pairs]))
        return value

    def parse_int(self, digits: str) -> int | _Refused:
        if len(digits) <= LONGEST_INTEGER:
            return int(digits)
        count = len(digits.lstrip("-"))
        if count <= LONGEST_INTEGER:
            return int(digits)
        return self._refuse(f"an integer of {count} digits", f"at most {LONGEST_INTEGER} digits")

    def parse_float(self, digits: str) -> float | _Refused:
        number = float(digits)
        if number - number == 0:  # neither infinite nor NaN
            return number
        return self._refuse(_shorten(digits), "a number that a 64-bit float can hold")

    def parse_constant(self, name: str) -> _Refused:
        return self._refuse(name, "a JSON number")

    def _refuse(self, found: str, expected: str) -> _Refused:
        self.refused = True
        return _Refused(found, expected)


def loads(data: bytes, *, source: str) -> object:
    """Return the value of the JSON text `data`; `source` is its name in an error.

    Raises InvalidConfig: a syntax error alone, with line and column; otherwise every refused value at once,
    each with its JSON pointer.
    """
    text = _decode(data, source)
    hooks = _Hooks()
    value = _scan(text, hooks, source)
    # A NUL or a lone surrogate can only have come from an escape: the decoder and the scanner refuse both
    # in the raw.
    if hooks.refused or hooks.duplicates or "\\u" in text or _is_too_deep(value):
        problems = _inspect(value, hooks)
        if problems:
            raise InvalidConfig(source, problems)
    return value


def dumps(value: object, *, indent: int | None = None) -> str:
    """Return `value` as JSON text: on one line, or indented by `indent` spaces per level.

    Names keep their order. Text that `loads` would refuse is not written: raises InvalidArgument for
    anything but JSON values, for numbers that are not finite, and for strings that UTF-8 cannot hold.
    """
    parts: list[str] = []
    try:
        _write(value, parts.append, None if indent is None else "\n", " " * (indent or 0))
    except RecursionError:
        raise InvalidArgument("the value cannot be written as JSON: it is nested too deeply") from None
    text = "".join(parts)
    if not is_text(text):
        raise InvalidArgument("the value cannot be written as JSON: a string is not valid Unicode")
    return text


def read_file(path: str, *, limit: int = LARGEST_FILE, pipe: bool = False) -> bytes:
    """Return the content of the regular file `path`, which may be at most `limit` bytes long.

    Neither blocks on a FIFO nor takes a terminal. With `pipe` a FIFO is read to its end, however long its
    writer takes: for files that the caller names (`<(command)` in a shell). Raises InvalidArgument, with
    `errno` where a system call failed.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | (0 if pipe else os.O_NONBLOCK)
    try:
        fd = os.open(path, flags)
    except OSError as error:
        raise _cannot("open", path, error) from error
    except ValueError:
        raise InvalidArgument(f"cannot open {path!r}: the path holds a NUL", path=path) from None
    try:
        return _read(fd, path, limit, pipe)
    except OSError as error:
        raise _cannot("read", path, error) from error
    finally:
        os.close(fd)


def quote(text: str) -> str:
    """Return `text` as a JSON string in ASCII, so that it can be shown on any terminal."""
    return encode_basestring_ascii(text)


def is_text(text: str) -> bool:
    """Whether UTF-8 can hold `text`, that is, whether it is free of lone surrogates."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def pointer_to(parent: str, key: str | int) -> str:
    """Return the JSON pointer of the member or element `key` of the value at `parent` (RFC 6901)."""
    if isinstance(key, str) and ("~" in key or "/" in key):
        key = key.replace("~", "~0").replace("/", "~1")
    return f"{parent}/{key}"


def _read(fd: int, path: str, limit: int, pipe: bool) -> bytes:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) and not (pipe and stat.S_ISFIFO(status.st_mode)):
        raise InvalidArgument(f"{path} is not a regular file", path=path)
    data = b""
    # The size is not trusted: the file may grow, and files of /proc say 0.
    while len(data) <= limit:
        more = os.read(fd, max(1, min(limit + 1 - len(data), max(status.st_size + 1 - len(data), 65536))))
        if not more:
            return data
        data += more
    raise InvalidArgument(f"{path} is longer than {limit} bytes", path=path)


def _cannot(verb: str, path: str, error: OSError) -> InvalidArgument:
    number = error.errno or 0
    reason = f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"
    remedy = shortage(number) if number in OF_DESCRIPTORS else None
    return InvalidArgument(
        f"cannot {verb} {path}: {reason}", syscall=verb, errno=error.errno, path=path, remedy=remedy
    )


def _decode(data: bytes, source: str) -> str:
    if data.startswith(b"\xef\xbb\xbf"):
        raise InvalidConfig(source, [Problem("", "a byte order mark", "UTF-8 without one")])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        found = f"byte 0x{data[error.start]:02x} at line {line}, column {column}"
        raise InvalidConfig(source, [Problem("", found, "UTF-8")]) from None


def _scan(text: str, hooks: _Hooks, source: str) -> object:
    start = len(text) - len(text.lstrip(_WHITESPACE))
    try:
        if not HAS_SCANNER:
            return _scan_slowly(text, start, hooks, source)
        value, end = make_scanner(hooks)(text, start)
    except (RecursionError, MemoryError):
        raise InvalidConfig(source, [_TOO_DEEP_TO_READ]) from None
    except (StopIteration, ValueError, SystemError):
        # The scanner raises SystemError for a syntax error when `json.decoder` has not been imported
        # (CPython 3.11).
        return _scan_slowly(text, start, _Hooks(), source)
    if text[end:].strip(_WHITESPACE):
        raise InvalidConfig(source, [_syntax_problem(text, end, "something after the end")])
    return value


def _scan_slowly(text: str, start: int, hooks: _Hooks, source: str) -> object:
    from json import JSONDecodeError, JSONDecoder

    decoder = JSONDecoder(
        object_pairs_hook=hooks.object_pairs_hook,
        parse_int=hooks.parse_int,
        parse_float=hooks.parse_float,
        parse_constant=hooks.parse_constant,
    )
    try:
        value, end = decoder.raw_decode(text, start)
    except JSONDecodeError as error:
        what = error.msg[:1].lower() + error.msg[1:].removesuffix(" at")
        raise InvalidConfig(source, [_syntax_problem(text, error.pos, what)]) from None
    except (RecursionError, MemoryError):
        raise InvalidConfig(source, [_TOO_DEEP_TO_READ]) from None
    if text[end:].strip(_WHITESPACE):
        raise InvalidConfig(source, [_syntax_problem(text, end, "something after the end")])
    return value


_TOO_DEEP_TO_READ = Problem("", "nesting beyond what can be read", f"at most {DEEPEST} levels")


def _syntax_problem(text: str, position: int, what: str) -> Problem:
    if "control character" not in what:  # which may be whitespace itself
        position += len(text[position:]) - len(text[position:].lstrip(_WHITESPACE))
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return Problem("", f"{what} at line {line}, column {column}", "one JSON value")


def _is_too_deep(value: object) -> bool:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(DEEPEST):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True


def _inspect(value: object, hooks: _Hooks) -> list[Problem]:
    """Find the places of what the scanner could not refuse. No recursion: depth is one of the faults."""
    problems: list[Problem] = []
    duplicates = {id(holder): names for holder, names in hooks.duplicates}
    waiting: list[tuple[object, str, int]] = [(value, "", 1)]
    while waiting:
        item, pointer, depth = waiting.pop()
        if isinstance(item, _Refused):
            problems.append(Problem(pointer, item.found, item.expected))
        elif isinstance(item, str):
            _inspect_string(item, pointer, problems)
        elif not isinstance(item, (dict, list)):
            continue
        elif depth > DEEPEST:
            problems.append(Problem(pointer, f"a value nested {depth} deep", f"at most {DEEPEST} levels"))
        elif isinstance(item, list):
            children = [(child, f"{pointer}/{index}", depth + 1) for index, child in enumerate(item)]
            waiting += reversed(children)
        else:
            _inspect_names(item, duplicates.get(id(item), ()), pointer, problems)
            named = [(child, pointer_to(pointer, name), depth + 1) for name, child in item.items()]
            waiting += reversed(named)
    return problems


def _inspect_names(
    holder: dict[str, object], names: list[str] | tuple[()], pointer: str, problems: list[Problem]
) -> None:
    for name in holder:
        _inspect_string(name, pointer, problems)
    if not names:
        return
    seen: set[str] = set()
    for name in names:
        if name in seen:
            found = f"the name {_shorten(quote(name))} twice"
            problems.append(Problem(pointer_to(pointer, name), found, "each name once"))
        seen.add(name)


def _inspect_string(text: str, pointer: str, problems: list[Problem]) -> None:
    if "\0" in text:
        problems.append(Problem(pointer, _shorten(quote(text)), "a string without NUL"))
    if not is_text(text):
        problems.append(Problem(pointer, _shorten(quote(text)), "a string without lone surrogates"))


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _write(value: object, put: Callable[[str], object], line: str | None, step: str) -> None:
    if isinstance(value, str):
        put(encode_basestring(value))
    elif value is None or value is True or value is False:
        put("null" if value is None else "true" if value else "false")
    elif isinstance(value, int):
        put(int.__repr__(value))
    elif isinstance(value, float) and value - value == 0:
        put(float.__repr__(value))
    elif isinstance(value, dict):
        _write_object(value, put, line, step)
    elif isinstance(value, (list, tuple)):
        _write_array(value, put, line, step)
    else:
        raise InvalidArgument(f"the value cannot be written as JSON: {type(value).__name__} {value!r:.60}")


def _write_object(
    value: dict[object, object], put: Callable[[str], object], line: str | None, step: str
) -> None:
    if not value:
        put("{}")
        return
    inner = None if line is None else line + step
    separator, colon, start = (",", ":", "{") if inner is None else ("," + inner, ": ", "{" + inner)
    for name, item in value.items():
        if not isinstance(name, str):
            raise InvalidArgument(
                f"the value cannot be written as JSON: the name {name!r:.60} is not a string"
            )
        put(start)
        put(encode_basestring(name))
        put(colon)
        _write(item, put, inner, step)
        start = separator
    put("}" if line is None else line + "}")


def _write_array(
    value: list[object] | tuple[object, ...], put: Callable[[str], object], line: str | None, step: str
) -> None:
    if not value:
        put("[]")
        return
    inner = None if line is None else line + step
    separator, start = (",", "[") if inner is None else ("," + inner, "[" + inner)
    for item in value:
        put(start)
        _write(item, put, inner, step)
        start = separator
    put("]" if line is None else line + "]")
