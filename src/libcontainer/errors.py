"""The errors that this library raises.

    Error
    ├── InvalidArgument        a value the caller passed (an id, a signal, a path, an option)
    ├── InvalidConfig          a config.json or process object with one or more problems
    ├── StateError             the container is not in a state that allows the operation
    │   ├── NotFound           no container of that id
    │   └── AlreadyExists      the id is taken
    ├── SetupError             a step of making the container failed
    │   └── ExecError          the payload cannot be executed (missing, not executable, wrong architecture)
    ├── HookError              a hook failed or ran past its timeout
    ├── CgroupError            a cgroup cannot be made, joined, limited or removed
    ├── CheckpointError        CRIU cannot checkpoint or restore a container
    ├── RdtError               a class of service of Intel RDT cannot be made, joined, changed or removed
    ├── Unsupported            this host (kernel, LSM, missing program) cannot do what was requested
    ├── ProtocolError          the runtime and its init do not understand each other
    └── Timeout                an operation of ours did not finish in time (the container may go on)

An error is data first: `step`, `pointer`, `syscall`, `errno`, `path` and `remedy` say what failed and what to
do about it. Nobody needs to parse the text. On the hot path: imports nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType


def in_words(number: int) -> str:
    """Return an errno in words with its name: `Operation not permitted (EPERM)`."""
    import errno
    import os

    return f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"


class Error(Exception):
    """The base of every error of this library.

    `message` is one sentence that stands alone. `step` names the operation, `pointer` the place in the
    configuration (RFC 6901), `syscall` and `errno` the failed system call, `path` the file concerned,
    `remedy` what to try. Each is None where it does not apply.
    """

    def __init__(
        self,
        message: str,
        *,
        step: str | None = None,
        pointer: str | None = None,
        syscall: str | None = None,
        errno: int | None = None,
        path: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.step = step
        self.pointer = pointer
        self.syscall = syscall
        self.errno = errno
        self.path = path
        self.remedy = remedy

    def __str__(self) -> str:
        return self.message if self.remedy is None else f"{self.message} – {self.remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments are not in `args`; without this an error could not cross a process boundary.
        return (_restore, (type(self), self.args, self.__dict__))


def _restore(kind: type[Error], args: tuple[object, ...], state: dict[str, object]) -> Error:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidArgument(Error, ValueError):
    """A value that the caller passed is not acceptable; nothing was done."""


class Problem:
    """One fault of a configuration: where it is, what was found there, and what is expected."""

    __slots__ = ("expected", "found", "pointer")

    def __init__(self, pointer: str, found: str, expected: str) -> None:
        self.pointer = pointer
        self.found = found
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: found {self.found}, expected {self.expected}"

    def __repr__(self) -> str:
        return f"Problem({self.pointer!r}, {self.found!r}, {self.expected!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


class InvalidConfig(Error, ValueError):
    """A configuration is not valid. `problems` holds every fault, not only the first; nothing was done."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        count = len(problems)
        head = f"{source} is not valid" if count == 1 else f"{source} is not valid ({count} problems)"
        super().__init__(f"{head}: " + "; ".join(str(problem) for problem in problems))
        self.source = source
        self.problems = tuple(problems)
        self.pointer = problems[0].pointer if problems else None


class StateError(Error):
    """The container is not in a state that allows the operation."""


class NotFound(StateError, LookupError):
    """There is no container of that id."""


class AlreadyExists(StateError):
    """A container of that id exists already."""


class SetupError(Error):
    """A step of making the container failed; what was made before it has been removed."""


class ExecError(SetupError):
    """The payload cannot be executed: it is missing, not executable, or for another architecture."""


class HookError(Error):
    """A hook failed, could not be started, or ran past its timeout."""


class CgroupError(Error):
    """A cgroup cannot be made, joined, limited, frozen or removed."""


class CheckpointError(Error):
    """CRIU cannot checkpoint the container, which runs on, or restore one, of which nothing is left."""


class RdtError(Error):
    """A class of service (Intel RDT) cannot be made, joined, changed or removed."""


class Unsupported(Error):
    """This host cannot do what was requested."""


class ProtocolError(Error):
    """The runtime and its init do not understand each other (for example after a partial upgrade)."""


class Timeout(Error, TimeoutError):
    """An operation of this library did not finish in time. The container may go on."""


# Of what the caller or the host is short of, by the name of the errno.
SHORTAGES = {
    "EMFILE": "close files, or raise the limit of open files of the calling program (ulimit -n)",
    "ENFILE": "raise the host's limit of open files (sysctl fs.file-max)",
    "ENOSPC": "make room where the records are kept, or choose another root directory",
    "EDQUOT": "make room where the records are kept, or choose another root directory",
    "EFBIG": "raise the limit of file sizes of the calling program (ulimit -f)",
    "EROFS": "choose another root directory",
    "ENOMEM": "give the calling program more memory",
}


OF_DESCRIPTORS = (24, 23)  # EMFILE, ENFILE: they mean the same of nearly every call


def shortage(number: int | None) -> str | None:
    """Return what to do about an errno by which a system call says that something has run out; None for others."""
    from errno import errorcode

    return SHORTAGES.get(errorcode.get(number or 0, ""))


class SystemErrors:
    """A block out of which the failure of a system call that was not expected to fail, for want of descriptors or
    room, comes as an error of this library. `failed` begins its sentence, `kind` is its class.
    """

    __slots__ = ("_failed", "_kind")

    def __init__(self, failed: str, kind: type[Error] = Error) -> None:
        self._failed = failed
        self._kind = kind

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The cgroup library's errors, some of which are OSErrors too, have a remedy and are none of these.
        if not isinstance(error, OSError) or hasattr(error, "remedy") or error.errno is None:
            return
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        found = self._kind(
            f"{self._failed}: {where}{in_words(error.errno)}",
            errno=error.errno,
            path=where.removesuffix(": ") or None,
            remedy=shortage(error.errno),
        )
        for note in getattr(error, "__notes__", ()):
            found.add_note(note)
        raise found from error
