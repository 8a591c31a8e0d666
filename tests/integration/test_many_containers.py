"""Many containers at once, and one container in the hands of many processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from libcontainer import AlreadyExists, Container, ContainerBuilder, StateError
from libcontainer.state import Directory

from .conftest import YOUKI
from .holders import beside

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Bundle

AT_ONCE = 16


def test_containers_are_made_and_run_from_many_threads(bundle: Bundle) -> None:
    """A library lives in programs with threads: nothing that one creation does may disturb another."""
    bundles = [beside(bundle, f"box{number}") for number in range(AT_ONCE)]
    for number, one in enumerate(bundles):
        one.spec["hostname"] = f"box{number}"
        if number % 2:
            one.add_userns(host_id=100000 + 65536 * number)
    together = threading.Barrier(AT_ONCE)

    def live(number: int) -> tuple[int | None, str]:
        together.wait(30)
        result = bundles[number].sh(f"hostname; exit {number}")
        return result.status.code, result.stdout

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(live, range(AT_ONCE)))

    assert found == [(number, f"box{number}\n") for number in range(AT_ONCE)]
    assert Container.list(bundle.root) == []


def test_threads_leave_no_descriptor_and_no_child(bundle: Bundle) -> None:
    """A program that makes containers for months must not run out of descriptors or fill up with zombies."""
    bundles = [beside(bundle, f"box{number}") for number in range(4)]
    bundle.run("true")
    before = len(os.listdir("/proc/self/fd"))
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert {result.status.code for result in pool.map(lambda one: one.run("true"), bundles)} == {0}

    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_one_of_many_threads_gets_the_id(bundle: Bundle) -> None:
    """An id names one container, however close the calls are."""
    bundle.process["args"] = ["sleep", "1000"]
    bundle.save()
    together = threading.Barrier(AT_ONCE)

    def create(_: int) -> object:
        builder = ContainerBuilder(bundle.id).with_root_path(bundle.root).as_init(bundle.path)
        together.wait(30)
        try:
            return builder.build()
        except AlreadyExists:
            return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        made = [container for container in pool.map(create, range(AT_ONCE)) if container is not None]

    assert len(made) == 1
    assert isinstance(made[0], Container)
    assert made[0].status == "created"
    made[0].close()


def test_one_of_many_processes_gets_the_id(bundle: Bundle) -> None:
    """The same between programs that know nothing of each other."""
    bundle.process["args"] = ["sleep", "1000"]
    bundle.save()
    command = [str(YOUKI), "--root", str(bundle.root), "create", "-b", str(bundle.path), bundle.id]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    errors = [bundle.path / f"error{number}" for number in range(8)]
    started = []
    for path in errors:
        with path.open("w") as file:
            started.append(subprocess.Popen(command, stderr=file, **quiet))
    codes = [process.wait(60) for process in started]

    assert sorted(codes) == [0] + [1] * 7
    for code, path in zip(codes, errors, strict=True):
        assert code == 0 or "already exists" in path.read_text()
    assert Container.load(bundle.root, bundle.id).status == "created"


def test_container_goes_from_process_to_process(bundle: Bundle) -> None:
    """No process has to stay: one creates and ends, a second starts, a third waits, a fourth deletes."""
    bundle.process["args"] = ["sleep", "1000"]
    bundle.save()
    names = f"{bundle.id!r}, {str(bundle.root)!r}, {str(bundle.path)!r}"
    head = f"from libcontainer import Container, ContainerBuilder; name, root, bundle = {names}; "
    load = "container = Container.load(root, name); "
    steps = [
        "ContainerBuilder(name).with_root_path(root).as_init(bundle).build()",
        load + "assert container.status == 'created'; container.start()",
        load + "assert container.status == 'running'; container.kill('KILL'); container.wait(30)",
        load + "assert container.status == 'stopped'; container.delete()",
    ]
    for step in steps:
        done = subprocess.run(
            [sys.executable, "-c", head + step], stdin=subprocess.DEVNULL, timeout=60, check=False
        )
        assert done.returncode == 0, step

    assert Container.list(bundle.root) == []


def test_creator_in_a_session_of_its_own_may_end(bundle: Bundle) -> None:
    """The end of a terminal session (SIGHUP to its process group) does not reach the container."""
    bundle.process["args"] = ["sleep", "1000"]
    bundle.save()
    command = [str(YOUKI), "--root", str(bundle.root), "run", "-d", "-b", str(bundle.path), bundle.id]
    process = subprocess.Popen(
        command, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.wait(60) == 0
    container = Container.load(bundle.root, bundle.id)

    assert container.status == "running"
    assert os.getsid(container.pid or 0) != process.pid


def test_records_are_below_the_root_that_the_caller_names(bundle: Bundle, tmp_path: Path) -> None:
    """with_root_path: directories that are missing are made, closed to others at every level."""
    bundle.root = tmp_path / "one" / "two"
    with bundle.build("true") as container:
        assert json.loads((bundle.root / bundle.id / "state.json").read_text())["pid"] == container.pid
        modes = [
            path.stat().st_mode & 0o7777 for path in (tmp_path / "one", bundle.root, bundle.root / bundle.id)
        ]
    assert modes == [0o700, 0o700, 0o700]


@pytest.mark.parametrize("variables", [{}, {"XDG_RUNTIME_DIR": "/run/user/0", "HOME": "/root"}])
@pytest.mark.usefixtures("bundle")
def test_records_of_root_are_in_run_whatever_its_environment(variables: dict[str, str]) -> None:
    """sudo and su leave variables behind that must not part root's containers into two places."""
    script = "from libcontainer.state import default_root; print(default_root())"
    done = subprocess.run(
        [sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True
    )

    assert done.stdout == "/run/youki\n"


def test_left_over_of_an_interrupted_create_is_recognised(bundle: Bundle) -> None:
    """The error names the command that clears it away, and only where nobody is at work."""
    with Directory.create(str(bundle.root), bundle.id) as directory:
        directory.write_record("intent.json", {"cgroup": None})
        with pytest.raises(AlreadyExists) as busy:
            Directory.create(str(bundle.root), bundle.id)
    with pytest.raises(AlreadyExists) as left:
        Directory.create(str(bundle.root), bundle.id)

    assert "interrupted create" not in str(busy.value)
    assert "youki delete --force" in (left.value.remedy or "")
    Container.load(bundle.root, bundle.id).delete(force=True)


def test_creation_waits_for_a_command_that_looks_at_its_directory(bundle: Bundle) -> None:
    """Another create of the same id takes the lock for a moment to see whether there is a left-over."""
    made: list[object] = []

    def create() -> None:
        try:
            made.append(Directory.create(str(bundle.root), bundle.id))
        except StateError as error:
            made.append(error)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    winners = [item for item in made if isinstance(item, Directory)]

    assert len(winners) == 1
    assert all(isinstance(item, (Directory, AlreadyExists)) for item in made)
    winners[0].remove()
