"""Programs by the system's libseccomp, through ctypes: seccomp_init(3), seccomp_rule_add(3), seccomp_export_bpf(3).

Imported when a program must be built; nothing is loaded into the kernel here. A name that this libseccomp does not
know is passed over, as every runtime does: a profile serves many kernels, and what the kernel does not know either
needs no rule.
"""

from __future__ import annotations

import _thread
import ctypes
import errno
import os

from libcontainer.errors import InvalidConfig, Problem, Unsupported, in_words
from libcontainer.seccomp import bpf, profile
from libcontainer.seccomp.stub import stub
from libcontainer.state import read_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "libseccomp.so.2"
REMEDY = "install libseccomp (Debian and Ubuntu: libseccomp2; Fedora: libseccomp)"

_UNKNOWN = -1  # __NR_SCMP_ERROR
_ABSENT = -10000  # and below: calls of other architectures (__PNR_… in seccomp.h)
_OPTIMIZE, _BINARY_TREE = 8, 2  # SCMP_FLTATR_CTL_OPTIMIZE (libseccomp 2.5)
_LINEAR = 8  # more rules than that are searched as a tree

# What the library says with an errno.
_KINDS = {
    errno.EINVAL: "an action and errno that this kernel and libseccomp know",
    errno.EOPNOTSUPP: "an action and errno that this kernel and libseccomp know",
    errno.EDOM: "an architecture of this machine's byte order",
    errno.EEXIST: "no contradiction: an earlier rule says something else of the same arguments",
}

_lock = _thread.allocate_lock()
_loaded: Library | None = None


class _Version(ctypes.Structure):
    _fields_ = (("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint))


class _Condition(ctypes.Structure):  # struct scmp_arg_cmp
    _fields_ = (
        ("index", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class Library:
    """The functions that are called. Raises Unsupported where the library cannot be loaded."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(NAME)
        except OSError as error:
            raise Unsupported(
                f"config.json /linux/seccomp: building the filter takes libseccomp, which cannot be loaded: {error}",
                pointer="/linux/seccomp",
                path=NAME,
                remedy=REMEDY,
            ) from error
        uint, text, context = ctypes.c_uint32, ctypes.c_char_p, ctypes.c_void_p
        self.init = _declare(library.seccomp_init, context, uint)
        self.release = _declare(library.seccomp_release, None, context)
        self.set_attribute = _declare(library.seccomp_attr_set, ctypes.c_int, context, ctypes.c_int, uint)
        self.add_architecture = _declare(library.seccomp_arch_add, ctypes.c_int, context, uint)
        self.remove_architecture = _declare(library.seccomp_arch_remove, ctypes.c_int, context, uint)
        self.merge = _declare(library.seccomp_merge, ctypes.c_int, context, context)
        self.architecture = _declare(library.seccomp_arch_resolve_name, uint, text)
        self.native = _declare(library.seccomp_arch_native, uint)
        self.number = _declare(library.seccomp_syscall_resolve_name, ctypes.c_int, text)
        self.number_of = _declare(library.seccomp_syscall_resolve_name_arch, ctypes.c_int, uint, text)
        self.add_rule = _declare(
            library.seccomp_rule_add_array,
            ctypes.c_int,
            context,
            uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.POINTER(_Condition),
        )
        self.export = _declare(library.seccomp_export_bpf, ctypes.c_int, context, ctypes.c_int)
        found = _declare(library.seccomp_version, ctypes.POINTER(_Version))().contents
        self.version = f"{found.major}.{found.minor}.{found.micro}"


def _declare(function: Any, result: Any, *arguments: Any) -> Any:
    function.restype = result
    function.argtypes = arguments
    return function


def library() -> Library:
    """Return the library, loaded once. Raises Unsupported where there is none."""
    global _loaded
    if _loaded is None:
        _loaded = Library()
    return _loaded


def path() -> str:
    """Return the file that the loaded library came from: proc_pid_maps(5)."""
    with open("/proc/self/maps") as file:
        return next(line.split(None, 5)[5].rstrip("\n") for line in file if "/libseccomp.so" in line)


def build(seccomp: dict[str, Any]) -> bytes:
    """Return the program for a checked seccomp object.

    Raises InvalidConfig for rules that contradict each other or are too many, Unsupported for what this kernel or this
    library does not know, or where the library is missing.
    """
    with _lock:  # the library finds out about the kernel on the way, and keeps that in variables of its own
        found = library()
        context = found.init(profile.default_action(seccomp))
        if not context:
            raise _refusal(-errno.EINVAL, "/linux/seccomp/defaultAction", seccomp["defaultAction"])
        try:
            _add_rules(found, context, found.native(), seccomp)
            tokens = _add_architectures(found, context, seccomp)
            program = _export(found, context)
        finally:
            found.release(context)
        if profile.needs_stub(seccomp):
            program = stub(_largest_numbers(found, tokens, seccomp)) + program
    _check_length(program)
    return program


def unknown_names(seccomp: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the names that are passed over, each with the pointer of its rule. Raises Unsupported."""
    found = library()
    return [
        (f"/linux/seccomp/syscalls/{index}/names", name)
        for index, entry in enumerate(seccomp.get("syscalls") or ())
        for name in entry["names"]
        if found.number(name.encode()) == _UNKNOWN
    ]


def _add_architectures(found: Library, context: int, seccomp: dict[str, Any]) -> list[int]:
    """Add the architectures to the machine's own, which is always there; return the tokens of all."""
    tokens = [found.native()]
    for index, name in enumerate(seccomp.get("architectures") or ()):
        pointer = f"/linux/seccomp/architectures/{index}"
        token = found.architecture(profile.ARCHITECTURES[name].encode())
        if not token:
            raise Unsupported(
                f"config.json {pointer}: libseccomp {found.version} does not know {name}",
                pointer=pointer,
                remedy="leave it out, or install a newer libseccomp",
            )
        if token not in tokens:
            tokens.append(token)
            _add_architecture(found, context, token, seccomp, pointer, name)
    return tokens


def _add_architecture(
    found: Library, context: int, token: int, seccomp: dict[str, Any], pointer: str, name: str
) -> None:
    """Merge a filter of its own for one architecture, with the rules for the calls that this one has.

    A rule for a call that an architecture lacks makes libseccomp (2.5) forget conditional rules there.
    """
    other = found.init(profile.default_action(seccomp))
    try:
        result = found.add_architecture(other, token)
        if result == 0:
            result = found.remove_architecture(other, found.native())
        if result == 0:
            _add_rules(found, other, token, seccomp)
            result = found.merge(context, other)
        if result < 0:
            raise _refusal(result, pointer, name)
        other = 0  # a part of `context` now
    finally:
        if other:
            found.release(other)


def _add_rules(found: Library, context: int, token: int, seccomp: dict[str, Any]) -> None:
    """Add the rules to a filter of the one architecture `token`."""
    rules = list(profile.rules(seccomp))
    if len(rules) > _LINEAR:
        found.set_attribute(context, _OPTIMIZE, _BINARY_TREE)  # an older library has one way only
    numbers: dict[str, int] = {}
    for rule in rules:
        number = numbers.get(rule.name)
        if number is None:
            number = numbers[rule.name] = _number(found, token, rule.name.encode())
        if number == _UNKNOWN:
            continue
        conditions = (_Condition * len(rule.conditions))(*[_Condition(*item) for item in rule.conditions])
        result = found.add_rule(context, rule.action, number, len(conditions), conditions)
        if result < 0:
            raise _refusal(result, rule.pointer, rule.name)


def _number(found: Library, token: int, name: bytes) -> int:
    """Return the number by which the library knows the call, _UNKNOWN for one that the architecture lacks.

    Negative numbers above _ABSENT are calls that are there by way of another one, such as socket by socketcall.
    """
    return _UNKNOWN if found.number_of(token, name) <= _ABSENT else found.number(name)


def _export(found: Library, context: int) -> bytes:
    fd = os.memfd_create("filter", os.MFD_CLOEXEC)
    try:
        result = found.export(context, fd)
        if result < 0:
            raise _refusal(result, "/linux/seccomp", "the filter")
        os.lseek(fd, 0, os.SEEK_SET)
        return read_all(fd)
    finally:
        os.close(fd)


def _largest_numbers(found: Library, tokens: list[int], seccomp: dict[str, Any]) -> dict[int, int]:
    """Return the largest number that the profile names, whatever it says of it, for each architecture."""
    names = {name.encode() for entry in seccomp.get("syscalls") or () for name in entry["names"]}
    largest = {token: max([found.number_of(token, name) for name in names], default=-1) for token in tokens}
    return {token: number for token, number in largest.items() if number >= 0}


def _refusal(result: int, pointer: str, what: str) -> InvalidConfig | Unsupported:
    """Return the error for a negative errno of the library."""
    number = -result
    expected = _KINDS.get(number)
    if number == errno.EEXIST:
        return InvalidConfig("config.json", [Problem(pointer, what, str(expected))])
    return Unsupported(
        f"config.json {pointer}: libseccomp refuses {what}: {expected or in_words(number)}",
        pointer=pointer,
        errno=number,
        remedy=f"this needs a newer kernel or libseccomp than {library().version}" if expected else None,
    )


def _check_length(program: bytes) -> None:
    count = len(program) // bpf.INSTRUCTION.size
    if count > bpf.MOST:
        found = f"rules that take {count} instructions"
        raise InvalidConfig(
            "config.json",
            [Problem("/linux/seccomp/syscalls", found, f"at most {bpf.MOST}, as the kernel takes")],
        )
