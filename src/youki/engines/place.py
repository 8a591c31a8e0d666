"""Where configuration lies, for the whole host or for the calling user, and the changes that are made there."""

from __future__ import annotations

import difflib
import os
import tempfile
from pathlib import Path

from libcontainer.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Place:
    """A host's /etc, or a user's directory for configuration: $XDG_CONFIG_HOME, else ~/.config.

    `root` stands for the host's root directory; `user` is true for the calling user's own configuration.
    """

    def __init__(self, root: str = "/", *, user: bool = False) -> None:
        self.root = Path(root)
        self.user = user

    def file(self, *, host: str, user: str) -> Path:
        """Return the file that is called `host` below the root, or `user` below the user's configuration."""
        if not self.user:
            return self.root / host
        own = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        return self.root / own.lstrip("/") / user


class Edit:
    """One file as it is and as it shall be; None stands for no file.

    A new file gets the mode and owner of the file `like`.
    """

    __slots__ = ("after", "before", "like", "path")

    def __init__(self, path: Path, after: str | None, *, like: Path | None = None) -> None:
        self.path = path
        self.like = like or path
        self.before = read(path)
        self.after = after

    def __bool__(self) -> bool:
        return self.before != self.after

    @property
    def diff(self) -> str:
        """The change as diff(1) -u prints it."""
        before, after = ((text or "").splitlines(keepends=True) for text in (self.before, self.after))
        old, new = ("/dev/null" if text is None else str(self.path) for text in (self.before, self.after))
        # A file may lack its last newline; the diff must not.
        return "".join(
            line if line.endswith("\n") else line + "\n"
            for line in difflib.unified_diff(before, after, old, new)
        )

    def apply(self) -> None:
        """Write or remove the file. A reader sees the old or the new one whole. Raises Error."""
        try:
            if self.after is None:
                self.path.unlink(missing_ok=True)
            else:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                _replace(self.path, self.after, self.like)
        except OSError as error:
            raise Error(
                f"cannot write {self.path}: {error.strerror}",
                path=str(self.path),
                errno=error.errno,
                remedy="call youki as root, or as the user whose engine it is"
                if error.errno in (1, 13)
                else None,
            ) from error


def read(path: Path) -> str | None:
    """Return the text of a file, None when there is none. Raises Error."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Error(f"cannot read {path}: {error}", path=str(path)) from error


def apply(edits: Iterable[Edit]) -> None:
    """Make each change, in order."""
    for edit in edits:
        edit.apply()


def _replace(path: Path, text: str, like: Path) -> None:
    """Write a file beside the old one, with the mode and owner of `like`, and put it in its place."""
    target = Path(os.path.realpath(path))  # a symlink stays one
    try:
        status: os.stat_result | None = like.stat()
    except FileNotFoundError:
        status = None
    fd, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(fd, status.st_mode & 0o7777 if status else 0o644)
            if status and os.geteuid() == 0:
                os.fchown(fd, status.st_uid, status.st_gid)
            os.fsync(fd)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
