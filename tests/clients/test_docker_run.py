"""docker run: attached and at a terminal, exit codes and errors, and what a container is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from . import images
from .engine import eventually

if TYPE_CHECKING:
    from .docker import Docker

NAMESPACES = ("sh", "-c", "for name in pid ipc uts net; do readlink /proc/self/ns/$name; done")


def test_attached(docker: Docker, observed: list[Any]) -> None:
    """What the payload writes reaches the caller, each stream its own; the exit code is the payload's."""
    done = docker.sh("echo out; echo err >&2; exit 7", check=False)
    observed.append((done.code, done.stdout, done.stderr))
    assert (done.code, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_stdin(docker: Docker) -> None:
    """`-i` hands standard input on."""
    assert docker.run("cat", options=("-i",), input="hello").stdout == "hello"


def test_at_a_terminal(docker: Docker) -> None:
    """With `-it` the payload has a terminal of its own, in its session's foreground."""
    words = ("run", "--rm", *docker.place(), "-it", images.NAME, "sh")
    done = docker.at_terminal(*words, send=b"tty; test -t 0 && echo is''atty; exit 5\n")
    assert done.code == 5
    assert "/dev/pts/0" in done.stdout
    assert "isatty" in done.stdout


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("missing", 127, "executable file not found in $PATH"),
        ("/missing", 127, "no such file or directory"),
        ("/etc/passwd", 126, "permission denied"),
        ("/tmp", 126, ""),
    ],
)
def test_cannot_execute(docker: Docker, observed: list[Any], program: str, code: int, words: str) -> None:
    """Docker finds the exit code by the words of the runtime's error."""
    done = docker.run(program, check=False)
    observed.append(done.code)
    assert done.code == code
    assert words in done.stderr


@pytest.mark.slow
def test_cannot_execute_in_the_background(docker: Docker, observed: list[Any]) -> None:
    """The container remains, with the exit code and the error in its state."""
    done = docker("create", *docker.place(), "--name", "lame", images.NAME, "/missing")
    assert docker("start", "lame", check=False).code == 1
    observed.append(docker.inspect("lame", ".State.ExitCode"))
    assert done.code == 0
    assert observed == ["127"]
    assert "no such file or directory" in docker.inspect("lame", ".State.Error")


@pytest.mark.parametrize(("number", "code"), [("15", 143), ("9", 137), ("11", 139)])
def test_killed_by_a_signal(docker: Docker, observed: list[Any], number: str, code: int) -> None:
    """The exit code is 128 and the signal."""
    observed.append(docker.sh(f"kill -{number} $$; sleep 5", "--init", check=False).code)
    assert observed == [code]


def test_init(docker: Docker) -> None:
    """`--init` puts a small init before the payload, which docker mounts into the container."""
    assert docker.sh("tr '\\0' ' ' </proc/1/cmdline; echo $$", "--init").stdout.startswith(
        "/sbin/docker-init -- sh"
    )


def test_first_process(docker: Docker) -> None:
    """The payload is number one of a pid namespace of its own, and alone there."""
    assert docker.sh("echo $$; echo /proc/[0-9]*").stdout == "1\n/proc/1\n"


def test_working_directory(docker: Docker) -> None:
    """`-w` is where the payload starts; it is made where the image has none."""
    assert docker.run("pwd", options=("-w", "/made/here")).stdout == "/made/here\n"


def test_environment(docker: Docker) -> None:
    """The image's environment and `-e` reach the payload, and HOME is the user's."""
    lines = docker.run("env", options=("-e", "SHAPE=round", "-u", "alice")).lines
    assert {"COLOUR=blue", "SHAPE=round", "HOME=/home/alice"} <= set(lines)


@pytest.mark.slow
def test_host_name(docker: Docker) -> None:
    """`--hostname` holds, in a UTS namespace of the container's own."""
    assert docker.run("hostname", options=("--hostname", "box")).stdout == "box\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--user", "alice"), "uid=1000(alice) gid=1000(alice) groups=1000(alice)\n"),
        (("--user", "1000:7"), "uid=1000(alice) gid=7 groups=7\n"),
        (("--user", "4711"), "uid=4711 gid=0(root) groups=0(root)\n"),
        (("--user", "alice", "--group-add", "77"), "uid=1000(alice) gid=1000(alice) groups=77,1000(alice)\n"),
    ],
)
def test_user(docker: Docker, options: tuple[str, ...], expected: str, observed: list[Any]) -> None:
    """`--user` by name or number, with groups."""
    observed.append(docker.run("id", options=options).stdout)
    assert observed == [expected]


def test_read_only(docker: Docker) -> None:
    """`--read-only`: the root file system cannot be written, a tmpfs can."""
    script = "touch /file; touch /tmp/file && echo done"
    done = docker.sh(script, "--read-only", "--tmpfs", "/tmp", check=False)
    assert "Read-only file system" in done.stderr
    assert done.stdout == "done\n"


def test_tmpfs(docker: Docker, observed: list[Any]) -> None:
    """`--tmpfs` with options."""
    line = docker.run(
        "grep", " /mnt ", "/proc/mounts", options=("--tmpfs", "/mnt:rw,size=64k,mode=1770")
    ).stdout
    observed.append(line)
    assert line.startswith("tmpfs /mnt tmpfs rw,nosuid,nodev,noexec,relatime,size=64k,mode=1770")


def test_mounts(docker: Docker, observed: list[Any]) -> None:
    """The mounts of a usual container, in their order, with their options.

    Not compared are masks and cgroups, where youki is stricter: no set-user-id, no devices, all of it read-only.
    """
    table = [line.split()[1:4] for line in docker.run("cat", "/proc/mounts").lines]
    stricter = ("/", "/sys/fs/cgroup", "/proc/acpi", "/sys/firmware", "/proc/scsi")
    observed.append([row for row in table if row[0] not in stricter and "cgroup" not in row[0]])
    assert ["/proc", "proc"] in [row[:2] for row in table]


def test_masks(docker: Docker, observed: list[Any]) -> None:
    """What docker masks and makes read-only under /proc and /sys is so."""
    script = "head -c1 /proc/kcore | wc -c; ls /sys/firmware | wc -l; echo 1 >/proc/sys/kernel/domainname"
    done = docker.sh(script, check=False)
    observed.append((done.code, done.stdout))
    assert (done.code, done.stdout.split()) == (1, ["0", "0"])
    assert "Read-only file system" in done.stderr


def test_volume_of_the_host(docker: Docker) -> None:
    """`-v` binds a directory of the host; `:ro` keeps it from being written."""
    volume = docker.daemon.host.make_directory(f"docker-volume-{docker.runtime}")
    docker.sh("echo kept >/mnt/file", "-v", f"{volume}:/mnt")
    assert (volume / "file").read_text() == "kept\n"
    done = docker.sh("echo lost >/mnt/file", "-v", f"{volume}:/mnt:ro", check=False)
    assert "Read-only file system" in done.stderr


@pytest.mark.slow
def test_volume_with_a_name(docker: Docker) -> None:
    """A named volume begins with what the image has there, and keeps what is written."""
    docker.sh("echo 1 >/etc/mine", "-v", "shared:/etc")
    assert docker.run("cat", "/etc/mine", "/etc/group", options=("-v", "shared:/etc")).lines[:2] == [
        "1",
        "root:x:0:",
    ]


def test_ulimit(docker: Docker) -> None:
    """`--ulimit` is the payload's."""
    assert docker.sh("ulimit -n; ulimit -Hn", "--ulimit", "nofile=100:200").stdout == "100\n200\n"


@pytest.mark.slow
def test_shm_size(docker: Docker) -> None:
    """`--shm-size` is the size of /dev/shm."""
    assert "size=1024k" in docker.run("grep", "/dev/shm", "/proc/mounts", options=("--shm-size", "1m")).stdout


def test_devices(docker: Docker, observed: list[Any]) -> None:
    """The devices that every container has, and one more by `--device`."""
    names = docker.run("ls", "-l", "/dev", options=("--device", "/dev/null:/dev/hole")).lines
    observed.append(sorted((line[:10], line.split()[-1]) for line in names))
    assert any(line.startswith("crw") and line.endswith("hole") for line in names)


def test_device_that_is_not_allowed(docker: Docker) -> None:
    """The devices cgroup refuses what docker has not granted, though the capability to make it is there."""
    done = docker.sh("mknod /memory c 1 1 && head -c1 /memory", check=False)
    assert "Operation not permitted" in done.stderr


@pytest.mark.slow
def test_sysctl(docker: Docker) -> None:
    """`--sysctl` in a namespace of the container's own."""
    assert (
        docker.run("cat", "/proc/sys/kernel/msgmax", options=("--sysctl", "kernel.msgmax=4711")).stdout
        == "4711\n"
    )


@pytest.mark.slow
def test_oom_score(docker: Docker) -> None:
    """`--oom-score-adj` is the payload's."""
    assert docker.run("cat", "/proc/self/oom_score_adj", options=("--oom-score-adj", "500")).stdout == "500\n"


def test_namespaces_of_the_host(docker: Docker) -> None:
    """`--pid`, `--ipc`, `--uts` and `--network host`: the container has the host's."""
    options = ("--pid", "host", "--ipc", "host", "--uts", "host", "--network", "host")
    words = ("run", "--rm", "--runtime", docker.runtime, *options, images.NAME)
    assert docker(*words, *NAMESPACES).stdout == docker.host.run(*NAMESPACES).stdout


@pytest.mark.slow
def test_namespaces_of_a_neighbour(docker: Docker) -> None:
    """`--pid container:` and its like: the container has another one's."""
    first = docker.detached(options=("--ipc", "shareable"))
    theirs = docker("exec", first, *NAMESPACES).lines
    options = ("--pid", f"container:{first}", "--ipc", f"container:{first}")
    ours = docker.run(*NAMESPACES, options=options).lines
    assert [mine == other for mine, other in zip(ours, theirs, strict=True)] == [True, True, False, False]


@pytest.mark.slow
def test_network_of_a_neighbour(docker: Docker) -> None:
    """`--network container:` joins another one's network."""
    first = docker.detached()
    words = ("run", "--rm", "--runtime", docker.runtime, "--network", f"container:{first}", images.NAME)
    theirs = docker(*words, "readlink", "/proc/self/ns/net").stdout
    assert theirs == docker("exec", first, "readlink", "/proc/self/ns/net").stdout


@pytest.mark.slow
def test_logs(docker: Docker) -> None:
    """`logs` has what a container in the background writes."""
    container = docker.detached("sh", "-c", "echo out; echo err >&2")
    docker("wait", container)
    eventually(lambda: docker("logs", container).stdout == "out\n")
    assert docker("logs", container).stderr == "err\n"
