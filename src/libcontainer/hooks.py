"""Hooks that run in the runtime's namespaces: prestart, createRuntime, poststart and poststop.

Authority: runtime-spec config.md, "POSIX-platform Hooks", and runtime.md, "Lifecycle". createContainer and
startContainer run inside the container and are carried out by `init`, not here.

What a hook gets: exactly its own `env`, empty when absent (what a hook inherits besides was the way in of
CVE-2025-23266); the bundle as working directory; the container's state as a readable file on stdin; a
session of its own, default signals, umask 022, and no descriptor but 0, 1 and 2.

Works from any thread: nothing of the process (directory, umask, signals, other children) is changed or
waited for. Imported only when there are hooks. `execute` also serves the other programs that the runtime
calls (newuidmap).
"""

from __future__ import annotations

import _thread
import errno
import fcntl
import os
import select
import time

from libcontainer import signals, strictjson
from libcontainer.errors import HookError, shortage
from libcontainer.sealed import sealed_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

_TAIL_BYTES = 4096
# At least the capacity of a pipe (pipe(7)), so that one read takes all that a process left in it.
_READ_BYTES = 65536
# How long a killed program may take to disappear; one that hangs in the kernel is left to it.
_KILL_WAIT_S = 5.0
# How long to wait at most before looking for interrupts: a signal that arrives right before poll(2) blocks is
# seen by Python only after it.
_HEARTBEAT_S = 1.0
_UMASK = 0o022
_SIGKILL = signals.NUMBERS["KILL"]
_CLONE_FS = 0x00000200  # sched.h


class Outcome:
    """How a program ended: `status` is its exit status, -n after signal n, None when it is not known."""

    __slots__ = ("status", "stderr", "stdout", "timed_out")

    def __init__(self, status: int | None, timed_out: bool, stdout: str, stderr: str) -> None:
        self.status = status
        self.timed_out = timed_out
        self.stdout = stdout
        self.stderr = stderr

    @property
    def succeeded(self) -> bool:
        return self.status == 0 and not self.timed_out

    def in_words(self) -> str:
        """How it ended, for the end of a sentence: `exit status 3: what it last wrote`."""
        if self.status is None:
            ending = "its exit status was taken by another part of this program (or SIGCHLD is ignored)"
        elif self.status < 0:
            ending = f"killed by {signals.name(-self.status)}"
        else:
            ending = f"exit status {self.status}"
        return ending + self.last_words()

    def last_words(self) -> str:
        text = self.stderr or self.stdout
        return f": {text}" if text else ""


def run(
    hooks: Sequence[Mapping[str, Any]],
    kind: str,
    state: Mapping[str, Any],
    *,
    cwd: str,
    pointer: str,
    keep_going: bool = False,
) -> list[HookError]:
    """Run the hooks of one kind, one after the other, in the runtime's namespaces.

    `state` is the container's state as state-schema.json has it; `cwd` is the bundle; `pointer` is where
    the list stands in the configuration (`/hooks/poststop`). The first failure raises HookError and the
    rest does not run. With `keep_going`, as runtime.md asks for poststop, all of them run, and the errors
    are returned.
    """
    stdin = strictjson.dumps(dict(state)).encode()
    errors: list[HookError] = []
    for index, hook in enumerate(hooks):
        error = _run_one(hook, kind, stdin, cwd, f"{pointer}/{index}")
        if error is not None and not keep_going:
            raise error
        if error is not None:
            errors.append(error)
    return errors


def execute(
    path: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str,
    stdin: bytes = b"",
    timeout_s: float | None = None,
) -> Outcome:
    """Run the program `path` (absolute) to its end and return how it ended and the last 4 KiB of its output.

    It sees only what is given here. When `timeout_s` has passed, it and all of its process group are
    killed. What it left running in the background is not waited for. Raises OSError when it cannot be
    started.
    """
    opened: list[int] = []
    start = _Start()
    try:
        # A file in memory: unlike a pipe, no program can block us with it, or break it.
        given = _owned(opened, sealed_bytes("state", stdin))
        stdout, stdout_end = _pipe(opened)
        stderr, stderr_end = _pipe(opened)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pid = _spawn(start, path, argv, env, cwd, (given, stdout_end, stderr_end))
        tails = {stdout: _Tail(), stderr: _Tail()}
        status, timed_out = _attend(pid, tails, deadline)
        return Outcome(status, timed_out, tails[stdout].text(), tails[stderr].text())
    except BaseException:
        # KeyboardInterrupt, for one, may come at any point: nothing that we started may go on unseen.
        start.abandon()
        raise
    finally:
        for fd in opened:
            os.close(fd)


def _run_one(hook: Mapping[str, Any], kind: str, stdin: bytes, cwd: str, pointer: str) -> HookError | None:
    path = str(hook["path"])
    timeout_s = hook.get("timeout")
    where = f"config.json {pointer}: {kind} hook {path}"
    if not path.startswith("/"):
        return HookError(f"{where} has no absolute path", pointer=pointer, path=path)
    try:
        env = _environment(hook.get("env") or ())
        argv = hook.get("args") or [path]
        outcome = execute(path, argv, env=env, cwd=cwd, stdin=stdin, timeout_s=timeout_s)
    except (OSError, ValueError) as error:
        return _not_started(error, where, pointer, path)
    if outcome.succeeded:
        return None
    if outcome.timed_out:
        what = f"ran past its timeout of {timeout_s:g} s{outcome.last_words()}"
    else:
        what = f"failed: {outcome.in_words()}"
    silent = (
        ""
        if outcome.last_words()
        else "it wrote nothing: run it by hand, with the container's state on stdin"
    )
    return HookError(
        f"{where} {what}", step=f"{kind} hook", pointer=pointer, path=path, remedy=silent or None
    )


def _environment(entries: Sequence[str]) -> dict[str, str]:
    """`NAME=value` entries as a mapping; of a name that comes twice the last one counts."""
    env: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not name or not equals:
            raise ValueError(f"the environment entry {name!r} is not of the form NAME=value")
        env[name] = value
    return env


_START_REMEDIES = {
    errno.ENOENT: "the file, or the interpreter named in its first line, does not exist on the host",
    errno.EACCES: "make it a regular file that the runtime's user may execute",
    errno.ENOEXEC: "a script needs a first line such as #!/bin/sh; a program must be built for this machine",
}


def _not_started(error: OSError | ValueError, where: str, pointer: str, path: str) -> HookError:
    number = error.errno if isinstance(error, OSError) else None
    reason = (
        str(error) if number is None else f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"
    )
    blamed = os.fsdecode(error.filename) if isinstance(error, OSError) and error.filename else path
    reason += "" if blamed == path else f" on {blamed}"
    failure = HookError(
        f"{where} cannot be started: {reason}",
        step="start hook",
        pointer=pointer,
        errno=number,
        path=blamed,
        remedy=None if number is None else _START_REMEDIES.get(number) or shortage(number),
    )
    failure.__cause__ = error
    return failure


class _Tail:
    """The last 4 KiB of a stream, so that a program that floods its output costs no memory."""

    __slots__ = ("cut", "data")

    def __init__(self) -> None:
        self.data = b""
        self.cut = False

    def read(self, fd: int) -> None:
        """Take what is in the (non-blocking) pipe now, at most one pipe's capacity."""
        try:
            data = self.data + os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return
        self.cut = self.cut or len(data) > _TAIL_BYTES
        self.data = data[-_TAIL_BYTES:]

    def text(self) -> str:
        return ("… " if self.cut else "") + self.data.decode("utf-8", "replace").strip()


def _attend(pid: int, tails: dict[int, _Tail], deadline: float | None) -> tuple[int | None, bool]:
    """Drain the pipes until the process ends or is killed; return its status, and whether it was late."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None, False  # ended, and reaped by someone else: wait(2), SIGCHLD ignored
    try:
        in_time = _drain(pidfd, tails, deadline)
        if not in_time:
            _kill_group(pid)
            in_kill_time = time.monotonic() + _KILL_WAIT_S
            if not _drain(pidfd, tails, in_kill_time):
                return None, True
        return _reap(pid), not in_time
    finally:
        os.close(pidfd)


def _drain(pidfd: int, tails: dict[int, _Tail], deadline: float | None) -> bool:
    """Read the pipes until the process has ended (True) or the deadline has passed (False)."""
    poller = select.poll()
    for fd in (pidfd, *tails):
        poller.register(fd, select.POLLIN)
    ended = False
    while not ended:
        left_s = None if deadline is None else deadline - time.monotonic()
        if left_s is not None and left_s <= 0:
            return False
        wait_s = _HEARTBEAT_S if left_s is None else min(left_s, _HEARTBEAT_S)
        ready = {fd for fd, _ in poller.poll(wait_s * 1000)}
        ended = pidfd in ready
        # After the end both are read once more: what was written last may not have been reported yet.
        for fd in tails if ended else ready:
            tails[fd].read(fd)
    return True


def _kill_group(pid: int) -> None:
    """Kill the program and all that it started in its process group. It leads one, and is not reaped yet."""
    try:
        os.killpg(pid, _SIGKILL)
    except ProcessLookupError:
        pass  # it ended by itself meanwhile
    except PermissionError:
        pass  # it changed its user (a set-user-ID program); the caller reports that it did not end


def _reap(pid: int) -> int | None:
    """Wait for exactly this child and return its status; None when someone else has taken it."""
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status)


class _Start:
    """One start of a program by a thread: `result` is its pid, or the error, once `done` is released."""

    __slots__ = ("done", "launched", "result")

    def __init__(self) -> None:
        self.done = _thread.allocate_lock()
        self.done.acquire()
        self.launched = False
        self.result: int | BaseException | None = None

    def abandon(self) -> None:
        """End the program, if there is one, whatever point its start has reached. Harmless after its end."""
        deadline = time.monotonic() + _KILL_WAIT_S
        while self.launched and self.result is None and time.monotonic() < deadline:
            # With a timeout: the interrupted caller may hold the lock already.
            self.done.acquire(timeout=_HEARTBEAT_S)
        if isinstance(self.result, int):
            _kill_group(self.result)
            _reap(self.result)


def _spawn(
    start: _Start,
    path: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    stdio: tuple[int, int, int],
) -> int:
    """Start the program and return its pid.

    posix_spawn(3) can set neither directory nor umask in Python. Both belong to the thread once it has left
    the process's shared ones (unshare(2), CLONE_FS), so a short-lived thread sets them and spawns from there.
    """
    own_directory = _unshare_fs()

    def work() -> None:
        try:
            own_directory()
            os.chdir(cwd)
            os.umask(_UMASK)
            start.result = _posix_spawn(path, argv, env, stdio)
        except BaseException as error:
            start.result = error
        finally:
            start.done.release()

    start.launched = True
    try:
        _thread.start_new_thread(work, ())
    except RuntimeError as error:
        start.launched = False
        raise OSError(errno.EAGAIN, str(error)) from error
    start.done.acquire()
    if not isinstance(start.result, int):
        raise start.result or RuntimeError("the program was not started")
    return start.result


def _posix_spawn(path: str, argv: Sequence[str], env: Mapping[str, str], stdio: tuple[int, int, int]) -> int:
    actions: list[tuple[int, ...]] = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(stdio)]
    actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable()]
    return os.posix_spawn(
        _bytes(path),
        [_bytes(argument) for argument in argv],
        {_bytes(name): _bytes(value) for name, value in env.items()},
        file_actions=actions,
        setsid=True,
        setsigmask=(),
        setsigdef=signals.ALL,
    )


def _bytes(text: str) -> bytes:
    # The configuration is UTF-8 whatever the locale of the runtime is.
    return text.encode("utf-8", "surrogateescape")


def _inheritable() -> list[int]:
    """The descriptors from 3 on that an exec would hand on: ours never (PEP 446), but the caller's may."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            if fd > 2 and os.get_inheritable(fd):
                found.append(fd)
        except OSError as error:
            if error.errno != errno.EBADF:  # the listing's own descriptor, closed by now
                raise
    return found


def _unshare_fs() -> Callable[[], None]:
    """Return what gives the calling thread a working directory and umask of its own: unshare(2), CLONE_FS."""
    unshare = getattr(os, "unshare", None)  # from Python 3.12 on
    if unshare is not None:
        return lambda: unshare(_CLONE_FS)
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)

    def call() -> None:
        if library.unshare(_CLONE_FS) != 0:
            raise OSError(ctypes.get_errno(), "unshare(CLONE_FS)")

    return call


def _pipe(opened: list[int]) -> tuple[int, int]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    return _owned(opened, reader), _owned(opened, writer)


def _owned(opened: list[int], fd: int) -> int:
    """Note `fd` for closing, moved above 2 where a caller without stdio left 0, 1 or 2 free for it."""
    if fd <= 2:
        low = fd
        fd = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 3)
        os.close(low)
    opened.append(fd)
    return fd
