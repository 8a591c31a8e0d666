"""What the attacks share: the bundle of the integration tests, and the attacker's program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ..integration.boxes import HostDirectory, host_directory
from ..integration.conftest import Bundle, bundle

__all__ = ["Bundle", "HostDirectory", "attacker", "bundle", "host", "victim"]


@pytest.fixture(scope="session")
def attacker_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile attacker.c, statically, and return the program."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    program = tmp_path_factory.mktemp("attacker") / "attacker"
    source = Path(__file__).with_name("attacker.c")
    subprocess.run(["cc", "-static", "-Os", "-Wall", "-o", str(program), str(source)], check=True)
    return program


@pytest.fixture
def attacker(bundle: Bundle, attacker_program: Path) -> Bundle:
    """The bundle with the attacker's program at /attacker in its image."""
    shutil.copy(attacker_program, bundle.rootfs / "attacker")
    return bundle


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A directory of the host, outside of every bundle, that no container may see or change."""
    path = tmp_path / "victim"
    path.mkdir()
    (path / "secret").write_text("the host's\n")
    return path


@pytest.fixture
def host(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A directory of the host below which a test mounts; unmounted afterwards."""
    yield from host_directory(tmp_path / "host")
