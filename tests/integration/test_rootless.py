"""Containers of a user without privileges: `youki spec --rootless`, `youki run`, and what they may not do."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from .conftest import YOUKI
from .holders import identity, namespace_path, show
from .rootless import NAME, SUBORDINATES, User, borrowed_user

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHOW_MAPS = "tr -s ' ' </proc/self/uid_map; tr -s ' ' </proc/self/gid_map; cat /proc/self/setgroups"


@pytest.fixture
def user() -> Iterator[User]:
    """An unprivileged user with the configuration that `youki spec --rootless` writes."""
    with borrowed_user() as made:
        made.make_spec()
        yield made


def test_spec_and_run_simply_work(user: User) -> None:
    """Two commands and a root file system are all that an unprivileged user needs."""
    result = user.sh("id -u; id -g; echo $$; exit 7", check=False)

    assert (result.stdout.splitlines(), result.stderr) == (["0", "0", "1"], "")
    assert result.returncode == 7


def test_spec_and_run_work_on_a_terminal_as_written(user: User) -> None:
    """`youki spec --rootless && youki run` in a shell, nothing edited: an interactive shell in the container."""
    user.spec["process"]["terminal"] = True
    user.save()
    command = f"{YOUKI} run test-terminal"
    result = user.run("script", "-qec", command, "/dev/null", input="tty; exit 3\n", check=False)

    assert "/dev/pts/0" in result.stdout
    assert result.returncode == 3


def test_one_mapped_id_is_the_users_own(user: User) -> None:
    """Without subordinate ids root inside is the user outside; setgroups is denied, as the kernel demands."""
    lines = user.sh(SHOW_MAPS).stdout.splitlines()

    assert [line.strip() for line in lines] == [f"0 {user.uid} 1", f"0 {user.gid} 1", "deny"]


def test_files_of_the_containers_root_are_the_users(user: User) -> None:
    """What a build writes into a bind mount can be read, edited and removed by whoever ran it."""
    shared = user.bundle / "rootfs/mnt"
    user.spec["root"]["readonly"] = False
    user.sh("echo made >/mnt/made")

    assert (shared / "made").stat().st_uid == user.uid


def test_subordinate_ids_are_mapped_by_the_helpers(user: User) -> None:
    """newuidmap and newgidmap write what /etc/subuid and /etc/subgid grant, exactly."""
    user.map_subordinate_ids()
    lines = [line.strip() for line in user.sh(SHOW_MAPS).stdout.splitlines()]
    rest = f"1 {user.first} {SUBORDINATES}"

    assert lines == [f"0 {user.uid} 1", rest, f"0 {user.gid} 1", rest, "allow"]


def test_payload_may_be_another_user_with_groups(user: User) -> None:
    """With subordinate ids an image's own user works, and its files belong to a subordinate id."""
    user.map_subordinate_ids()
    user.spec["root"]["readonly"] = False
    user.spec["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 1001]}
    result = user.sh("id -u; id -g; id -G; touch /tmp/made")

    assert result.stdout.splitlines() == ["1000", "1001", "1001 5"]
    made = (user.rootfs / "tmp/made").stat()
    assert (made.st_uid, made.st_gid) == (user.first + 999, user.first + 1000)


def test_groups_of_the_caller_are_dropped_where_the_kernel_permits(user: User) -> None:
    """A user's membership in docker or disk must not follow into the container."""
    user.map_subordinate_ids()
    user.groups = (4, 20)
    result = user.sh("grep Groups /proc/self/status")

    assert result.stdout.split() == ["Groups:"]


def test_additional_groups_with_setgroups_denied_are_an_error(user: User) -> None:
    """user_namespaces(7): no process below such a mapping may change its groups; leaving them out would be a lie."""
    user.spec["process"]["user"]["additionalGids"] = [0]
    result = user.sh("true", check=False)

    assert result.returncode != 0
    assert "/process/user" in result.stderr
    assert "newgidmap" in result.stderr
    assert left(user) == []


def test_group_without_a_mapping_is_an_error(user: User) -> None:
    """It does not exist in the container."""
    user.spec["process"]["user"]["additionalGids"] = [5]
    result = user.sh("true", check=False)

    assert result.returncode != 0
    assert "/process/user/additionalGids/0" in result.stderr


@pytest.mark.parametrize("helper", ["newuidmap", "newgidmap"])
def test_missing_helper_is_named_with_its_package(user: User, helper: str) -> None:
    """There is no smaller mapping in silence: what to install is told, and nothing is left."""
    user.map_subordinate_ids()
    user.mounts = [f"for file in /usr/bin/{helper} /bin/{helper}; do mount --bind /dev/null $file; done"]
    result = user.sh("true", check=False)

    assert result.returncode != 0
    assert helper in result.stderr
    assert "package uidmap" in result.stderr
    assert left(user) == []


@pytest.mark.parametrize("name", ["subuid", "subgid"])
def test_missing_subordinate_ids_are_named_with_the_line_to_add(user: User, name: str) -> None:
    """The administrator is told the very line and command."""
    user.map_subordinate_ids()
    user.mounts = [f"mount --bind /dev/null /etc/{name}"]
    result = user.sh("true", check=False)

    assert result.returncode != 0
    assert f"{NAME}:{user.first}:{SUBORDINATES} to /etc/{name}" in result.stderr
    assert f"usermod --add-{name}s {user.first}-" in result.stderr
    assert left(user) == []


def test_ids_of_somebody_else_are_refused(user: User) -> None:
    """The helpers grant only what the files say; the range that is missing is named."""
    user.map_subordinate_ids()
    user.spec["linux"]["uidMappings"][1].update(hostID=5, size=10)
    result = user.sh("true", check=False)

    assert result.returncode != 0
    assert "newuidmap" in result.stderr
    assert f"{NAME}:5:10 to /etc/subuid" in result.stderr
    assert left(user) == []


def test_without_a_user_namespace_the_remedy_is_told(user: User) -> None:
    """The default of `youki spec` is for root; a user learns which command writes the other one."""
    user.remove_namespace("user")
    del user.spec["linux"]["uidMappings"], user.spec["linux"]["gidMappings"]
    result = user.sh("true", check=False)

    assert result.returncode != 0
    assert "EPERM" in result.stderr
    assert "--rootless" in result.stderr
    assert left(user) == []


def test_life_of_a_container_goes_over_several_commands(user: User) -> None:
    """create, state, list, start, kill and delete are different processes, and none has to stay."""
    user.create("test-life", "sleep", "1000")
    created = json.loads(user.youki("state", "test-life").stdout)
    user.youki("start", "test-life")
    running = json.loads(user.youki("state", "test-life").stdout)
    assert "test-life" in user.youki("list", "-q").stdout
    assert user.youki("delete", "test-life", check=False).returncode != 0
    user.youki("kill", "test-life", "KILL")
    user.youki("delete", "--force", "test-life")

    assert (created["status"], running["status"]) == ("created", "running")
    assert created["pid"] == running["pid"]
    assert left(user) == []


def test_pod_of_two_containers_shares_a_user_namespace_and_a_network(user: User) -> None:
    """podman's pods, rootless: the second joins what the first made, by paths below /proc."""
    user.map_subordinate_ids()
    user.set_namespace("network")
    user.create("test-first", "sleep", "1000")
    user.youki("start", "test-first")
    pid = json.loads(user.youki("state", "test-first").stdout)["pid"]
    expected = [identity(kind, pid) for kind in ("user", "network", "ipc")]
    for kind in ("network", "user", "ipc"):
        user.set_namespace(kind, namespace_path(kind, pid))
    del user.spec["linux"]["uidMappings"], user.spec["linux"]["gidMappings"]
    user.spec["process"]["user"] = {"uid": 7, "gid": 8, "additionalGids": [9]}
    result = user.sh(f"{show('user', 'network', 'ipc')}; id -u; id -G")

    assert result.stdout.splitlines() == [*expected, "7", "8 9"]


def test_network_of_its_own_has_loopback(user: User) -> None:
    """A new network namespace belongs to the user namespace, so it can be configured and sysfs shows it."""
    user.set_namespace("network")
    for mount in user.spec["mounts"]:
        if mount["destination"] == "/sys":
            mount.update(type="sysfs", source="sysfs", options=["nosuid", "noexec", "nodev", "ro"])
    result = user.sh("ls /sys/class/net; cat /sys/class/net/lo/flags")

    assert result.stdout.splitlines() == ["lo", "0x9"]


def test_clocks_are_offset(user: User) -> None:
    """Time and user namespace together: the offsets are written before the identity changes."""
    user.map_subordinate_ids()
    user.set_namespace("time")
    user.spec["linux"]["timeOffsets"] = {"monotonic": {"secs": 5000}, "boottime": {"secs": 6000}}
    result = user.sh("cat /proc/self/timens_offsets")

    assert result.stdout.split() == ["monotonic", "5000", "0", "boottime", "6000", "0"]


def test_what_goes_without_a_cgroup_says_so(user: User) -> None:
    """Nobody asked for a limit, so it is no error; whoever asks what limits it gets the reason."""
    script = (
        "from libcontainer import ContainerBuilder\n"
        "with ContainerBuilder('test-without').as_init('.').build() as container:\n"
        "    print(container.without_cgroup)\n"
    )
    user.spec["process"]["args"] = ["true"]
    user.save()
    reason = user.python(script).stdout
    debugged = user.youki("--debug", "run", "test-without").stderr

    if reason == "None\n":  # a cgroup was delegated to this user
        assert "neither limited nor measured" not in debugged
    else:
        assert "Permission denied" in reason or "Read-only" in reason
        assert "test-without is neither limited nor measured: " in debugged
    assert user.youki("run", "test-without").stderr == ""


def test_limit_that_cannot_be_had_is_an_error(user: User) -> None:
    """Without a cgroup there are no limits; running without one that was asked for would be a lie."""
    user.spec["linux"]["resources"] = {"pids": {"limit": 10}}
    result = user.sh("true", check=False)

    assert result.returncode != 0
    assert "/linux/resources/pids" in result.stderr
    assert left(user) == []


def test_named_cgroup_that_cannot_be_made_is_an_error(user: User) -> None:
    """Who names a cgroup wants the container to be there."""
    user.spec["linux"]["cgroupsPath"] = "/test-rootless-named"
    result = user.sh("true", check=False)

    assert result.returncode != 0
    assert "cgroup" in result.stderr
    assert left(user) == []


def test_home_of_mode_0700_is_no_obstacle(user: User) -> None:
    """Bundles lie in homes, which only their owner may search, and root inside may be a subordinate id."""
    user.map_subordinate_ids()
    for field, own in (("uidMappings", user.uid), ("gidMappings", user.gid)):
        user.spec["linux"][field] = [
            {"containerID": 0, "hostID": user.first, "size": 1000},
            {"containerID": 1000, "hostID": own, "size": 1},
        ]
    user.home.chmod(0o700)

    assert user.sh("id -u").stdout == "0\n"


def test_processes_of_the_host_are_shared_with_a_bound_proc(user: User) -> None:
    """A fresh proc would show a pid namespace that the container does not own; the host's may be bound."""
    user.remove_namespace("pid")
    refused = user.sh("true", check=False)
    for mount in user.spec["mounts"]:
        if mount["destination"] == "/proc":
            mount.update(type="none", source="/proc", options=["rbind"])
    result = user.sh("readlink /proc/self/ns/pid")

    assert refused.returncode != 0
    assert "/mounts/0" in refused.stderr
    assert "pid" in refused.stderr.partition(" – ")[2]
    assert result.stdout.strip() == identity("pid")


def test_failure_as_a_subordinate_user_leaves_no_process(user: User) -> None:
    """Init may be another user than the caller by then; the owner of its user namespace may end it all the same."""
    for field in ("uidMappings", "gidMappings"):
        user.spec["linux"][field] = [{"containerID": 0, "hostID": user.first, "size": 1000}]
    user.spec["process"]["args"] = ["/no/such/program"]
    user.save()
    result = user.youki("run", "test-failure", check=False)

    assert result.returncode != 0
    assert "/no/such/program" in result.stderr
    assert left(user) == []
    assert os.geteuid() != 0 or user.processes() == []


def test_container_without_a_mount_namespace_runs(user: User) -> None:
    """Nothing is mounted then; the root of the user namespace may still change its root directory."""
    user.remove_namespace("mount")
    user.spec["mounts"] = []
    user.spec["root"]["readonly"] = False
    user.spec["linux"]["maskedPaths"] = user.spec["linux"]["readonlyPaths"] = []

    assert user.sh("echo $$; id -u").stdout.split() == ["1", "0"]


def test_namespace_of_the_host_cannot_be_joined_from_a_user_namespace(user: User) -> None:
    """setns(2): a user has no rights over the host's namespaces, not even its own network; the remedy is told."""
    user.set_namespace("network", namespace_path("network"))
    result = user.sh("true", check=False)

    assert result.returncode != 0
    assert "/linux/namespaces/" in result.stderr
    assert "EPERM" in result.stderr
    assert "user namespace that owns" in result.stderr
    assert left(user) == []


def test_joined_user_namespace_with_clocks_of_its_own(user: User) -> None:
    """The offsets belong to a new time namespace in the joined user namespace."""
    user.create("test-first", "sleep", "1000")
    user.youki("start", "test-first")
    pid = json.loads(user.youki("state", "test-first").stdout)["pid"]
    expected = identity("user", pid)
    user.set_namespace("user", namespace_path("user", pid))
    user.set_namespace("time")
    user.spec["linux"]["timeOffsets"] = {"monotonic": {"secs": 700}}
    del user.spec["linux"]["uidMappings"], user.spec["linux"]["gidMappings"]
    result = user.sh(f"{show('user')}; grep monotonic /proc/self/timens_offsets")

    assert result.stdout.split() == [expected, "monotonic", "700", "0"]


def test_id_mapped_mount_is_refused_with_a_remedy(user: User) -> None:
    """It needs rights over the whole file system, which only root has."""
    mount = {"destination": "/mnt", "type": "bind", "source": "/tmp", "options": ["bind", "idmap"]}
    user.spec["mounts"].append(mount)
    result = user.sh("true", check=False)

    assert result.returncode != 0
    assert "/mounts/7" in result.stderr
    assert "run as root" in result.stderr
    assert left(user) == []


def test_rootfs_that_the_user_may_not_enter_is_named(user: User) -> None:
    """The error tells the reason, not only that there is no such directory."""
    user.spec["root"]["path"] = "closed"
    (user.bundle / "closed").mkdir(mode=0o000)
    result = user.sh("true", check=False)
    (user.bundle / "closed").rmdir()

    assert result.returncode != 0
    assert "/root/path" in result.stderr
    assert "Permission denied" in result.stderr


def test_user_of_the_container_cannot_look_into_init_before_start(user: User) -> None:
    """CVE-2016-9962: init is not dumpable, so not even its own user on the host may open its descriptors."""
    user.create("test-closed", "sleep", "1000")
    pid = json.loads(user.youki("state", "test-closed").stdout)["pid"]

    assert user.run("ls", f"/proc/{pid}/fd", check=False).returncode != 0
    assert user.run("readlink", f"/proc/{pid}/exe", check=False).returncode != 0


@pytest.mark.parametrize("kind", ["prestart", "createRuntime"])
def test_hook_of_the_runtime_reaches_the_new_network(user: User, kind: str) -> None:
    """Networks are set up by such hooks (slirp4netns, pasta), through the paths below /proc/PID/ns."""
    if shutil.which("ip") is None:
        pytest.skip("ip is not installed (Debian: iproute2)")
    user.set_namespace("network")
    script = f"""
    pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/')
    readlink /proc/$pid/ns/net >{user.home}/seen
    nsenter --target=$pid --user --net --preserve-credentials ip addr add 10.9.8.7/32 dev lo
    """
    user.spec["hooks"] = {
        kind: [
            {"path": "/bin/sh", "args": ["sh", "-euc", script], "env": ["PATH=/usr/bin:/usr/sbin:/bin:/sbin"]}
        ]
    }
    result = user.sh(f"{show('network')}; ip addr show lo | grep -c 10.9.8.7")

    assert result.stdout.split() == [(user.home / "seen").read_text().strip(), "1"]


def test_containers_of_another_root_directory_are_out_of_reach(user: User) -> None:
    """A user who names root's directory is told, whatever the command."""
    if os.geteuid() != 0:
        pytest.skip("needs a second user")
    closed = user.home / "closed"
    closed.mkdir(mode=0o700)
    user.save()
    for words in (("list",), ("state", "test-x"), ("delete", "test-x"), ("create", "test-x")):
        result = user.youki("--root", str(closed), *words, check=False)
        assert result.returncode != 0
        assert f"cannot use {closed}" in result.stderr


ROOTS = "from libcontainer.state import default_root; print(default_root())"


def test_records_are_kept_in_the_users_runtime_directory(user: User) -> None:
    """XDG_RUNTIME_DIR is the user's own, of mode 0700 (XDG Base Directory Specification)."""
    assert user.python(ROOTS).stdout == f"{user.runtime_dir}/youki\n"


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o1777])
def test_runtime_directory_that_others_may_use_is_not_trusted(user: User, mode: int) -> None:
    """What is read there decides which processes are killed; the home is taken instead."""
    user.runtime_dir.chmod(mode)
    try:
        assert user.python(ROOTS).stdout == f"{user.home}/.youki/run\n"
    finally:
        user.runtime_dir.chmod(0o700)


def test_without_a_home_there_is_a_place_in_tmp(user: User) -> None:
    """Cron jobs and services have neither XDG_RUNTIME_DIR nor HOME."""
    if os.path.isdir(f"/run/user/{user.uid}"):
        pytest.skip("this user has a runtime directory")

    assert user.python(ROOTS, env={"PATH": "/usr/bin:/bin"}).stdout == f"/tmp/youki-{user.uid}\n"


def test_root_directory_that_others_may_change_is_refused(user: User) -> None:
    """Somebody else's record could name any process of ours to be killed."""
    open_to_all = user.home / "open"
    open_to_all.mkdir()
    if os.geteuid() == 0:
        os.chown(open_to_all, user.uid, user.gid)
    open_to_all.chmod(0o777)
    user.save()
    result = user.youki("--root", str(open_to_all), "create", "test-open", check=False)

    assert result.returncode != 0
    assert "other users may change it" in result.stderr
    assert list(open_to_all.iterdir()) == []


def test_place_in_tmp_that_somebody_else_made_is_refused(user: User, tmp_path: Path) -> None:
    """Anybody can make /tmp/youki-1000 first."""
    if os.geteuid() != 0:
        pytest.skip("needs a second user")
    tmp_path.chmod(0o755)
    user.save()
    link = user.home / "link"
    link.symlink_to(tmp_path)
    result = user.youki("--root", str(link), "create", "test-link", check=False)

    assert result.returncode != 0
    assert "cannot use" in result.stderr


LIBRARY = """
import sys
from libcontainer import ContainerBuilder, PIPE
container = ContainerBuilder("test-library").with_stdout(PIPE).as_init(".").build()
with container:
    container.start()
    print(container.stdout.read().decode(), container.wait(30).code, end="")
"""


def test_library_works_for_the_user(user: User) -> None:
    """The same from Python: the default root, no cgroup, pipes, and nothing left."""
    user.spec["process"]["args"] = ["sh", "-c", "echo hello; exit 4"]
    user.save()

    assert user.python(LIBRARY).stdout == "hello\n 4"
    assert left(user) == []


def left(user: User) -> list[str]:
    """Return the records that a command left behind."""
    return os.listdir(user.root) if user.root.exists() else []
