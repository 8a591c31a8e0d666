"""How and where a filter is loaded: the last act before execve, as root and rootless, with and without libseccomp."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import DEVNULL
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import ContainerBuilder
from libcontainer.seccomp import libseccomp

from ..tools.enosys import without
from .conftest import YOUKI
from .rootless import User, borrowed_user
from .tenants import ask, running
from .test_seccomp import NATIVE, filtered, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Bundle

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/seccomp-agent/agent.py"
NO_MKDIR = filtered("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "mkdir", "mkdirat", errnoRet=117))
UNKNOWN = "Structure needs cleaning"  # EUCLEAN, which no mkdir gives here by itself


@pytest.fixture
def user() -> Iterator[User]:
    """An unprivileged user with the configuration that `youki spec --rootless` writes."""
    with borrowed_user() as made:
        made.make_spec()
        made.spec["root"]["readonly"] = False
        yield made


def calls_of_the_loader(bundle: Bundle) -> list[str]:
    """Run the container under strace; return the system calls of its process from the load of the filter on."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    bundle.process["args"] = ["true"]
    bundle.save()
    trace = bundle.path / "trace"
    command = ["strace", "-f", "-qq", "-o", trace, YOUKI, "--root", bundle.root, "run", bundle.id]
    subprocess.run(command, cwd=bundle.path, stdin=subprocess.DEVNULL, timeout=60, check=True)
    lines = [line.split(None, 1) for line in trace.read_text().splitlines()]
    loaded = next(
        number
        for number, (_, call) in enumerate(lines)
        if "SECCOMP_SET_MODE_FILTER" in call and "{len=" in call
    )
    return [call for pid, call in lines[loaded:] if pid == lines[loaded][0]]


@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (None, "0"),
        ([], "0"),
        (["SECCOMP_FILTER_FLAG_LOG"], "SECCOMP_FILTER_FLAG_LOG"),
        (["SECCOMP_FILTER_FLAG_SPEC_ALLOW"], "SECCOMP_FILTER_FLAG_SPEC_ALLOW"),
        (["SECCOMP_FILTER_FLAG_TSYNC"], "0"),
        (
            ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"],
            "SECCOMP_FILTER_FLAG_LOG|SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        ),
    ],
)
def test_the_filter_is_loaded_with_its_flags_and_execve_is_the_next_call(
    bundle: Bundle, flags: list[str] | None, expected: str, no_new_privileges: bool
) -> None:
    """So a profile need allow nothing that init does. Absent flags are none; there is one thread for TSYNC."""
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.linux["seccomp"] = NO_MKDIR | ({} if flags is None else {"flags": flags})

    load, then = [call for call in calls_of_the_loader(bundle) if "resumed" not in call][:2]

    assert load.startswith(f"seccomp(SECCOMP_SET_MODE_FILTER, {expected}, {{len=")
    assert then.startswith('execve("/bin/true"')


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_a_filter_with_a_listener_is_followed_by_execve_too(
    bundle: Bundle, tmp_path: Path, no_new_privileges: bool
) -> None:
    """Another thread gives the listener away."""
    agent = tmp_path / "agent"
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.linux["seccomp"] = filtered(
        "SCMP_ACT_ALLOW",
        rule("SCMP_ACT_NOTIFY", "mkdir"),
        listenerPath=str(agent),
        flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
    )
    with subprocess.Popen([sys.executable, EXAMPLE, agent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            calls = calls_of_the_loader(bundle)
        finally:
            process.kill()

    assert "SECCOMP_FILTER_FLAG_NEW_LISTENER|SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" in "".join(calls[:2])
    assert next(call for call in calls[1:] if "resumed" not in call).startswith("execve(")


@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("uid", [0, 1000])
def test_an_unprivileged_user_has_filters(user: User, no_new_privileges: bool, uid: int) -> None:
    """CAP_SYS_ADMIN of the container's user namespace is enough where there is no no_new_privs."""
    user.map_subordinate_ids()
    user.spec["process"]["noNewPrivileges"] = no_new_privileges
    user.spec["process"]["user"] = {"uid": uid, "gid": uid}
    user.spec["linux"]["seccomp"] = NO_MKDIR

    for _ in range(2):
        result = user.sh("mkdir /tmp/x; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status")
        assert UNKNOWN in result.stderr
        assert f"NoNewPrivs:\t{int(no_new_privileges)}\nSeccomp:\t2" in result.stdout

    (entry,) = (user.root / ".seccomp").iterdir()
    assert (entry.stat().st_uid, entry.stat().st_mode & 0o777) == (user.uid, 0o600)


def test_an_unprivileged_user_has_an_agent(user: User) -> None:
    """The listener is handed out by init itself: no access to another's process is needed."""
    user.spec["linux"]["seccomp"] = filtered(
        "SCMP_ACT_ALLOW",
        rule("SCMP_ACT_NOTIFY", "mkdir", "mkdirat", "sendmsg", "exit_group"),
        listenerPath=str(user.home / "agent"),
        listenerMetadata="mine",
    )
    shutil.copy(EXAMPLE, user.home / "agent.py")
    command = user.command(sys.executable, str(user.home / "agent.py"), str(user.home / "agent"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=user.home) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()
        try:
            result = user.sh("mkdir /tmp/data; ls -d /tmp/data*; kill -9 $$", check=False)
        finally:
            agent.terminate()

    assert result.stdout == "/tmp/data.mine\n"
    assert (user.rootfs / "tmp/data.mine").stat().st_uid == user.uid


@pytest.mark.parametrize("filter_of_init", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_a_tenant_has_the_containers_filter(bundle: Bundle, filter_of_init: bool, own: bool) -> None:
    """Whatever its own no_new_privs is."""
    bundle.process["noNewPrivileges"] = filter_of_init
    bundle.linux["seccomp"] = NO_MKDIR
    show = "mkdir /tmp/x; grep -E '^(CapPrm|NoNewPrivs|Seccomp):' /proc/self/status"

    with running(bundle) as container:
        told = ask(container, "sh", "-c", show, no_new_privs=own)
        first = ask(container, "cat", "/proc/1/status").lines

    assert UNKNOWN in told.stderr
    assert told.lines[1:] == [f"NoNewPrivs:\t{int(own)}", "Seccomp:\t2"]
    assert told.lines[0] in first


def test_a_tenants_calls_reach_the_agent(bundle: Bundle, tmp_path: Path) -> None:
    """With a state of its own: the number of its process, and the container's state."""
    agent = tmp_path / "agent"
    bundle.linux["seccomp"] = filtered(
        "SCMP_ACT_ALLOW",
        rule("SCMP_ACT_NOTIFY", "mkdir", "mkdirat"),
        listenerPath=str(agent),
        listenerMetadata="asked",
    )
    with subprocess.Popen([sys.executable, EXAMPLE, agent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            with running(bundle) as container:
                pid = container.pid
                told = ask(container, "sh", "-c", "mkdir /tmp/data; ls -d /tmp/data*")
        finally:
            process.kill()
        served = process.stdout.read().splitlines()

    assert told.lines == ["/tmp/data.asked"]
    assert served[0] == f"serving {bundle.id} pid {pid} asked"
    assert served[1].startswith(f"serving {bundle.id} pid ")
    assert served[1] != served[0]


def without_libseccomp(bundle: Bundle, *words: str) -> subprocess.CompletedProcess[str]:
    """Call youki where the library's files do not exist: in a mount namespace, whiteouts (overlay) hide them."""
    bundle.save()
    libseccomp.library()
    directory = os.path.dirname(os.path.realpath(libseccomp.path()))
    layers = bundle.path / "layers"
    for name in ("upper", "work"):
        (layers / name).mkdir(parents=True, exist_ok=True)
    for name in os.listdir(directory):
        if name.startswith("libseccomp.so") and not (layers / "upper" / name).exists():
            os.mknod(layers / "upper" / name, 0o600 | stat.S_IFCHR, os.makedev(0, 0))
    options = f"lowerdir={directory},upperdir={layers}/upper,workdir={layers}/work"
    script = f'mount -t overlay -o {options} overlay {directory} || exit 99; exec "$@"'
    command = ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh"]
    done = subprocess.run(
        [*command, YOUKI, "--root", str(bundle.root), *words],
        cwd=bundle.path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode == 99:
        pytest.skip(f"no overlay file system here: {done.stderr}")
    return done


def test_without_the_library_a_new_profile_is_a_clear_error(bundle: Bundle) -> None:
    """It names the package; nothing is left."""
    bundle.linux["seccomp"] = NO_MKDIR

    done = without_libseccomp(bundle, "run", bundle.id)

    assert done.returncode == 1
    assert "/linux/seccomp" in done.stderr
    assert "libseccomp2" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (bundle.root / bundle.id).exists()


def test_without_the_library_nothing_else_is_missing(bundle: Bundle) -> None:
    """Containers without a filter run, and so do those whose profile was compiled before."""
    bundle.process["args"] = ["sh", "-c", "mkdir /tmp/x"]
    assert without_libseccomp(bundle, "run", bundle.id).returncode == 0
    bundle.linux["seccomp"] = NO_MKDIR
    assert UNKNOWN in bundle.youki("run", bundle.id, check=False).stderr

    done = without_libseccomp(bundle, "run", bundle.id)

    assert UNKNOWN in done.stderr


def test_a_kernel_without_filters_fails_create(bundle: Bundle) -> None:
    """By init, before anything waits for start: the place, the call and the errno are told."""
    bundle.linux["seccomp"] = NO_MKDIR
    bundle.youki("run", bundle.id, check=False)  # compiled: libseccomp asks the kernel, too
    bundle.save()

    done = subprocess.run(
        [*without("seccomp"), YOUKI, "--root", str(bundle.root), "create", bundle.id],
        cwd=bundle.path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "config.json /linux/seccomp: loading the system call filter failed" in done.stderr
    assert "(ENOSYS)" in done.stderr
    assert not (bundle.root / bundle.id).exists()


def test_many_threads_may_be_first_with_a_profile(bundle: Bundle) -> None:
    """libseccomp keeps what it finds out in variables of its own; and one entry comes of it."""
    bundle.linux["seccomp"] = NO_MKDIR
    bundle.process["args"] = ["sh", "-c", "mkdir /tmp/x 2>/dev/null; exit $?"]
    bundle.save()

    def run(number: int) -> int | None:
        builder = ContainerBuilder(f"{bundle.id}-{number}").with_root_path(bundle.root)
        with builder.with_stderr(DEVNULL).as_init(bundle.path).build() as container:
            container.start()
            return container.wait(60).code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, range(24))) == [1] * 24

    assert len(list((bundle.root / ".seccomp").iterdir())) == 1


def test_features_tell_what_filters_can_do(bundle: Bundle) -> None:
    """features-linux.md "Seccomp"; without the library, too."""
    told = [
        json.loads(call("features").stdout)
        for call in (bundle.youki, lambda *w: without_libseccomp(bundle, *w))
    ]
    seccomp = told[0]["linux"]["seccomp"]

    assert told[0] == told[1]
    assert seccomp["enabled"] is True
    assert {"SCMP_ACT_NOTIFY", "SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW"} <= set(seccomp["actions"])
    assert len(seccomp["operators"]) == 7
    assert "SCMP_ARCH_X32" in seccomp["archs"]
    assert seccomp["knownFlags"] == seccomp["supportedFlags"]


CONDITIONS: list[tuple[str, int, int, list[int], list[int]]] = [
    ("SCMP_CMP_NE", 1 << 40, 0, [0, (1 << 40) - 1], [1 << 40]),
    ("SCMP_CMP_LT", 1 << 40, 0, [0, (1 << 40) - 1], [1 << 40, (1 << 64) - 1]),
    ("SCMP_CMP_LE", 1 << 40, 0, [0, 1 << 40], [(1 << 40) + 1, (1 << 64) - 1]),
    ("SCMP_CMP_EQ", 1 << 40, 0, [1 << 40], [0, (1 << 40) + 1, 1 << 41]),
    ("SCMP_CMP_GE", 1 << 40, 0, [1 << 40, (1 << 64) - 1], [0, (1 << 40) - 1, 0xFFFF_FFFF]),
    ("SCMP_CMP_GT", 1 << 40, 0, [(1 << 40) + 1, (1 << 64) - 1], [0, 1 << 40]),
    ("SCMP_CMP_MASKED_EQ", 0xF << 36, 5 << 36, [5 << 36, 5 << 36 | 0xFFFF], [0, 5, 4 << 36]),
]


@pytest.mark.parametrize(
    ("op", "value", "second", "met", "unmet"), CONDITIONS, ids=[row[0] for row in CONDITIONS]
)
@pytest.mark.parametrize("index", [0, 5])
def test_operator_compares_all_64_bits(
    probe: Bundle, op: str, value: int, second: int, met: list[int], unmet: list[int], index: int
) -> None:
    """getpid takes no argument and ignores what it gets."""
    condition: dict[str, Any] = {"index": index, "op": op, "value": value, "valueTwo": second}
    probe.linux["seccomp"] = filtered(
        "SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "getpid", errnoRet=117, args=[condition])
    )
    number = libseccomp.library().number(b"getpid")
    script = "\n".join(
        f"probe {NATIVE} call {number} {'0 ' * index}{argument}" for argument in [*met, *unmet]
    )

    told = [line.split(" ", 1)[1] for line in probe.sh(script).lines]

    assert told == ["errno 117"] * len(met) + ["ok"] * len(unmet)


def test_a_killed_thread_leaves_the_process_and_a_killed_process_nothing(probe: Bundle) -> None:
    """SCMP_ACT_KILL is the former, as it has been since before the latter existed."""
    found = {}
    number = libseccomp.library().number(b"getppid")
    for action in ("SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_ALLOW"):
        default = "SCMP_ACT_LOG" if action == "SCMP_ACT_ALLOW" else "SCMP_ACT_ALLOW"
        probe.linux["seccomp"] = filtered(default, rule(action, "getppid"))
        found[action] = probe.run("probe", NATIVE, "thread", str(number)).stdout.strip()

    assert list(found.values()) == ["thread", "thread", "process", "none"]


@pytest.mark.parametrize(("errno", "message"), [(None, 1), (0, 0), (65535, 65535)])
def test_a_tracer_gets_the_number_of_the_rule(probe: Bundle, errno: int | None, message: int) -> None:
    """PTRACE_GETEVENTMSG, ptrace(2)."""
    members = {} if errno is None else {"errnoRet": errno}
    probe.linux["seccomp"] = filtered("SCMP_ACT_ALLOW", rule("SCMP_ACT_TRACE", "getppid", **members))
    number = libseccomp.library().number(b"getppid")

    assert probe.run("probe", NATIVE, "traced", str(number)).stdout.strip() == f"{number} trace {message}"
