"""The first process of a running container, as a tenant joins it: held, so that its number cannot come to mean
another process.

A pidfd is opened first and then the directory in /proc, which stays that of one process; when its start time is
the recorded one, the pidfd is of the recorded process, too (pidfd_open(2), proc_pid(5)). On the hot path.
"""

from __future__ import annotations

import os

from libcontainer import state
from libcontainer.errors import SetupError, StateError, in_words
from libcontainer.plan.context import NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

# The names in /proc/PID/ns (namespaces(7)) that differ from those of the runtime-spec.
_LINKS = {"mount": "mnt", "network": "net"}


class Target:
    """One process; a context manager that closes its descriptors, but for the pidfd, which is the caller's."""

    __slots__ = ("directory", "pid", "pidfd")

    def __init__(self, record: dict[str, Any], pidfd: int) -> None:
        """Take the process of a state record, whose `pidfd` was opened by its number.

        Raises StateError when the process has ended.
        """
        self.pid: int = record["pid"]
        self.pidfd = pidfd
        try:
            self.directory = os.open(f"/proc/{self.pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self._stopped() from None
        try:
            found = state.start_time(self.pid, self.directory)
            if found is None or found[0] in "ZX" or found[1] != record["startTime"]:
                raise self._stopped()
        except BaseException:
            os.close(self.directory)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.directory)

    def namespaces(self) -> list[str]:
        """Return the types of its namespaces that are not those of the calling thread.

        Raises SetupError when they may not be looked at.
        """
        return [name for name in NAMESPACES if self._differs(_LINKS.get(name, name))]

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Return a descriptor of a file in its /proc directory; the caller closes it. Raises SetupError."""
        try:
            return os.open(name, flags | os.O_CLOEXEC, dir_fd=self.directory)
        except OSError as error:
            raise self._refused(name, "open", error) from error

    def open_namespace(self, name: str) -> int:
        """Return a descriptor of its namespace of this type."""
        return self.open(f"ns/{_LINKS.get(name, name)}")

    def open_root(self) -> int:
        """Return a descriptor of its root directory."""
        return self.open("root", os.O_PATH | os.O_DIRECTORY)

    def _differs(self, link: str) -> bool:
        try:
            # Of this thread: it may have left those of the process.
            own = os.stat(f"/proc/thread-self/ns/{link}")
        except FileNotFoundError:
            return False  # a kernel without that type
        try:
            found = os.stat(f"ns/{link}", dir_fd=self.directory)
        except OSError as error:
            raise self._refused(f"ns/{link}", "stat", error) from error
        return not os.path.samestat(own, found)

    def _refused(self, name: str, call: str, error: OSError) -> SetupError | StateError:
        if isinstance(error, (FileNotFoundError, ProcessLookupError)):
            return self._stopped()
        return SetupError(
            f"cannot enter the container: {call} /proc/{self.pid}/{name}: {in_words(error.errno or 0)}",
            step="exec",
            syscall=call,
            errno=error.errno,
            path=f"/proc/{self.pid}/{name}",
            remedy="ask the container's owner: joining needs the rights of a tracer (ptrace(2))",
        )

    def _stopped(self) -> StateError:
        return StateError(f"cannot exec in a stopped container: process {self.pid} has ended", step="exec")
