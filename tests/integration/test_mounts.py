"""Mounts: sources, targets, and what a user namespace changes. config.md "Mounts".

Attacks on mount targets: CVE-2019-16884, CVE-2019-19921, CVE-2021-30465, CVE-2024-45310.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import mapping

from .boxes import MODES, Box, host_directory, host_mounts, open_to_all
from .conftest import YOUKI

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .boxes import HostDirectory
    from .conftest import Bundle


@pytest.fixture(params=MODES)
def box(bundle: Bundle, request: pytest.FixtureRequest) -> Box:
    """A container, made with the newer mount calls or with the classic ones."""
    return Box(bundle, request.param)


@pytest.fixture
def host(bundle: Bundle, tmp_path: Path) -> Iterator[HostDirectory]:
    """A directory of the host for mounts and files."""
    yield from host_directory(tmp_path / "host")


def put(path: Path, text: str = "content") -> Path:
    """Write a file, with its directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# ---- sources


def test_directory_and_file_are_bound(box: Box, host: HostDirectory) -> None:
    """A bind shows the host's own file: what the container writes arrives there."""
    put(host / "dir/file", "in a directory")
    put(host / "single", "alone")
    box.mount("/data", str(host / "dir"), "bind", "bind")
    box.mount("/etc/single", str(host / "single"), "none", "bind")

    run = box.sh("cat /data/file /etc/single && echo new > /data/made && echo changed > /etc/single")

    assert (run.code, run.stdout) == (0, "in a directoryalone")
    assert (host / "dir/made").read_text() == "new\n"
    assert (host / "single").read_text() == "changed\n"


def test_type_bind_alone_asks_for_a_bind(box: Box, host: HostDirectory) -> None:
    """docker, podman and youki write it without the option; runc would look for a file system of that name."""
    put(host / "dir/file")
    box.mount("/data", str(host / "dir"), "bind")

    assert box.sh("cat /data/file").stdout == "content"


def test_relative_source_of_a_bind_is_below_the_bundle(box: Box) -> None:
    """config.md: a relative source of a bind is relative to the bundle, not to anybody's working directory."""
    put(box.bundle.path / "volume/file")
    box.mount("/data", "volume", "bind", "bind")

    assert box.sh("cat /data/file").stdout == "content"


def test_missing_source_is_refused(box: Box, host: HostDirectory) -> None:
    """A volume that is not there is an error; nothing is made in its place, here or there."""
    box.mount("/data", str(host / "missing"), "bind", "bind")

    text = box.refusal()

    assert "config.json /mounts/4: mount bind" in text
    assert "No such file or directory" in text
    assert not (host / "missing").exists()


def test_bind_without_a_source_is_refused(box: Box) -> None:
    """Joined to the bundle, an empty source would be the bundle itself, with its config.json."""
    box.mount("/data", "", "bind", "ro")

    assert "/mounts/4/source" in box.refusal()


def test_bind_takes_mounts_below_only_with_rbind(box: Box, host: HostDirectory) -> None:
    """`rbind,ro` makes the top read-only; a mount below keeps its own flags."""
    top = host.mount("tree")
    host.mount("tree/below")
    box.mount("/flat", str(top), "bind", "bind")
    box.mount("/deep", str(top), "bind", "rbind", "ro")

    mounts = box.mounts()

    assert "/flat/below" not in mounts
    assert "ro" in mounts["/deep"].options
    assert "rw" in mounts["/deep/below"].options


def test_readonly_bind_cannot_be_written_and_its_source_can(box: Box, host: HostDirectory) -> None:
    """Read-only is the mount, not the host's file system."""
    put(host / "dir/file")
    box.mount("/data", str(host / "dir"), "bind", "bind", "ro")

    run = box.sh("echo x > /data/file")

    assert run.code != 0
    assert "Read-only file system" in run.stderr
    put(host / "dir/file", "the host writes")


# ---- targets


def test_missing_target_is_made_like_its_source(box: Box, host: HostDirectory) -> None:
    """Images do not know where their volumes will be: a directory for a directory, a file for a file."""
    put(host / "file")
    box.mount("/not/there/dir", "tmpfs", "tmpfs")
    box.mount("/nor/here/file", str(host / "file"), "bind", "bind")

    assert box.sh("cat /nor/here/file; test -d /not/there/dir").code == 0
    assert (box.rootfs / "not/there/dir").stat().st_mode & 0o7777 == 0o755
    assert (box.rootfs / "nor/here/file").stat().st_size == 0


def test_directory_on_a_file_and_file_on_a_directory_are_refused(box: Box, host: HostDirectory) -> None:
    """The kernel refuses both, and nothing of the image is replaced to make it fit."""
    put(host / "file")
    put(box.rootfs / "file")
    box.mount("/file", "tmpfs", "tmpfs")
    assert "Not a directory" in box.refusal()
    box.spec["mounts"].pop()
    box.mount("/etc", str(host / "file"), "bind", "bind")
    assert "Is a directory" in box.refusal()
    assert (box.rootfs / "file").read_text() == "content"


def test_target_through_a_symlink_stays_inside(box: Box, host: HostDirectory) -> None:
    """A link of the image that names a host directory means the place of that name in the image."""
    outside = host / "outside"
    outside.mkdir()
    put(outside / "file", "of the host")
    (box.rootfs / "link").symlink_to(outside)
    (box.rootfs / "up").symlink_to("../" * 20 + str(outside).lstrip("/"))
    box.mount("/link/a", "tmpfs", "tmpfs")
    box.mount("/up/b", "tmpfs", "tmpfs")

    mounts = box.mounts()

    assert {f"{outside}/a", f"{outside}/b"} <= mounts.keys()
    assert sorted(item.name for item in outside.iterdir()) == ["file"]
    assert sorted(item.name for item in (box.rootfs / str(outside)[1:]).iterdir()) == ["a", "b"]


def test_dangling_link_as_target_is_made_inside(box: Box, host: HostDirectory) -> None:
    """Images have links such as /etc/resolv.conf into a /run that is empty: users depend on it (CVE-2024-45310)."""
    put(host / "resolv.conf", "nameserver")
    (box.rootfs / "etc/resolv.conf").symlink_to(f"{host.path}/made/resolv.conf")
    box.mount("/etc/resolv.conf", str(host / "resolv.conf"), "bind", "bind")

    assert box.sh("cat /etc/resolv.conf").stdout == "nameserver"
    assert not (host / "made").exists()


def test_relative_target_is_taken_below_the_root(box: Box) -> None:
    """config.md wants an absolute one; older tools write `data`, and `..` must not lead out."""
    box.mount("data", "tmpfs", "tmpfs")
    box.mount("../../../above", "tmpfs", "tmpfs")

    assert {"/data", "/above"} <= box.mounts().keys()


def test_mount_on_the_root_itself_is_refused(box: Box) -> None:
    """It would be hidden below the real root, or hide it: the root is /root/path."""
    box.mount("/", "tmpfs", "tmpfs")

    assert "/mounts/4/destination" in box.refusal()


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_proc_and_sysfs_are_refused_on_a_symlink(box: Box, name: str) -> None:
    """CVE-2019-19921: through a link, another container's volume becomes the place where labels are written."""
    (box.rootfs / name).rmdir()
    (box.rootfs / "elsewhere").mkdir()
    (box.rootfs / name).symlink_to("elsewhere")
    box.linux["maskedPaths"], box.linux["readonlyPaths"] = [], []

    text = box.refusal()

    assert f"on /{name} failed: Too many levels of symbolic links" in text
    assert list((box.rootfs / "elsewhere").iterdir()) == []


def test_proc_below_a_symlink_is_refused(box: Box) -> None:
    """CVE-2023-27561: not only the last component counts."""
    (box.rootfs / "link").symlink_to("mnt")
    box.mount("/link/proc", "proc", "proc")

    assert "Too many levels of symbolic links" in box.refusal()


@pytest.mark.parametrize("target", ["/proc/self/attr", "/proc/sys", "/proc/../proc/1", "/proc/sys/kernel"])
def test_mount_below_proc_is_refused(bundle: Bundle, target: str) -> None:
    """CVE-2019-16884: who covers the kernel's files decides what the runtime and the payload write to them."""
    bundle.mount(target, "tmpfs", "tmpfs")

    assert "a destination that is not inside /proc" in Box(bundle, "new").refusal()


def test_listed_files_of_proc_may_be_replaced(box: Box, host: HostDirectory) -> None:
    """lxcfs shows a container its own limits in these."""
    put(host / "uptime", "1.00 1.00\n")
    box.mount("/proc/uptime", str(host / "uptime"), "bind", "bind")

    assert box.sh("cat /proc/uptime").stdout == "1.00 1.00\n"


def test_target_that_leads_into_procfs_by_a_link_is_refused(box: Box, host: HostDirectory) -> None:
    """The rule is about the place, not about its spelling in config.json (CVE-2019-16884)."""
    put(host / "fake")
    (box.rootfs / "attr").symlink_to("proc/self/attr")
    (box.rootfs / "direct").symlink_to("/proc/sys")
    box.mount("/direct", "tmpfs", "tmpfs")
    assert "mount tmpfs on /direct failed: Operation not permitted" in box.refusal()
    box.spec["mounts"].pop()
    box.mount("/attr/exec", str(host / "fake"), "bind", "bind")
    assert "on /attr/exec failed" in box.refusal()


def test_proc_takes_no_other_file_system(box: Box, host: HostDirectory) -> None:
    """CVE-2019-16884: files of the image's choice at /proc would answer for the kernel."""
    box.spec["mounts"][0] = {"destination": "/proc", "type": "tmpfs", "source": "tmpfs"}
    assert 'type "proc" at /proc' in box.refusal()
    put(host / "fake/uptime")
    box.spec["mounts"][0] = {
        "destination": "/proc",
        "type": "none",
        "source": str(host / "fake"),
        "options": ["bind"],
    }
    assert "the source is not the root of a procfs" in box.refusal()
    box.spec["mounts"][0]["source"] = "/proc/sys"
    assert "the source is not the root of a procfs" in box.refusal()


def test_procfs_may_be_bound_on_proc(box: Box) -> None:
    """Where a fresh procfs may not be mounted, the host's is bound."""
    box.linux["namespaces"] = [item for item in box.linux["namespaces"] if item["type"] != "pid"]
    box.spec["mounts"][0] = {"destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind"]}

    assert box.mounts()["/proc"].fstype == "proc"


# ---- remount


def test_remount_changes_a_mount_made_before(box: Box, host: HostDirectory) -> None:
    """`remount` mounts nothing; with `bind` it changes the flags of the mount alone."""
    put(host / "dir/file")
    box.mount("/data", str(host / "dir"), "bind", "bind", "nosuid")
    box.mount("/data", "", "none", "remount", "bind", "ro")
    box.mount("/fresh", "tmpfs", "tmpfs", "mode=755")
    box.mount("/fresh", "tmpfs", "tmpfs", "remount", "nodev", "size=1m")

    mounts = box.mounts()

    assert {"ro", "nosuid"} <= mounts["/data"].options
    assert [mount.point for mount in mounts.lines].count("/data") == 1
    assert "nodev" in mounts["/fresh"].options
    assert "size=1024k" in mounts["/fresh"].super_options
    assert [mount.point for mount in mounts.lines].count("/fresh") == 1


def test_remount_of_what_is_no_mount_is_refused(box: Box) -> None:
    """There is nothing to be changed at a plain directory; it is not made a mount in silence."""
    box.mount("/etc", "", "none", "remount", "bind", "ro")
    assert "Invalid argument" in box.refusal()
    box.spec["mounts"][-1]["destination"] = "/missing"
    assert "No such file or directory" in box.refusal()
    assert not (box.rootfs / "missing").exists()


# ---- tmpfs


def test_tmpfs_takes_size_mode_and_owner(box: Box) -> None:
    """The options of tmpfs(5) reach it."""
    box.mount("/t", "tmpfs", "tmpfs", "size=64k", "mode=1770", "uid=1000", "gid=7")

    run = box.sh("stat -c '%a %u %g' /t; df -k /t | tail -1 | awk '{print $2}'")

    assert run.lines == ["1770 1000 7", "64"]


def test_tmpfs_resembles_the_directory_that_it_hides(box: Box) -> None:
    """Without mode=, a tmpfs on /tmp is 1777 and one on /root stays closed, as in runc."""
    for name, mode in ("closed", 0o700), ("sticky", 0o1777):
        (box.rootfs / name).mkdir()
        (box.rootfs / name).chmod(mode)
        box.mount(f"/{name}", "tmpfs", "tmpfs")
    os.chown(box.rootfs / "closed", 1000, 7)
    box.mount("/given", "tmpfs", "tmpfs", "mode=711")

    run = box.sh("stat -c '%n %a %u %g' /closed /sticky /given")

    assert run.lines == ["/closed 700 1000 7", "/sticky 1777 0 0", "/given 711 0 0"]


def test_given_owner_of_a_tmpfs_is_kept_where_the_mode_is_inherited(box: Box) -> None:
    """What the spec says comes before what the image has."""
    (box.rootfs / "t").mkdir(mode=0o700)
    box.mount("/t", "tmpfs", "tmpfs", "uid=1000")

    assert box.sh("stat -c '%a %u' /t").stdout == "700 1000\n"


def test_tmpfs_in_a_user_namespace_hides_a_directory_of_an_unmapped_owner(box: Box) -> None:
    """The owner cannot be given then; the container's root has it, and the mode is kept."""
    box.add_userns()
    (box.rootfs / "t").mkdir(mode=0o700)
    box.mount("/t", "tmpfs", "tmpfs")

    assert box.sh("stat -c '%a %u' /t").stdout == "700 0\n"


def test_readonly_tmpfs_has_the_mounts_below_it(box: Box, host: HostDirectory) -> None:
    """It becomes read-only only when everything below it has been made."""
    put(host / "file")
    box.mount("/t", "tmpfs", "tmpfs", "ro")
    box.mount("/t/file", str(host / "file"), "bind", "bind")
    box.mount("/t/below", "tmpfs", "tmpfs")

    run = box.sh("cat /t/file; touch /t/below/a && echo ' below'; touch /t/b")

    assert (run.stdout, run.code) == ("content below\n", 1)
    assert "Read-only file system" in run.stderr


def test_dev_may_be_readonly(box: Box) -> None:
    """youki loses this `ro`: the devices are made first, then /dev becomes read-only."""
    box.spec["mounts"][1]["options"].append("ro")

    run = box.sh("echo x > /dev/null && touch /dev/new")

    assert run.code != 0
    assert "Read-only file system" in run.stderr


@pytest.mark.parametrize("options", [(), ("ro",)])
def test_tmpcopyup_fills_a_tmpfs_with_what_it_hides(box: Box, options: tuple[str, ...]) -> None:
    """Content, modes, owners and links are there; the image itself is not changed."""
    put(box.rootfs / "t/deep/file", "copied").chmod(0o4751)
    os.chown(box.rootfs / "t/deep", 1000, 1000)
    (box.rootfs / "t/link").symlink_to("/etc/passwd")
    box.mount("/t", "tmpfs", "tmpfs", "tmpcopyup", *options)

    run = box.sh("cat /t/deep/file; readlink /t/link; stat -c '%a %u' /t/deep/file /t/deep; echo x > /t/new")

    assert run.lines == ["copied/etc/passwd", "4751 0", "755 1000"]
    assert run.code == (1 if options else 0)
    assert not (box.rootfs / "t/new").exists()


def test_tmpcopyup_of_nothing_is_an_empty_tmpfs(box: Box) -> None:
    """A target that is not there hides nothing."""
    box.mount("/t", "tmpfs", "tmpfs", "tmpcopyup")

    assert box.sh("ls -A /t").stdout == ""


def test_tmpcopyup_is_for_tmpfs_only(box: Box, host: HostDirectory) -> None:
    """Into a bind it would write to the host."""
    box.mount("/etc", str(host.path), "bind", "bind", "tmpcopyup")

    assert "tmpcopyup only with type tmpfs" in box.refusal()
    assert list(host.path.iterdir()) == []


def test_nosymfollow_stops_links_of_the_mount(box: Box, host: HostDirectory) -> None:
    """A volume of somebody hostile cannot redirect the container's root."""
    put(host / "dir/file")
    (host / "dir/link").symlink_to("file")
    box.mount("/safe", str(host / "dir"), "bind", "bind", "nosymfollow")
    box.mount("/plain", str(host / "dir"), "bind", "bind")

    run = box.sh("cat /plain/link; cat /safe/link")

    assert (run.stdout, run.code) == ("content", 1)
    assert "symbolic link" in run.stderr


# ---- other file systems


def test_mqueue_is_of_the_containers_ipc_namespace(box: Box) -> None:
    """The queues of the host stay out of reach."""
    box.mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev")

    run = box.sh("ls -A /dev/mqueue; echo end")

    assert run.lines == ["end"]
    assert box.mounts()["/dev/mqueue"].fstype == "mqueue"


def test_options_of_proc_reach_it(box: Box) -> None:
    """hidepid and subset are options of procfs; proc_pid(5), proc(5)."""
    box.spec["mounts"][0]["options"] = ["nosuid", "hidepid=2", "subset=pid"]
    box.linux["maskedPaths"], box.linux["readonlyPaths"] = [], []

    mounts = box.mounts()

    assert {"hidepid=invisible", "subset=pid"} <= mounts["/proc"].super_options
    assert box.sh("test -e /proc/cpuinfo").code == 1


def test_overlay_is_a_type_like_any_other(box: Box, host: HostDirectory) -> None:
    """podman's volumes with `:O` are overlays; what is written lands in the upper directory."""
    put(host / "lower/file")
    for name in ("upper", "work"):
        (host / name).mkdir()
    box.mount(
        *("/m", "overlay", "overlay"),
        *(f"lowerdir={host / 'lower'}", f"upperdir={host / 'upper'}", f"workdir={host / 'work'}"),
    )

    assert box.sh("cat /m/file && echo new > /m/file").stdout == "content"
    assert (host / "lower/file").read_text() == "content"
    assert (host / "upper/file").read_text() == "new\n"


def test_unknown_file_system_is_refused(box: Box) -> None:
    """The message names the type and the place."""
    box.mount("/m", "none", "nosuchfs")

    text = box.refusal()

    assert "config.json /mounts/4: mount nosuchfs on /m failed: No such device (ENODEV)" in text


# ---- user namespaces


def test_source_that_the_containers_root_may_not_reach_is_bound(bundle: Bundle, host: HostDirectory) -> None:
    """The caller may reach it and asks for it: it is opened before the user namespace is entered."""
    put(host / "closed/dir/file")
    (host / "closed").chmod(0o700)
    (host / "closed/dir/file").chmod(0o644)
    bundle.add_userns()
    (bundle.rootfs / "data").mkdir()
    bundle.mount("/data", str(host / "closed/dir"), "bind", "rbind", "ro")

    run = Box(bundle, "new").sh("cat /data/file; echo x > /data/file")

    assert run.stdout == "content"
    assert "Read-only file system" in run.stderr


def test_bind_in_a_user_namespace_keeps_the_flags_of_its_source(box: Box, host: HostDirectory) -> None:
    """Options of the spec are added to what the host's mount has."""
    source = host.mount("strict", "nosuid,nodev,noexec")
    host.set(source, "-o", "remount,bind,ro")
    box.add_userns()
    open_to_all(host.path)
    (box.rootfs / "m").mkdir()
    box.mount("/m", str(source), "bind", "bind", "nosymfollow")

    assert {"ro", "nosuid", "nodev", "noexec"} <= box.mounts()["/m"].options


def in_user_namespace(bundle: Bundle) -> subprocess.CompletedProcess[str]:
    """Run the bundle from a shell that is root only in a user namespace of its own."""
    bundle.save()
    extents: list[Any] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    with open_user_namespace(extents, extents) as fd:
        enter = ["nsenter", f"--user=/proc/self/fd/{fd}", "unshare", "--mount"]
        return subprocess.run(
            [*enter, str(YOUKI), "--root", str(bundle.root), "run", bundle.id],
            cwd=bundle.path, text=True, capture_output=True, timeout=60, check=False, pass_fds=(fd,),
        )  # fmt: skip


@contextmanager
def open_user_namespace(uids: list[Any], gids: list[Any]) -> Iterator[int]:
    """Make a user namespace and close its descriptor at the end."""
    fd = mapping.open_user_namespace(uids, gids, pointer="", privileged=True)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.fixture
def nested(bundle: Bundle) -> Bundle:
    """A bundle whose container has a user namespace below that of a caller who is root in one."""
    bundle.add_userns(host_id=0, size=65536)
    return bundle


def test_locked_flags_stay_without_a_word_about_them(nested: Bundle, host: HostDirectory) -> None:
    """user_namespaces(7): they are locked, and options that do not touch them change what they name."""
    source = host.mount("strict", "nosuid,nodev")
    host.set(source, "-o", "remount,bind,ro")
    nested.mount("/m", str(source), "bind", "bind", "noexec")
    nested.process["args"] = ["/bin/sh", "-c", "grep ' /m ' /proc/self/mountinfo"]

    done = in_user_namespace(nested)

    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()[5].split(",")) >= {"ro", "nosuid", "nodev", "noexec"}


@pytest.mark.parametrize("option", ["rw", "suid", "dev"])
def test_clearing_a_locked_flag_is_an_error(nested: Bundle, host: HostDirectory, option: str) -> None:
    """Asked for and impossible: runc and we say so instead of keeping the flag in silence."""
    source = host.mount("strict", "nosuid,nodev")
    host.set(source, "-o", "remount,bind,ro")
    nested.mount("/m", str(source), "bind", "bind", option)

    done = in_user_namespace(nested)

    assert done.returncode != 0
    assert f"mount bind {source} on /m failed: Operation not permitted" in done.stderr
    assert "locked" in done.stderr


def test_sysfs_in_a_user_namespace_with_its_own_network(box: Box) -> None:
    """A sysfs shows a network namespace: who owns that may mount one."""
    box.add_userns()
    (box.rootfs / "sys2").mkdir()
    box.mount("/sys2", "sysfs", "sysfs", "ro")

    run = box.sh("ls /sys/class/net")

    assert run.lines == ["lo"]
    assert box.mounts()["/sys2"].fstype == "sysfs"


def test_sysfs_in_a_user_namespace_on_the_hosts_network_is_the_hosts(box: Box) -> None:
    """The kernel refuses a fresh one (EPERM); the host's is bound, and `ro` holds for its whole tree."""
    box.add_userns()
    box.bundle.remove_namespace("network")

    mounts = box.mounts()

    assert mounts["/sys"].fstype == "sysfs"
    assert {"ro", "nosuid", "noexec", "nodev"} <= mounts["/sys"].options
    if not box.classic:
        assert {
            point for point in mounts if point.startswith("/sys/fs/") and "rw" in mounts[point].options
        } == set()


# ---- nothing is left, nothing is shown


def test_host_sees_nothing_of_the_containers_mounts(box: Box) -> None:
    """Neither while the container lives nor, as the fixture checks, afterwards."""
    before = host_mounts(box.bundle)
    box.mount("/m", "tmpfs", "tmpfs", "rshared")
    with box.build():
        assert host_mounts(box.bundle) == before


def test_container_sees_nothing_of_the_hosts_mounts(box: Box) -> None:
    """After the change of root only the container's own mounts are left."""
    points = {"/", "/proc", "/dev", "/dev/pts", "/sys", "/proc/kcore", "/sys/firmware", "/proc/sys"}

    assert set(box.mounts()) <= points


def test_failed_mount_leaves_the_image_as_it_was_but_for_mount_points(box: Box) -> None:
    """What failed later does not undo earlier mount points, but nothing else is written."""
    before = sorted(item.name for item in box.rootfs.iterdir())
    box.mount("/m", "none", "nosuchfs")
    box.refusal()

    assert {item.name for item in box.rootfs.iterdir()} - set(before) <= {"m"}
