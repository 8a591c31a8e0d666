"""What the checks with engines share: a private host, an image, and each check with youki, runc and crun.

A check is a test that takes the fixture `runtime` (through an engine's fixture, such as `podman`): it runs three
times, and `runtimes.py` says what the three outcomes mean together. It appends to `observed` what must be the
same with youki as with runc: exit codes, outputs. An engine's own module holds its fixtures and checks;
`privatehost.py` is where its programs and daemons run, `images.py` what they run.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..integration.conftest import BUSYBOX
from . import containerd as containerd_module
from . import docker as docker_module
from . import images, runtimes
from .containerd import CRI_NAMESPACE, NAMESPACE, Containerd, Ctr, known_to_runtime
from .cri import Cri, Pod
from .docker import Docker, Dockerd
from .podman import Podman, User
from .privatehost import PATH, PrivateHost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


HERE = Path(__file__).parent
# The user of rootless engines: other than that of tests/integration, which may run at the same time.
UID, NAME = 43211, "client"
SUBORDINATES = "433000000:65536"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Compare what a check came to with what it came to with runc."""
    report = yield
    runtimes.make_report(item, report)
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what is slow to `make test-clients`."""
    if os.environ.get("TEST_CLIENTS") == "all":
        return
    for item in items:
        if item.path.parent == HERE and item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="left to make test-clients"))


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


@pytest.fixture(scope="package")
def private_host(request: pytest.FixtureRequest) -> Iterator[PrivateHost]:
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
    assert runtimes.outcomes(request.session).complaint() is None
    assert left == {"processes": [], "cgroups": []}
    assert [point for point in mount_points() if host.name in point] == []


@pytest.fixture(scope="package")
def image_archive(private_host: PrivateHost) -> Path:
    """An image of busybox as `docker save` writes it."""
    return images.docker_archive(private_host.make_directory("image"))


@pytest.fixture(scope="package")
def engines(private_host: PrivateHost, image_archive: Path) -> Iterator[dict[str, Podman]]:
    """podman as root and as an unprivileged user, each with the image."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    user = borrow_user(private_host)
    found = {"rootful": Podman(private_host, "rootful"), "rootless": Podman(private_host, "rootless", user)}
    for podman in found.values():
        podman("load", "--input", str(image_archive))
    yield found
    found["rootless"]("system", "migrate")  # ends the process that keeps the user's namespaces


@pytest.fixture(params=("rootful", pytest.param("rootless", marks=pytest.mark.slow)))
def podman(request: pytest.FixtureRequest, engines: dict[str, Podman], runtime: str) -> Iterator[Podman]:
    """podman with the runtime, as root and rootless; afterwards nothing may be left of its containers."""
    yield from with_runtime(engines[request.param], runtime)


@pytest.fixture
def rootful(engines: dict[str, Podman], runtime: str) -> Iterator[Podman]:
    """podman with the runtime as root, for what podman refuses without: cgroup v1 has nothing for users."""
    yield from with_runtime(engines["rootful"], runtime)


def with_runtime(podman: Podman, runtime: str) -> Iterator[Podman]:
    """Let podman use a runtime; afterwards remove its containers, of which nothing may be left."""
    podman.runtime = runtime
    yield podman
    podman.remove_all()
    left = podman.host.cgroups()
    podman.host.remove_cgroups(left)
    assert podman.runtime_state() == []
    # podman does not know every hierarchy, and runc leaves in them what it made above a container's cgroup.
    assert [path for path in left if "/libpod-" in path] == []


def borrow_user(host: PrivateHost) -> User:
    """Make a user with subordinate ids; the copy of /etc that knows it is the private host's."""
    for name, line in (
        ("passwd", f"{NAME}:x:{UID}:{UID}::/:/bin/sh"),
        ("subuid", f"{NAME}:{SUBORDINATES}"),
        ("subgid", f"{NAME}:{SUBORDINATES}"),
    ):
        with open(host.path(f"/etc/{name}"), "a") as file:
            file.write(f"{line}\n")
    return User(UID, UID)


def mount_points() -> list[str]:
    """Return the host's mount points."""
    with open("/proc/self/mountinfo") as file:
        return sorted(line.split(" ")[4] for line in file)


@pytest.fixture(scope="package")
def containerd(private_host: PrivateHost, image_archive: Path, pause_archive: Path) -> Iterator[Containerd]:
    """containerd, which knows every runtime, with the images."""
    need(*containerd_module.PROGRAMS)
    daemon = Containerd(private_host)
    try:
        daemon.load(image_archive, NAMESPACE)
        for archive in (image_archive, pause_archive):
            daemon.load(archive, CRI_NAMESPACE)
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture(scope="package")
def pause_archive(private_host: PrivateHost) -> Path:
    """An image whose program sleeps: what holds a pod's namespaces."""
    directory = private_host.make_directory("pause")
    return images.docker_archive(directory, containerd_module.PAUSE, {"Cmd": ["sleep", "infinity"]})


@pytest.fixture
def ctr(containerd: Containerd, runtime: str) -> Iterator[Ctr]:
    """`ctr` with the runtime; afterwards its containers are removed, and nothing may be left of them."""
    client = Ctr(containerd, runtime)
    yield client
    client.remove_all()
    wait_until_gone(client.runtime_state, containerd.host)


def need(*programs: str) -> None:
    """Skip where a program is not installed."""
    for program in programs:
        if shutil.which(program, path=PATH) is None:
            pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="package")
def dockerd(containerd: Containerd, image_archive: Path) -> Iterator[Dockerd]:
    """dockerd, which knows every runtime, with the image."""
    need(*docker_module.PROGRAMS)
    daemon = Dockerd(containerd.host, "dockerd", runtimes=docker_module.all_runtimes())
    try:
        daemon.load(image_archive)
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture
def docker(dockerd: Dockerd, runtime: str) -> Iterator[Docker]:
    """docker with the runtime; afterwards its containers are removed, and nothing may be left of them."""
    client = Docker(dockerd, runtime)
    yield client
    client.remove_all()
    wait_until_gone(client.runtime_state, client.host)


@pytest.fixture(scope="package")
def cri(containerd: Containerd) -> Iterator[Cri]:
    """A client of containerd's CRI plugin."""
    for module in ("grpc_tools", "websockets"):
        pytest.importorskip(module, reason="grpcio-tools and websockets are not installed (make engines)")
    client = Cri(containerd.host)
    yield client
    client.close()


@pytest.fixture
def pod(cri: Cri, runtime: str) -> Iterator[Pod]:
    """A pod with the runtime's class; afterwards it is removed, and nothing may be left of it."""
    made = Pod(cri, runtime)
    yield made
    made.remove()
    wait_until_gone(lambda: known_to_runtime(made.host, CRI_NAMESPACE), made.host)


def wait_until_gone(runtime_state: Callable[[], list[str]], host: PrivateHost, seconds: float = 10) -> None:
    """Wait until the runtime knows no container and has left no cgroup: shims delete in the background."""
    deadline = time.monotonic() + seconds
    while (left := (runtime_state(), host.cgroups())) != ([], []) and time.monotonic() < deadline:
        time.sleep(0.05)
    host.remove_cgroups(left[1])
    assert left == ([], [])
