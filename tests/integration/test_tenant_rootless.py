"""Tenants of a user without privileges: the user namespace is joined first, and its rights are all there are."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from .conftest import YOUKI
from .rootless import User, borrowed_user

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "tenants"
LINKS = "for link in /proc/self/ns/*; do readlink $link; done"


@pytest.fixture
def user() -> Iterator[User]:
    """An unprivileged user whose container sleeps, made as `youki spec --rootless` writes it."""
    with borrowed_user() as made:
        made.make_spec()
        yield made


def start(user: User) -> None:
    """Create and start the user's container."""
    user.create(NAME, "sleep", "1000")
    user.youki("start", NAME)


def test_tenant_is_in_the_containers_namespaces(user: User) -> None:
    """All of them: what the first process has."""
    start(user)
    seen = user.youki("exec", NAME, "sh", "-c", f"{LINKS}; echo; id -u; hostname")
    first = user.youki("exec", NAME, "sh", "-c", LINKS.replace("self", "1"))

    links, _, told = seen.stdout.partition("\n\n")
    assert links == first.stdout.rstrip()
    assert told.splitlines()[0] == "0"


def test_options_work_without_privileges(user: User) -> None:
    """Environment, directory, capabilities, exit code; what the namespace does not have is an error."""
    start(user)
    words = ("--cwd", "/tmp", "-e", "A=1", "-c", "CAP_CHOWN", NAME, "sh", "-c")
    done = user.youki("exec", *words, "pwd; echo $A; grep CapEff /proc/self/status; exit 7", check=False)

    assert done.returncode == 7
    assert done.stdout.splitlines()[:2] == ["/tmp", "1"]
    assert int(done.stdout.split()[-1], 16) & 1
    refused = user.youki("exec", "-u", "5", NAME, "true", check=False)
    assert refused.returncode == 255
    assert "not mapped" in refused.stderr


def test_other_users_of_the_namespace_can_be_had_with_subordinate_ids(user: User) -> None:
    """Mapped by newuidmap; supplementary groups, too."""
    user.map_subordinate_ids()
    start(user)
    done = user.youki(
        "exec", "-u", "5:6", "-g", "7", NAME, "sh", "-c", "id -u; id -g; id -G; cat /proc/self/setgroups"
    )

    assert done.stdout.splitlines() == ["5", "6", "6 7", "allow"]


def test_container_whose_first_process_is_another_user(user: User) -> None:
    """Its processes are a subordinate id's, over which the owner of the namespace has all rights."""
    user.map_subordinate_ids()
    user.spec["process"]["user"] = {"uid": 1000, "gid": 1000}
    start(user)

    assert user.youki("exec", NAME, "id", "-u").stdout == "1000\n"
    assert user.youki("exec", "-u", "0", NAME, "id", "-u").stdout == "0\n"


def test_tenants_from_python(user: User) -> None:
    """The library needs no privileges, either; twenty at once from threads."""
    start(user)
    script = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from libcontainer import PIPE, Container\n"
        f"container = Container.load(None, {NAME!r})\n"
        "def one(n):\n"
        "    with container.exec(['echo', str(n)], stdout=PIPE) as process:\n"
        "        return process.communicate(timeout=60)[0], process.returncode\n"
        "with ThreadPoolExecutor(20) as pool:\n"
        "    found = list(pool.map(one, range(20)))\n"
        "assert found == [(f'{n}\\n'.encode(), 0) for n in range(20)], found\n"
    )
    user.python(script)


def test_root_joins_a_users_container(user: User) -> None:
    """With its rights over all, from the user's own root directory."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    start(user)
    words = [str(YOUKI), "--root", str(user.root), "exec", NAME, "sh", "-c", "id -u; cat /proc/self/uid_map"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 255  # others may change what is written there: whose processes would be killed?
    assert "root directory" in done.stderr


def test_others_cannot_join(user: User) -> None:
    """A user's container is out of reach for the next one."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be another user")
    start(user)
    words = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", str(YOUKI)]
    done = subprocess.run(
        [*words, "--root", str(user.root), "exec", NAME, "true"], capture_output=True, text=True, timeout=60
    )

    assert done.returncode != 0
