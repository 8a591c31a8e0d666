"""What the process of a tenant is given: each option, and what it has from the container's own; on the real kernel."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import InvalidArgument, InvalidConfig, SetupError, Unsupported
from libcontainer.capabilities import mask
from libcontainer.host import Host

from .tenants import ask, running, sh, status_of

if TYPE_CHECKING:
    from .conftest import Bundle

pytestmark = pytest.mark.root
SCHED_BATCH, SCHED_IDLE = 3, 5


def capabilities(found: dict[str, str]) -> dict[str, int]:
    """Return the five sets of a status as masks."""
    return {name: int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}


# Laid over the stored process


def test_environment_is_the_containers_with_the_callers_added(bundle: Bundle) -> None:
    """A mapping or NAME=value strings; the caller's win."""
    bundle.process["env"] += ["A=1", "B=1"]
    with running(bundle) as container:
        first = ask(container, "env", env={"A": "2"}).lines
        second = ask(container, "env", env=["C=x=y", "B=2", "B=3"]).lines

    assert {"A=2", "B=1", "TERM=xterm"} <= set(first)
    assert {"A=1", "B=3", "C=x=y"} <= set(second)
    assert not {line for line in first if line.startswith(("LISTEN_", "YOUKI", "HOSTNAME"))}


@pytest.mark.parametrize(("user", "home"), [(0, "/root"), (1000, "/home/alice"), (4242, "/")])
def test_home_is_that_of_the_tenants_user(bundle: Bundle, user: int, home: str) -> None:
    """From the container's /etc/passwd, where the environment does not say it."""
    with running(bundle) as container:
        assert sh(container, "echo $HOME", user=user).lines == [home]


def test_directory_is_the_callers_or_the_containers(bundle: Bundle) -> None:
    """The stored cwd counts where nothing is said."""
    bundle.process["cwd"] = "/tmp"
    with running(bundle) as container:
        assert ask(container, "pwd").lines == ["/tmp"]
        assert ask(container, "pwd", cwd="/etc").lines == ["/etc"]


def test_directory_that_does_not_exist_is_an_error_and_is_not_made(bundle: Bundle) -> None:
    """An init container makes its own; a mistyped one of a tenant must not appear."""
    with running(bundle) as container:
        with pytest.raises(SetupError, match="/absent") as caught:
            ask(container, "pwd", cwd="/absent")
        assert not (bundle.rootfs / "absent").exists()
    assert caught.value.pointer == "/cwd"


def test_user_and_groups_are_laid_over_one_by_one(bundle: Bundle) -> None:
    """Supplementary groups are added; the caller's own never arrive."""
    bundle.process["user"] = {"uid": 5, "gid": 6, "additionalGids": [7]}
    script = "id -u; id -g; id -G; umask"
    with running(bundle) as container:
        assert sh(container, script).lines == ["5", "6", "6 7", "0022"]
        assert sh(container, script, user=1000).lines == ["1000", "6", "6 7", "0022"]
        assert sh(container, script, user=1000, group=1001, additional_gids=[8, 9]).lines == [
            "1000",
            "1001",
            "1001 7 8 9",
            "0022",
        ]


@pytest.mark.parametrize("number", [0, 2**31, 2**32 - 2])
def test_ids_at_the_edges(bundle: Bundle, number: int) -> None:
    """Every id that the kernel knows can be had."""
    with running(bundle) as container:
        told = ask(container, "cat", "/proc/self/status", user=number, group=number, additional_gids=[number])

    found = status_of(told)
    assert found["Uid"].split() == [str(number)] * 4
    assert found["Gid"].split() == [str(number)] * 4
    assert found["Groups"].split() == [str(number)]


def test_umask_is_the_containers(bundle: Bundle) -> None:
    """config.md "umask" holds for a tenant, too."""
    bundle.process["user"]["umask"] = 0o077
    with running(bundle) as container:
        assert sh(container, "umask").lines == ["0077"]


def test_capabilities_are_the_containers_and_those_added(bundle: Bundle) -> None:
    """Added to what the process may use, and to nothing that others inherit (CVE-2022-29162)."""
    own = bundle.process["capabilities"]["bounding"]
    with running(bundle) as container:
        plain = capabilities(status_of(ask(container, "cat", "/proc/self/status")))
        more = capabilities(
            status_of(ask(container, "cat", "/proc/self/status", capabilities=["CAP_NET_RAW", "cap_chown"]))
        )

    assert plain == {"CapInh": 0, "CapPrm": mask(own), "CapEff": mask(own), "CapBnd": mask(own), "CapAmb": 0}
    wanted = mask([*own, "CAP_NET_RAW", "CAP_CHOWN"])
    assert more == {"CapInh": 0, "CapPrm": wanted, "CapEff": wanted, "CapBnd": wanted, "CapAmb": 0}


def test_added_capability_is_ambient_where_the_container_has_it_inheritable(bundle: Bundle) -> None:
    """So a user that is not root keeps it through execve."""
    sets = bundle.process["capabilities"]
    sets["inheritable"] = ["CAP_NET_RAW"]
    sets["bounding"] = [*sets["bounding"], "CAP_NET_RAW"]
    with running(bundle) as container:
        told = ask(container, "cat", "/proc/self/status", user=1000, capabilities=["CAP_NET_RAW"])

    found = capabilities(status_of(told))
    assert found["CapAmb"] == found["CapEff"] == mask(["CAP_NET_RAW"])


def test_capability_that_cannot_be_granted_is_told(bundle: Bundle) -> None:
    """config.md wants a warning; the handle has it."""
    lacking = next(
        (n for n in ("CAP_SYS_RESOURCE", "CAP_SYS_MODULE") if not Host().capabilities & mask([n])), None
    )
    if lacking is None:
        pytest.skip("this process has all capabilities")
    with running(bundle) as container, container.exec(["true"], capabilities=[lacking]) as process:
        process.wait(30)

    assert any(lacking in warning for warning in process.warnings)


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("asked", [True, False, None])
def test_no_new_privs_is_the_callers_or_the_containers(
    bundle: Bundle, stored: bool, asked: bool | None
) -> None:
    """Both ways."""
    bundle.process["noNewPrivileges"] = stored
    with running(bundle) as container:
        found = status_of(ask(container, "cat", "/proc/self/status", no_new_privs=asked))

    assert found["NoNewPrivs"] == str(int(stored if asked is None else asked))


@pytest.mark.parametrize(
    ("option", "member", "module", "fact"),
    [
        ("apparmor", "apparmorProfile", "AppArmor", "apparmor"),
        ("process_label", "selinuxLabel", "SELinux", "selinux"),
    ],
)
def test_label_that_cannot_be_had_is_an_error(
    bundle: Bundle, option: str, member: str, module: str, fact: str
) -> None:
    """A process that was to be confined must not run free."""
    if getattr(Host(), fact):
        pytest.skip(f"{module} is active on this host")
    with running(bundle) as container, pytest.raises(Unsupported, match=f"{module} is not active") as caught:
        container.exec(["true"], **{option: "profile"})

    assert caught.value.pointer == f"/{member}"
    assert str(caught.value).startswith(f"process /{member}: ")


def test_limits_are_the_containers(bundle: Bundle) -> None:
    """Also a limit under which init itself could not have worked."""
    bundle.process["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 4, "hard": 64},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]
    with running(bundle) as container:
        assert sh(container, "ulimit -n; ulimit -Hn; ulimit -c").lines == ["4", "64", "0"]
        assert sh(container, "ulimit -n", user=1000).lines == ["4"]


def test_scheduling_is_the_containers(bundle: Bundle) -> None:
    """Policy, nice value, I/O priority and OOM score."""
    bundle.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 5}
    bundle.process["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
    bundle.process["oomScoreAdj"] = 321
    with running(bundle) as container:
        told = sh(container, "cat /proc/self/oom_score_adj; ionice -p $$; cat /proc/self/stat")

    fields = told.lines[-1].rpartition(")")[2].split()
    assert told.lines[0] == "321"
    assert told.lines[1].startswith("idle")
    assert (int(fields[38]), int(fields[16])) == (SCHED_BATCH, 5)


def test_personality_is_the_containers(bundle: Bundle) -> None:
    """A 32-bit container has 32-bit tenants."""
    if os.uname().machine != "x86_64":
        pytest.skip("the name of the other personality is that of x86_64")
    bundle.linux["personality"] = {"domain": "LINUX32"}
    with running(bundle) as container:
        assert ask(container, "uname", "-m").lines == ["i686"]


@pytest.mark.parametrize("cpus", ["0", "1", "0-1"])
def test_final_cpus_are_those_asked_for(bundle: Bundle, cpus: str) -> None:
    """config.md "execCPUAffinity"."""
    if (os.cpu_count() or 1) < 2:
        pytest.skip("needs two CPUs")
    bundle.process["execCPUAffinity"] = {"initial": "0", "final": cpus}
    with running(bundle) as container:
        found = status_of(ask(container, "cat", "/proc/self/status"))

    assert found["Cpus_allowed_list"] == cpus


def test_without_final_cpus_those_of_the_cgroup_count(bundle: Bundle) -> None:
    """config.md: the container's default affinity; the initial list must not stay."""
    bundle.process["execCPUAffinity"] = {"initial": "0"}
    with running(bundle) as container:
        found = status_of(ask(container, "cat", "/proc/self/status"))
        first = status_of(ask(container, "cat", f"/proc/{1}/status"))

    assert found["Cpus_allowed_list"] == first["Cpus_allowed_list"]


@pytest.mark.parametrize("moment", ["initial", "final"])
def test_cpus_that_there_are_not(bundle: Bundle, moment: str) -> None:
    """An error with its pointer, and no process."""
    bundle.process["execCPUAffinity"] = {moment: "8000"}
    with running(bundle) as container, pytest.raises(SetupError, match="CPU") as caught:
        container.exec(["true"])

    assert caught.value.pointer == f"/execCPUAffinity/{moment}"


# A process object


def test_process_object_replaces_the_stored_one(bundle: Bundle, tmp_path: Path) -> None:
    """As a dictionary and as a file; nothing of the stored one is left, and other options count for nothing."""
    process: dict[str, Any] = {
        "args": ["sh", "-c", "id -u; pwd; echo $A; cat /proc/self/oom_score_adj"],
        "cwd": "/tmp",
        "env": ["PATH=/bin", "A=file"],
        "user": {"uid": 7, "gid": 7},
    }
    bundle.process["oomScoreAdj"] = 100
    before = json.dumps(process)
    file = tmp_path / "process.json"
    file.write_text(before)
    with running(bundle) as container:
        own = Path("/proc/self/oom_score_adj").read_text().strip()
        for value in (process, file):
            told = ask(container, process=value, user=9, env={"A": "option"})
            assert told.lines == ["7", "/tmp", "file", own]
            found = ask(container, process={**process, "args": ["cat", "/proc/self/status"]})
            assert capabilities(status_of(found))["CapBnd"] == 0  # absent means none
    assert json.dumps(process) == before


@pytest.mark.parametrize("kind", ["file", "object"])
def test_every_fault_of_a_process_object_is_told(bundle: Bundle, tmp_path: Path, kind: str) -> None:
    """With pointers that begin in it, and named after the file."""
    process = {
        "args": [],
        "cwd": "relative",
        "user": {"uid": 2**32 - 1, "gid": "1"},
        "rlimits": [{"type": "RLIMIT_FLY", "soft": 1, "hard": 0}],
        "noNewPrivileges": None,
        "execCPUAffinity": {"initial": "1-"},
    }
    file = tmp_path / "process.json"
    file.write_text(json.dumps(process))
    with running(bundle) as container, pytest.raises(InvalidConfig) as caught:
        container.exec(process=file if kind == "file" else process)

    assert caught.value.source == (str(file) if kind == "file" else "process")
    assert {problem.pointer for problem in caught.value.problems} >= {
        "/args",
        "/cwd",
        "/user/uid",
        "/user/gid",
        "/rlimits/0/type",
        "/noNewPrivileges",
        "/execCPUAffinity/initial",
    }


@pytest.mark.parametrize("text", ["", "[]", "{", '{"args": ["true"], "cwd": "/"'])
def test_file_that_holds_no_process_object(bundle: Bundle, tmp_path: Path, text: str) -> None:
    """Named after the file."""
    file = tmp_path / "process.json"
    file.write_text(text)
    with running(bundle) as container, pytest.raises(InvalidConfig, match=str(file)):
        container.exec(process=file)


def test_file_that_is_not_there(bundle: Bundle, tmp_path: Path) -> None:
    """An argument of the caller."""
    with running(bundle) as container, pytest.raises(InvalidArgument, match="absent"):
        container.exec(process=tmp_path / "absent")
