"""System call filters: config-linux.md "Seccomp", seccomp(2). What the kernel answers to a probe in the container."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import Container, ExecError, InvalidConfig, SetupError, Unsupported

from .boxes import open_to_all
from .tenants import ask, running

if TYPE_CHECKING:
    from .conftest import Bundle

X86_64 = os.uname().machine == "x86_64"
NATIVE = "x86_64" if X86_64 else "native"
# The same numbers on every architecture: arch/*/entry/syscalls/syscall.tbl.
OPENAT2, PIDFD_GETFD = 437, 438
GONE = 1 << 20  # no system call has that number
NNP = [True, False]


def filtered(default: str = "SCMP_ACT_ALLOW", *rules: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A seccomp object."""
    return {"defaultAction": default, "syscalls": list(rules), **members}


def rule(action: str, *names: str, **members: Any) -> dict[str, Any]:
    """A rule."""
    return {"action": action, "names": list(names), **members}


def answer(bundle: Bundle, *words: str | int) -> str:
    """Run the probe and return what it tells, without the number."""
    result = bundle.run("probe", *[str(word) for word in words])
    assert result.status.code == 0, result
    return result.stdout.strip().partition(" ")[2] or result.stdout.strip()


@pytest.mark.parametrize("no_new_privileges", NNP)
@pytest.mark.parametrize(
    ("action", "members", "expected"),
    [
        ("SCMP_ACT_ALLOW", {}, "errno 14"),
        ("SCMP_ACT_LOG", {}, "errno 14"),
        ("SCMP_ACT_ERRNO", {}, "errno 1"),
        ("SCMP_ACT_ERRNO", {"errnoRet": 117}, "errno 117"),
        ("SCMP_ACT_ERRNO", {"errnoRet": 0}, "ok"),
        ("SCMP_ACT_KILL", {}, "signal 31"),
        ("SCMP_ACT_KILL_THREAD", {}, "signal 31"),
        ("SCMP_ACT_KILL_PROCESS", {}, "signal 31"),
        ("SCMP_ACT_TRAP", {}, "trap 0"),
        ("SCMP_ACT_TRACE", {}, "errno 38"),
    ],
)
def test_action_is_what_the_kernel_does(
    probe: Bundle, action: str, members: dict[str, int], expected: str, no_new_privileges: bool
) -> None:
    """A rule decides about its system call, which fails with EFAULT on its own, and about no other."""
    default = "SCMP_ACT_LOG" if action == "SCMP_ACT_ALLOW" else "SCMP_ACT_ALLOW"
    probe.process["noNewPrivileges"] = no_new_privileges
    probe.linux["seccomp"] = filtered(default, rule(action, "openat2", **members))

    assert answer(probe, NATIVE, "call", OPENAT2, 0, 0, 0, 24) == expected
    assert answer(probe, NATIVE, "call", PIDFD_GETFD, -1) == "errno 9"


def test_each_container_of_a_profile_has_its_filter(probe: Bundle) -> None:
    """It is compiled for the first one; another profile in between is another filter."""
    first, other = (
        filtered("SCMP_ACT_LOG", rule("SCMP_ACT_ERRNO", "openat2", errnoRet=ret)) for ret in (5, 6)
    )
    for profile, expected in ((first, 5), (first, 5), (other, 6), (first, 5), (other, 6)):
        probe.linux["seccomp"] = profile
        assert answer(probe, NATIVE, "call", OPENAT2, 0, 0, 0, 24) == f"errno {expected}"


@pytest.mark.parametrize("no_new_privileges", NNP)
def test_only_execve_has_to_be_allowed(bundle: Bundle, no_new_privileges: bool) -> None:
    """Nothing of the runtime runs under the filter: not to change the user, to wait for start, or to report."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.linux["seccomp"] = filtered(
        "SCMP_ACT_KILL_PROCESS", rule("SCMP_ACT_ALLOW", "execve", "exit_group")
    )
    bundle.linux["seccomp"]["syscalls"][0]["names"] += ["arch_prctl", "set_tid_address"]

    # busybox wants more than that, and gets the signal: execve itself was let through.
    assert bundle.run("true").status.signal == 31
    assert bundle.run("true").status.code is None


@pytest.mark.parametrize("default", ["SCMP_ACT_ERRNO", "SCMP_ACT_TRAP"])
@pytest.mark.parametrize("no_new_privileges", NNP)
def test_execve_that_the_filter_forbids_is_reported(
    bundle: Bundle, default: str, no_new_privileges: bool
) -> None:
    """The report takes no system call: sendmsg and exit are forbidden, too."""
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.linux["seccomp"] = filtered(default)

    with bundle.build("true") as container:
        if default == "SCMP_ACT_ERRNO":
            with pytest.raises(ExecError, match="operation not permitted") as caught:
                container.start()
            assert "linux.seccomp" in str(caught.value.remedy)
        else:
            container.start()  # as for a payload that a signal ends at its first instruction
        assert container.wait(30).code != 0
        assert container.status == "stopped"


def test_program_that_cannot_be_executed_is_told_under_the_filter(bundle: Bundle) -> None:
    """The reason was found before the filter was there, since reading the file is forbidden as well."""
    (bundle.rootfs / "bin/other").write_bytes(
        b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\x00" + bytes(60)
    )
    (bundle.rootfs / "bin/other").chmod(0o755)
    bundle.linux["seccomp"] = filtered("SCMP_ACT_KILL_PROCESS", rule("SCMP_ACT_ALLOW", "execve"))

    with bundle.build("other") as container, pytest.raises(ExecError, match="exec format error") as caught:
        container.start()

    assert "machine 243" in str(caught.value)


@pytest.mark.parametrize("user", [0, 1000])
@pytest.mark.parametrize("userns", [False, True])
def test_capabilities_are_the_same_with_a_filter(bundle: Bundle, user: int, userns: bool) -> None:
    """Loading one without no_new_privs takes CAP_SYS_ADMIN, of which nothing may be left."""
    sets = ("bounding", "effective", "permitted", "inheritable", "ambient")
    bundle.process["capabilities"] = {name: ["CAP_KILL", "CAP_NET_RAW"] for name in sets[:3]}
    bundle.process["capabilities"] |= {name: ["CAP_KILL"] for name in sets[3:]}
    bundle.process["user"] = {"uid": user, "gid": user}
    bundle.process["noNewPrivileges"] = False
    if userns:
        bundle.add_userns()
    show = "grep ^Cap /proc/self/status; cat /proc/1/attr/current 2>/dev/null; true"

    without = bundle.sh(show).lines
    bundle.linux["seccomp"] = filtered("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "reboot"))

    assert bundle.sh(show + "; grep Seccomp: /proc/self/status").lines == [*without, "Seccomp:\t2"]


def test_hooks_of_the_container_run_without_the_filter(bundle: Bundle) -> None:
    """It is the payload's; what a hook of the same specification needs is no matter of its profile."""
    bundle.spec["hooks"] = {
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "mkdir /made"], "env": ["PATH=/bin"]}]
    }
    bundle.linux["seccomp"] = filtered("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "mkdir"))

    result = bundle.sh("ls -d /made; mkdir /more")

    assert result.lines == ["/made"]
    assert "Operation not permitted" in result.stderr


@pytest.mark.parametrize(
    "flags",
    [
        None,
        [],
        ["SECCOMP_FILTER_FLAG_TSYNC"],
        ["SECCOMP_FILTER_FLAG_LOG"],
        ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
        ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
    ],
)
def test_flags_are_taken(probe: Bundle, flags: list[str] | None) -> None:
    """Each flag, and all of them together, load a filter that works."""
    probe.linux["seccomp"] = filtered("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "openat2"))
    if flags is not None:
        probe.linux["seccomp"]["flags"] = flags

    assert answer(probe, NATIVE, "call", OPENAT2) == "errno 1"


def test_the_same_profile_is_compiled_once(bundle: Bundle) -> None:
    """What the second container loads comes from the cache: it is there, private, and not written again."""
    bundle.linux["seccomp"] = filtered("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "mkdir"))

    first = bundle.sh("mkdir /x")
    (entry,) = (bundle.root / ".seccomp").iterdir()
    before = entry.stat()
    second = bundle.sh("mkdir /x")

    assert first.stderr == second.stderr != ""
    assert entry.stat().st_mtime_ns == before.st_mtime_ns
    assert before.st_mode & 0o777 == 0o600
    assert [container.id for container in Container.list(bundle.root)] == []


def test_an_architecture_of_another_byte_order_is_refused(bundle: Bundle) -> None:
    """One program serves one byte order. Create tells, with the place; nothing is left."""
    bundle.linux["seccomp"] = filtered("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "mkdir"))
    bundle.linux["seccomp"]["architectures"] = ["SCMP_ARCH_S390X"]

    with pytest.raises((InvalidConfig, SetupError, Unsupported)) as caught:
        bundle.build("true")

    assert caught.value.pointer == "/linux/seccomp/architectures/0"
    assert Container.list(bundle.root) == []


@pytest.mark.parametrize("userns", [False, True])
@pytest.mark.parametrize("no_new_privileges", NNP)
def test_tenant_is_under_the_containers_filter(probe: Bundle, no_new_privileges: bool, userns: bool) -> None:
    """A second process without it would be the way around it, whatever its own options say."""
    if userns:
        probe.add_userns()
        open_to_all(probe.rootfs)
    probe.process["noNewPrivileges"] = no_new_privileges
    probe.linux["seccomp"] = filtered("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "openat2", errnoRet=117))
    words = ("probe", NATIVE, "call", str(OPENAT2), "0", "0", "0", "24")
    process = {"args": list(words), "cwd": "/", "env": ["PATH=/bin"]}
    with running(probe) as container:
        for options in (
            {},
            {"no_new_privs": not no_new_privileges},
            {"user": 1000},
            {"process": {**process, "noNewPrivileges": no_new_privileges}},
        ):
            told = ask(container, *(() if "process" in options else words), **options)
            assert told.lines[-1].endswith("errno 117"), options
        with pytest.raises(ExecError, match="no such file or directory"):
            container.exec(["/no/such/program"])
