"""Volumes, tmpfs, read-only roots, and what of /proc and /sys is hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .podman import Podman


@pytest.fixture
def shared(podman: Podman) -> str:
    """A directory of the host with one file."""
    path = podman.make_directory("shared")
    (path / "file").write_text("of the host\n")
    return str(path)


def test_bind_mount(podman: Podman, shared: str) -> None:
    """What the container writes is on the host."""
    done = podman.sh("cat /data/file; echo written > /data/new", "-v", f"{shared}:/data")
    assert done.stdout == "of the host\n"
    assert podman.host.path(f"{shared}/new").read_text() == "written\n"


def test_read_only_bind_mount(podman: Podman, shared: str, observed: list[Any]) -> None:
    """`:ro` cannot be written to."""
    done = podman.sh("echo x > /data/new", "-v", f"{shared}:/data:ro", check=False)
    observed.append((done.code, done.stderr))
    assert "Read-only file system" in done.stderr


def test_bind_mount_of_a_file(podman: Podman, shared: str) -> None:
    """A file is mounted on a file that is made for it."""
    assert podman.sh("cat /new/place", "-v", f"{shared}/file:/new/place").stdout == "of the host\n"


def test_volume(podman: Podman) -> None:
    """A named volume keeps what one container wrote for the next."""
    podman("volume", "create", "kept")
    podman.sh("echo kept > /data/file", "-v", "kept:/data")
    assert podman.sh("cat /data/file", "-v", "kept:/data").stdout == "kept\n"


def test_volume_takes_over_the_image(podman: Podman) -> None:
    """An empty volume gets what the image has at its place."""
    assert "root:" in podman.sh("cat /etc/passwd", "-v", "fresh:/etc").stdout


@pytest.mark.parametrize("propagation", ["private", "rprivate", "slave", "rslave", "shared", "rshared"])
def test_propagation(podman: Podman, shared: str, observed: list[Any], propagation: str) -> None:
    """The mount has the propagation that was asked for, as mountinfo tells it."""
    done = podman.sh(
        "grep ' /data ' /proc/self/mountinfo", "-v", f"{shared}:/data:{propagation}", check=False
    )
    words = done.stdout.split()
    observed.append(
        (done.code, [word.partition(":")[0] for word in words[6 : words.index("-")]] if words else [])
    )
    assert done.code == 0 or podman.user


def test_tmpfs(podman: Podman, observed: list[Any]) -> None:
    """A tmpfs with options of its own."""
    done = podman.sh("grep ' /scratch ' /proc/self/mounts", "--tmpfs", "/scratch:size=64k,mode=1770,noexec")
    fields = done.stdout.split()
    wanted = {"size=64k", "mode=1770", "noexec"}
    observed.append((fields[2], sorted(wanted & set(fields[3].split(",")))))
    assert observed == [("tmpfs", sorted(wanted))]


def test_tmpfs_takes_over_the_image(podman: Podman) -> None:
    """With tmpcopyup the files of the image are in it."""
    assert "root:" in podman.sh("cat /etc/passwd", "--mount", "type=tmpfs,destination=/etc,tmpcopyup").stdout


def test_read_only_root(podman: Podman, observed: list[Any]) -> None:
    """`--read-only`: the root cannot be written to, but /tmp and /run can."""
    done = podman.sh(
        "echo x > /tmp/x && echo x > /dev/shm/x && echo ok; echo x > /x", "--read-only", check=False
    )
    observed.append((done.code, done.stdout, done.stderr))
    assert done.stdout == "ok\n"
    assert "Read-only file system" in done.stderr


def test_read_only_root_without_tmpfs(podman: Podman, observed: list[Any]) -> None:
    """`--read-only-tmpfs=false`: /tmp cannot be written to either."""
    done = podman.sh("echo x > /tmp/x", "--read-only", "--read-only-tmpfs=false", check=False)
    observed.append((done.code, done.stderr))
    assert "Read-only file system" in done.stderr


def test_shm_size(podman: Podman) -> None:
    """`--shm-size` is the size of /dev/shm."""
    assert "size=1024k" in podman.sh("grep ' /dev/shm ' /proc/self/mounts", "--shm-size", "1m").stdout


def test_masked_paths(podman: Podman, observed: list[Any]) -> None:
    """Nothing is to be read in the places that podman masks, and the same ones as with runc."""
    observed.append(podman.sh("wc -c < /proc/timer_list; ls /sys/firmware").stdout)
    observed.append(mount_points(podman))
    assert observed[0] == "0\n"


def test_unmasked(podman: Podman, observed: list[Any]) -> None:
    """`--security-opt unmask=ALL` masks nothing."""
    observed.append(mount_points(podman, "--security-opt", "unmask=ALL"))
    assert "/proc/timer_list" not in observed[0]


def test_mask_one_more(podman: Podman, observed: list[Any]) -> None:
    """`--security-opt mask=` hides one more file and one more directory."""
    done = podman.sh("wc -c < /proc/version; ls /proc/tty", "--security-opt", "mask=/proc/version:/proc/tty")
    observed.append(done.stdout)
    assert observed == ["0\n"]


def test_mount_options(podman: Podman, observed: list[Any]) -> None:
    """The mounts of podman's own have the same types and options as with runc.

    Not the empty file systems over what is masked and below cgroups: youki's are closed in every respect. Not the
    hierarchies in which a user's container has no cgroup: see mount_points.
    """
    for line in podman.sh("cat /proc/self/mountinfo").lines:
        head, _, tail = line.partition(" - ")
        point, options = head.split()[4:6]
        kind = tail.split()[0]
        if point.startswith("/dev") or kind in ("proc", "sysfs") or (kind == "cgroup" and not podman.user):
            observed.append((point, options, kind))
    observed.sort()
    assert ("/proc", "rw,nosuid,nodev,noexec,relatime", "proc") in observed


def test_copy_to_and_from(podman: Podman, shared: str) -> None:
    """`cp` goes through the mounts of a running container."""
    container = podman.detached(options=("--tmpfs", "/scratch"))
    podman("cp", f"{shared}/file", f"{container}:/scratch/file")
    assert podman.inside(container, "cat /scratch/file").stdout == "of the host\n"


def mount_points(podman: Podman, *options: str) -> list[str]:
    """Return where something is mounted, but for what is below /sys/fs/cgroup.

    youki shows the unified hierarchy of a hybrid host, too, and no hierarchy in which a container has no cgroup: runc
    shows an unprivileged user's container the host's.
    """
    points = {line.split()[1] for line in podman.sh("cat /proc/self/mounts", *options).lines}
    return sorted(point for point in points if not point.startswith("/sys/fs/cgroup/"))
