"""The life of a container: runtime.md "Lifecycle", through the library."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from libcontainer import (
    AlreadyExists,
    CgroupError,
    Container,
    ContainerBuilder,
    ExecError,
    HookError,
    InvalidArgument,
    NotFound,
    StateError,
    Timeout,
)
from libcontainer.spec.load import load, load_shared

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Bundle


def test_container_goes_through_the_states_of_the_specification(bundle: Bundle) -> None:
    """created, running, stopped, gone: each is told by the facts, also to another handle."""
    container = bundle.build("sleep", "1000")
    other = Container.load(bundle.root, bundle.id)

    assert (container.status, other.status) == ("created", "created")
    container.start()
    assert (container.status, other.status) == ("running", "running")
    other.kill("KILL")
    assert container.wait(10).signal == 9
    assert (container.status, other.status) == ("stopped", "stopped")
    other.delete()
    with pytest.raises(NotFound, match="does not exist"):
        Container.load(bundle.root, bundle.id)


def test_exit_status_of_the_payload_is_returned(bundle: Bundle) -> None:
    """What the payload ends with reaches the caller unchanged."""
    result = bundle.sh("exit 7")

    assert (result.status.code, result.status.returncode) == (7, 7)


def test_payload_writes_to_the_callers_stdout(bundle: Bundle) -> None:
    """Standard streams that the caller gives are the payload's."""
    assert bundle.run("echo", "hello").stdout == "hello\n"


def test_taken_id_is_refused_and_the_first_container_goes_on(bundle: Bundle) -> None:
    """An id names one container; a second create must not disturb the first."""
    with bundle.build("sleep", "1000") as first:
        first.start()
        with pytest.raises(AlreadyExists):
            bundle.build("true")
        assert first.status == "running"


def test_missing_program_fails_create_and_leaves_nothing(bundle: Bundle) -> None:
    """create, not start, tells that the payload cannot be executed (features of runc that engines rely on)."""
    with pytest.raises(ExecError, match="no such file or directory") as caught:
        bundle.build("/no/such/program")

    assert caught.value.pointer == "/process/args/0"
    assert Container.list(bundle.root) == []


def test_running_container_is_deleted_by_force_only(bundle: Bundle) -> None:
    """runtime.md: delete of a container that is not stopped is an error."""
    container = bundle.build("sleep", "1000")
    container.start()
    with pytest.raises(StateError, match="not stopped"):
        container.delete()
    container.delete(force=True)
    assert not os.path.exists(f"/proc/{container._record['pid']}")


def test_wait_gives_up_after_its_timeout_and_the_container_goes_on(bundle: Bundle) -> None:
    """A timeout of ours is not the end of the workload."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        with pytest.raises(Timeout):
            container.wait(0.01)
        assert container.status == "running"


def test_second_start_is_refused(bundle: Bundle) -> None:
    """runtime.md: start of a container that is not created is an error."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        with pytest.raises(StateError, match="already running"):
            container.start()


def test_start_of_a_frozen_container_says_that_it_is_paused(bundle: Bundle) -> None:
    """A frozen init cannot answer; start must not wait for it for ever."""
    from libcgroups.manager import Manager

    with bundle.build("sleep", "1000") as container:
        manager = Manager.from_state(container._record["cgroup"])
        manager.freeze()
        try:
            with pytest.raises(StateError, match="paused"):
                container.start()
        finally:
            manager.thaw()


def test_another_bundle_can_be_chosen_before_the_build(bundle: Bundle) -> None:
    """with_bundle replaces what as_init was given."""
    bundle.save()
    builder = bundle.builder().as_init("/no/such/bundle").with_bundle(bundle.path)
    with builder.build() as container:
        assert container.bundle == str(bundle.path)


@pytest.mark.parametrize("place", ["absent/pid", "directory"])
def test_pid_file_that_cannot_be_written_leaves_nothing(bundle: Bundle, tmp_path: Path, place: str) -> None:
    """Neither a container nor a temporary file, and what was at the path stays."""
    (tmp_path / "directory").mkdir()
    bundle.save()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InvalidArgument, match=r"cannot write the pid file .* – name a file"):
        bundle.builder().with_pid_file(tmp_path / place).as_init(bundle.path).build()

    assert Container.list(bundle.root) == []
    assert sorted(path for path in tmp_path.iterdir() if path != bundle.root) == before


def test_pid_file_of_another_program_survives_a_failed_create(bundle: Bundle, tmp_path: Path) -> None:
    """It was not written, so it is not removed."""
    (tmp_path / "pid").write_text("1234")
    bundle.save()
    builder = bundle.builder().with_pid_file(tmp_path / "pid").as_init(bundle.path)
    with pytest.raises(InvalidArgument, match=r"the pidfd socket .* is not a socket"):
        builder.with_pidfd_socket(bundle.path / "config.json").build()
    assert not (tmp_path / "pid").exists()
    (tmp_path / "pid").write_text("1234")
    bundle.process["args"] = ["/not/there"]
    bundle.save()
    with pytest.raises(ExecError, match="/not/there"):
        bundle.builder().with_pid_file(tmp_path / "pid").as_init(bundle.path).build()
    assert (tmp_path / "pid").read_text() == "1234"


def test_limit_that_nobody_knows_is_named_once(bundle: Bundle) -> None:
    """The pointer stands in front of the sentence and not in it again."""
    bundle.linux["resources"] = {"memory": {"limits": 1}}
    with pytest.raises(CgroupError, match=r"^config.json /linux/resources/memory/limits: found 'limits'"):
        bundle.build()


def test_program_that_is_a_directory(bundle: Bundle) -> None:
    """Engines look for "permission denied", a person for what to do."""
    with pytest.raises(ExecError, match='"/etc": is a directory: permission denied – name a program'):
        bundle.build("/etc")


def test_hook_that_fails_without_a_word(bundle: Bundle) -> None:
    """Then all that is known is its status, and how to look."""
    bundle.spec["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    with pytest.raises(HookError, match="exit status 1 – it wrote nothing: run it by hand"):
        bundle.build()


def test_many_containers_of_one_configuration_are_each_by_themselves(bundle: Bundle) -> None:
    """What they share is compiled once; names, cgroups and limits are their own, and nothing of them changes what
    is shared.
    """
    bundle.linux["resources"] = {"pids": {"limit": 50}}
    bundle.process["args"] = ["sleep", "1000"]
    bundle.save()
    before = load(str(bundle.path))[0]
    with ExitStack() as stack:
        made = []
        for number in range(5):
            builder = ContainerBuilder(f"{bundle.id}-{number}").with_root_path(bundle.root)
            made.append(stack.enter_context(builder.as_init(bundle.path).build()))
        for container in made:
            container.start()
        cgroups = [container._manager().paths for container in made]
        assert len({path for paths in cgroups for path in paths.values()}) == 5 * len(
            set(cgroups[0].values())
        )
        for container in made:
            assert container.processes() == [container.pid]
        made[0].update({"pids": {"limit": 60}})
        made[1].kill("KILL")
        assert [container.status for container in made[1:]].count("running") >= 3
        assert load_shared(str(bundle.path))[0] == before
    assert Container.list(bundle.root) == []
