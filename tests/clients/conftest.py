"""What the checks with engines share: a private host, an image, and each check with youki, runc and crun.

A check is a test that takes the fixture `runtime` (through an engine's fixture, such as `podman`): it runs three
times, and `runtimes.py` says what the three outcomes mean together. It appends to `observed` what must be the
same with youki as with runc: exit codes, outputs. An engine's own module holds its fixtures and checks;
`privatehost.py` is where its programs and daemons run, `images.py` what they run.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from ..integration.conftest import BUSYBOX
from . import images, runtimes
from .podman import Podman
from .privatehost import PrivateHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Compare what a check came to with what it came to with runc."""
    report = yield
    runtimes.make_report(item, report)
    return report


@pytest.fixture(params=runtimes.ALL)
def runtime(request: pytest.FixtureRequest) -> str:
    """The name of the runtime that the check is made with."""
    name: str = request.param
    if runtimes.program(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture
def observed(request: pytest.FixtureRequest) -> Iterator[list[Any]]:
    """What the check observes and must be the same with every runtime."""
    yield from runtimes.observations(request.node)


@pytest.fixture(scope="session")
def private_host() -> Iterator[PrivateHost]:
    """The private host of this session; afterwards nothing of it remains on the real one."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if BUSYBOX is None:
        pytest.skip("busybox is not installed (Debian: busybox-static)")
    host = PrivateHost()
    try:
        yield host
        left = {"processes": host.processes(), "cgroups": host.cgroups()}
    finally:
        host.close()
    assert left == {"processes": [], "cgroups": []}
    assert [point for point in mount_points() if host.name in point] == []


@pytest.fixture(scope="session")
def image_archive(private_host: PrivateHost) -> Path:
    """An image of busybox as `docker save` writes it."""
    return images.docker_archive(private_host.make_directory("image"))


@pytest.fixture(scope="session")
def rootful_podman(private_host: PrivateHost, image_archive: Path) -> Podman:
    """podman as root, with the image."""
    return with_image(Podman(private_host, private_host.make_directory("podman")), image_archive)


@pytest.fixture
def podman(rootful_podman: Podman, runtime: str) -> Iterator[Podman]:
    """podman as root with the runtime; afterwards its containers are removed, and nothing may be left of them."""
    yield from with_runtime(rootful_podman, runtime)


def with_image(podman: Podman, archive: Path) -> Podman:
    """Load the image."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    podman("load", "--input", str(archive))
    return podman


def with_runtime(podman: Podman, runtime: str) -> Iterator[Podman]:
    """Let podman use a runtime; afterwards remove its containers, of which nothing may be left."""
    podman.runtime = runtime
    yield podman
    podman.remove_all()
    assert podman.runtime_state() == []
    assert podman.host.cgroups() == []


def mount_points() -> list[str]:
    """Return the host's mount points."""
    with open("/proc/self/mountinfo") as file:
        return sorted(line.split(" ")[4] for line in file)
