"""Restore: CRIU makes the processes of a checkpoint again, in a new container of ours.

The order is that of a creation (supervise.py): the intent is written down, the cgroup made, CRIU put into it, so that
all that it makes is limited; the record is there before the first process goes on. Whatever fails, everything that was
made is removed.
"""

from __future__ import annotations

import os

from libcontainer import state
from libcontainer.cgroup_errors import CgroupErrors
from libcontainer.conversation import clean_up, send_pidfd
from libcontainer.criu import messages, options, place, service, spec
from libcontainer.delegation import delegate
from libcontainer.errors import CheckpointError, InvalidArgument
from libcontainer.plan.context import Options
from libcontainer.spawn import reap
from libcontainer.strictjson import loads
from libcontainer.supervise import new_record, remove_records, run_poststop, run_runtime_hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Iterator
    from typing import Any

    from libcgroups.manager import Manager
    from libcontainer.conversation import Request
else:
    import _signal

LOG = "restore.log"
ROOT = (
    "criu-root"  # in the container's directory; the root file system is mounted there, for CRIU alone to see
)


class Images:
    """The directory of a checkpoint, and that of the log. Raises InvalidArgument where it is none."""

    def __init__(self, image_path: str, work_path: str | None) -> None:
        self.path = image_path
        self.work_path = work_path or image_path
        with_files = options.open_directory("image_path", image_path)
        try:
            self.descriptors = self._descriptors(with_files)
        finally:
            os.close(with_files)
        if work_path is not None:
            options.make_directory("work_path", work_path)
        os.close(options.open_directory("work_path", self.work_path))

    def check_owner(self, config: dict[str, Any]) -> None:
        """Raise InvalidArgument where a container with a user namespace could not read them: in it CRIU is its root."""
        root = spec.root_on_host(config)
        status = os.stat(self.path)
        owner = status.st_uid, status.st_gid
        if root is not None and owner != root and not status.st_mode & 0o001:
            raise InvalidArgument(
                "image_path {} belongs to {}:{}, but the container's root is {}:{}".format(
                    self.path, *owner, *root
                ),
                path=self.path,
                remedy=f"chown {root[0]}:{root[1]} {self.path}",
            )

    def _descriptors(self, fd: int) -> list[str]:
        """Return what the standard streams were."""
        try:
            for name in ("inventory.img", "pstree.img"):
                os.stat(name, dir_fd=fd)
            file = os.open(options.DESCRIPTORS, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=fd)
        except OSError as error:
            raise self._no_checkpoint(f"{error.filename} is missing", error.errno) from error
        try:
            found = loads(state.read_all(file), source=f"{self.path}/{options.DESCRIPTORS}")
        finally:
            os.close(file)
        if isinstance(found, list) and len(found) <= 3 and all(isinstance(item, str) for item in found):
            return found
        raise self._no_checkpoint(f"{options.DESCRIPTORS} is not a list of three texts", None)

    def _no_checkpoint(self, why: str, number: int | None) -> InvalidArgument:
        return InvalidArgument(
            f"image_path {self.path} holds no checkpoint: {why}",
            path=self.path,
            errno=number,
            remedy="name the directory that youki checkpoint has written, not that of a pre-dump",
        )


class Plan:
    """What was decided before anything is made: the cgroup, its limits, and what the caller asks of CRIU."""

    def __init__(self, manager: Manager, resources: dict[str, Any] | None, wishes: messages.Message) -> None:
        self.manager = manager
        self.resources = resources
        self.wishes = wishes


class Restoration:
    """The making of one container from a checkpoint; `run` does it.

    Afterwards `record`, `pidfd` and `master` (-1 without a terminal) are the caller's.
    """

    def __init__(
        self,
        directory: state.Directory,
        config: dict[str, Any],
        raw: bytes,
        where: Options,
        request: Request,
        images: Images,
        plan: Plan,
    ) -> None:
        self.directory = directory
        self.spec = config
        self.raw = raw
        self.plan = plan
        self.manager = plan.manager
        self.options = where
        self.request = request
        self.images = images
        self.root = f"{os.path.realpath(directory.path)}/{ROOT}"
        self.pid = 0
        self.pidfd = self.master = -1
        self.record: dict[str, Any] = {}
        self.pid_file_written = self.left_over = False
        self.checked = False  # the cgroup, and nobody else's processes are in it
        self.opened: list[int] = []
        self.keys: list[str] = []

    def run(self) -> None:
        """Restore the container; on any failure remove what was made and raise the error."""
        try:
            self._make_cgroup()
            self._restore()
            os.rmdir(ROOT, dir_fd=self.directory.fd)
        except BaseException as error:
            self._abort(error)
            raise
        finally:
            self._close_opened()

    def _make_cgroup(self) -> None:
        self.directory.write("config.json", self.raw)
        intent = {"cgroup": self.manager.plan_state(), "pidFile": self.request.pid_file}
        self.directory.write_record("intent.json", intent)
        os.mkdir(ROOT, 0o700, dir_fd=self.directory.fd)
        with CgroupErrors():
            self.manager.create()
            self.manager.check_empty_and_thawed()
        self.checked = True

    def _restore(self) -> None:
        with place.apart(self._start) as criu:
            with CgroupErrors():
                self.manager.add_process(criu.pid)
                self.manager.apply(self.plan.resources or {})
            response = criu.call({"type": messages.RESTORE, "opts": self._request(criu.pid)}, self._notified)
        if not response.get("success") or not self.record:
            raise service.failed(
                f"restore {self.options.container_id}", response, f"{self.images.work_path}/{LOG}"
            )

    # In the mount namespace of CRIU

    def _start(self) -> service.Service:
        place.join_keyring(f"_ses.{self.options.container_id}")
        place.mount_root(self.options.rootfs, self.root)
        place.make_points(self.root, list(self._points()))
        if self.spec["root"].get("readonly"):
            place.make_readonly(self.root)
        for name, path in (("image_path", self.images.path), ("work_path", self.images.work_path)):
            self.opened.append(options.open_directory(name, path))  # as they are seen there
        stdio = [number if fd is None else fd for number, fd in enumerate(self.request.stdio)]
        return service.Service(stdio, self._namespaces())

    def _points(self) -> Iterator[tuple[str, bool]]:
        """Yield the mount points that must be in the root file system itself, and whether they are files.

        What is in another mount comes with that: CRIU restores what a tmpfs holds.
        """
        above: list[str] = []
        if self.spec["root"].get("readonly"):
            yield "/tmp", False  # over which CRIU changes the root; it would make a directory otherwise
        for request in spec.requests(self.spec, self.options.bundle):
            point = spec.resolve(self.root, request.destination)
            if not any(point.startswith(f"{other}/") for other in above):
                yield point, request.bind and not os.path.isdir(request.source)
            above.append(point)

    def _namespaces(self) -> list[int]:
        """Return descriptors of the namespaces that CRIU inherits, their names being `keys`."""
        found = []
        for kind, path in spec.joined(self.spec).items():
            if kind not in spec.EXTERNAL_NAMESPACES:
                continue
            try:
                found.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                raise CheckpointError(
                    f"cannot join the {kind} namespace at {path}: {error.strerror}",
                    step="restore",
                    pointer="/linux/namespaces",
                    path=path,
                    errno=error.errno,
                    remedy="check that the process or bind mount that holds the namespace exists",
                ) from error
            self.opened.append(found[-1])
            self.keys.append(spec.EXTERNAL_NAMESPACES[kind][1])
        return found

    # The request

    def _request(self, pid: int) -> messages.Message:
        inherited = [
            {"key": target, "fd": number}
            for number, target in enumerate(self.images.descriptors)
            if target.startswith("pipe:")
        ]
        inherited += [
            {"key": key, "fd": service.FIRST_EXTRA_FD + number} for number, key in enumerate(self.keys)
        ]
        mounts = dict(spec.mounts_of_host(self.spec, self.options.bundle, self.options.rootfs))
        mounts[spec.NULL] = spec.NULL  # what masks files
        return {
            **self.plan.wishes,
            "images_dir_fd": self.opened[0],
            "work_dir_fd": self.opened[1],
            "log_file": LOG,
            "root": self.root,
            "rst_sibling": True,
            "evasive_devices": True,
            "config_file": spec.config_file(self.spec),
            "inherit_fd": inherited,
            "ext_mnt": [{"key": point, "val": source} for point, source in mounts.items()],
            "join_ns": [
                {"ns": kind, "ns_file": path}
                for kind, path in spec.joined(self.spec).items()
                if kind in spec.JOINED_NAMESPACES
            ],
            "cg_root": [{"ctrl": "", "path": _cgroup_of(pid)}],
        }

    # What CRIU notifies us of

    def _notified(self, script: str, pid: int, fd: int) -> None:
        if script == "orphan-pts-master" and fd >= 0:
            self._take_master(fd)
        elif script == "setup-namespaces":
            self._take_process(pid)
            run_runtime_hooks(self.spec, self.options, self.pid)
        elif script == "post-restore":  # its processes exist, and do not go on before we have answered
            self._take_process(pid)
            self._finish()

    def _take_process(self, pid: int) -> None:
        if self.pid != pid:
            self.pid, self.pidfd = pid, os.pidfd_open(pid)

    def _take_master(self, fd: int) -> None:
        if self.request.console_fd >= 0:
            from libcontainer.console import send_master

            send_master(self.request.console_fd, fd)
        else:
            self.master = os.dup(fd)

    def _finish(self) -> None:
        found = state.start_time(self.pid)
        assert found is not None  # it is our child
        with CgroupErrors():
            delegate(self.manager, self.spec, self.pid)
        where = self.options
        self.record = {
            **new_record(self.spec, where.bundle, where.rootfs, self.pid, found[1]),
            "cgroup": self.manager.to_state(),
            "steps": 0,
            "noNewKeyring": False,
        }
        self.directory.write_record("state.json", self.record)
        self.directory.remove_file("intent.json")
        if self.request.pid_file is not None:
            state.write_pid_file(self.request.pid_file, self.pid)
            self.pid_file_written = True
        send_pidfd(self.request, self.pidfd)

    # Failure

    def _abort(self, error: BaseException) -> None:
        """Remove everything that was made."""
        steps = (
            self._end_processes,
            self._close_descriptors,
            self._remove_cgroup,
            self._remove_records,
            self._run_poststop,
        )
        clean_up(error, steps)

    def _end_processes(self) -> None:
        if self.pidfd < 0:
            return
        try:
            _signal.pidfd_send_signal(self.pidfd, _signal.SIGKILL)
        except ProcessLookupError:
            pass
        reap(self.pid)

    def _remove_cgroup(self) -> None:
        self.left_over = True
        if self.checked and self.manager.exists():
            self.manager.kill_all()
            _reap_strays(self.manager)
        self.manager.remove()
        self.left_over = False

    def _close_descriptors(self) -> None:
        for fd in (self.pidfd, self.master):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self.master = -1

    def _close_opened(self) -> None:
        while self.opened:
            os.close(self.opened.pop())

    def _remove_records(self) -> None:
        cgroup = {**self.manager.to_state(), "planned": not self.checked}
        left = {"cgroup": cgroup} if self.left_over else {}
        remove_records(self.directory, self.request.pid_file if self.pid_file_written else None, left)

    def _run_poststop(self) -> None:
        run_poststop(self.spec, self.options, self.pid)


def _cgroup_of(pid: int) -> str:
    """Return the unified cgroup of a process as CRIU, which is in our cgroup namespace, sees it: cgroups(7)."""
    with open(f"/proc/{pid}/cgroup") as file:
        return next(line[3:].rstrip("\n") for line in file if line.startswith("0::"))


def _reap_strays(manager: Manager) -> None:
    """Wait for a first process that CRIU made for us, as our child, and ended before it told its number.

    By its cgroup, in which all are dead by now. Other children are not touched.
    """
    unified = manager.unified
    if unified is None:
        return
    path = unified.directory.removeprefix(unified.mount_point)
    for task in os.listdir("/proc/self/task"):
        for child in _children(task):
            try:
                if _cgroup_of(child) == path:
                    os.waitpid(child, os.WNOHANG)
            except (OSError, StopIteration):
                continue  # it is gone, or somebody else has waited for it


def _children(task: str) -> list[int]:
    """Return the children of a thread of ours; none where the kernel does not tell (CONFIG_PROC_CHILDREN)."""
    try:
        with open(f"/proc/self/task/{task}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []
