"""Users, groups, capabilities, ulimits, seccomp, no_new_privs, sysctls and --init."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .podman import Podman

STATUS = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)' /proc/self/status"


@pytest.mark.parametrize("user", ["alice", "1000", "1000:50", "alice:root", "77:88"])
def test_user(podman: Podman, observed: list[Any], user: str) -> None:
    """`--user` by name or number: ids, groups, home and capabilities are those that runc gives."""
    observed.append(podman.sh(f"{STATUS}; echo $HOME", "--user", user).lines)
    assert observed[0][0].split()[1] == ("77" if user.startswith("77") else "1000")


def test_user_missing(podman: Podman, observed: list[Any]) -> None:
    """A name that the image does not know is an error."""
    observed.append(podman.sh("id", "--user", "nobody-of-that-name", check=False).code)
    assert observed[0] != 0


def test_additional_groups(podman: Podman, observed: list[Any]) -> None:
    """`--group-add` by number."""
    observed.append(podman.sh("id -G", "--user", "1000", "--group-add", "4242").stdout)
    assert "4242" in observed[0].split()


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--cap-drop", "ALL"),
        ("--cap-drop", "CHOWN", "--cap-drop", "KILL"),
        ("--cap-add", "NET_ADMIN"),
        ("--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE", "--user", "1000"),
        ("--user", "1000", "--cap-add", "CHOWN"),
    ],
)
def test_capabilities(podman: Podman, observed: list[Any], options: tuple[str, ...]) -> None:
    """All five sets are those that runc gives."""
    observed.append(podman.sh("grep ^Cap /proc/self/status", *options).lines)
    assert len(observed[0]) == 5


@pytest.mark.parametrize(
    ("name", "limit", "flag"),
    [
        ("nofile", "100:200", "-n"),
        ("nproc", "300:400", "-u"),
        ("core", "0:0", "-c"),
        ("stack", "1048576:2097152", "-s"),
    ],
)
def test_ulimit(podman: Podman, observed: list[Any], name: str, limit: str, flag: str) -> None:
    """`--ulimit` sets the soft and the hard limit."""
    options = podman.ulimits(**{name: limit})
    observed.append(podman.sh(f"ulimit -S {flag}; ulimit -H {flag}", *options).stdout)
    assert len(observed[0].split()) == 2


def test_no_new_privileges(podman: Podman, observed: list[Any]) -> None:
    """`--security-opt no-new-privileges` is set; without it, it is not."""
    script = "grep NoNewPrivs /proc/self/status"
    observed.append(podman.sh(script).stdout)
    observed.append(podman.sh(script, "--security-opt", "no-new-privileges").stdout)
    assert observed == ["NoNewPrivs:\t0\n", "NoNewPrivs:\t1\n"]


def test_default_seccomp_profile(podman: Podman, observed: list[Any]) -> None:
    """podman's own profile is loaded: a call that it forbids fails, and one filter is counted."""
    observed.append(podman.sh("grep Seccomp /proc/self/status; unshare -U true; echo $?").lines)
    assert observed[0][0].split() == ["Seccomp:", "2"]


def test_seccomp_profile(podman: Podman, observed: list[Any]) -> None:
    """A profile of the caller's own: the call fails with the error that it names."""
    profile = podman.directory / "profile.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    done = podman.sh("mkdir /tmp/new", "--security-opt", f"seccomp={profile}", check=False)
    observed.append((done.code, done.stderr))
    assert "No space left on device" in done.stderr


def test_seccomp_kills(podman: Podman, observed: list[Any]) -> None:
    """A call that kills the process: the exit code is that of SIGSYS."""
    profile = podman.directory / "killer.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    done = podman.run("mkdir", "/tmp/new", options=("--security-opt", f"seccomp={profile}"), check=False)
    observed.append(done.code)
    assert done.code == 128 + 31


def test_seccomp_unconfined(podman: Podman) -> None:
    """`seccomp=unconfined` loads no filter."""
    done = podman.sh("grep ^Seccomp: /proc/self/status", "--security-opt", "seccomp=unconfined")
    assert done.stdout.split() == ["Seccomp:", "0"]


def test_privileged(podman: Podman, observed: list[Any]) -> None:
    """`--privileged`: every capability, nothing masked, no filter."""
    observed.append(podman.sh(STATUS, "--privileged").lines)
    mounts = podman.sh("cat /proc/self/mounts", "--privileged").stdout
    assert " /proc " in mounts
    assert " /proc/" not in mounts


def test_sysctl(podman: Podman) -> None:
    """`--sysctl` of a namespace of the container's own."""
    done = podman.sh("cat /proc/sys/kernel/msgmax", "--sysctl", "kernel.msgmax=12345")
    assert done.stdout == "12345\n"


def test_init(podman: Podman, observed: list[Any]) -> None:
    """`--init` puts a small init before the payload, which reaps and forwards signals."""
    observed.append(podman.sh("cat /proc/1/comm; exit 5", "--init", check=False).code)
    container = podman.detached(options=("--init",))
    assert podman.inside(container, "cat /proc/1/comm").stdout == "podman-init\n"
    podman("stop", container)
    observed.append(podman.inspect(container, ".State.ExitCode"))
    assert observed == [5, "143"]


@pytest.mark.parametrize("kind", ["pid", "ipc", "uts", "network"])
def test_namespace_of_the_host(podman: Podman, kind: str) -> None:
    """`--pid=host` and its like make no namespace."""
    file = {"network": "net"}.get(kind, kind)
    done = podman.sh(f"readlink /proc/self/ns/{file}", f"--{kind}=host")
    there = podman.host.run("readlink", f"/proc/self/ns/{file}").stdout
    assert done.stdout == there


def test_joined_namespaces(podman: Podman) -> None:
    """`--pid=container:ID` and its like join another container's."""
    first = podman.detached()
    script = "for kind in pid ipc net; do readlink /proc/self/ns/$kind; done"
    options = [f"--{kind}=container:{first}" for kind in ("pid", "ipc", "network")]
    assert podman.sh(script, *options).stdout == podman.inside(first, script).stdout


def test_user_namespace(rootful: Podman, observed: list[Any]) -> None:
    """`--userns` with a map: root inside is nobody outside."""
    options = ("--uidmap", "0:200000:1000", "--gidmap", "0:200000:1000")
    observed.append(rootful.sh("cat /proc/self/uid_map; id -u", *options).stdout.split())
    container = rootful.detached(options=options)
    status = rootful.host.path(f"/proc/{rootful.pid(container)}/status").read_text()
    assert "Uid:\t200000\t" in status


def test_preserved_descriptors(podman: Podman) -> None:
    """`--preserve-fds` hands open files to the payload."""
    (podman.directory / "passed").write_text("passed on\n")
    command = podman.command(
        "run", "--rm", "--preserve-fds", "1", "localhost/busybox", "cat", "/proc/self/fd/3"
    )
    script = f'exec 3< {podman.directory}/passed; exec "$@"'
    assert podman.host.run("sh", "-c", script, "sh", *command).stdout == "passed on\n"
