"""Device rules on a real cgroup of the unified hierarchy, proved by what a process in it can do."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libcgroups import CgroupError, Hierarchy, Manager, NotPermitted, Setup, detect, new
from libcgroups.devices import bpf
from libcgroups.devices.program import compile_rules
from libcgroups.devices.rules import parse

UNIFIED = detect().unified
NAME = f"libcontainer-test-ebpf-{os.getpid()}"
OURS = bpf.PROGRAM_NAME.decode()
DENY_ALL = {"allow": False, "access": "rwm"}
NULL, ZERO, FULL = ({"allow": True, "type": "c", "major": 1, "minor": minor} for minor in (3, 5, 7))
REFUSED = errno.EPERM

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loads eBPF programs"),
    pytest.mark.skipif(UNIFIED is None, reason="needs a mounted cgroup2"),
]

# Answers each line "open PATH MODE" or "mknod PATH MAJOR" with the errno, 0 for success.
PROBE = """
import os, stat, sys
for line in sys.stdin:
    act, path, operand = line.split()
    try:
        if act == "open":
            os.close(os.open(path, {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}[operand]))
        else:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, int(operand)))
            os.unlink(path)
        print(0, flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


class Probe:
    """A process in the cgroup that tries what it is told and says what came of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __call__(self, act: str, path: str, operand: str) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{act} {path} {operand}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@pytest.fixture
def manager() -> Iterator[Manager]:
    """A created cgroup in the host's unified hierarchy, as on a pure v2 host."""
    assert UNIFIED is not None
    found = new(f"/{NAME}", container_id="ebpf", setup=Setup("v2", (), Hierarchy(UNIFIED)))
    found.create()
    yield found
    found.kill_all()
    found.remove()
    assert not found.exists()


@contextlib.contextmanager
def probe(manager: Manager) -> Iterator[Probe]:
    """Run a probe in the cgroup; it enters it before its first line."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", PROBE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        manager.add_process(process.pid)
        yield Probe(process)
        assert process.stdin is not None
        process.stdin.close()


def directory(manager: Manager) -> str:
    """The cgroup's directory."""
    assert manager.unified is not None
    return manager.unified.directory


def test_only_what_the_rules_allow_can_be_opened(manager: Manager) -> None:
    """The process meets the rules with its first access: they are there before it enters."""
    manager.apply({"devices": [DENY_ALL, NULL, {**ZERO, "access": "r"}]})

    with probe(manager) as attempt:
        assert attempt("open", "/dev/null", "rw") == 0
        assert attempt("open", "/dev/zero", "r") == 0
        assert attempt("open", "/dev/zero", "w") == REFUSED
        assert attempt("open", "/dev/zero", "rw") == REFUSED
        assert attempt("open", "/dev/full", "r") == REFUSED


def test_making_a_node_is_a_right_of_its_own(manager: Manager, tmp_path: Path) -> None:
    """`m` allows mknod(2) and not to open what was made, and reading does not allow to make."""
    manager.apply({"devices": [DENY_ALL, {**NULL, "access": "m"}, {**ZERO, "access": "rw"}]})

    with probe(manager) as attempt:
        assert attempt("mknod", f"{tmp_path}/null", "3") == 0
        assert attempt("open", "/dev/null", "r") == REFUSED
        assert attempt("mknod", f"{tmp_path}/zero", "5") == REFUSED
        assert attempt("open", "/dev/zero", "rw") == 0


def test_a_later_rule_overrides_an_earlier_one(manager: Manager) -> None:
    """What cgroup v1 cannot express is enforced here: one device out of an allowed major."""
    everything = {"allow": True, "type": "c", "major": 1, "access": "rwm"}
    manager.apply({"devices": [DENY_ALL, everything, {**FULL, "allow": False, "access": "w"}]})

    with probe(manager) as attempt:
        assert attempt("open", "/dev/full", "r") == 0
        assert attempt("open", "/dev/full", "w") == REFUSED
        assert attempt("open", "/dev/null", "rw") == 0


def test_an_update_by_another_manager_replaces_the_program(manager: Manager) -> None:
    """`youki update` is another process: it finds the program by asking the kernel, and leaves one only."""
    manager.apply({"devices": [DENY_ALL, NULL]})
    before = bpf.attached(directory(manager))

    with probe(manager) as attempt:
        assert attempt("open", "/dev/zero", "r") == REFUSED
        Manager.from_state(manager.to_state()).apply({"devices": [DENY_ALL, ZERO]})
        assert attempt("open", "/dev/zero", "r") == 0
        assert attempt("open", "/dev/null", "r") == REFUSED

    after = bpf.attached(directory(manager))
    assert [name for _, name in before] == [name for _, name in after] == [OURS]
    assert before != after


def test_an_update_of_other_resources_leaves_the_program(manager: Manager) -> None:
    """Rules that are not mentioned stay as they are."""
    manager.apply({"devices": [DENY_ALL]})
    before = bpf.attached(directory(manager))

    manager.apply({"devices": [], "unified": {"cgroup.max.depth": "5"}})

    assert bpf.attached(directory(manager)) == before


def test_without_replacement_in_the_kernel_the_new_program_joins_before_the_old_one_goes(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Linux 5.6 the kernel refuses BPF_F_REPLACE with EINVAL; at no moment is nothing attached."""
    manager.apply({"devices": [DENY_ALL, NULL]})
    steps = []
    real = bpf._bpf

    def old_kernel(command: str, attributes: bytes) -> tuple[int, bytes]:
        if command == "BPF_PROG_ATTACH" and len(attributes) > 16:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if command in ("BPF_PROG_ATTACH", "BPF_PROG_DETACH"):
            steps.append(command)
        return real(command, attributes)

    monkeypatch.setattr(bpf, "_bpf", old_kernel)
    manager.apply({"devices": [DENY_ALL, ZERO]})

    assert steps == ["BPF_PROG_ATTACH", "BPF_PROG_DETACH"]
    assert [name for _, name in bpf.attached(directory(manager))] == [OURS]
    with probe(manager) as attempt:
        assert attempt("open", "/dev/zero", "r") == 0
        assert attempt("open", "/dev/null", "r") == REFUSED


def test_what_a_died_process_left_attached_is_cleared_away(manager: Manager) -> None:
    """Two programs of ours, of which both must allow, would keep forbidding what an update allows."""
    where = os.open(directory(manager), os.O_RDONLY)
    try:
        for rule in (NULL, ZERO):
            program = bpf.load(compile_rules(parse({"devices": [rule]})))
            bpf._attach(where, program, directory(manager))
            os.close(program)
    finally:
        os.close(where)
    assert len(bpf.attached(directory(manager))) == 2

    manager.apply({"devices": [FULL]})

    assert len(bpf.attached(directory(manager))) == 1


def test_the_program_of_somebody_else_stays_and_counts_too(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd guards the devices of its units with programs of its own: both must allow."""
    with monkeypatch.context() as patch:
        patch.setattr(bpf, "PROGRAM_NAME", b"sd_devices")
        manager.apply({"devices": [NULL, FULL]})
    manager.apply({"devices": [NULL, ZERO]})
    manager.apply({"devices": [NULL, ZERO]})

    assert sorted(name for _, name in bpf.attached(directory(manager))) == [OURS, "sd_devices"]
    with probe(manager) as attempt:
        assert attempt("open", "/dev/null", "r") == 0
        assert attempt("open", "/dev/zero", "r") == REFUSED
        assert attempt("open", "/dev/full", "r") == REFUSED


def test_the_verifier_accepts_a_long_list_of_overlapping_rules() -> None:
    """Nothing in the shape of a program may make the verifier's work explode."""
    listed: list[dict[str, Any]] = [
        {
            "allow": bool(number % 3),
            "type": "abc"[number % 3],
            "major": number % 7 or None,
            "minor": (number * 5) % 11 or None,
            "access": ("r", "w", "m", "rw", "rwm")[number % 5],
        }
        for number in range(500)
    ]

    os.close(bpf.load(compile_rules(parse({"devices": listed}))))


def test_a_refused_program_shows_what_the_verifier_says() -> None:
    """Without its words nobody could tell why the kernel says EINVAL or EACCES."""
    code = compile_rules([])
    without_exit = code[:-8]

    with pytest.raises(CgroupError) as caught:
        bpf.load(without_exit)

    assert "verifier" in caught.value.message
    assert caught.value.syscall == "bpf"
    assert caught.value.pointer == "/devices"


def test_a_directory_that_is_no_v2_cgroup_is_an_error(tmp_path: Path) -> None:
    """Device rules that cannot be enforced are never silently left out."""
    with pytest.raises(CgroupError) as caught:
        bpf.install(str(tmp_path), compile_rules([]))

    assert caught.value.path == str(tmp_path)
    assert caught.value.remedy is not None


def test_a_caller_without_the_capability_gets_an_error_with_a_remedy(manager: Manager) -> None:
    """Rules are enforced or refused: an unprivileged caller learns what it would need."""
    source = str(Path(bpf.__file__).parents[2])
    program = f"""
import os, sys
sys.path.insert(0, {source!r})
from libcgroups import NotPermitted
from libcgroups.devices import bpf, program
os.setuid(65534)
try:
    bpf.install({directory(manager)!r}, program.compile_rules([]))
except NotPermitted as error:
    print(error.remedy)
"""
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=30)

    assert "CAP_BPF" in done.stdout, done.stderr
    assert bpf.attached(directory(manager)) == []
    assert issubclass(NotPermitted, CgroupError)


def test_loading_leaves_the_limit_of_locked_memory_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels before 5.11 need it raised for the call; the container's processes must not inherit that."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    during = []
    real = bpf._bpf

    def old_kernel(command: str, attributes: bytes) -> tuple[int, bytes]:
        during.append(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0])
        if len(during) == 1:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        return real(command, attributes)

    monkeypatch.setattr(bpf, "_bpf", old_kernel)
    os.close(bpf.load(compile_rules([])))

    assert len(during) == 2
    assert during[1] == resource.RLIM_INFINITY or during[1] >= before[0]
    assert resource.getrlimit(resource.RLIMIT_MEMLOCK) == before
