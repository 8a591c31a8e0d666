"""Compiled filters on disk: what is kept, what is believed, and that nothing fails for want of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import state
from libcontainer.errors import Unsupported
from libcontainer.seccomp import cache, libseccomp

if TYPE_CHECKING:
    from collections.abc import Callable

PROFILE: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 13,
    "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": []}],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root directory; libseccomp is there."""
    try:
        libseccomp.library()
    except Unsupported:
        pytest.skip("needs libseccomp (Debian: libseccomp2)")
    return tmp_path / "root"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The profiles that were really compiled."""
    seen: list[dict[str, Any]] = []
    build = libseccomp.build

    def watched(seccomp: dict[str, Any]) -> bytes:
        seen.append(seccomp)
        return build(seccomp)

    monkeypatch.setattr(libseccomp, "build", watched)
    return seen


def entries(root: Path) -> list[Path]:
    return sorted((root / cache.DIRECTORY).iterdir())


def test_program_is_built_once(root: Path, built: list[dict[str, Any]]) -> None:
    """By whichever handle; it is the same program."""
    first = cache.Cache(str(root)).program(PROFILE)
    again = cache.Cache(str(root)).program(PROFILE)

    assert first == again != b""
    assert len(built) == 1
    assert len(entries(root)) == 1


def test_cache_is_private_and_no_container(root: Path) -> None:
    """Its name can be no container's id, and `list` does not show it."""
    cache.Cache(str(root)).program(PROFILE)

    assert (root / cache.DIRECTORY).stat().st_mode & 0o777 == 0o700
    assert entries(root)[0].stat().st_mode & 0o777 == 0o600
    assert state.list_ids(str(root)) == []
    with pytest.raises(ValueError, match="invalid container id"):
        state.validate_id(cache.DIRECTORY)


def test_without_a_root_nothing_is_kept(root: Path, built: list[dict[str, Any]]) -> None:
    """`explain` shows a plan and leaves no trace."""
    cache.Cache().program(PROFILE)
    cache.Cache().program(PROFILE)

    assert len(built) == 2
    assert not root.exists()


@pytest.mark.parametrize(
    "other",
    [
        {"defaultErrnoRet": 14},
        {"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": None},
        {"architectures": ["SCMP_ARCH_X86"]},
        {"syscalls": PROFILE["syscalls"] * 2},
        {"syscalls": [PROFILE["syscalls"][0] | {"names": ["write", "read"]}]},
        {"syscalls": []},
    ],
)
def test_another_profile_has_another_entry(other: dict[str, Any]) -> None:
    """Whatever decides about the program is part of the key."""
    assert cache.key(PROFILE | other) != cache.key(PROFILE)


def test_what_does_not_decide_about_the_program_is_no_part_of_the_key() -> None:
    """Flags and the agent differ between containers of one profile, and so may the order of members."""
    same = dict(reversed(PROFILE.items()))
    same |= {"flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/x", "listenerMetadata": "container 1"}

    assert cache.key(same) == cache.key(PROFILE)


def shorten(entry: Path) -> None:
    entry.write_bytes(entry.read_bytes()[:-8])


def flip_a_bit(entry: Path) -> None:
    data = bytearray(entry.read_bytes())
    data[-1] ^= 1
    entry.write_bytes(data)


def empty(entry: Path) -> None:
    entry.write_bytes(b"")


def open_to_others(entry: Path) -> None:
    entry.chmod(0o644)


def replace_by_another(entry: Path) -> None:
    """The program of another profile, under this one's name."""
    other = {**PROFILE, "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": None}
    cache.Cache(str(entry.parents[1])).program(other)
    (entry.parent / cache.key(other)).rename(entry)


def replace_by_a_link(entry: Path) -> None:
    entry.rename(entry.parent.parent / "elsewhere")
    entry.symlink_to("../elsewhere")


def replace_by_a_fifo(entry: Path) -> None:
    entry.unlink()
    os.mkfifo(entry, 0o600)


@pytest.mark.parametrize(
    "spoil",
    [shorten, flip_a_bit, empty, open_to_others, replace_by_another, replace_by_a_link, replace_by_a_fifo],
)
def test_an_entry_that_is_not_ours_and_whole_is_built_anew(
    root: Path, built: list[dict[str, Any]], spoil: Callable[[Path], None]
) -> None:
    """A filter that lets everything through must not come from a file that somebody else could write."""
    first = cache.Cache(str(root)).program(PROFILE)
    (entry,) = entries(root)
    spoil(entry)
    built.clear()

    assert cache.Cache(str(root)).program(PROFILE) == first
    assert cache.Cache(str(root)).program(PROFILE) == first
    assert len(built) == 1, "and is then good again"


@pytest.mark.usefixtures("root")
def test_an_entry_of_another_owner_is_built_anew(root: Path, built: list[dict[str, Any]]) -> None:
    """Only root could give it away; nobody else's is believed."""
    if os.geteuid() != 0:
        pytest.skip("needs root to give a file away")
    first = cache.Cache(str(root)).program(PROFILE)
    os.chown(entries(root)[0], 4711, 4711)
    built.clear()

    assert cache.Cache(str(root)).program(PROFILE) == first
    assert len(built) == 1


def test_a_directory_that_others_may_write_to_is_not_used(root: Path, built: list[dict[str, Any]]) -> None:
    """Nothing is read from it and nothing written to it, and containers run all the same."""
    (root / cache.DIRECTORY).mkdir(parents=True)
    (root / cache.DIRECTORY).chmod(0o777)

    cache.Cache(str(root)).program(PROFILE)
    cache.Cache(str(root)).program(PROFILE)

    assert len(built) == 2
    assert entries(root) == []


def test_a_newer_library_builds_anew_and_a_missing_one_does_no_harm(
    root: Path, built: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library that built an entry is known by its inode, size and time."""
    library = tmp_path / "libseccomp.so.2"
    library.write_bytes(b"one")
    monkeypatch.setattr(libseccomp, "path", lambda: str(library))
    kept = cache.Cache(str(root))
    kept.program(PROFILE)
    kept.program(PROFILE)
    assert len(built) == 1

    library.write_bytes(b"another")
    kept.program(PROFILE)
    kept.program(PROFILE)
    assert len(built) == 2

    library.unlink()
    kept.program(PROFILE)
    assert len(built) == 2


def test_the_cache_does_not_grow_without_bound(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go; the newest stay."""
    monkeypatch.setattr(cache, "MOST", 3)
    profiles = [PROFILE | {"defaultErrnoRet": number} for number in range(2, 9)]
    for number, item in enumerate(profiles):
        cache.Cache(str(root)).program(item)
        os.utime(root / cache.DIRECTORY / cache.key(item), ns=(number, number))

    assert {entry.name for entry in entries(root)} == {cache.key(item) for item in profiles[-3:]}


def test_a_repeated_profile_loads_neither_ctypes_nor_the_library(root: Path) -> None:
    """That is what the cache is for: 10 ms."""
    cache.Cache(str(root)).program(PROFILE)
    code = (
        "import sys\n"
        "from libcontainer.seccomp import cache\n"
        f"assert cache.Cache({str(root)!r}).program({PROFILE!r})\n"
        "print(*[name for name in ('ctypes', 'hashlib', 'json', 're', 'libcontainer.seccomp.libseccomp')"
        " if name in sys.modules])\n"
        "print('libseccomp' in open('/proc/self/maps').read())\n"
    )

    done = subprocess.run(
        [sys.executable, "-S", "-c", code], text=True, capture_output=True, check=True, env=paths()
    )

    assert done.stdout.splitlines() == ["", "False"]


def paths() -> dict[str, str]:
    """Let the package be found without the site module, which may import much by itself."""
    return {"PYTHONPATH": str(Path(cache.__file__).parents[2])}
