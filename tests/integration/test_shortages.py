"""Something runs out in the middle: descriptors, room for records. The error says so, and nothing is left."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from libcgroups import factory
from libcontainer import DEVNULL, PIPE, Container, Error, HookError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Bundle

QUIET = {"stdin": DEVNULL, "stdout": DEVNULL, "stderr": DEVNULL}


@contextmanager
def descriptors(numbers: int) -> Iterator[None]:
    """Limit the numbers of descriptors in this process."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (numbers, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.fixture
def all_taken() -> Iterator[int]:
    """Return the number from which on all are free."""
    held = [int(fd) for fd in os.listdir("/proc/self/fd")]
    fillers = [os.dup(0) for _ in range(max(held) + 1 - len(held))]
    yield max(*held, *fillers, 0) + 1
    for fd in fillers:
        os.close(fd)


def no_child_is_left() -> bool:
    """Tell whether this process has no child, dead or alive."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


@pytest.mark.parametrize("kind", ["plain", "userns", "pipes", "hooks", "idmap"])
def test_life_of_a_container_without_descriptors_left(
    bundle: Bundle, tmp_path: Path, all_taken: int, kind: str
) -> None:
    """A long-lived program may run out of them at any time: with each number that suffices a little longer."""
    pipe = PIPE if kind == "pipes" else None
    if kind == "userns":
        bundle.add_userns()
    elif kind == "hooks":
        hook = [{"path": "/bin/true", "timeout": 10}]
        bundle.spec["hooks"] = {"createRuntime": hook, "poststart": hook, "poststop": hook}
    elif kind == "idmap":
        mapping = [{"containerID": 0, "hostID": 1000, "size": 1}]
        bundle.mount("/mnt", str(tmp_path), "bind", "bind", uidMappings=mapping, gidMappings=mapping)
    bundle.run("true")  # what is made once and kept is there now
    before = os.listdir("/proc/self/fd")
    refused = []
    for free in range(100):
        try:
            with descriptors(all_taken + free), bundle.build("true", stdin=pipe, stdout=pipe) as container:
                container.start()
                container.wait()
            break
        except Error as error:
            refused.append(error)
        assert Container.list(bundle.root) == []
        assert no_child_is_left()

    assert os.listdir("/proc/self/fd") == before
    assert len(refused) > 3
    assert {error.errno for error in refused} == {errno.EMFILE}
    assert all("ulimit -n" in str(error) for error in refused)


def test_tenant_without_descriptors_left(bundle: Bundle, all_taken: int) -> None:
    """So may one that runs commands in a container."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        container.exec(["true"], **QUIET).wait()
        before, children = os.listdir("/proc/self/fd"), len(container.processes())
        refused = []
        for free in range(100):
            try:
                with descriptors(all_taken + free):
                    process = container.exec(["true"], **QUIET)
                break
            except Error as error:
                refused.append(error)
            assert len(container.processes()) == children
        assert process.wait().code == 0
        process.close()

        assert os.listdir("/proc/self/fd") == before
        assert len(refused) > 3
        assert {error.errno for error in refused} == {errno.EMFILE}
        assert all("ulimit -n" in str(error) for error in refused)


@pytest.mark.parametrize("unit", ["nr_inodes={}", "size={}k"])
def test_create_without_room_for_its_records(bundle: Bundle, tmp_path: Path, unit: str) -> None:
    """Whichever file it is that finds no room."""
    small = tmp_path / "small"
    small.mkdir()
    bundle.root = small
    refused = []
    for amount in range(1, 100):
        options = f"mode=755,{unit.format(amount if 'inodes' in unit else 4 * amount)}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "records", small], check=True)
        try:
            with bundle.build() as container:
                assert container.status == "created"
            break
        except Error as error:
            refused.append(error)
        finally:
            left = os.listdir(small)
            subprocess.run(["umount", small], check=True)
        assert left == []
        assert no_child_is_left()

    assert len(refused) > 1
    assert {error.errno for error in refused} == {errno.ENOSPC}
    assert all("root" in str(error) for error in refused)


def test_cgroup_that_cannot_be_removed_stays_on_record(bundle: Bundle) -> None:
    """A create that fails and cannot clean up after it leaves its container to `delete --force`."""
    cgroup = factory.new(None, container_id=bundle.id).cgroups[0].directory
    in_the_way = f"mount -t tmpfs in-the-way {cgroup}; exit 7"
    bundle.spec["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", in_the_way]}]}
    try:
        with pytest.raises(HookError, match="7") as caught:
            bundle.build("true")
    finally:
        subprocess.run(["umount", cgroup], check=True)
    left = Container.load(bundle.root, bundle.id)

    assert any(cgroup in note for note in caught.value.__notes__)
    assert left.status == "creating"
    assert no_child_is_left()
    left.delete(force=True)
    assert Container.list(bundle.root) == []
