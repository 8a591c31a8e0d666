"""CVE-2016-9962: a process that joins a container must be closed to the container's root until it has become
the payload; through /proc/PID/fd of it, or by ptrace(2), lies the host.
"""

from __future__ import annotations

import pytest

from libcontainer.host import Host
from libcontainer.plan import operations as do
from libcontainer.plan.compile import compile_init
from libcontainer.plan.context import NAMESPACES, Options

from ..integration.conftest import SPEC, Bundle
from .hostile import await_file, errnos, grant_all, neighbour

ROUNDS = 60
KINDS = ("user", "pid", "ipc", "network", "uts")


@pytest.mark.parametrize("host_id", [100000, 0])
def test_joining_init_is_closed_to_the_containers_root(attacker: Bundle, host_id: int) -> None:
    """A spy with every capability of the user namespace tries whatever it sees beside it, all the time, while
    containers join; with ids mapped to themselves not even the kernel's own change of dumpable helps.
    """
    attacker.add_userns(host_id)
    grant_all(attacker)
    out, stop = attacker.path / "attack", attacker.rootfs / "tmp/stop"
    with (
        open(out, "wb") as stdout,
        attacker.build("/attacker", "spy", "/tmp/stop", "sleep", stdout=stdout.fileno()) as first,
    ):
        first.start()
        await_file(out, "spy 0")
        second = neighbour(attacker, "second", first, *KINDS)
        for _ in range(ROUNDS):
            with second.build("sleep", "1000") as joined:
                joined.start()
        stop.touch()
        assert first.wait(20).code == 0
    found = errnos(out.read_text())
    assert found.pop("seen") > ROUNDS, "the attack did not take place"
    assert {name for name, count in found.items() if count} == set()


@pytest.mark.parametrize("host_id", [100000, 0])
def test_tenant_is_closed_to_the_containers_root_until_it_is_executed(attacker: Bundle, host_id: int) -> None:
    """The case that the number was given for: processes enter by `exec` where the spy waits already."""
    attacker.add_userns(host_id)
    grant_all(attacker)
    out, stop = attacker.path / "attack", attacker.rootfs / "tmp/stop"
    with (
        open(out, "wb") as stdout,
        attacker.build("/attacker", "spy", "/tmp/stop", "sleep", stdout=stdout.fileno()) as first,
    ):
        first.start()
        await_file(out, "spy 0")
        for _ in range(ROUNDS):
            with first.exec(["sleep", "1000"]):
                pass
        stop.touch()
        assert first.wait(20).code == 0
    found = errnos(out.read_text())
    assert found.pop("seen") > ROUNDS, "the attack did not take place"
    assert {name for name, count in found.items() if count} == set()


def test_init_is_closed_before_it_joins_the_user_namespace_of_others() -> None:
    """Between the join and the change of identity its capabilities are the neighbours' own: the window is too
    short to be hit reliably, so the order is held as such.
    """
    namespaces = [{"type": kind, "path": "/proc/1/ns/x"} for kind in ("user", "pid")] + [{"type": "mount"}]
    spec = {**SPEC, "hostname": "", "linux": {"namespaces": namespaces}}
    host = Host(euid=0, egid=0, capabilities=(1 << 41) - 1, bounding=(1 << 41) - 1, in_user_namespace=False)
    ops = compile_init(spec, host, Options(rootfs="/r")).ops
    closed = next(index for index, op in enumerate(ops) if isinstance(op, do.SetDumpable) and op.value == 0)
    joined = next(
        index
        for index, op in enumerate(ops)
        if isinstance(op, do.JoinNamespace) and op.nstype == NAMESPACES["user"]
    )
    cloned = next(index for index, op in enumerate(ops) if isinstance(op, do.Clone))
    assert closed < joined < cloned
