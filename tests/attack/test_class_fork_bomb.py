"""Payloads that do not want to end."""

from __future__ import annotations

import pytest

from libcontainer import Container
from libcontainer.errors import Timeout

from ..integration.conftest import Bundle
from .hostile import await_file, until


def members(container: Container) -> list[int]:
    """Return the processes of the container's cgroup."""
    return container._manager().processes()


@pytest.mark.parametrize("shared", [False, True])
def test_fork_bomb_is_bounded_and_ended_by_force(attacker: Bundle, shared: bool) -> None:
    """The limit holds, and a forced delete leaves none, although no list of processes is ever up to date; also
    where the pid namespace is the host's, and no kernel ends them with the first.
    """
    if shared:
        attacker.remove_namespace("pid")
    attacker.linux["resources"] = {"pids": {"limit": 40}}
    out = attacker.path / "attack"
    with open(out, "wb") as stdout, attacker.build("/attacker", "bomb", stdout=stdout.fileno()) as container:
        container.start()
        await_file(out, "bomb 0")
        until(lambda: len(members(container)) >= 40, "the attack did not take place")
        assert len(members(container)) == 40
        container.delete(force=True)
        assert not container._manager().exists()


@pytest.mark.parametrize("shared", [False, True])
def test_payload_that_ignores_signals_is_ended_by_force(attacker: Bundle, shared: bool) -> None:
    """So is the daemon that it has put into a session of its own."""
    if shared:
        attacker.remove_namespace("pid")
    out = attacker.path / "attack"
    with open(out, "wb") as stdout, attacker.build("/attacker", "deaf", stdout=stdout.fileno()) as container:
        container.start()
        await_file(out, "deaf 0")
        for signal in ("TERM", "INT", "HUP", "QUIT"):
            container.kill(signal)
        with pytest.raises(Timeout):
            container.wait(0.1)
        assert container.status == "running"
        container.delete(force=True)
        assert not container._manager().exists()


def test_created_container_ends_by_an_ordinary_signal(bundle: Bundle) -> None:
    """As the first process of its pid namespace init would ignore it, and look like a container that will not die."""
    with bundle.build("sleep", "1000") as container:
        container.kill("TERM")
        assert container.wait(20).returncode == 128 + 15
