"""Checkpoint: CRIU writes the processes of a container to files, and ends them, or lets them go on.

After an error the container runs as before: CRIU lets its processes go, and we see to it that they are not frozen.
"""

from __future__ import annotations

import os

from libcontainer.criu import messages, options, service, spec
from libcontainer.errors import InvalidArgument, Unsupported
from libcontainer.host import MountEntry
from libcontainer.strictjson import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from libcontainer.container import Container
    from libcontainer.criu.options import Path
    from libcontainer.state import Directory

LOG = "dump.log"


class Wishes:
    """What the caller of `Container.checkpoint` asks for, checked: `request` is CRIU's part of it.

    Raises InvalidArgument.
    """

    def __init__(
        self,
        image_path: Path,
        *,
        work_path: Path | None = None,
        parent_path: Path | None = None,
        pre_dump: bool = False,
        leave_running: bool = False,
        tcp_established: bool = False,
        tcp_skip_in_flight: bool = False,
        ext_unix_sk: bool = False,
        shell_job: bool = False,
        file_locks: bool = False,
        link_remap: bool = False,
        auto_dedup: bool = False,
        lazy_pages: bool = False,
        page_server: str | None = None,
        status_fd: int | None = None,
        empty_ns: Sequence[str] = (),
        manage_cgroups_mode: str = "soft",
    ) -> None:
        self.image_path = options.absolute("image_path", image_path)
        self.work_path = self.image_path if work_path is None else options.absolute("work_path", work_path)
        self.parent_path = None if parent_path is None else os.fspath(parent_path)
        self.pre_dump = pre_dump
        self.ends = not (leave_running or pre_dump)
        self.lazy_pages = lazy_pages
        self.request = options.request(
            manage_cgroups_mode,
            empty_ns,
            tcp_established=tcp_established,
            ext_unix_sk=ext_unix_sk,
            shell_job=shell_job,
            file_locks=file_locks,
            leave_running=leave_running,
            link_remap=link_remap,
            tcp_skip_in_flight=tcp_skip_in_flight,
            auto_dedup=auto_dedup,
            lazy_pages=lazy_pages,
        )
        if page_server is not None:
            self.request["ps"] = options.page_server(page_server)
        if status_fd is not None:
            self.request["status_fd"] = options.open_descriptor("status_fd", status_fd)
        if lazy_pages and (page_server is None or pre_dump):
            raise InvalidArgument(
                "lazy_pages leaves the memory to be fetched from here: it needs a page_server, and no pre_dump",
                remedy="say at which address and port the pages are given away",
            )
        if self.parent_path is not None and (not self.parent_path or os.path.isabs(self.parent_path)):
            raise InvalidArgument(
                f"parent_path is {self.parent_path!r}, expected a path relative to the image path",
                path=self.parent_path,
                remedy="name the directory of the pre-dump as seen from the new one: ../pre-dump",
            )

    @property
    def tracks_memory(self) -> bool:
        """Whether this is one of a row of dumps, each with the memory that has changed since the one before."""
        return self.pre_dump or self.parent_path is not None

    @property
    def features(self) -> list[str]:
        """What CRIU must be able to do here."""
        wanted = {"mem_track": self.tracks_memory, "lazy_pages": self.lazy_pages}
        return [name for name, is_wanted in wanted.items() if is_wanted]

    def check_parent(self, images: int) -> None:
        """Raise InvalidArgument unless the directory of the dump before is there."""
        if self.parent_path is None:
            return
        try:
            os.stat(f"{self.parent_path}/.", dir_fd=images)
        except OSError as error:
            raise InvalidArgument(
                f"parent_path: there is no directory {self.parent_path} as seen from {self.image_path}",
                path=self.parent_path,
                syscall="stat",
                errno=error.errno,
                remedy="name the directory of the pre-dump as seen from the new one: ../pre-dump",
            ) from error


def checkpoint(container: Container, directory: Directory, wishes: Wishes) -> None:
    """Checkpoint the container, whose `directory` is locked; see Container.checkpoint."""
    options.require_root()
    config = container._stored_spec()
    if "notifySocket" in container._record:
        raise Unsupported(
            "a container with a notify socket can be neither checkpointed nor restored",
            step="checkpoint",
            remedy="run it without NOTIFY_SOCKET in the environment",
        )
    service.require(*wishes.features)
    spec.check(config, container._manager())
    opened: list[int] = []
    try:
        made = options.make_directory("image_path", wishes.image_path)
        opened.append(options.open_directory("image_path", wishes.image_path))
        options.make_directory("work_path", wishes.work_path)
        opened.append(options.open_directory("work_path", wishes.work_path))
        wishes.check_parent(opened[0])
        _decide_readers(container, config, opened[0], made=made)
        _dump(container, config, wishes, opened[0], opened[1])
    finally:
        for fd in opened:
            os.close(fd)
    if wishes.ends:
        from libcontainer import deletion

        deletion.delete(container, directory, force=True)


def _decide_readers(container: Container, config: dict[str, Any], images: int, *, made: bool) -> None:
    """Give a directory that was made to the container's root, who reads it on restore; warn of what others may read.

    One that was there before keeps its owner and mode: it may be anybody's, /tmp for one.
    """
    root = spec.root_on_host(config)
    status = os.fstat(images)
    if root is not None and made:
        os.chown(images, *root)
    elif root is not None and (status.st_uid, status.st_gid) != root and not status.st_mode & 0o001:
        container.warnings += (f"before a restore the image path must be given to {root[0]}:{root[1]}",)
    if status.st_mode & 0o077:
        mode = f"{status.st_mode & 0o777:o}"
        container.warnings += (f"the image path has mode {mode}: others may read the container's memory",)


def _dump(container: Container, config: dict[str, Any], wishes: Wishes, images: int, work: int) -> None:
    pid: int = container._record["pid"]
    request: messages.Message = {
        **wishes.request,
        **({"track_mem": True, "parent_img": wishes.parent_path} if wishes.tracks_memory else {}),
        "images_dir_fd": images,
        "work_dir_fd": work,
        "log_file": LOG,
        "pid": pid,
        "root": container.rootfs,
        "config_file": spec.config_file(config),
        "freeze_cgroup": container._manager().paths[""],
        "external": [
            _external(pid, name) for name in spec.joined(config) if name in spec.EXTERNAL_NAMESPACES
        ],
    }
    if not wishes.pre_dump:
        request["ext_mnt"] = [
            {"key": point, "val": name} for point, name in _external_mounts(container, config, pid).items()
        ]
        _write_descriptors(images, pid)
    kind = messages.PRE_DUMP if wishes.pre_dump else messages.DUMP
    frozen = container._cgroup_is_frozen()
    try:
        with service.Service() as criu:
            response = criu.call({"type": kind, "opts": request})
        if not response.get("success"):
            raise service.failed(f"checkpoint {container.id}", response, f"{wishes.work_path}/{LOG}")
    except BaseException:
        if not frozen and container._cgroup_is_frozen():  # a CRIU that was killed thaws nothing
            container._manager().thaw()
        raise


def _external(pid: int, name: str) -> str:
    """Return how CRIU is told that a namespace is not the container's own. The path it had may be gone."""
    link, key = spec.EXTERNAL_NAMESPACES[name]
    return f"{link}[{os.stat(f'/proc/{pid}/ns/{link}').st_ino}]:{key}"


def _external_mounts(container: Container, config: dict[str, Any], pid: int) -> dict[str, str]:
    """Return the mounts of the container that are the host's, by their place, with their names in the image."""
    root = f"/proc/{pid}/root"
    with open(f"/proc/{pid}/mountinfo") as file:
        points = {MountEntry(line).mount_point for line in file}
    found = {
        point: point
        for point, _ in spec.mounts_of_host(config, container.bundle, root)
        if point in points  # devices are, in a user namespace only
    }
    for path in (config.get("linux") or {}).get("maskedPaths") or ():
        point = spec.resolve(root, path)
        if point in points and not os.path.isdir(root + point):  # directories have file systems of their own
            found[point] = spec.NULL
    return found


def _write_descriptors(images: int, pid: int) -> None:
    """Write what the standard streams are: on restore a pipe is to be replaced by another one (runc's file)."""
    targets = []
    for number in range(3):
        try:
            targets.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except OSError:
            targets.append(spec.NULL)  # closed
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(options.DESCRIPTORS, flags, 0o600, dir_fd=images)
    with open(fd, "w") as file:
        file.write(dumps(targets))
