"""What is on disk about a container, and what can be told from it.

    <root>/<id>/            mode 0700; flock(2) on it serialises the commands that change something
        intent.json         what is about to exist (cgroup, class of service), written before anything does;
                            removed when state.json is there
        state.json          what exists; replaced atomically
        config.json         the configuration as it was at create: later edits of the bundle do not count
                            (runtime.md)
        start.sock          where init waits for `start`; gone once the payload runs
        start.plain         beside it where a start is but a word to init (youki/start.c)
        notify/             the container's notify socket (notify_socket.py), where there is one

The status is computed from facts, never stored: whether the process of that number *and start time* lives,
whether init listens on start.sock, whether the cgroup is frozen. Nothing is synced to disk: a record that
names processes means nothing after a crash of the kernel, and it survives kill -9 in the page cache. On the
hot path.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from libcontainer.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
    StateError,
    Timeout,
    in_words,
    shortage,
)
from libcontainer.strictjson import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

DEFAULT_ROOT = "/run/youki"
VERSION = 1
LONGEST_ID = 255 - len(".state.json.tmp")
ID_RULE = f"use 1 to {LONGEST_ID} of A-Z a-z 0-9 _ + . - and begin with neither a dot nor a dash"
ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
LOCK_TIMEOUT_S = 30.0


def validate_id(container_id: object) -> str:
    """Return the container id, or raise InvalidArgument: 1 to 240 of ``[A-Za-z0-9_+.-]``, the first no dot
    and no dash.

    The same rule for every command, before any path is built from the id.
    """
    if not isinstance(container_id, str) or not container_id:
        raise InvalidArgument("a container id is required: it is empty", remedy=ID_RULE)
    if (
        not ID_CHARACTERS.issuperset(container_id)
        or container_id[0] in ".-"
        or len(container_id) > LONGEST_ID
    ):
        shown = container_id if len(container_id) <= 64 else container_id[:64] + "…"
        raise InvalidArgument(
            f"invalid container id {shown!r}",
            remedy=ID_RULE,
        )
    return container_id


def default_root() -> str:
    """Return where this user's containers are kept: /run/youki, or for an unprivileged user a private
    directory below the runtime directory. youki/start.c makes the first of these choices, too.

    Raises InvalidArgument when no private place can be found.
    """
    euid = os.geteuid()
    if euid == 0 and not os.environ.get("XDG_RUNTIME_DIR"):
        return DEFAULT_ROOT
    if euid == 0 and not _in_user_namespace():
        return DEFAULT_ROOT
    candidates = [os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{euid}"]
    for directory in candidates:
        if directory and os.path.isabs(directory) and _is_private(directory, euid):
            return f"{directory}/youki"
    home = os.environ.get("HOME")
    if home and os.path.isabs(home) and os.access(home, os.W_OK):
        return f"{home}/.youki/run"
    return f"/tmp/youki-{euid}"


def _in_user_namespace() -> bool:
    from libcontainer.host import Host

    return Host().in_user_namespace


def _is_private(directory: str, euid: int) -> bool:
    try:
        status = os.lstat(directory)
    except OSError:
        return False
    return status.st_mode & 0o170077 == 0o040000 and status.st_uid == euid


def open_root(root: str, *, create: bool = False) -> int:
    """Return a descriptor of the directory that holds all containers; with `create` it is made (0700) where
    it is missing.

    Raises InvalidArgument when others could write to it: what is read there decides which processes are
    killed.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(root, flags)
    except FileNotFoundError:
        if not create:
            raise
        _make_private(root)
        fd = os.open(root, flags)
    except OSError as error:
        raise _unusable(root, error) from error
    status = os.fstat(fd)
    if status.st_uid not in (os.geteuid(), 0) or status.st_mode & 0o022:
        os.close(fd)
        raise InvalidArgument(
            f"cannot use {root} as root directory: other users may change it",
            path=root,
            remedy=f"chmod go-w {root}, or choose another --root",
        )
    return fd


def _unusable(root: str, error: OSError) -> InvalidArgument:
    return InvalidArgument(
        f"cannot use {root} as root directory: {error.strerror}",
        path=root,
        syscall="open",
        errno=error.errno,
        remedy=shortage(error.errno)
        or "choose another --root; an unprivileged user has one of its own by default",
    )


def _make_private(path: str) -> None:
    """Make a directory and the missing ones above it, all closed to others: who may rename the upper one
    chooses what is read in the lower. os.makedirs gives its mode to the last one only.
    """
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        _make_private(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass  # another command was faster
    except OSError as error:
        raise InvalidArgument(
            f"cannot make the root directory {path}: {error.strerror}",
            path=path,
            syscall="mkdir",
            errno=error.errno,
            remedy="choose another --root",
        ) from error


class Directory:
    """One container's directory, held open by descriptor; `lock` it before changing anything.

    A context manager that closes it.
    """

    __slots__ = ("container_id", "fd", "path")

    def __init__(self, fd: int, root: str, container_id: str) -> None:
        self.fd = fd
        self.path = f"{root}/{container_id}"
        self.container_id = container_id

    @classmethod
    def create(cls, root: str, container_id: str) -> Directory:
        """Make the directory of a new container and lock it. Raises AlreadyExists."""
        validate_id(container_id)
        root_fd = open_root(root, create=True)
        try:
            try:
                os.mkdir(container_id, 0o700, dir_fd=root_fd)
            except FileExistsError:
                raise _exists(root, container_id) from None
            except OSError as error:
                raise InvalidArgument(
                    f"cannot make {root}/{container_id}: {error.strerror}",
                    path=root,
                    errno=error.errno,
                    remedy="choose another --root",
                ) from error
            try:
                directory = cls(_open_directory(container_id, root_fd), root, container_id)
            except OSError:
                _remove_empty(container_id, root_fd)  # no descriptor was left
                raise
            try:
                # Another command may look at it at this very moment, or even remove it as a left-over.
                directory.lock()
                current = directory.is_current(root_fd)
            except BaseException:
                _remove_empty(container_id, root_fd)
                directory.close()
                raise
            if not current:
                directory.close()
                raise StateError(f"container {container_id} was deleted while it was being created")
        finally:
            os.close(root_fd)
        return directory

    @classmethod
    def open(cls, root: str, container_id: str) -> Directory:
        """Open the directory of a container. Raises NotFound."""
        validate_id(container_id)
        try:
            root_fd = open_root(root)
        except FileNotFoundError:
            raise not_found(container_id, root) from None
        try:
            return cls(_open_directory(container_id, root_fd), root, container_id)
        except (FileNotFoundError, NotADirectoryError):
            raise not_found(container_id, root) from None
        finally:
            os.close(root_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor and with it the lock."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def lock(self, timeout_s: float = LOCK_TIMEOUT_S) -> None:
        """Wait for the exclusive lock. Raises Timeout when another command holds it for longer than `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not self.try_lock():
            if time.monotonic() > deadline:
                raise Timeout(
                    f"container {self.container_id} is busy: another command has been changing it for {timeout_s:g} s",
                    path=self.path,
                    remedy="wait for it or end it, then try again",
                )
            time.sleep(0.002)

    def try_lock(self) -> bool:
        """Take the exclusive lock if it is free."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def is_current(self, root_fd: int) -> bool:
        """Tell whether this is still the directory of that name below the root directory."""
        try:
            found = os.stat(self.container_id, dir_fd=root_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(self.fd))

    def write(self, name: str, data: bytes) -> None:
        """Write a file so that a reader, or a crash, sees the old one or the new one."""
        self.stage(name, data)
        self.publish(name)

    def stage(self, name: str, data: bytes) -> None:
        """Write what `publish` will make the file of that name."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(f".{name}.tmp", flags, 0o600, dir_fd=self.fd)
        try:
            write_all(fd, data)
        finally:
            os.close(fd)

    def publish(self, name: str) -> None:
        """Give what `stage` has written its name."""
        os.rename(f".{name}.tmp", name, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def mark(self, name: str) -> None:
        """Make an empty file."""
        os.close(
            os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=self.fd)
        )

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None where there is none."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        try:
            return read_all(fd)
        finally:
            os.close(fd)

    def read_record(self, name: str) -> dict[str, Any] | None:
        """Return state.json or intent.json as a dictionary, None where there is none.

        Raises StateError for one that is not ours.
        """
        data = self.read(name)
        return None if data is None else self.parse_record(name, data)

    def parse_record(self, name: str, data: bytes) -> dict[str, Any]:
        """Return what the text of the record `name` says. Raises StateError for one that is not ours."""
        record = loads(data, source=f"{self.path}/{name}")
        if (
            not isinstance(record, dict)
            or record.get("version") != VERSION
            or record.get("id") != self.container_id
        ):
            raise StateError(
                f"{self.path}/{name} is not a record of this version for {self.container_id}",
                path=f"{self.path}/{name}",
                remedy="delete the container with the version of youki that made it",
            )
        return record

    def write_record(self, name: str, record: dict[str, Any]) -> None:
        """Write state.json or intent.json."""
        self.write(name, self.format_record(record))

    def format_record(self, record: dict[str, Any]) -> bytes:
        """Return the text of a record."""
        return dumps({"version": VERSION, "id": self.container_id, **record}).encode()

    def remove_file(self, name: str) -> None:
        """Remove a file; a missing one is fine."""
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            pass

    def has(self, name: str) -> bool:
        """Tell whether the file exists."""
        return os.access(name, os.F_OK, dir_fd=self.fd)

    def make_directory(self, name: str) -> None:
        """Make a directory that everybody may search, for a socket that a container gets."""
        os.mkdir(name, dir_fd=self.fd)
        os.chmod(name, 0o755, dir_fd=self.fd)

    def remove(self) -> None:
        """Remove the directory with everything in it: flat files, and directories of flat files."""
        try:
            for name in os.listdir(self.fd):
                try:
                    self.remove_file(name)
                except IsADirectoryError:
                    self._remove_directory(name)
            try:
                os.rmdir(self.path)
            except FileNotFoundError:
                pass
        finally:
            self.close()

    def _remove_directory(self, name: str) -> None:
        fd = _open_directory(name, self.fd)
        try:
            for file in os.listdir(fd):
                os.unlink(file, dir_fd=fd)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=self.fd)

    def address(self, name: str) -> str:
        """Return a path for a socket in the directory that fits sun_path, however long the directory's own is
        (unix(7)).
        """
        return f"/proc/self/fd/{self.fd}/{name}"


def _open_directory(name: str, root_fd: int) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=root_fd)


def _remove_empty(name: str, root_fd: int) -> None:
    """Remove a directory in which nothing has been written: of another command's only an empty one, too."""
    try:
        os.rmdir(name, dir_fd=root_fd)
    except OSError:
        pass


def _exists(root: str, container_id: str) -> AlreadyExists:
    path = f"{root}/{container_id}"
    if _is_left_over(root, container_id):
        return AlreadyExists(
            f"container {container_id} already exists: it is what an interrupted create left over",
            path=path,
            remedy=f"youki delete --force {container_id}",
        )
    return AlreadyExists(
        f"container {container_id} already exists", path=path, remedy="choose another id, or delete it first"
    )


def _is_left_over(root: str, container_id: str) -> bool:
    """Tell whether a create was interrupted: its intent is there, but nobody holds the lock."""
    try:
        with Directory.open(root, container_id) as directory:
            return directory.try_lock() and directory.has("intent.json") and not directory.has("state.json")
    except NotFound:
        return False


def not_found(container_id: str, root: str) -> NotFound:
    """Return the error for an unknown id; callers look for "does not exist" in its text."""
    return NotFound(
        f"container {container_id} does not exist",
        path=f"{root}/{container_id}",
        remedy="list the containers with youki list",
    )


def list_ids(root: str) -> list[str]:
    """Return the ids below `root`, sorted; a missing root holds none. Raises InvalidArgument.

    What begins with a dot is no container's (`validate_id`) but ours: seccomp/cache.py.
    """
    try:
        return sorted(
            [
                entry.name
                for entry in os.scandir(root)
                if entry.name[0] != "." and entry.is_dir(follow_symlinks=False)
            ]
        )
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unusable(root, error) from error


def write_all(fd: int, data: bytes) -> None:
    """Write everything; a short write goes on."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_all(fd: int) -> bytes:
    """Read to the end."""
    chunks = []
    while chunk := os.read(fd, 1 << 16):
        chunks.append(chunk)
    return b"".join(chunks)


def write_pid_file(path: str, pid: int) -> None:
    """Write a pid file that is complete the moment it appears, in decimal without a newline.

    Raises InvalidArgument.
    """
    directory, name = os.path.split(os.path.abspath(path))
    temporary = f"{directory}/.{name}.{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            write_all(fd, b"%d" % pid)
        finally:
            os.close(fd)
        try:
            os.rename(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise InvalidArgument(
            f"cannot write the pid file {path}: {in_words(error.errno or 0)}",
            path=path,
            errno=error.errno,
            remedy="name a file, in a directory that exists and that you may write to",
        ) from error


def start_time(pid: int, directory: int | None = None) -> tuple[str, int] | None:
    """Return the state letter and the start time (clock ticks since boot) of a process, None when there is
    none. proc_pid_stat(5). `directory` is a descriptor of its directory in /proc.

    Field 2, the name, is the payload's own choice and may hold spaces and parentheses: parsing starts after
    the last one.
    """
    try:
        path = f"/proc/{pid}/stat" if directory is None else "stat"
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        data = os.read(fd, 4096)
    except OSError as error:
        if error.errno == errno.ESRCH:
            return None
        raise
    finally:
        os.close(fd)
    fields = data[data.rindex(b")") + 2 :].split()
    return fields[0].decode(), int(fields[19])


def boot_id() -> str:
    """Return the identity of this boot of the kernel: with it a start time is unique (random(4))."""
    fd = os.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 64).decode().strip()
    finally:
        os.close(fd)


def process_state(record: dict[str, Any]) -> str | None:
    """Return the state letter of a record's process; None when there is none any more, or another of its number.

    The same number, start time and boot make it the same process.
    """
    pid = record.get("pid")
    if not pid or record.get("bootId") != boot_id():
        return None
    found = start_time(pid)
    return None if found is None or found[1] != record.get("startTime") else found[0]


def is_alive(record: dict[str, Any]) -> bool:
    """Tell whether the process of a record still runs: it is there, and no zombie."""
    letter = process_state(record)
    return letter is not None and letter not in "ZX"


def rfc3339(nanoseconds: int) -> str:
    """Return a time as RFC 3339 in UTC with nanoseconds, as engines parse it."""
    if not nanoseconds:
        return "0001-01-01T00:00:00Z"
    seconds, rest = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09}Z"
