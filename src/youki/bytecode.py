"""Packs: one file of byte code for each command, with all modules that it uses.

To find, open and read some seventy modules one by one is a quarter of what a command costs. So a command that
has done its work keeps the code of its modules in one file beside the cached code of each,
youki/__pycache__/<command>.<interpreter>.pack, and the next one executes them from there (entry.py). It is a
cache of the same kind and with the same rules: who may write there may write the modules too; it counts only
for the interpreter and for the very source files (time of change, size) from which it was made; it may be
deleted at any time; and where it cannot be written, nothing is lost but milliseconds. `python -X importtime`
and `python -B` work as without it.

A pack grows when a command needs a module that it lacks, and soon holds what the command needs on this host.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader

from youki import entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

    File = tuple[str, int, int]  # its path, st_mtime_ns, st_size

COMMANDS = "youki.commands."
NEVER = ("youki.entry", "youki.bytecode")  # needed before a pack, and for writing one
BY_INTERPRETER = "encodings"  # source files that are read before any program begins


def keep(loaded: str | None, names: list[str]) -> None:
    """Write the modules `names`, in the order of their completion, into the pack of the command executed.

    Not if the pack `loaded` was another command's (`youki --root state list`), and not if yet another source
    file of the standard library was needed, as for the first use of a filter: such modules must not slow
    the usual commands down.
    """
    # A command may use another one's module (run: start); its own is complete after it.
    commands = [name.removeprefix(COMMANDS) for name in names if name.startswith(COMMANDS)]
    if not commands or loaded not in (None, commands[-1]) or sys.dont_write_bytecode or _is_rare():
        return
    try:
        _write(entry.pack(commands[-1]), marshal.dumps(_collect(names)))
    except OSError:
        pass  # no right to, or no room


def _is_rare() -> bool:
    return any(
        _source(name) and name.partition(".")[0] not in (*entry.PACKED, BY_INTERPRETER)
        for name in sys.modules
    )


def _source(name: str) -> SourceFileLoader | None:
    """Return the loader of a module that was read from a source file."""
    loader = getattr(getattr(sys.modules[name], "__spec__", None), "loader", None)
    return loader if isinstance(loader, SourceFileLoader) else None


def _collect(names: list[str]) -> tuple[str, list[File], list[CodeType], list[str]]:
    """Return the modules as `entry.execute` expects them."""
    files, codes, kept = [], [], []
    for name in names:
        loader = _source(name)
        if loader is None or name in NEVER:
            continue
        path = loader.get_filename(name)
        found = os.stat(path)  # before its code is read: a later change is seen then
        code = loader.get_code(name)
        assert code is not None
        files.append((path, found.st_mtime_ns, found.st_size))
        codes.append(code)
        kept.append(name)
    return entry.ROOT, files, codes, kept


def _write(path: str, data: bytes) -> None:
    """Replace the pack at once: another command may be reading it."""
    temporary = f"{path}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with open(fd, "wb") as file:
            file.write(MAGIC_NUMBER + data)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
