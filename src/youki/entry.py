"""How a command begins and ends, around main.py. On the hot path: written so as to need no other module."""

import gc
import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import NoReturn

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # of our packages

# What may stand in a pack: our packages, and what a usual command reads of the standard library.
PACKED = ("youki", "libcontainer", "libcgroups", "__future__", "struct")

executed = {"youki", "youki.entry", "youki.bytecode"}  # modules that came out of a pack, or need none


def enter(words: list[str]) -> "NoReturn":
    """Run the command line `words` (without the program's name) and end the process with its exit code."""
    gc.disable()  # a command lives for milliseconds; looking for garbage among its imports is one of them
    open_standard_descriptors()
    loaded = load(words)
    from youki.main import main

    code = main(words)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it was closed when the interpreter started
            stream.flush()
    if code == 0 and uses_packs() and not executed.issuperset(packable()):
        from youki import bytecode

        bytecode.keep(loaded, packable())
    os._exit(code)  # taking the interpreter apart would cost another millisecond, and nothing is left to do


def open_standard_descriptors() -> None:
    """Open /dev/null on each of 0, 1 and 2 that is closed.

    Otherwise the next file opened would become standard output, and a message would be written into it
    (CVE-2024-21626 is what stray descriptors lead to).
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(
                os.open("/dev/null", os.O_RDWR), True
            )  # open(2) takes the lowest free number: fd


def load(words: list[str]) -> str | None:
    """Execute the modules of the command that `words` seem to name from its pack (bytecode.py); return its name.

    The first word counts for which there is one: nothing is parsed yet. A wrong guess costs time and changes
    nothing: the modules are there before somebody asks for them.
    """
    if uses_packs():
        for word in words:
            if word.isalpha() and execute(pack(word)):
                return word
    return None


def uses_packs() -> bool:
    """Tell whether modules may come from packs.

    Not where each import is to be seen, where asserts are left out, or where byte code belongs elsewhere.
    """
    return not ("importtime" in sys._xoptions or sys.flags.optimize or sys.pycache_prefix)


def packable() -> list[str]:
    """Return the modules that may stand in a pack, in the order in which their imports were complete."""
    return [name for name in sys.modules if name.partition(".")[0] in PACKED]


def pack(command: str) -> str:
    """Return the path of the command's pack, which is for this version of the interpreter only."""
    return f"{ROOT}/youki/__pycache__/{command}.{sys.implementation.cache_tag}.pack"


def execute(path: str) -> bool:
    """Execute all modules of a pack, unless a source has changed since; False where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return False
    try:
        data = memoryview(os.read(fd, os.fstat(fd).st_size))
    finally:
        os.close(fd)
    if data[: len(MAGIC_NUMBER)] != MAGIC_NUMBER:
        return True
    try:
        # As importlib does with each .pyc; bytecode.py says who may write the file.
        root, files, codes, names = marshal.loads(data[len(MAGIC_NUMBER) :])  # noqa: S302
    except (EOFError, TypeError, ValueError):
        return True  # cut short
    if root != ROOT or any([_has_changed(*file) for file in files]):
        return True
    for name, file, code in zip(names, files, codes, strict=True):
        if name not in sys.modules:
            _execute_module(name, file[0], code)
    for name in names:
        # Here, because a package that imports modules of its own is complete after them.
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    return True


def _has_changed(path: str, mtime_ns: int, size: int) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return True
    return found.st_mtime_ns != mtime_ns or found.st_size != size


def _execute_module(name: str, path: str, code: "CodeType") -> None:
    """Do what importlib does for a source file, without its search and its locks: no thread runs yet."""
    is_package = path.endswith("/__init__.py")
    module: ModuleType = type(sys)(name)
    loader = SourceFileLoader(name, path)
    spec = ModuleSpec(name, loader, origin=path, is_package=is_package)
    spec.has_location = True
    module.__spec__, module.__loader__, module.__file__ = spec, loader, path
    module.__package__ = spec.parent
    if is_package:
        module.__path__ = spec.submodule_search_locations = [os.path.dirname(path)]
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 - what an import is
    except BaseException:
        del sys.modules[name]
        raise
    executed.add(name)
