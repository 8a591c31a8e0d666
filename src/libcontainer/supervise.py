"""The making of a container: the conversation with its init up to the status `created`.

Here is what a container needs and a tenant does not: the cgroup, id maps, hooks, network devices, the
records. Whatever fails, everything made before is removed: processes, cgroup, directory, pid file. On the hot
path.
"""

from __future__ import annotations

import os
import time

from libcontainer import state
from libcontainer.cgroup_errors import CgroupErrors
from libcontainer.channel import NETLINK, listen
from libcontainer.conversation import Conversation, send_pidfd
from libcontainer.devices import opens_devices
from libcontainer.plan import operations as do

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Any

    from libcgroups.cgroup import Cgroup
    from libcgroups.manager import Manager
    from libcontainer.channel import Report
    from libcontainer.conversation import Request
    from libcontainer.host import Host
    from libcontainer.plan.context import Descriptor, Options, Plan


class Creation(Conversation):
    """The making of one container; `run` does it."""

    GOAL = "the container was created"

    def __init__(
        self,
        directory: state.Directory,
        spec: dict[str, Any],
        raw: bytes,
        plan: Plan,
        manager: Manager,
        host: Host,
        options: Options,
        request: Request,
    ) -> None:
        super().__init__(spec, plan, host, options, request)
        self.directory = directory
        self.raw = raw
        self.manager = manager
        self.limited = self.guarded = False
        self.record: dict[str, Any] = {}
        self.text = b""  # of the record
        self.pid_file_written = False
        self.checked = False  # the cgroup, and nobody else's processes are in it
        self.left_over: set[str] = set()  # what could not be removed

    def run(self) -> None:
        """Make the container; on any failure remove what was made and raise the error."""
        try:
            self._record_intent()
            self._spawn()
            self._converse()
        except BaseException as error:
            self.abort(error)
            raise
        finally:
            if self.channel is not None:
                self.channel.close()

    def _record_intent(self) -> None:
        intent = {"cgroup": self.manager.plan_state(), "pidFile": self.request.pid_file}
        group = self.request.rdt
        if group is None:
            self.directory.write_record("intent.json", intent)
        else:
            with group.locked():
                group.look()
                self.directory.write_record("intent.json", {**intent, "rdt": group.to_state()})
                group.create()
        if self.options.notify_directory is not None:
            self.directory.make_directory("notify")

    def _enter_cgroup(self) -> None:
        if self.options.self_join:
            # Stage two is born in the unified one; the others it enters only when it has been born.
            self._make_cgroups([cgroup for cgroup in self.manager.cgroups if not cgroup.controllers])
            return
        self._make_cgroups(None)
        self.checked = True
        with CgroupErrors():
            self.manager.add_process(self.stage_one)

    def _work_beside_init(self) -> None:
        self.directory.write("config.json", self.raw)
        if self.options.self_join:
            self._make_cgroups([cgroup for cgroup in self.manager.cgroups if cgroup.controllers])
            self.checked = True
            self._limit_devices()

    def _make_cgroups(self, cgroups: Collection[Cgroup] | None) -> None:
        with CgroupErrors():
            self.manager.create(cgroups)
            self.manager.check_empty_and_thawed(cgroups)
        if self.options.device_program and not all([cgroup.made for cgroup in self.manager.cgroups]):
            # A program of a container before may be on it, which only the runtime finds and replaces.
            self.options.device_program = b""
        elif len(self.manager.cgroups) == len(self.options.cgroups):
            return
        # Rootless, some could not be made: the container's view of its cgroups shows what there is.
        from libcontainer.plan.compile import compile_init

        self.options.cgroups = self.manager.cgroups
        if self.later is None:
            self.plan = compile_init(self.spec, self.host, self.options)

    def _open(self, descriptor: Descriptor) -> int:
        if descriptor.kind == "listener":
            return listen(self.directory.address("start.sock"))
        return super()._open(descriptor)

    # The conversation

    def _take_child(self, pid: int) -> None:
        super()._take_child(pid)
        self._stage_record()  # while init works

    def _take_descriptor(self, report: Report) -> None:
        if report.value != NETLINK:
            super()._take_descriptor(report)
            return
        from libcontainer.network import move_devices

        move_devices(report.fd, self.pid, self.spec["linux"]["netDevices"])

    def _reached(self, point: int) -> bool:
        """Do what the sync point asks for; True when the container is created."""
        assert self.channel is not None
        if point == do.SYNC_MAPS:
            self._map_ids()
        elif point == do.SYNC_HOOKS:
            self._limit()
            run_runtime_hooks(self.spec, self.options, self.pid)
        elif point == do.SYNC_LIMITS:
            self._limit()
        elif point == do.SYNC_RLIMITS:
            self._set_rlimits()
        else:
            self._finish()
        self._go_on()
        return point == do.SYNC_READY

    def _map_ids(self) -> None:
        """Write the id mappings of a new user namespace; a joined one must have those that are given."""
        from libcontainer import idmap

        linux = self.spec["linux"]
        uids, gids = linux.get("uidMappings") or [], linux.get("gidMappings") or []
        if any([item["type"] == "user" and item.get("path") for item in linux["namespaces"]]):
            idmap.check_maps(self.stage_one, uids, gids)
        else:
            idmap.write_maps(self.stage_one, uids, gids, privileged=self.host.privileged)

    def _limit_devices(self) -> None:
        """Apply the device rules of cgroup v1 before init enters it, where they are not in its way (`devices.guard`).

        Not while it is in: they begin with the denial of everything.
        """
        rules = (self.request.resources or {}).get("devices")
        if not rules or self.manager.mode == "v2" or opens_devices(self.spec):
            return
        with CgroupErrors():
            self.manager.apply({"devices": rules})
        self.guarded = True

    def _limit(self) -> None:
        """Apply the cgroup limits, before any hook runs.

        Only when init's own work is done, so that a low limit meets the payload.
        """
        if self.limited:
            return
        self.limited = True
        resources = self.request.resources or {}
        if self.guarded or any([isinstance(op, do.GuardDevices) for op in self.plan.first]):
            resources = {name: value for name, value in resources.items() if name != "devices"}
        with CgroupErrors():
            self.manager.apply(resources)
            if self.manager.mode == "v2" and self.host.privileged:
                from libcontainer.delegation import delegate

                delegate(self.manager, self.spec, self.pid)

    def _finish(self) -> None:
        self._limit()
        self._set_rlimits()
        self.directory.publish("state.json")
        if self._starts_plainly():
            self.directory.mark("start.plain")
        self.directory.remove_file("intent.json")
        if self.request.pid_file is not None:
            state.write_pid_file(self.request.pid_file, self.pid)
            self.pid_file_written = True
        send_pidfd(self.request, self.pidfd)

    def _starts_plainly(self) -> bool:
        """Tell whether nothing but init has to do with the start, which then needs no Python (youki/start.c)."""
        return self.record["hasProcess"] and not (
            self.record["hooks"].get("poststart") or "notifySocket" in self.record
        )

    def _stage_record(self) -> None:
        found = state.start_time(self.pid)
        if found is None:
            return  # it has ended; what it reported tells why
        self.record = self._new_record(found[1])
        self.text = self.directory.format_record(self.record)
        self.directory.stage("state.json", self.text)

    def _new_record(self, started: int) -> dict[str, Any]:
        return {
            **new_record(self.spec, self.options.bundle, self.options.rootfs, self.pid, started),
            **self._states(),
            "steps": len(self.plan.ops),
            "noNewKeyring": self.options.no_new_keyring,
            **({} if self.options.notify_directory is None else {"notifySocket": self.request.notify_socket}),
        }

    def _states(self) -> dict[str, Any]:
        """Return what is recorded of what is to be removed."""
        group = self.request.rdt
        # Of a cgroup that was not looked at, nobody may be killed who was there before.
        cgroup = {**self.manager.to_state(), "planned": not self.checked}
        return {"cgroup": cgroup, **({} if group is None else {"rdt": group.to_state()})}

    # Failure

    def _cleanups(self) -> Sequence[Callable[[], None]]:
        return (
            self._end_processes,
            self._close_descriptors,  # there may be no other ones for what follows
            self._remove_cgroup,
            self._leave_class,
            self._remove_records,
            self._run_poststop,
        )

    def _remove_cgroup(self) -> None:
        self.left_over.add("cgroup")
        # A hook may have left processes in it, which are not ours to know by pid.
        if self.checked and self.manager.populated():
            self.manager.kill_all()
        self.manager.remove()
        self.left_over.remove("cgroup")

    def _leave_class(self) -> None:
        if self.request.rdt is not None:
            self.left_over.add("rdt")
            self.request.rdt.remove()
            self.left_over.remove("rdt")

    def _run_poststop(self) -> None:
        run_poststop(self.spec, self.options, self.pid)

    def _remove_records(self) -> None:
        left = {name: found for name, found in self._states().items() if name in self.left_over}
        remove_records(self.directory, self.request.pid_file if self.pid_file_written else None, left)


def run_runtime_hooks(spec: dict[str, Any], options: Options, pid: int) -> None:
    """Run the hooks of the runtime that belong to a container that is being made: prestart and createRuntime."""
    hooks = spec.get("hooks") or {}
    if not hooks.get("prestart") and not hooks.get("createRuntime"):
        return
    from libcontainer.hooks import run

    current = oci_state(spec, options, "creating", pid)
    for kind in ("prestart", "createRuntime"):
        if hooks.get(kind):
            run(hooks[kind], kind, current, cwd=options.bundle, pointer=f"/hooks/{kind}")


def run_poststop(spec: dict[str, Any], options: Options, pid: int) -> None:
    """Run the poststop hooks of a container that did not come to be: runtime.md "Lifecycle" 3 to 5, 13.

    They undo what hooks did before them, so they run as soon as there was a process whose state hooks saw.
    """
    hooks = (spec.get("hooks") or {}).get("poststop")
    if not hooks or not pid:
        return
    from libcontainer.hooks import run

    last = oci_state(spec, options, "stopped", 0)
    failures = run(hooks, "poststop", last, cwd=options.bundle, pointer="/hooks/poststop", keep_going=True)
    if failures:
        raise failures[0]


def remove_records(directory: state.Directory, pid_file: str | None, left: dict[str, Any]) -> None:
    """Remove the directory of a container that did not come to be, and the pid file that was written for it.

    What is `left` of it, because it could not be removed, stays written down, for `delete --force`.
    """
    if pid_file is not None:
        try:
            os.unlink(pid_file)
        except FileNotFoundError:
            pass
    if not left:
        directory.remove()
        return
    directory.write_record("intent.json", left)
    directory.remove_file("state.json")
    directory.remove_file("start.plain")


def new_record(spec: dict[str, Any], bundle: str, rootfs: str, pid: int, started: int) -> dict[str, Any]:
    """Return what is recorded of every container whose first process is `pid`; the cgroup is to be added."""
    linux = spec.get("linux") or {}
    hooks = spec.get("hooks") or {}
    return {
        "ociVersion": spec["ociVersion"],
        "pid": pid,
        "startTime": started,
        "bootId": state.boot_id(),
        "bundle": bundle,
        "rootfs": rootfs,
        "created": time.time_ns(),
        "owner": os.geteuid(),
        "annotations": spec.get("annotations") or {},
        # Its own: the end of the first process of one that was joined ends nobody else (pid_namespaces(7)).
        "pidNamespace": any(
            [item["type"] == "pid" and not item.get("path") for item in linux.get("namespaces") or ()]
        ),
        "hooks": {kind: hooks[kind] for kind in ("poststart", "poststop") if hooks.get(kind)},
        "hasProcess": bool(spec.get("process")),
    }


def oci_state(spec: dict[str, Any], options: Options, status: str, pid: int) -> dict[str, Any]:
    """Return the state as hooks get it: runtime.md "State"."""
    return {
        "ociVersion": spec["ociVersion"],
        "id": options.container_id,
        "status": status,
        "pid": pid,
        "bundle": options.bundle,
        "annotations": spec.get("annotations") or {},
    }
