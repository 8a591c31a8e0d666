"""bundle.py: bundles from the host's userland, from a directory and from archives, honest and hostile."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from libcontainer import bundle
from libcontainer.errors import AlreadyExists, InvalidArgument, SetupError
from libcontainer.spec.check import warnings
from libcontainer.spec.load import load


def config(directory: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((directory / "config.json").read_bytes())
    return loaded


def binds(directory: Path) -> dict[str, dict[str, Any]]:
    """The bind mounts from the host's userland, by destination."""
    mounts = config(directory)["mounts"]
    return {m["destination"]: m for m in mounts if m.get("type") == "bind"}


def member(name: str, kind: bytes = tarfile.REGTYPE, **more: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.uid, info.gid = os.getuid(), os.getgid()
    for key, value in more.items():
        setattr(info, key, value)
    return info


def archive(path: Path, *members: tarfile.TarInfo, content: bytes = b"content", mode: str = "w") -> str:
    """A tar file of these members; each regular file has the same content. Returns a source."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for info in members:
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content))
    return f"tar:{path}"


def test_a_bundle_of_the_host_holds_the_command_and_a_root_with_mount_points(tmp_path: Path) -> None:
    """Without any image a person gets what runs: command, root, and a place for each mount."""
    made = bundle.create(tmp_path / "b", args=["echo", "hello"], terminal=False)
    spec = config(made)

    assert made == tmp_path / "b"
    assert spec["process"]["args"] == ["echo", "hello"]
    assert spec["process"]["terminal"] is False
    assert spec["root"] == {"path": "rootfs", "readonly": True}
    fresh = {m["destination"]: m["type"] for m in spec["mounts"]}
    assert (fresh["/tmp"], fresh["/run"], fresh["/proc"], fresh["/dev"]) == (
        "tmpfs",
        "tmpfs",
        "proc",
        "tmpfs",
    )
    below_dev = ("/dev/", "/sys/")
    for mount in spec["mounts"]:
        if not mount["destination"].startswith(below_dev):
            assert os.path.lexists(f"{made}/rootfs{mount['destination']}"), mount["destination"]


@pytest.mark.parametrize("rootless", [False, True])
def test_a_bundle_passes_the_checks_of_the_runtime(tmp_path: Path, rootless: bool) -> None:
    """What one command writes another must accept: the configuration has no fault and nothing to warn of."""
    made = bundle.create(tmp_path / "b", args=["true"], rootless=rootless)
    spec, _ = load(str(made))

    assert spec == config(made)
    assert warnings(spec) == []


def test_the_hosts_userland_cannot_be_changed_from_inside(tmp_path: Path) -> None:
    """Every bind of the host is read-only and gives neither set-user-ID rights nor devices."""
    mounts = binds(bundle.create(tmp_path / "b", rootless=False))

    assert mounts["/usr"]["source"] == "/usr"
    for mount in mounts.values():
        assert {"ro", "nosuid", "nodev"} <= set(mount["options"])
        assert {"bind", "rbind"} & set(mount["options"])
        assert "rbind" not in mount["options"] or "rro" in mount["options"]


def test_a_merged_usr_is_merged_in_the_bundle_too(tmp_path: Path) -> None:
    """Programs are found by /bin/sh and /lib64/ld-linux…; the links are the host's, or binds."""
    made = bundle.create(tmp_path / "b", rootless=False)
    for name in ("bin", "sbin", "lib", "lib64"):
        if not os.path.isdir(f"/{name}"):
            continue
        place = made / "rootfs" / name
        if os.path.islink(f"/{name}"):
            assert os.readlink(place) == os.readlink(f"/{name}")
        else:
            assert f"/{name}" in binds(made)


def test_nothing_private_of_etc_comes_along(tmp_path: Path) -> None:
    """Password hashes and keys stay outside: /etc itself is never mounted, and only public files are."""
    made = bundle.create(tmp_path / "b", rootless=False)
    from_etc = [m["source"] for d, m in binds(made).items() if d.startswith("/etc")]

    assert "/etc/passwd" in from_etc
    assert "/etc" not in from_etc
    assert not [source for source in from_etc if "shadow" in source or "private" in source]
    for source in from_etc:
        assert os.stat(source).st_mode & stat.S_IROTH


def test_a_caller_who_is_not_root_gets_a_user_namespace(tmp_path: Path) -> None:
    """Rootless bundles map the caller, and only the caller, to root inside."""
    spec = config(bundle.create(tmp_path / "b", rootless=True))

    assert "user" in {namespace["type"] for namespace in spec["linux"]["namespaces"]}
    assert spec["linux"]["uidMappings"] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]


def test_without_a_command_it_is_a_shell(tmp_path: Path) -> None:
    """The default of `spec` is kept when nothing is asked for."""
    assert config(bundle.create(tmp_path / "b"))["process"]["args"] == ["sh"]


def test_a_directory_is_used_as_it_is(tmp_path: Path) -> None:
    """rootfs:PATH names the root by its absolute path and changes nothing in it."""
    root = tmp_path / "my root"
    root.mkdir()
    made = bundle.create(tmp_path / "b", source=f"rootfs:{root}", args=["true"])

    assert config(made)["root"] == {"path": str(root), "readonly": True}
    assert sorted(os.listdir(made)) == ["config.json"]
    assert os.listdir(root) == []


def test_the_root_of_the_bundle_itself_may_be_named(tmp_path: Path) -> None:
    """A directory `rootfs` that stands in the bundle already is a usual start."""
    (tmp_path / "rootfs").mkdir()
    made = bundle.create(tmp_path, source=f"rootfs:{tmp_path}/rootfs", readonly=False)
    assert config(made)["root"] == {"path": f"{tmp_path}/rootfs", "readonly": False}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_is_unpacked_with_links_modes_and_times(tmp_path: Path, mode: str) -> None:
    """A root filesystem arrives as it was packed: absolute links, modes of directories, hard links, times."""
    source = archive(
        tmp_path / "a.tar",
        member("./", tarfile.DIRTYPE, mode=0o755),
        member("./tmp", tarfile.DIRTYPE, mode=0o1777),
        member("./locked", tarfile.DIRTYPE, mode=0o555),
        member("./locked/file", mode=0o640, mtime=1234567),
        member("/bin/busybox", mode=0o755),
        member("bin/sh", tarfile.SYMTYPE, linkname="/bin/busybox"),
        member("bin/cat", tarfile.LNKTYPE, linkname="./bin/busybox"),
        member("fifo", tarfile.FIFOTYPE, mode=0o600),
        mode=mode,
    )
    root = bundle.create(tmp_path / "b", source=source) / "rootfs"

    assert stat.S_IMODE((root / "tmp").stat().st_mode) == 0o1777
    assert stat.S_IMODE((root / "locked").stat().st_mode) == 0o555
    assert (root / "locked/file").read_bytes() == b"content"
    assert stat.S_IMODE((root / "locked/file").stat().st_mode) == 0o640
    assert (root / "locked/file").stat().st_mtime == 1234567
    assert os.readlink(root / "bin/sh") == "/bin/busybox"
    assert (root / "bin/cat").stat().st_ino == (root / "bin/busybox").stat().st_ino
    assert stat.S_ISFIFO((root / "fifo").stat().st_mode)


def test_set_id_bits_are_dropped(tmp_path: Path) -> None:
    """A set-user-ID root file out of a stranger's archive would be a way to root on the host."""
    source = archive(tmp_path / "a.tar", member("su", mode=0o6755), member("d", tarfile.DIRTYPE, mode=0o2755))
    root = bundle.create(tmp_path / "b", source=source) / "rootfs"

    assert stat.S_IMODE((root / "su").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives files to other users")
def test_root_keeps_the_owners_of_an_archive_unless_rootless(tmp_path: Path) -> None:
    """A mail spool belongs to its group; in a namespace of one id there is no other owner to give."""
    source = archive(tmp_path / "a.tar", member("spool", uid=8, gid=12))
    kept = bundle.create(tmp_path / "b", source=source, rootless=False) / "rootfs/spool"
    own = bundle.create(tmp_path / "c", source=source, rootless=True) / "rootfs/spool"

    assert (kept.stat().st_uid, kept.stat().st_gid) == (8, 12)
    assert (own.stat().st_uid, own.stat().st_gid) == (0, 0)


def test_device_nodes_are_left_out_with_a_word(tmp_path: Path) -> None:
    """/dev is the runtime's; a node from an archive would be a door to a disk of the host."""
    words: list[str] = []
    source = archive(
        tmp_path / "a.tar", member("dev/sda", tarfile.BLKTYPE), member("dev/null", tarfile.CHRTYPE)
    )
    root = bundle.create(tmp_path / "b", source=source, warn=words.append) / "rootfs"

    assert not (root / "dev/sda").exists()
    assert not (root / "dev/null").exists()
    assert [word.split()[3] for word in words] == ["dev/sda", "dev/null"]


OUT = "../out"
HOSTILE = {
    "dots": [member(OUT)],
    "dots inside": [member("a/../../out")],
    "directory of dots": [member(OUT, tarfile.DIRTYPE, mode=0o777)],
    "through an absolute link": [member("l", tarfile.SYMTYPE, linkname="OUTSIDE"), member("l/out")],
    "through a relative link": [member("l", tarfile.SYMTYPE, linkname=".."), member("l/out")],
    "directory on a link": [
        member("l", tarfile.SYMTYPE, linkname="OUTSIDE"),
        member("l", tarfile.DIRTYPE, mode=0o777),
    ],
    "hard link out": [member("h", tarfile.LNKTYPE, linkname="../secret")],
    "hard link by a link": [
        member("l", tarfile.SYMTYPE, linkname="OUTSIDE"),
        member("h", tarfile.LNKTYPE, linkname="l/secret"),
    ],
    "hard link to nothing": [member("h", tarfile.LNKTYPE, linkname="missing")],
    "file on a directory": [member("d", tarfile.DIRTYPE), member("d")],
    "file for the root": [member(".")],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_member_that_leads_out_is_refused_and_nothing_is_left(tmp_path: Path, case: str) -> None:
    """An archive can write nowhere but below its root (CVE-2007-4559, CVE-2025-4517); a refusal is clean."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / "secret").write_text("secret")
    members = [member(m.name, m.type, mode=m.mode, linkname=m.linkname.replace("OUTSIDE", str(outside)))
               for m in HOSTILE[case]]  # fmt: skip
    source = archive(tmp_path / "a.tar", *members)
    with pytest.raises(InvalidArgument, match="is refused"):
        bundle.create(tmp_path / "x/y/b", source=source)

    assert sorted(os.listdir(tmp_path)) == ["a.tar", "outside"]
    assert os.listdir(outside) == ["secret"]
    assert (outside / "secret").stat().st_nlink == 1
    assert stat.S_IMODE(outside.stat().st_mode) == 0o755


def test_a_file_after_a_link_of_its_name_replaces_the_link(tmp_path: Path) -> None:
    """Writing through the link would change a file of the host; the later member counts instead."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    source = archive(
        tmp_path / "a.tar", member("f", tarfile.SYMTYPE, linkname=str(victim)), member("f", mode=0o644)
    )
    root = bundle.create(tmp_path / "b", source=source) / "rootfs"

    assert victim.read_text() == "untouched"
    assert not (root / "f").is_symlink()
    assert (root / "f").read_bytes() == b"content"


@pytest.mark.parametrize("damage", ["cut", "flipped", "no archive"])
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_damaged_archive_is_refused_and_nothing_is_left(tmp_path: Path, damage: str, mode: str) -> None:
    """A download that broke off must not become a container with half a root."""
    source = archive(tmp_path / "a", member("f"), mode=mode, content=os.urandom(100_000))
    data = bytearray((tmp_path / "a").read_bytes())
    damaged: dict[str, bytes | bytearray] = {
        "cut": data[:50_000],
        "flipped": data[:100] + bytes(byte ^ 0xFF for byte in data[100:600]) + data[600:],
        "no archive": b"not an archive at all" * 100,
    }
    (tmp_path / "a").write_bytes(damaged[damage])
    with pytest.raises(InvalidArgument, match="cannot be read as a tar archive"):
        bundle.create(tmp_path / "b", source=source)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_wrong_checksum_is_refused(tmp_path: Path, mode: str) -> None:
    """What is unpacked until then looks whole."""
    source = archive(tmp_path / "a", member("f"), mode=mode, content=bytes(100_000))
    data = bytearray((tmp_path / "a").read_bytes())
    for index in range(len(data) - 12, len(data)):
        data[index] ^= 0xFF
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(InvalidArgument, match="cannot be read as a tar archive"):
        bundle.create(tmp_path / "b", source=source)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("source", ["", "image", "rootfs:", "tar:", "host:x", "docker:alpine"])
def test_an_unknown_source_is_refused_with_the_known_ones(tmp_path: Path, source: str) -> None:
    """The message is the documentation of a person who guesses."""
    with pytest.raises(InvalidArgument, match="use host, rootfs:DIRECTORY or tar:FILE"):
        bundle.create(tmp_path / "b", source=source)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("source", ["rootfs:{}/missing", "rootfs:{}/file", "tar:{}/missing"])
def test_a_missing_source_is_refused_and_nothing_is_left(tmp_path: Path, source: str) -> None:
    """The check of the source comes with its path, and the bundle's directory is not left behind."""
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgument) as caught:
        bundle.create(tmp_path / "b", source=source.format(tmp_path))
    assert caught.value.path is not None
    assert caught.value.path.startswith(str(tmp_path))
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("name", ["config.json", "rootfs"])
def test_what_is_there_already_is_not_overwritten(tmp_path: Path, name: str) -> None:
    """A second `bundle` in the same place must not destroy edits; even a dangling link counts as there."""
    (tmp_path / name).symlink_to("nowhere")
    with pytest.raises(AlreadyExists):
        bundle.create(tmp_path)
    assert os.listdir(tmp_path) == [name]


def test_a_directory_that_was_there_stays_after_a_failure(tmp_path: Path) -> None:
    """Only what was made is removed."""
    (tmp_path / "note").write_text("mine")
    source = archive(tmp_path / "a.tar", member(OUT))
    with pytest.raises(InvalidArgument):
        bundle.create(tmp_path, source=source)
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "note"]


def test_a_failure_to_write_is_our_error_with_its_path(tmp_path: Path) -> None:
    """A directory that cannot be made is told with its path and reason, not with a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="Not a directory") as caught:
        bundle.create(tmp_path / "file/b")
    assert caught.value.path == f"{tmp_path}/file/b"


def test_the_terminal_follows_stdin(tmp_path: Path) -> None:
    """At a keyboard the container gets a terminal; in a script it does not."""
    master, slave = os.openpty()
    saved = os.dup(0)
    try:
        os.dup2(slave, 0)
        assert config(bundle.create(tmp_path / "tty"))["process"]["terminal"] is True
        with open(os.devnull) as null:
            os.dup2(null.fileno(), 0)
        assert config(bundle.create(tmp_path / "null"))["process"]["terminal"] is False
    finally:
        os.dup2(saved, 0)
        for fd in (master, slave, saved):
            os.close(fd)
