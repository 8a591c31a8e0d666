"""A process id in an old record that by now is somebody else's: runc#1934 and crun#1200 killed strangers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import Container, Error
from libcontainer.state import Directory, start_time

from ..integration.conftest import Bundle
from .hostile import until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the host that has nothing to do with any container."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def edit(bundle: Bundle, **values: Any) -> None:
    """Change the record of the bundle's container."""
    with Directory.open(str(bundle.root), bundle.id) as directory:
        record = directory.read_record("state.json")
        assert record is not None
        directory.write_record("state.json", {**record, **values})


def stranger_is_untouched(bundle: Bundle, stranger: subprocess.Popen[bytes]) -> None:
    """Do everything to the container that sends signals."""
    found = Container.load(bundle.root, bundle.id)
    assert found.status == "stopped"
    assert found.pid is None
    for signal in ("TERM", "KILL"):
        with pytest.raises(Error):
            found.kill(signal)
    found.delete()
    assert stranger.poll() is None


@pytest.mark.parametrize("field", ["startTime", "bootId"])
def test_stranger_with_the_recorded_number_is_never_signalled(
    bundle: Bundle, stranger: subprocess.Popen[bytes], field: str
) -> None:
    """The number alone names nobody: the start time must be the same, and the boot of the machine."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        container.kill("KILL")
        container.wait(20)
        found = start_time(stranger.pid)
        assert found is not None
        values: dict[str, Any] = {"pid": stranger.pid, "startTime": found[1]}
        values[field] = found[1] - 1 if field == "startTime" else "00000000-0000-0000-0000-000000000000"
        edit(bundle, **values)
        stranger_is_untouched(bundle, stranger)


def test_forced_delete_of_an_old_record_kills_nobody(
    bundle: Bundle, stranger: subprocess.Popen[bytes]
) -> None:
    """`--force` means "although it runs", not "whoever it is"."""
    with bundle.build("sleep", "1000") as container:
        container.start()
        container.kill("KILL")
        container.wait(20)
        found = start_time(stranger.pid)
        assert found is not None
        edit(bundle, pid=stranger.pid, startTime=found[1] - 1)
        Container.load(bundle.root, bundle.id).delete(force=True)
    assert stranger.poll() is None


@pytest.mark.parametrize("name", ["x) R 1 1 1", "a b) Z 0 (", "))))))"])
def test_name_of_the_payload_does_not_confuse_its_record(bundle: Bundle, name: str) -> None:
    """proc_pid_stat(5) holds the name, which the payload chooses: it may look like more fields."""
    script = f"echo '{name}' > /proc/$$/comm; sleep 1000; true"
    with bundle.build("/bin/sh", "-c", script) as container:
        container.start()
        until(
            lambda: Path(f"/proc/{container.pid}/comm").read_text().strip() == name[:15],
            "the name was not taken",
        )
        assert container.status == "running"
        assert os.path.exists(f"/proc/{container.pid}")
