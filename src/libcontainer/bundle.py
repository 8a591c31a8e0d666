"""Making a bundle: a directory with a config.json and a root filesystem, for who has no image at hand.

Authority: runtime-spec bundle.md. The root comes from one of three sources:

    host            the host's userland, read-only, with fresh /tmp, /run, /dev and /proc; of /etc only what
                    is listed here and what everyone may read
    rootfs:PATH     a directory that is there already; it is not changed
    tar:FILE        an archive of a root filesystem, as `docker export` and `podman export` write it, unpacked

Rare work, off the hot path.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

from libcontainer import strictjson
from libcontainer.errors import AlreadyExists, Error, InvalidArgument, SetupError, in_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Sequence
    from typing import Any

    Warn = Callable[[str], None]
    Mount = dict[str, Any]

CONFIG = "config.json"
ROOTFS = "rootfs"

# Directories of a host's userland (file-hierarchy(7)). Where /usr is merged, all but the first are symlinks
# into it.
_USERLAND = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
# Directories that programs expect; empty and read-only unless a mount of the configuration covers them.
_SKELETON = ("dev", "etc", "home", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "var", "var/tmp")
# What of /etc programs need to start, to name users and hosts, and to check certificates. No secrets: what
# is not readable for everyone is left out, and so is everything not listed.
_ETC = (
    *("passwd", "group", "nsswitch.conf", "host.conf", "hosts", "resolv.conf", "protocols", "services"),
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld-musl-x86_64.path", "ld-musl-aarch64.path"),
    *("localtime", "timezone", "os-release", "mime.types", "alternatives", "crypto-policies"),
    *("ssl/certs", "ssl/openssl.cnf", "ssl/cert.pem", "pki/tls/certs", "pki/ca-trust/extracted"),
    *("perl", "python3", "python3.11", "python3.12", "python3.13", "python3.14"),
)
_FRESH = {"/tmp": "mode=1777", "/run": "mode=755", "/var/tmp": "mode=1777"}


def create(
    directory: str | os.PathLike[str],
    *,
    source: str = "host",
    args: Sequence[str] = (),
    rootless: bool | None = None,
    readonly: bool = True,
    terminal: bool | None = None,
    warn: Warn | None = None,
) -> Path:
    """Write a complete bundle into `directory`, which is made when missing, and return its absolute path.

    `source` is `host`, `rootfs:PATH` or `tar:FILE`; `args` is the command (`sh` when empty). `rootless`
    asks for a user namespace that maps only the caller; None means: unless the caller is root. `readonly`
    is for the root filesystem. `terminal` None means: if stdin is one. `warn` takes a sentence about each
    thing left out; None uses the warnings module. Raises AlreadyExists rather than overwriting a
    config.json or rootfs, InvalidArgument for a source that cannot be used, SetupError when writing fails.
    After an error everything that was made has been removed.
    """
    kind, place = _parse_source(source)
    bundle = Path(os.path.abspath(directory))
    _refuse_existing(bundle, own_rootfs=kind != "rootfs")
    rootless = os.geteuid() != 0 if rootless is None else rootless
    spec = _spec(args, rootless, os.isatty(0) if terminal is None else terminal)
    made: list[Path] = []
    try:
        _make_directories(bundle, made)
        if kind == "rootfs":
            spec["root"] = {"path": str(_existing_directory(place)), "readonly": readonly}
        else:
            _make_root(bundle / ROOTFS, made)
            spec["root"] = {"path": ROOTFS, "readonly": readonly}
        if kind == "host":
            _host_root(bundle / ROOTFS, spec)
        if kind == "tar":
            _unpack(place, bundle / ROOTFS, warn or _warn, keep_owners=os.geteuid() == 0 and not rootless)
        _write_config(bundle / CONFIG, spec, made)
    except BaseException as error:
        _remove(made)
        if isinstance(error, OSError) and not isinstance(error, Error):
            raise _failed(bundle, error) from error
        raise
    return bundle


def _parse_source(source: str) -> tuple[str, str]:
    kind, colon, place = source.partition(":")
    if source == "host" or (kind in ("rootfs", "tar") and colon and place):
        return kind, place
    raise InvalidArgument(
        f"{source!r} is not a source for a bundle", remedy="use host, rootfs:DIRECTORY or tar:FILE"
    )


def _refuse_existing(bundle: Path, *, own_rootfs: bool) -> None:
    for name in (CONFIG, ROOTFS) if own_rootfs else (CONFIG,):
        if os.path.lexists(bundle / name):
            raise AlreadyExists(
                f"{bundle / name} exists already",
                path=str(bundle / name),
                remedy="choose another directory, or remove it first; nothing is overwritten",
            )


def _existing_directory(place: str) -> Path:
    path = Path(os.path.realpath(place))
    if not path.is_dir():
        raise InvalidArgument(
            f"the root filesystem {place} is not a directory",
            path=place,
            remedy="give the directory that holds bin, etc, usr and so on",
        )
    return path


def _spec(args: Sequence[str], rootless: bool, terminal: bool) -> dict[str, Any]:
    from libcontainer.spec.defaults import default_spec, rootless_spec

    chosen = rootless_spec(os.geteuid(), os.getegid()) if rootless else default_spec()
    spec: dict[str, Any] = dict(chosen)
    spec["process"] = dict(spec["process"]) | {"terminal": terminal}
    if args:
        spec["process"]["args"] = list(args)
    spec["mounts"] = list(spec["mounts"])
    return spec


def _make_directories(path: Path, made: list[Path]) -> None:
    """mkdir -p that notes what it made, outermost first."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        directory.mkdir(mode=0o755)
        made.append(directory)


def _make_root(rootfs: Path, made: list[Path]) -> None:
    rootfs.mkdir()
    made.append(rootfs)
    rootfs.chmod(0o755)  # the root of a container is for all of its users, whatever the umask here


def _write_config(path: Path, spec: dict[str, Any], made: list[Path]) -> None:
    with open(path, "x", encoding="utf-8") as file:
        made.append(path)
        file.write(strictjson.dumps(spec, indent=2) + "\n")


def _remove(made: list[Path]) -> None:
    for path in reversed(made):
        if not path.is_dir():
            path.unlink()
        elif path.name == ROOTFS:
            shutil.rmtree(path)
        else:
            path.rmdir()


def _failed(bundle: Path, error: OSError) -> SetupError:
    path = str(error.filename or bundle)
    where = "" if path == str(bundle) else f" on {path}"
    return SetupError(
        f"cannot make the bundle {bundle}: {in_words(error.errno or 0)}{where}",
        step="make bundle",
        errno=error.errno,
        path=path,
        remedy=_REMEDIES.get(error.errno or 0),
    )


_REMEDIES = {
    errno.EACCES: "choose a directory that you may write to, and a root file system that you may read",
    errno.ENOSPC: "free some space, or choose a directory on another file system",
    errno.EROFS: "choose a directory on a file system that can be written to",
}


def _warn(sentence: str) -> None:
    import warnings

    warnings.warn(sentence, stacklevel=4)


# ---------------------------------------------------------------------------------------------- host


def _host_root(rootfs: Path, spec: dict[str, Any]) -> None:
    """A skeleton of empty directories, and the mounts that fill it from the host."""
    for name in _SKELETON:
        _make_place(rootfs / name)
    points = _mount_points()
    mounts: list[Mount] = spec["mounts"]
    covered = {mount["destination"] for mount in mounts}
    for name in _USERLAND:
        mounts += _userland(rootfs, name, points)
    mounts += [_fresh(path, mode) for path, mode in _FRESH.items() if path not in covered]
    for name in _ETC:
        mounts += _etc(rootfs, name, points)
    (rootfs / "etc/mtab").symlink_to("/proc/self/mounts")


def _userland(rootfs: Path, name: str, points: list[str]) -> list[Mount]:
    host = f"/{name}"
    if not os.path.isdir(host):
        return []
    if os.path.islink(host) and _is_below_usr(host):
        (rootfs / name).symlink_to(os.readlink(host))
        return []
    _make_place(rootfs / name)
    return [_bind(host, f"/{name}", points)]


def _etc(rootfs: Path, name: str, points: list[str]) -> list[Mount]:
    host = f"/etc/{name}"
    try:
        status = os.stat(host)
    except OSError:
        return []  # not on this host, or a dangling link
    if not _is_public(status):
        return []
    target = rootfs / "etc" / name
    _make_place(target.parent)
    if os.path.islink(host) and _is_below_usr(host):
        target.symlink_to(os.readlink(host))
        return []
    if stat.S_ISDIR(status.st_mode):
        _make_place(target)
    else:
        target.touch(mode=0o644)
    return [_bind(host, f"/etc/{name}", points)]


def _is_public(status: os.stat_result) -> bool:
    """Whether everyone on the host may read it: a file, or a directory that everyone may list and enter."""
    wanted = 0o005 if stat.S_ISDIR(status.st_mode) else 0o004
    return stat.S_IFMT(status.st_mode) in (stat.S_IFREG, stat.S_IFDIR) and status.st_mode & wanted == wanted


def _is_below_usr(link: str) -> bool:
    """Whether a symlink of the host leads to the same place in the container, where /usr is the host's."""
    return os.path.realpath(link).startswith("/usr/")


def _make_place(path: Path) -> None:
    path.mkdir(exist_ok=True)
    path.chmod(0o1777 if path.name == "tmp" else 0o755)


def _bind(host: str, destination: str, points: list[str]) -> Mount:
    """A read-only bind mount. Mounts below the source come along, and must then be read-only too."""
    source = os.path.realpath(host)
    options = ["bind", "ro", "nosuid", "nodev"]
    if any(point.startswith(source + "/") for point in points):
        options = ["rbind", "ro", "nosuid", "nodev", "rro", "rnosuid", "rnodev"]
    return {"destination": destination, "type": "bind", "source": source, "options": options}


def _fresh(path: str, mode: str) -> Mount:
    options = ["nosuid", "nodev", mode]
    return {"destination": path, "type": "tmpfs", "source": "tmpfs", "options": options}


def _mount_points() -> list[str]:
    """Where something is mounted on the host: proc_pid_mountinfo(5), field 5, special bytes in octal."""
    with open("/proc/self/mountinfo", "rb") as table:
        fields = [line.split(b" ")[4] for line in table]
    return [os.fsdecode(field.decode("unicode_escape").encode("latin-1")) for field in fields]


# ---------------------------------------------------------------------------------------------- tar


def _unpack(archive: str, rootfs: Path, warn: Warn, *, keep_owners: bool) -> None:
    """Unpack a root filesystem below `rootfs`.

    Not `TarFile.extractall`: its filters resolve paths by name and have been escaped from (CVE-2025-4517),
    and they refuse the absolute symlinks that every root filesystem has. Here each member is made relative
    to a descriptor of its parent, which is reached without following any symlink.
    """
    import tarfile

    try:
        with tarfile.open(archive, "r:*") as tar:
            _Unpacker(tar, rootfs, warn, keep_owners=keep_owners).run()
            while tar.fileobj is not None and tar.fileobj.read(1 << 20):
                pass  # to the checksum, which stands behind the end of the archive
    except FileNotFoundError as error:
        if error.filename != archive:
            raise
        raise InvalidArgument(
            f"there is no archive {archive}", path=archive, remedy="give the path of a file after tar:"
        ) from error
    except _damages() as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # a system call failed; what gzip and bzip2 find wrong has no errno
        raise InvalidArgument(
            f"{archive} cannot be read as a tar archive: {_first_line(error)}",
            path=archive,
            remedy="give an archive that is plain, or compressed with gzip, bzip2 or xz",
        ) from error


def _damages() -> tuple[type[Exception], ...]:
    """Return what is raised for an archive that is none, or broken, by tarfile and by what it decompresses with."""
    import tarfile
    import zlib

    found: list[type[Exception]] = [tarfile.TarError, zlib.error, EOFError, OverflowError, OSError]
    try:
        from lzma import LZMAError
    except ImportError:  # a Python that was built without it
        return tuple(found)
    return (*found, LZMAError)


def _first_line(error: Exception) -> str:
    """Return the first line of an error that has many, one for each kind of archive that it is not."""
    return str(error).partition("\n")[0].rstrip(":") or type(error).__name__


class _Unpacker:
    """One archive on its way into one directory. Numeric owners may be kept; set-id bits never are."""

    def __init__(self, tar: tarfile.TarFile, rootfs: Path, warn: Warn, *, keep_owners: bool) -> None:
        self._tar = tar
        self._keep_owners = keep_owners
        self._rootfs = rootfs
        self._warn = warn
        self._directories: dict[tuple[str, ...], tarfile.TarInfo] = {}

    def run(self) -> None:
        for member in self._tar:
            names = self._names(member.name)
            if member.isdir():
                os.close(self._open_directory(names, member))
                self._directories[names] = member
            elif names:
                self._make(member, names)
            else:
                raise self._refused(member.name, "it stands for the root filesystem, and is no directory")
        # At the end, innermost first: a directory may be one that its owner cannot write to.
        for names in sorted(self._directories, reverse=True):
            fd = self._open_directory(names, self._directories[names])
            try:
                self._own(fd, self._directories[names])
            finally:
                os.close(fd)

    def _names(self, path: str) -> tuple[str, ...]:
        """The components of a member's path below the root."""
        names = tuple(name for name in path.split("/") if name not in ("", "."))
        if ".." in names or "\0" in path:
            raise self._refused(path, "its path leads out of the root filesystem")
        return names

    def _make(self, member: tarfile.TarInfo, names: tuple[str, ...]) -> None:
        parent = self._open_directory(names[:-1], member)
        try:
            self._make_in(parent, member, names[-1])
        finally:
            os.close(parent)

    def _make_in(self, parent: int, member: tarfile.TarInfo, name: str) -> None:
        if member.ischr() or member.isblk():
            self._warn(
                f"the device node {member.name} of the archive is left out; the runtime makes /dev itself"
            )
            return
        self._clear(parent, name, member)
        if member.issym():
            os.symlink(member.linkname, name, dir_fd=parent)
            self._own_link(parent, name, member)
        elif member.islnk():
            self._link(parent, name, member)
        elif member.isfifo():
            os.mkfifo(name, 0o600, dir_fd=parent)
            self._own_link(parent, name, member)
            os.chmod(name, member.mode & 0o777, dir_fd=parent)
        elif member.isfile():
            self._write(parent, name, member)
        else:
            self._warn(f"{member.name} of the archive is left out: it is of no type that a filesystem has")

    def _clear(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        """An archive may hold a path twice; the later member counts. A directory stays one."""
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError) as error:
            raise self._refused(member.name, "a directory of the same name stands before it") from error

    def _write(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        content = self._tar.extractfile(member)
        if content is None:
            raise self._refused(member.name, "it has no content")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with content, open(os.open(name, flags, 0o600, dir_fd=parent), "wb") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            self._own(file.fileno(), member)
            os.utime(file.fileno(), (member.mtime, member.mtime))

    def _link(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        names = self._names(member.linkname)
        if not names:
            raise self._refused(member.name, "it is a hard link to nothing")
        source = self._open_directory(names[:-1], member, make=False)
        try:
            os.link(names[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError as error:
            raise self._refused(
                member.name, f"it is a hard link to {member.linkname}, which is missing"
            ) from error
        finally:
            os.close(source)

    def _open_directory(self, names: tuple[str, ...], member: tarfile.TarInfo, *, make: bool = True) -> int:
        """Open a directory below the root, making what is missing; no component may be a symlink."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._rootfs, flags)
        for name in names:
            outer = fd
            try:
                if make:
                    self._make_directory(outer, name)
                fd = os.open(name, flags, dir_fd=outer)
            except (NotADirectoryError, FileNotFoundError) as error:
                raise self._refused(member.name, f"{name!r} of its path is not a directory") from error
            finally:
                os.close(outer)
        return fd

    def _make_directory(self, parent: int, name: str) -> None:
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            pass

    def _own(self, fd: int, member: tarfile.TarInfo) -> None:
        if self._keep_owners:
            os.fchown(fd, member.uid, member.gid)
        # A set-user-ID file from a stranger's archive would hold on the host too; and no_new_privs, the
        # default, makes it useless inside.
        os.fchmod(fd, member.mode & (0o1777 if member.isdir() else 0o777))

    def _own_link(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        if self._keep_owners:
            os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)

    def _refused(self, name: str, reason: str) -> InvalidArgument:
        return InvalidArgument(
            f"the archive's member {name!r} is refused: {reason}",
            path=name,
            remedy="use an archive of a whole root filesystem, such as `podman export` writes",
        )
