"""entry.py and bytecode.py: the byte code of a command's modules, kept in one file and executed from there."""

from __future__ import annotations

import marshal
import os
import shutil
import subprocess
import sys
from importlib.util import MAGIC_NUMBER
from pathlib import Path

import pytest

import youki

SOURCE = Path(youki.__file__).parents[1]
TAG = sys.implementation.cache_tag
LATER = 2_000_000_000  # seconds since the epoch: a change that no file of the tree has already


class Tree:
    """A copy of the packages, because a test changes what is kept beside them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cache = path / "youki" / "__pycache__"
        self.root = path.with_name("records")
        self.root.mkdir()
        for package in ("youki", "libcontainer", "libcgroups"):
            ignored = shutil.ignore_patterns("__pycache__", "init", "*.c")
            shutil.copytree(SOURCE / package, path / package, ignore=ignored)

    def run(
        self, *words: str, options: tuple[str, ...] = (), cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-S", *options, str(self.path / "youki" / "__main__.py")]
        return subprocess.run(
            [*command, "--root", str(self.root), *words], cwd=cwd, capture_output=True, text=True
        )

    def succeed(self, *words: str, options: tuple[str, ...] = (), cwd: Path | None = None) -> str:
        result = self.run(*words, options=options, cwd=cwd)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout

    def pack(self, command: str) -> Path:
        return self.cache / f"{command}.{TAG}.pack"

    def packs(self) -> set[str]:
        """The commands that have a pack; a file that was left half written would be one too."""
        return {path.name.removesuffix(f".{TAG}.pack") for path in self.cache.glob("*.pack*")}

    def modules(self, command: str) -> list[str]:
        """The names of the modules in a pack."""
        names: list[str] = marshal.loads(self.pack(command).read_bytes()[len(MAGIC_NUMBER) :])[3]
        return names


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "packages")


def rewrite(path: Path, old: str, new: str) -> None:
    """Change a source file, with a time of change that cannot be the former one."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    os.utime(path, (LATER, LATER))


def opened(tree: Tree, *words: str) -> str:
    """The files that Python opens for a command, by its own audit events."""
    program = (
        "import runpy, sys\n"
        "sys.addaudithook(lambda event, args: event == 'open' and print(args[0], file=sys.stderr))\n"
        f"sys.argv[0] = {str(tree.path / 'youki' / '__main__.py')!r}\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    words = ("--root", str(tree.root), *words)
    result = subprocess.run([sys.executable, "-I", "-c", program, *words], capture_output=True, text=True)
    assert result.returncode == 0
    return result.stderr


def test_a_command_keeps_its_modules_and_reads_them_from_one_file(tree: Tree) -> None:
    """That one file is opened in place of sixty is the whole point."""
    first = tree.succeed("list")
    assert tree.packs() == {"list"}
    assert "libcontainer.container" in tree.modules("list")

    assert tree.succeed("list") == first
    files = opened(tree, "list")
    assert str(tree.pack("list")) in files
    assert "/commands/__pycache__/list." not in files
    assert "/libcontainer/__pycache__/" not in files


def test_a_pack_holds_what_one_command_needs(tree: Tree) -> None:
    """Twenty commands must not cost more than one."""
    tree.succeed("list")
    tree.succeed("delete", "--force", "absent")

    assert tree.packs() == {"list", "delete"}
    assert "youki.commands.list" in tree.modules("list")
    assert "youki.commands.delete" not in tree.modules("list")


def test_a_complete_pack_is_not_written_again(tree: Tree) -> None:
    """Else each command would write hundreds of kilobytes."""
    tree.succeed("list")
    before = tree.pack("list").stat()
    tree.succeed("list")

    assert tree.pack("list").stat().st_ino == before.st_ino


def test_a_pack_grows_by_what_it_lacks(tree: Tree) -> None:
    """A command that does more for other words loads more modules; soon the pack has them all."""
    (tree.path / "youki" / "more.py").touch()
    rewrite(
        tree.path / "youki" / "commands" / "list.py",
        "    if args.quiet:",
        "    if args.quiet:\n        import youki.more",
    )
    tree.succeed("list")
    small = set(tree.modules("list"))
    tree.succeed("list", "--quiet")

    assert set(tree.modules("list")) == small | {"youki.more"}


def test_a_changed_source_counts(tree: Tree) -> None:
    """Who edits or updates the package must not see the former code run, whichever module it is."""
    tree.succeed("list")
    rewrite(tree.path / "libcontainer" / "state.py", "def ", "raise SystemExit(7)\n\n\ndef ")

    assert tree.run("list").returncode == 7


def test_a_source_of_the_same_size_and_another_time_counts(tree: Tree) -> None:
    """The time of change is compared as the kernel keeps it, in nanoseconds."""
    tree.succeed("list")
    found = (tree.path / "youki" / "version.py").stat()
    os.utime(tree.path / "youki" / "output.py", ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    before = tree.pack("list").stat().st_ino
    tree.succeed("list")

    assert tree.pack("list").stat().st_ino != before


def test_a_source_of_the_same_time_and_another_size_counts(tree: Tree) -> None:
    """Installers set the time of change: two versions may well have the same."""
    tree.succeed("list")
    path = tree.path / "youki" / "commands" / "list.py"
    found = path.stat()
    path.write_text("raise SystemExit(7)")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))

    assert tree.run("list").returncode == 7


def test_a_removed_source_counts(tree: Tree) -> None:
    """Python without the pack would not find the module either."""
    tree.succeed("list")
    (tree.path / "libcontainer" / "state.py").unlink()

    result = tree.run("list")
    assert result.returncode != 0
    assert "cannot import name 'state'" in result.stderr


DAMAGES = {
    "empty": (0, b""),
    "short": (3, b""),
    "magic number only": (len(MAGIC_NUMBER), b""),
    "cut": (3000, b""),
    "zeros": (0, bytes(3000)),
    "not a tuple": (0, MAGIC_NUMBER + marshal.dumps(None)),
    "of another tuple": (0, MAGIC_NUMBER + marshal.dumps(("", []))),
    "garbage": (0, MAGIC_NUMBER + b"no such type"),
}


@pytest.mark.parametrize(("kept", "then"), DAMAGES.values(), ids=DAMAGES)
def test_a_pack_that_cannot_be_used_is_replaced(tree: Tree, kept: int, then: bytes) -> None:
    """A machine that lost power or another interpreter: none may cost more than milliseconds."""
    first = tree.succeed("list")
    tree.pack("list").write_bytes(tree.pack("list").read_bytes()[:kept] + then)

    assert tree.succeed("list") == first
    assert "youki.commands.list" in tree.modules("list")


def test_a_pack_of_another_interpreter_is_not_used(tree: Tree) -> None:
    """Its code may be of other instructions: two releases of one version before it is final have one name."""
    tree.succeed("list")
    tree.pack("list").write_bytes(b"\x00\x00\r\n" + tree.pack("list").read_bytes()[len(MAGIC_NUMBER) :])
    tree.succeed("list")

    assert tree.pack("list").read_bytes().startswith(MAGIC_NUMBER)


def test_a_pack_of_another_place_is_not_used(tree: Tree, tmp_path: Path) -> None:
    """Its modules would say that they are files of the place where they came from."""
    tree.succeed("list")
    moved = tmp_path / "moved"
    shutil.copytree(tree.path, moved)
    tree.path, tree.cache = moved, moved / "youki" / "__pycache__"

    tree.succeed("list")
    root = marshal.loads(tree.pack("list").read_bytes()[len(MAGIC_NUMBER) :])[0]
    assert root == str(moved)


def test_a_directory_that_cannot_be_written_costs_nothing_else(tree: Tree) -> None:
    """So it is for every user of a package that root installed, and on a read-only file system."""
    tree.cache.rmdir() if tree.cache.exists() else None
    tree.cache.write_text("in the way")

    tree.succeed("list")
    tree.succeed("list")


def test_a_half_written_pack_is_removed(tree: Tree) -> None:
    """RLIMIT_FSIZE stands for a disk that fills up while the pack is written."""
    command = [sys.executable, "-I", "-S", str(tree.path / "youki" / "__main__.py"), "--root", str(tree.root)]
    tree.succeed("delete", "--force", "absent")  # the cache of each module is there then
    tree.succeed("list")
    tree.pack("list").unlink()
    limit = ["sh", "-c", 'ulimit -f 8; trap "" XFSZ; exec "$@"', "sh"]
    result = subprocess.run([*limit, *command, "list"], capture_output=True, text=True)

    assert (result.returncode, result.stderr) == (0, "")
    assert tree.packs() == {"delete"}


def test_words_before_the_command_may_name_another(tree: Tree, tmp_path: Path) -> None:
    """Nothing is parsed yet when a pack is chosen; a wrong choice must neither be seen nor kept."""
    tree.succeed("delete", "--force", "absent")
    before = tree.pack("delete").read_bytes()
    first = tree.succeed("list")
    tree.pack("list").unlink()

    assert tree.succeed("--log-format", "text", "--log", "delete", "list", cwd=tmp_path) == first
    assert tree.packs() == {"delete"}
    assert tree.pack("delete").read_bytes() == before


def test_a_failed_command_keeps_nothing(tree: Tree) -> None:
    """What it loaded to explain its error, a usual one does not need."""
    assert tree.run("state", "absent").returncode == 1

    assert tree.packs() == set()


def test_a_command_that_needed_much_of_the_standard_library_keeps_nothing(tree: Tree) -> None:
    """The first filter compiles with ctypes; the ones after it must not load that too."""
    rewrite(tree.path / "youki" / "commands" / "list.py", "def run(", "import colorsys\n\n\ndef run(")
    tree.succeed("list")

    assert tree.packs() == set()


@pytest.mark.parametrize(
    "options", [("-B",), ("-O",), ("-X", "importtime"), ("-X", "pycache_prefix=/nowhere")]
)
def test_options_of_python_that_concern_imports_hold(tree: Tree, options: tuple[str, ...]) -> None:
    """-B: write no byte code. -O: leave asserts out. importtime: show each import. pycache_prefix: keep it there."""
    tree.cache.mkdir()
    assert tree.run("list", options=options).returncode == 0

    assert tree.packs() == set()


@pytest.mark.parametrize("options", [("-O",), ("-X", "importtime")])
def test_the_same_options_use_no_pack(tree: Tree, options: tuple[str, ...]) -> None:
    """A pack has the asserts, and its modules are not imported one by one."""
    tree.succeed("list")
    rewrite(tree.path / "youki" / "commands" / "list.py", "def run(", "assert not 1\n\n\ndef run(")
    text = marshal.dumps(marshal.loads(tree.pack("list").read_bytes()[len(MAGIC_NUMBER) :]))
    tree.pack("list").write_bytes(MAGIC_NUMBER + text)

    result = tree.run("list", options=options)
    assert ("AssertionError" in result.stderr) == ("-O" not in options)


def test_modules_are_as_importlib_makes_them(tree: Tree) -> None:
    """Tracebacks, package data and later imports depend on what a module says of itself."""
    check = tree.path / "check.py"
    check.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(tree.path)!r})\n"
        "from youki import entry\n"
        "packed = len(sys.argv) > 1\n"
        "if packed: assert entry.execute(entry.pack('list')) and len(entry.executed) > 10\n"
        "import youki.main, youki.commands.list\n"
        "for name in sorted(sys.modules):\n"
        "    module = sys.modules[name]\n"
        "    if name.partition('.')[0] not in ('youki', 'libcontainer', 'libcgroups'): continue\n"
        "    spec = module.__spec__\n"
        "    print(name, module.__file__, module.__package__, getattr(module, '__path__', None), spec.name,\n"
        "        spec.origin, spec.has_location, spec.parent, spec.submodule_search_locations,\n"
        "        type(module.__loader__).__name__, module.__loader__ is spec.loader,\n"
        "        repr(module.__doc__), spec.cached, sorted(vars(module).keys() - {'__cached__'}))\n"
    )
    tree.succeed("list")
    one = subprocess.run([sys.executable, "-I", str(check)], capture_output=True, text=True, check=True)
    both = subprocess.run(
        [sys.executable, "-I", str(check), "packed"], capture_output=True, text=True, check=True
    )
    imported, packed = set(one.stdout.splitlines()), set(both.stdout.splitlines())

    assert len(imported) > 10
    assert imported <= packed
