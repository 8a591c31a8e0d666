"""What `init` does with names in a hostile root file system: path.c (confined lookups), copyup.c (copy-up).

A driver (c/path_test.c) is built with the address and undefined-behaviour sanitizers and runs both resolvers,
openat2(2) and the walk in user space, over the same cases. They are held against a third one, a model
of a file tree. The driver fails when a step leaks a descriptor or changes the umask.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

TESTS = Path(__file__).parent
SOURCES = TESTS.parent.parent / "src" / "libcontainer" / "init"
C_FILES = (TESTS / "c" / "path_test.c", SOURCES / "path.c", SOURCES / "copyup.c")
C_FLAGS = ("-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-I", str(SOURCES))
WRAP = "-Wl,--wrap=syscall,--wrap=sendfile"
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")

RESOLVERS = {"openat2": "0", "walk": "1"}
LINKS_MAX = 40
DEPTH_MAX = 128
TRIES = 128

_built: list[str] = []


def driver() -> str:
    """Build the driver at its first use and return its path."""
    if not _built:
        directory = tempfile.mkdtemp(prefix="path_test-")
        program = os.path.join(directory, "path_test")
        subprocess.run(["cc", *C_FLAGS, *SANITIZE, WRAP, *map(str, C_FILES), "-o", program], check=True)
        _built.append(program)
    return _built[0]


@pytest.fixture(scope="module", autouse=True)
def built_driver_is_removed() -> object:
    """Remove the driver after the last test of this file."""
    yield
    if _built:
        shutil.rmtree(os.path.dirname(_built.pop()))


def words(text: str) -> list[str]:
    """Split steps written as one text."""
    return text.split()


def run(root: str | Path, *steps: str | int | Path, wrapper: tuple[str, ...] = ()) -> list[str]:
    """Run steps in one driver process; one result per step that has one, errors as their errno's name."""
    command = [*wrapper, driver(), os.path.realpath(root), *map(str, steps)]
    done = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape")
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return [read_result(line) for line in done.stdout.splitlines()]


def read_result(line: str) -> str:
    """Turn a line of the driver into "<type> <path>", a value, or the name of an errno."""
    kind, _, rest = line.partition(" ")
    return errno.errorcode[int(rest)] if kind == "error" else rest


def run_one(root: str | Path, resolver: str, *step: str | int | Path) -> str:
    """Run one step with one resolver."""
    return run(root, "fallback", RESOLVERS[resolver], *step)[0]


# ---- the model: a directory is a dict, a symlink a str, a file None ----------------------------------------

Tree = dict[str, "Tree | str | None"]
Node = Tree | str | None


class ModelError(Exception):
    """A lookup in the model failed with the errno of this name."""


class Lookup:
    """One lookup in a model tree, written as a recursion over links and so unlike the loop in C."""

    def __init__(self, tree: Tree, *, resolve: str = "root", nofollow: bool = False, make: str = "") -> None:
        self.tree = tree
        self.resolve = resolve
        self.nofollow = nofollow
        self.make = make
        self.links = 0

    def node(self, place: tuple[str, ...]) -> Node:
        """Return what is at a canonical place."""
        node: Node = self.tree
        for name in place:
            assert isinstance(node, dict)
            node = node[name]
        return node

    def walk(self, place: tuple[str, ...], path: str, final: bool = True) -> tuple[str, ...]:
        """Follow `path` from `place` and return the canonical place where it ends."""
        if path.startswith("/"):
            if self.resolve == "beneath":
                raise ModelError("EXDEV")
            place = ()
        names = [name for name in path.split("/") if name]
        for index, name in enumerate(names):
            if not isinstance(self.node(place), dict):
                raise ModelError("ENOTDIR")
            last = final and index == len(names) - 1
            place = self.step(place, name, last, path.endswith("/"))
        if path.endswith("/") and not isinstance(self.node(place), dict):
            raise ModelError("ENOTDIR")
        return place

    def step(self, place: tuple[str, ...], name: str, last: bool, slash: bool) -> tuple[str, ...]:
        """Follow one component."""
        if name == ".":
            return place
        if name == "..":
            if not place and self.resolve == "beneath":
                raise ModelError("EXDEV")
            return place[:-1]
        here = self.node(place)
        assert isinstance(here, dict)
        if name not in here:
            self.add(here, name, last, slash)
        child = here[name]
        if not isinstance(child, str) or (last and self.nofollow and not slash):
            return (*place, name)
        self.links += 1
        if self.links > LINKS_MAX or self.resolve != "root":
            raise ModelError("ELOOP")
        return self.walk(place, child + ("/" if slash and last and not child.endswith("/") else ""), last)

    def add(self, here: Tree, name: str, last: bool, slash: bool) -> None:
        """Make a missing component, or fail as a plain lookup does."""
        if not self.make:
            raise ModelError("ENOENT")
        if last and self.make == "file":
            if slash:
                raise ModelError("EISDIR")
            here[name] = None
        else:
            here[name] = {}


def expect(tree: Tree, path: str, directory: bool, nofollow: bool = False, resolve: str = "root") -> str:
    """Return what opening `path` must give."""
    if not path:
        return "ENOENT"
    lookup = Lookup(tree, nofollow=nofollow, resolve=resolve)
    try:
        place = lookup.walk((), path)
    except ModelError as failed:
        return str(failed)
    node = lookup.node(place)
    if directory and not isinstance(node, dict):
        return "ENOTDIR"
    letter = "d" if isinstance(node, dict) else "l" if isinstance(node, str) else "f"
    return f"{letter} /{'/'.join(place)}"


def expect_made(tree: Tree, path: str, kind: str, resolve: str = "root") -> str:
    """Return what making `path` must give; `tree` changes as the disk does, also where making fails."""
    directory = kind == "directory"
    found = expect(tree, path, directory, resolve=resolve)
    if found == "ENOENT" and path:
        try:
            Lookup(tree, resolve=resolve, make=kind).walk((), path)
        except ModelError as failed:
            return str(failed)
        found = expect(tree, path, directory, resolve=resolve)
    return "EISDIR" if kind == "file" and found.startswith("d ") else found


def build(tree: Tree, place: str) -> None:
    """Put a model on disk."""
    for name, node in tree.items():
        path = os.path.join(place, name)
        if isinstance(node, dict):
            os.mkdir(path)
            build(node, path)
        elif isinstance(node, str):
            os.symlink(node, path)
        else:
            Path(path).touch()


def read_back(place: str) -> Tree:
    """Read a model from disk."""
    tree: Tree = {}
    for entry in os.scandir(place):
        if entry.is_symlink():
            tree[entry.name] = os.readlink(entry.path)
        else:
            tree[entry.name] = read_back(entry.path) if entry.is_dir(follow_symlinks=False) else None
    return tree


PATHS = st.builds(
    lambda head, parts, tail: head + "/".join(parts) + tail,
    st.sampled_from(["", "", "/", "//"]),
    st.lists(st.sampled_from(["a", "b", "a", "b", "c", ".", "..", ""]), max_size=5),
    st.sampled_from(["", "", "", "/"]),
)
LINKS = PATHS.filter(bool)


def trees(depth: int) -> st.SearchStrategy[Tree]:
    """Return directories up to `depth` deep, rich in links, with few names, so that paths hit what exists."""
    if depth == 0:
        return st.just({})
    child: st.SearchStrategy[Node] = st.one_of(LINKS, st.none(), trees(depth - 1), trees(depth - 1))
    return st.fixed_dictionaries({"a": child, "b": child}, optional={"c": child})


TREES = trees(3)


def on_disk(tree: Tree) -> tempfile.TemporaryDirectory[str]:
    """Put a model into a directory of its own, which is named like nothing in the model."""
    directory = tempfile.TemporaryDirectory(prefix="rootfs-")
    build(tree, directory.name)
    return directory


# ---- lookups -----------------------------------------------------------------------------------------------

TABLE: Tree = {
    "bin": "usr/bin",
    "usr": {"bin": {"sh": None}, "lib": {}, "up": "../..", "abs": "/usr/bin", "slash": "bin/"},
    "file": None,
    "etc": {"passwd": None, "host": "../../../../../../etc/passwd"},
    "outside": "/../../../../../../../etc",
    "loop": "loop",
    "ping": "pong",
    "pong": "ping",
    "dangling": "nowhere/at/all",
    "to-root": "/",
    "to-file": "file",
    "file-slash": "file/",
    "dots": "././usr/./../usr/bin/.",
}
CASES = {
    "p usr/bin": "d /usr/bin",
    "p /usr/bin/sh": "f /usr/bin/sh",
    "p /": "d /",
    "p .": "d /",
    "p ..": "d /",
    "p ../../../..": "d /",
    "p /../../etc/passwd": "f /etc/passwd",
    "p etc/host": "f /etc/passwd",
    "p outside": "d /etc",
    "p outside/passwd": "f /etc/passwd",
    "p bin/sh": "f /usr/bin/sh",
    "pn bin": "l /bin",
    "pn bin/": "d /usr/bin",
    "pnd bin": "ENOTDIR",
    "n bin": "ELOOP",
    "pd bin/": "d /usr/bin",
    "pd file": "ENOTDIR",
    "p file/": "ENOTDIR",
    "p file/.": "ENOTDIR",
    "p file/..": "ENOTDIR",
    "p to-file/x": "ENOTDIR",
    "p to-file": "f /file",
    "p file-slash": "ENOTDIR",
    "p usr/slash": "d /usr/bin",
    "p usr/slash/sh": "f /usr/bin/sh",
    "p usr/up": "d /",
    "p usr/up/usr/abs/sh": "f /usr/bin/sh",
    "p to-root": "d /",
    "p to-root/to-root/to-root/file": "f /file",
    "p dots/sh": "f /usr/bin/sh",
    "p loop": "ELOOP",
    "pn loop": "l /loop",
    "p loop/x": "ELOOP",
    "p ping": "ELOOP",
    "p dangling": "ENOENT",
    "p missing": "ENOENT",
    "p missing/..": "ENOENT",
    "p usr//bin///sh": "f /usr/bin/sh",
    "r file": "f /file",
    "w bin/sh": "f /usr/bin/sh",
    "r usr/..": "d /",
    "w usr": "EISDIR",
    "p ": "ENOENT",
    "c new": "EINVAL",
    "wc file": "EINVAL",
    "p " + "n" * 255: "ENOENT",
    "p " + "n" * 256: "ENAMETOOLONG",
    "p " + "./" * 2047 + ".": "d /",
    "p " + "./" * 2048: "ENAMETOOLONG",
    "p " + "usr/../" * 500 + "file": "f /file",
}


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_lookups_end_inside_the_root_as_the_table_says(resolver: str, tmp_path: Path) -> None:
    """Each trick of links, dots and slashes ends inside the root, the same with and without openat2."""
    build(TABLE, str(tmp_path))
    steps = [word for case in CASES for word in ("open", *case.split(" ", 1))]
    results = run(tmp_path, "fallback", RESOLVERS[resolver], *steps)
    assert dict(zip(CASES, results, strict=True)) == CASES


REAL_CASES = {
    "p usr/bin": "d /usr/bin",
    "r usr/bin/sh": "f /usr/bin/sh",
    "w usr/../file": "f /file",
    "p .": "d /",
    "pn file": "f /file",
    "p bin": "ELOOP",
    "pn bin": "ELOOP",
    "p bin/sh": "ELOOP",
    "p usr/slash/": "ELOOP",
    "p ..": "EXDEV",
    "p usr/../..": "EXDEV",
    "p /usr": "EXDEV",
    "p missing": "ENOENT",
    "p file/x": "ENOTDIR",
    "wc new": "EINVAL",
}


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_real_lookups_follow_and_leave_nothing(resolver: str, tmp_path: Path) -> None:
    """A write to procfs arrives at the file that was named, or nowhere: CVE-2025-52881."""
    build(TABLE, str(tmp_path))
    steps = [word for case in REAL_CASES for word in ("beneath", *case.split(" ", 1))]
    results = run(tmp_path, "fallback", RESOLVERS[resolver], *steps)
    assert dict(zip(REAL_CASES, results, strict=True)) == REAL_CASES


@settings(max_examples=150)
@given(TREES, st.lists(st.tuples(st.sampled_from(["p", "pd", "pn", "pdn"]), PATHS), min_size=1, max_size=8))
def test_both_resolvers_agree_with_a_model_of_any_tree(tree: Tree, lookups: list[tuple[str, str]]) -> None:
    """No combination of links and dots makes the walk in user space differ from the kernel or the model."""
    steps = [word for flags, path in lookups for word in ("open", flags, path)]
    wanted = [expect(tree, path, "d" in flags, "n" in flags) for flags, path in lookups]
    with on_disk(tree) as root:
        results = run(root, *steps, "fallback", "1", *steps)
    assert results == wanted + wanted


@settings(max_examples=100)
@given(TREES, st.lists(PATHS, min_size=1, max_size=8))
def test_real_lookups_accept_no_symlink_in_any_tree(tree: Tree, paths: list[str]) -> None:
    """Writes to procfs and the mount of proc are never redirected: CVE-2019-19921, CVE-2025-52881."""
    steps = [word for path in paths for word in ("beneath", "p", path, "real", "0", path)]
    wanted = []
    for path in paths:
        wanted.append(expect(tree, path, False, resolve="beneath"))
        wanted.append(expect(tree, path, True, resolve="real"))
    with on_disk(tree) as root:
        results = run(root, *steps, "fallback", "1", *steps)
    assert results == wanted + wanted


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_forty_links_are_followed_and_forty_one_are_not(resolver: str, tmp_path: Path) -> None:
    """A chain of links costs a bounded number of steps, and the bound is the kernel's."""
    (tmp_path / "0").touch()
    for number in range(1, LINKS_MAX + 2):
        (tmp_path / str(number)).symlink_to(str(number - 1))
    assert run_one(tmp_path, resolver, "open", "p", "40") == "f /0"
    assert run_one(tmp_path, resolver, "open", "p", "41") == "ELOOP"


def test_the_walk_refuses_what_outgrows_its_buffers(tmp_path: Path) -> None:
    """A hostile tree can make the walk fail, but not overrun its stack of directories or its path."""
    deep = "/".join("d" * (DEPTH_MAX + 1))
    (tmp_path / deep).mkdir(parents=True)
    (tmp_path / "grow").symlink_to("grow/" + "x/" * 2000)
    assert run_one(tmp_path, "walk", "open", "p", deep + "/x") == "ENAMETOOLONG"
    assert run_one(tmp_path, "walk", "open", "p", deep) == f"d /{deep}"
    assert run_one(tmp_path, "walk", "open", "p", "/".join("d" * DEPTH_MAX) + "/.." * 200) == "d /"
    assert run_one(tmp_path, "walk", "open", "p", "grow") == "ENAMETOOLONG"
    assert run_one(tmp_path, "openat2", "open", "p", "grow") == "ELOOP"


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_magic_links_of_procfs_are_refused_and_plain_ones_followed(resolver: str) -> None:
    """A link such as /proc/self/root leads out of any root, whatever its text says: CVE-2024-21626."""
    for path in words("self/exe self/root self/root/etc self/cwd self/fd/0 self/ns/mnt thread-self/exe"):
        assert run_one("/proc", resolver, "open", "p", path) == "ELOOP", path
        assert run_one("/proc", resolver, "beneath", "p", path) == "ELOOP", path
    assert run_one("/proc", resolver, "open", "pn", "self/exe").startswith("l ")
    assert run_one("/proc", resolver, "open", "p", "self").startswith("d /")
    assert run_one("/proc", resolver, "open", "p", "mounts").startswith("f /")


def in_namespaces(*commands: str) -> tuple[str, ...]:
    """Return a wrapper that runs `commands` first, in new user and mount namespaces; or skip."""
    probe = subprocess.run(["unshare", "-Urm", "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"needs user namespaces: {probe.stderr.strip()}")
    return ("unshare", "-Urm", "sh", "-ec", "\n".join((*commands, 'exec "$@"')), "sh")


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_real_lookups_stay_on_their_mount(resolver: str, tmp_path: Path) -> None:
    """Something mounted over a file of procfs is noticed, even from the same file system: CVE-2025-52881."""
    assert run_one("/", resolver, "beneath", "r", "proc/version") == "EXDEV"
    for name in ("plain", "over", "dir", "over-dir"):
        (tmp_path / name).touch() if "dir" not in name else (tmp_path / name).mkdir()
    (tmp_path / "over-dir" / "file").touch()
    wrapper = in_namespaces(
        f"mount --bind {tmp_path}/plain {tmp_path}/over",
        f"mount --bind {tmp_path}/over-dir {tmp_path}/dir",
    )
    steps = words("beneath r plain  beneath w over  beneath r dir/file  open r dir/file")
    results = run(tmp_path, "fallback", RESOLVERS[resolver], *steps, wrapper=wrapper)
    assert results == ["f /plain", "EXDEV", "EXDEV", "f /dir/file"]


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_a_mount_that_forbids_symlinks_is_obeyed(resolver: str, tmp_path: Path) -> None:
    """The mount option nosymfollow binds the walk in user space as it binds the kernel."""
    wrapper = in_namespaces(
        f"mount -t tmpfs -o nosymfollow none {tmp_path}",
        f"touch {tmp_path}/file",
        f"ln -s file {tmp_path}/link",
    )
    steps = words("open p file  open p link  open pn link")
    results = run(tmp_path, "fallback", RESOLVERS[resolver], *steps, wrapper=wrapper)
    assert results == ["f /file", "ELOOP", "l /link"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EINVAL])
def test_where_openat2_may_not_be_used_the_walk_takes_over(number: int, tmp_path: Path) -> None:
    """Old kernels, seccomp filters and nspawn each have an errno of their own for a missing openat2."""
    build(TABLE, str(tmp_path))
    results = run(tmp_path, "inject", number, "open", "p", "bin/sh", "mkdir", "755", "new/directory", "calls")
    assert results == ["f /usr/bin/sh", "d /new/directory", "4"]


def test_other_errors_of_openat2_are_final(tmp_path: Path) -> None:
    """The walk is for a missing openat2, not a second chance where the first answer was no."""
    assert run(tmp_path, "inject", errno.EACCES, "open", "p", "/", "calls") == ["EACCES", "1"]


def test_a_lookup_that_is_always_disturbed_ends(tmp_path: Path) -> None:
    """openat2 says EAGAIN while renames go on elsewhere; nobody may hold a container for ever by renaming."""
    assert run(tmp_path, "inject", errno.EAGAIN, "open", "p", "/", "calls") == ["EAGAIN", str(TRIES)]


# ---- making things -----------------------------------------------------------------------------------------


@settings(max_examples=150)
@example({"a": None, "b": None}, [("file", "c/../a/")], "openat2")
@given(
    TREES,
    st.lists(st.tuples(st.sampled_from(["directory", "file", "real"]), PATHS), min_size=1, max_size=5),
    st.sampled_from(sorted(RESOLVERS)),
)
def test_missing_targets_are_made_where_the_model_says(
    tree: Tree, targets: list[tuple[str, str]], resolver: str
) -> None:
    """Dangling links are made good inside the root, and nothing else is made: CVE-2024-45310."""
    verbs = {"directory": ("mkdir", "755"), "file": ("mkfile", "644"), "real": ("real", "1")}
    modes = {"directory": ("directory", "root"), "file": ("file", "root"), "real": ("directory", "real")}
    steps = [word for kind, path in targets for word in (*verbs[kind], path)]
    with on_disk(tree) as root:
        before = read_back(root)
        wanted = [expect_made(before, path, *modes[kind]) for kind, path in targets]
        assert run(root, "fallback", RESOLVERS[resolver], *steps) == wanted
        assert read_back(root) == before


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_what_is_made_has_its_mode_and_what_exists_keeps_its_own(resolver: str, tmp_path: Path) -> None:
    """The umask of whoever called the runtime decides nothing inside a container."""
    (tmp_path / "kept").mkdir(mode=0o700)
    steps = words("umask 077  mkdir 1777 a/b  mkfile 640 c/d  mkdir 777 kept  mkfile 600 c/d")
    assert run(tmp_path, "fallback", RESOLVERS[resolver], *steps) == ["d /a/b", "f /c/d", "d /kept", "f /c/d"]
    wanted = {"a": 0o755, "a/b": 0o1777, "c": 0o755, "c/d": 0o640, "kept": 0o700}
    assert {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in wanted} == wanted


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_a_file_target_may_be_anything_but_a_directory(resolver: str, tmp_path: Path) -> None:
    """A bind mount goes onto a fifo or socket as well as onto a file; no writer is waited for."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/fifo")
    (tmp_path / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(tmp_path, os.O_PATH)
        server.bind(f"/proc/self/fd/{here}/socket")  # the path itself may be too long for an address
        os.close(here)
    steps = words("mkfile 644 link  mkfile 644 socket  mkfile 644 directory  mkfile 644 new/")
    wanted = ["p /fifo", "s /socket", "EISDIR", "EISDIR"]
    assert run(tmp_path, "fallback", RESOLVERS[resolver], *steps) == wanted
    assert not (tmp_path / "new").exists()


PARENTS = {
    "0 file": "d / file",
    "0 /file": "d / file",
    "0 bin/sh": "d /usr/bin sh",
    "0 /outside/x": "d /etc x",
    "0 loop": "d / loop",
    "0 usr/../../new": "d / new",
    "0 file/x": "ENOTDIR",
    "0 missing/x": "ENOENT",
    "1 missing/x": "d /missing x",
    "1 dangling/x": "d /nowhere/at/all x",
    "0 /": "EINVAL",
    "0 .": "EINVAL",
    "0 usr/..": "EINVAL",
    "0 usr/bin/": "EINVAL",
    "0 ": "ENOENT",
    "0 " + "n" * 256: "ENAMETOOLONG",
    "0 " + "./" * 2048 + "x": "ENAMETOOLONG",
}


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_a_parent_is_opened_and_the_last_name_left_alone(resolver: str, tmp_path: Path) -> None:
    """Nodes of /dev are made below a held directory, also where /dev is a link: CVE-2026-41579."""
    build(TABLE, str(tmp_path))
    steps = [word for case in PARENTS for word in ("parent", *case.split(" ", 1))]
    results = run(tmp_path, "fallback", RESOLVERS[resolver], *steps)
    assert dict(zip(PARENTS, results, strict=True)) == PARENTS


def test_file_systems_and_devices_are_told_by_what_they_are(tmp_path: Path) -> None:
    """A file named null is no device and a directory is no procfs: CVE-2025-31133, CVE-2019-16884."""
    (tmp_path / "null").touch()
    steps = ("filesystem", "9fa0", "/proc", "filesystem", "9fa0", tmp_path)
    devices = ("device", 1, 3, "/dev/null", "device", 1, 3, "/dev/zero", "device", 1, 3, tmp_path / "null")
    wanted = [0, errno.EXDEV, 0, errno.ENODEV, errno.ENODEV]
    assert run("/", *steps, *devices) == [str(number) for number in wanted]


# ---- races -------------------------------------------------------------------------------------------------

RACES = 3000


RACED = {
    "open": "swap/there",
    "real": "swap/there",
    "mkdir": "swap/new/one",
    "mkfile": "swap/new/one",
    "parent": "swap/new/one",
    "open last": "swap",
    "real last": "swap",
    "mkdir last": "swap",
}


@pytest.mark.parametrize("target", ["absolute", "../outside"])
@pytest.mark.parametrize("case", RACED)
@pytest.mark.parametrize("resolver", RESOLVERS)
def test_a_component_that_turns_into_a_link_leads_nowhere(
    resolver: str, case: str, target: str, tmp_path: Path
) -> None:
    """Who swaps a directory for a link to the host gains nothing: CVE-2021-30465, CVE-2024-45310."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "swap" / "there").mkdir(parents=True)
    outside.mkdir()
    (root / "link").symlink_to(str(outside) if target == "absolute" else target)
    verb = case.split(maxsplit=1)[0]
    result = run_one(root, resolver, "race", verb, RACED[case], root / "swap", root / "link", RACES)
    found, _, escaped = map(int, result.split())
    assert (found > 0, escaped) == (True, 0)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("verb", ["open", "mkfile"])
@pytest.mark.parametrize("resolver", RESOLVERS)
def test_a_directory_that_is_moved_out_during_the_lookup_takes_nobody_along(
    resolver: str, verb: str, tmp_path: Path
) -> None:
    """The step to ".." from a directory that has left the root does not arrive on the host."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "a" / "b" / "c").mkdir(parents=True)
    (outside / "b" / "c").mkdir(parents=True)
    (root / "a" / "file").touch()
    (outside / "file").touch()
    result = run_one(root, resolver, "race", verb, "a/b/c/../../file", root / "a" / "b", outside / "b", RACES)
    found, _, escaped = map(int, result.split())
    assert (found > 0, escaped) == (True, 0)


# ---- copy-up -----------------------------------------------------------------------------------------------


def describe(place: Path) -> dict[str, tuple[object, ...]]:
    """Return all of a tree that a copy has to keep."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(place.rglob("*")):
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        content: object = None
        if kind == stat.S_IFREG:
            content = path.read_bytes()
        elif kind == stat.S_IFLNK:
            content = os.readlink(path)
        attributes = (status.st_mode, status.st_uid, status.st_gid, status.st_rdev, status.st_mtime_ns)
        found[str(path.relative_to(place))] = (*attributes, content)
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree with one of each kind of entry that any user can make."""
    place = tmp_path / "source"
    (place / "empty").mkdir(parents=True)
    (place / "closed" / "inner").mkdir(parents=True)
    (place / "closed" / "inner" / "file").write_bytes(os.urandom(200_000))
    (place / "link").symlink_to("/etc/passwd")
    (place / "dangling").symlink_to("../nowhere")
    (place / "program").write_text("#!/bin/sh\n")
    (place / "program").chmod(0o6755)
    os.mkfifo(place / "fifo", 0o622)
    (place / "nothing").touch()
    for path in place.rglob("*"):
        os.utime(path, ns=(10**18, 10**18 + 123456789), follow_symlinks=False)
    (place / "closed").chmod(0o2555)
    os.utime(place / "closed", ns=(10**18, 10**18))
    return place


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """An empty directory to copy to."""
    (tmp_path / "dest").mkdir()
    return tmp_path / "dest"


@pytest.mark.parametrize("how", [(), ("nosendfile",)], ids=["sendfile", "read"])
def test_copy_up_keeps_content_modes_owners_times_and_links(
    how: tuple[str, ...], source: Path, dest: Path
) -> None:
    """With tmpcopyup a program finds its files as the image has them; symlinks are copied, never followed."""
    assert run("/", "umask", "077", *how, "copyup", source, dest) == ["0"]
    assert describe(dest) == describe(source)


def test_copy_up_fills_a_tmpfs(source: Path) -> None:
    """The real destination is a tmpfs, on another file system than the image."""
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("needs a tmpfs at /dev/shm")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as dest:
        assert run("/", "copyup", source, dest) == ["0"]
        assert describe(Path(dest)) == describe(source)


def test_copy_up_reads_on_after_each_of_many_directories(source: Path, dest: Path) -> None:
    """Directories larger than the read buffer, with children in between, are copied once and whole."""
    for number in range(400):
        (source / f"directory-{number}" / "child").mkdir(parents=True)
        (source / f"file-{number}").touch()
    assert run("/", "copyup", source, dest) == ["0"]
    assert describe(dest) == describe(source)


def test_copy_up_keeps_holes(tmp_path: Path, dest: Path) -> None:
    """A sparse log that claims a terabyte does not fill the memory."""
    (tmp_path / "source").mkdir()
    with (tmp_path / "source" / "sparse").open("wb") as file:
        file.write(b"head")
        file.seek(2**30)
        file.write(b"middle")
        file.truncate(2**40)
    assert run("/", "copyup", tmp_path / "source", dest) == ["0"]
    copy = dest / "sparse"
    assert (copy.stat().st_size, copy.stat().st_blocks < 4096) == (2**40, True)
    with copy.open("rb") as file:
        assert file.read(5) == b"head\0"
        file.seek(2**30)
        assert file.read(7) == b"middle\0"


def test_copy_up_gives_up_on_a_tree_that_is_too_deep(tmp_path: Path, dest: Path) -> None:
    """The stack of directories is bounded, and all of it is closed again on failure."""
    (tmp_path / "source" / "/".join("d" * (DEPTH_MAX - 1))).mkdir(parents=True)
    assert run("/", "copyup", tmp_path / "source", dest) == ["0"]
    (tmp_path / "source" / "/".join("d" * DEPTH_MAX)).mkdir()
    (tmp_path / "other").mkdir()
    assert run("/", "copyup", tmp_path / "source", tmp_path / "other") == ["ENAMETOOLONG"]


def test_copy_up_overwrites_nothing(source: Path, dest: Path) -> None:
    """A link that waits in the destination is no way to write elsewhere."""
    (dest / "nothing").symlink_to(source.parent / "victim")
    assert run("/", "copyup", source, dest) == ["EEXIST"]
    assert not (source.parent / "victim").exists()


def test_copy_up_leaves_extended_attributes_behind(source: Path, dest: Path) -> None:
    """File capabilities would outlive the owner they were given for."""
    try:
        os.setxattr(source / "program", "user.note", b"x")
    except OSError as error:
        pytest.skip(f"needs a file system with extended attributes: {error.strerror}")
    if os.geteuid() == 0:
        capabilities = bytes.fromhex("0100000200040000") + bytes(12)
        os.setxattr(source / "program", "security.capability", capabilities)
    assert run("/", "copyup", source, dest) == ["0"]
    assert os.listxattr(dest / "program") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a device and a file of another user")
def test_copy_up_tells_what_a_user_namespace_does_not_let_it_copy(source: Path, dest: Path) -> None:
    """In a user namespace devices are left out, and what cannot keep its owner is no longer set-user-id."""
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert run("/", "copyup", source, dest) == ["0"]
    assert describe(dest) == describe(source)
    os.chown(source / "program", 12345, 12345)
    (source / "program").chmod(0o6755)
    other = dest.parent / "other"
    other.mkdir()
    assert run("/", "copyup", source, other, wrapper=in_namespaces()) == ["2"]
    assert not (other / "null").exists()
    assert stat.S_IMODE((other / "program").stat().st_mode) == 0o755


# ---- the build ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["musl-gcc", "clang"])
def test_the_sources_build_without_a_warning(compiler: str, tmp_path: Path) -> None:
    """The program is shipped with musl, which has fewer headers; people build it with what they have."""
    strict = words("-Os -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla")
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    for source in C_FILES:
        command = [compiler, *C_FLAGS, *strict, "-c", str(source), "-o", str(tmp_path / "object.o")]
        subprocess.run(command, check=True)
