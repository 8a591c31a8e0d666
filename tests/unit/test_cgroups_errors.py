"""The error tree of libcgroups, its drawing, and what importing costs."""

from __future__ import annotations

import errno
import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import libcgroups
from libcgroups import errors

SOURCE = str(Path(__file__).parents[2] / "src")
HEAVY = {
    *("typing", "re", "json", "enum", "dataclasses", "pathlib", "subprocess", "socket", "signal", "logging"),
    *("argparse", "shutil", "tempfile", "contextlib", "collections", "functools", "asyncio", "ctypes"),
    *("datetime", "importlib"),
}


def test_the_drawing_shows_every_error() -> None:
    """Who reads the module's first lines knows the whole tree."""
    drawing = (errors.__doc__ or "").split("An error is data")[0]
    drawn = {line.strip("│├└─ ").split(" ")[0] for line in drawing.splitlines()[1:]} - {""}

    assert drawn == {kind.__name__ for kind in vars(errors).values() if isinstance(kind, type)}


def test_an_error_survives_pickling_with_its_data() -> None:
    """Errors cross process boundaries in programs that use a pool."""
    error = errors.InUse(
        "in use", path="/a", value="1", errno=16, syscall="rmdir", remedy="wait", pointer="/x"
    )

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is errors.InUse
    assert vars(copy) == vars(error)
    assert str(copy) == "in use – wait"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, errors.NotPermitted),
        (errno.EROFS, errors.NotPermitted),
        (errno.EBUSY, errors.CgroupError),
    ],
)
def test_a_failed_write_says_what_where_why_and_what_to_do(number: int, kind: type[errors.Error]) -> None:
    """The path, the value and the errno in words are what a person needs first."""
    error = errors.from_os(OSError(number, "x"), "write", "/c/cgroup.procs", "12", "/pids")

    assert type(error) is kind
    assert (error.path, error.value, error.errno, error.syscall) == ("/c/cgroup.procs", "12", number, "write")
    assert errno.errorcode[number] in error.message
    assert error.remedy


def test_every_public_name_is_there() -> None:
    """`__all__` is the promise; each name in it resolves, and unknown ones fail as usual."""
    assert libcgroups.__all__ == [
        *("CgroupError", "Error", "Hierarchy", "InUse", "InvalidArgument", "Manager", "NotPermitted"),
        *("Notifications", "Oom", "Setup", "Stats", "Timeout", "Unsupported", "detect", "new"),
    ]
    assert set(libcgroups.__all__) <= set(dir(libcgroups))
    for name in libcgroups.__all__:
        assert getattr(libcgroups, name) is not None
    with pytest.raises(AttributeError):
        _ = libcgroups.nothing


def test_importing_the_package_loads_no_more_than_its_errors() -> None:
    """Who only wants to catch an error pays for nothing else, and nothing is read from the host."""
    program = (
        f"import sys; sys.path.insert(0, {SOURCE!r}); import libcgroups\n"
        "print(*sorted(name for name in sys.modules if name.startswith('libcgroups')))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["libcgroups", "libcgroups.errors"]


# A look at one file or at what is known already needs no thread; the rest is the life of a container's runtime.
WITHOUT_TWIN = {
    *(
        "check",
        "cgroup_of",
        "device_program",
        "exists",
        "from_state",
        "frozen",
        "open_fd",
        "plan_state",
        "populated",
    ),
    *("primary", "refuse_own_cgroup", "thaw_for_kill", "unified"),
}


def test_everything_that_blocks_has_an_awaitable_twin() -> None:
    """A method that is new in one and forgotten in the other would block somebody's loop."""
    from libcgroups import aio

    blocking = {name for name in vars(libcgroups.Manager) if not name.startswith("_")}
    assert {name for name in vars(aio.Manager) if not name.startswith("_")} == blocking - WITHOUT_TWIN
    for name in ("apply", "kill_all", "remove", "processes", "stall_events"):
        ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (aio.Manager, libcgroups.Manager))
        assert list(ours.parameters) == list(theirs.parameters), name


def test_the_hot_path_imports_nothing_heavy() -> None:
    """Each `youki state` would pay for it; also the modules of controllers wait until they are needed."""
    program = (
        f"import sys; sys.path.insert(0, {SOURCE!r}); before = set(sys.modules)\n"
        "import libcgroups.host, libcgroups.factory, libcgroups.kill\n"
        "import libcgroups.v1.manager, libcgroups.v2.manager\n"
        "print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()

    assert not set(loaded) & HEAVY
    assert not [
        name for name in loaded if name.rpartition(".")[2] in ("cpulist", "resources", "memory", "devices")
    ]
