"""Containers from asyncio: the builder and the container of this library, their blocking methods awaitable.

    from libcontainer.aio import ContainerBuilder

    async with await ContainerBuilder("job-7").as_init("/var/lib/bundle/job").build() as container:
        await container.start()
        status = await container.wait()

The names, arguments and errors are those of the blocking ones. What works on files and processes for a
moment runs in a thread of its own; waiting takes no thread, but the loop's own poll on a pidfd
(pidfd_open(2)): no SIGCHLD handler, no other process's exit status is touched. Cancelling never leaves half
of something behind: see `InitContainerBuilder.build` and `Container`.
"""

from __future__ import annotations

import asyncio
import os
from typing import IO, TYPE_CHECKING, Any, Self

from libcgroups.threads import in_thread as _in_thread
from libcgroups.threads import settle as _settle
from libcgroups.threads import start_thread as _start_thread
from libcgroups.threads import succeed as _succeed
from libcontainer import builder as _builder
from libcontainer import container as _container
from libcontainer import foreground, reaping
from libcontainer import process as _process
from libcontainer import tenant as _tenant
from libcontainer.errors import StateError, Timeout
from libcontainer.exit_status import ExitStatus

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Sequence

    from libcgroups.stats import Stats
    from libcontainer.builder import Path
    from libcontainer.criu.aio import RestoredContainerBuilder
    from libcontainer.events import Events
    from libcontainer.spawn import Stream


__all__ = [
    "Container",
    "ContainerBuilder",
    "InitContainerBuilder",
    "Process",
    "TenantContainerBuilder",
    "build",
    "start",
]


async def build(
    builder: _builder.InitContainerBuilder | RestoredContainerBuilder,
    blocking: Callable[..., _container.Container] | None = None,
) -> Container:
    """Make the container that `builder` describes, by its class's method `blocking`, without blocking the loop.

    Cancelled, it waits for the step in progress and removes what came of it, before the cancellation goes on.
    """
    method: Callable[..., _container.Container] = blocking or _builder.InitContainerBuilder.build
    work = _start_thread(method, builder)
    try:
        return Container(await asyncio.shield(work))
    except asyncio.CancelledError as cancellation:
        await _settle(work)
        if work.exception() is None:
            removal = _start_thread(work.result().__exit__)
            await _settle(removal)
            if removal.exception() is not None:
                cancellation.add_note(f"removing the container failed: {removal.exception()}")
        raise


async def start(builder: _tenant.TenantContainerBuilder) -> Process:
    """Start the tenant that `builder` describes, without blocking the loop.

    Cancelled, it waits for the step in progress and kills what came of it, before the cancellation goes on.
    """
    work = _start_thread(_tenant.TenantContainerBuilder.build, builder)
    try:
        return Process(await asyncio.shield(work))
    except asyncio.CancelledError:
        await _settle(work)
        if work.exception() is None:
            await _settle(_start_thread(work.result().__exit__))
        raise


class ContainerBuilder(_builder.ContainerBuilder):
    """As libcontainer.ContainerBuilder; what `as_init` goes on with has an awaitable `build`."""

    def as_init(self, bundle: Path) -> InitContainerBuilder:
        """Go on with the first process of a new container, described by the bundle directory."""
        return InitContainerBuilder(self, bundle)

    def as_restored(self, bundle: Path, image_path: Path) -> RestoredContainerBuilder:
        """Go on with a container that was checkpointed to `image_path`."""
        from libcontainer.criu.aio import RestoredContainerBuilder

        return RestoredContainerBuilder(self, bundle, image_path)

    def as_tenant(self) -> TenantContainerBuilder:
        """Go on with one more process of the running container of this id."""
        return TenantContainerBuilder(self)


class InitContainerBuilder(_builder.InitContainerBuilder):
    """As libcontainer.InitContainerBuilder, with an awaitable `build`."""

    async def build(self) -> Container:  # type: ignore[override]  # the twin differs in just this
        """Make the container; see the function `build` of this module."""
        return await build(self)


class TenantContainerBuilder(_tenant.TenantContainerBuilder):
    """As libcontainer.TenantContainerBuilder, with an awaitable `build`."""

    async def build(self) -> Process:  # type: ignore[override]  # the twin differs in just this
        """Start the process; see the function `start` of this module."""
        return await start(self)

    async def run(self) -> ExitStatus:  # type: ignore[override]
        """Start the process, serve its terminal if it has one in the foreground, and wait for its end.

        Signals are the loop's: nothing is forwarded here. Cancelled, it gives the terminal back and kills the
        process.
        """
        async with await self.build() as process:
            blocking = process.blocking
            if blocking.terminal is not None:
                master, pidfd = blocking.terminal.fileno(), blocking._dup_pidfd()
                if pidfd >= 0:
                    try:
                        await _serve(pidfd, master, foreground.nothing, keep_size=blocking.has_console_size)
                    finally:
                        os.close(pidfd)
            return await process.wait()


class Container:
    """One container, as libcontainer.Container; `blocking` is that one, for use in other threads.

    What is known of it (`id`, `status`, …) is read as there: that takes microseconds. The operations are
    awaited. A cancelled `wait` or `run` leaves the container as it is; `start`, `kill` and the like are
    carried through in any case, and the cancellation goes on afterwards. With `async with` the container is
    deleted, by force, when the block is left.
    """

    def __init__(self, blocking: _container.Container) -> None:
        self.blocking = blocking

    @classmethod
    async def load(cls, root: str | os.PathLike[str] | None, container_id: str) -> Container:
        """Return the container of that id below `root`. Raises NotFound, InvalidArgument and StateError."""
        return cls(await _in_thread(_container.Container.load, root, container_id))

    @classmethod
    async def list(cls, root: str | os.PathLike[str] | None = None) -> list[Container]:
        """Return all containers below `root`, by id."""
        return [cls(found) for found in await _in_thread(_container.Container.list, root)]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await _in_thread(self.blocking.__exit__)

    def __repr__(self) -> str:
        return repr(self.blocking)

    # What is known

    @property
    def id(self) -> str:
        """Its name below the root."""
        return self.blocking.id

    @property
    def root(self) -> str:
        """The directory of the records of all containers beside it."""
        return self.blocking.root

    @property
    def pid(self) -> int | None:
        """The first process's number on the host; None when it does not run."""
        return self.blocking.pid

    @property
    def status(self) -> str:
        """`creating`, `created`, `running`, `paused`, `stopped` or `unknown`, found out now."""
        return self.blocking.status

    @property
    def bundle(self) -> str:
        """The absolute path of the bundle."""
        return self.blocking.bundle

    @property
    def rootfs(self) -> str:
        """The absolute path of the root file system on the host."""
        return self.blocking.rootfs

    @property
    def created(self) -> int:
        """When the container was created, in nanoseconds since 1970."""
        return self.blocking.created

    @property
    def owner(self) -> int:
        """The user id of who created it."""
        return self.blocking.owner

    @property
    def notify_socket(self) -> str | None:
        """The service manager's socket that is told when the payload is ready; None where there is none."""
        return self.blocking.notify_socket

    @property
    def without_cgroup(self) -> str | None:
        """Why it has no cgroup, or not one of every kind; None where it has all."""
        return self.blocking.without_cgroup

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations of its configuration."""
        return self.blocking.annotations

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be granted or cleaned up, in sentences."""
        return self.blocking.warnings

    @property
    def stdin(self) -> IO[bytes] | None:
        """Our end of the payload's standard input where PIPE was asked for, for `loop.connect_write_pipe`."""
        return self.blocking.stdin

    @property
    def stdout(self) -> IO[bytes] | None:
        """Our end of the payload's standard output where PIPE was asked for."""
        return self.blocking.stdout

    @property
    def stderr(self) -> IO[bytes] | None:
        """Our end of the payload's standard error where PIPE was asked for."""
        return self.blocking.stderr

    async def state(self) -> dict[str, Any]:
        """Return the state of the runtime-spec."""
        return await _in_thread(self.blocking.state)

    async def spec(self) -> dict[str, Any]:
        """Return the configuration as it was when the container was created."""
        return await _in_thread(self.blocking.spec)

    # Operations

    async def start(self) -> None:
        """Execute the payload and run the poststart hooks."""
        await _in_thread(self.blocking.start)

    async def kill(self, signal: int | str = "TERM", *, all: bool = False) -> None:  # noqa: A002  # as --all
        """Send a signal to the first process, or with `all` to every process of the container."""
        await _in_thread(self.blocking.kill, signal, all=all)

    async def pause(self) -> None:
        """Stop every process where it stands, until `resume`."""
        await _in_thread(self.blocking.pause)

    async def resume(self) -> None:
        """Let the processes of a paused container go on."""
        await _in_thread(self.blocking.resume)

    async def processes(self, *, all: bool = True) -> builtins.list[int]:  # noqa: A002  # as there
        """Return the ids of its processes on the host; without `all` only those in its own cgroup."""
        return await _in_thread(self.blocking.processes, all=all)

    async def stats(self) -> Stats:
        """Return what the container uses now, or has used when it has ended."""
        return await _in_thread(self.blocking.stats)

    def events(self, interval: float = 5.0) -> Events:
        """Watch the container: `async for` over its events; see libcontainer.Container.events."""
        return self.blocking.events(interval)

    async def update(
        self,
        resources: dict[str, Any] | None = None,
        *,
        l3_cache_schema: str | None = None,
        mem_bw_schema: str | None = None,
    ) -> None:
        """Change limits: all that are given, or on an error none."""
        await _in_thread(
            self.blocking.update, resources, l3_cache_schema=l3_cache_schema, mem_bw_schema=mem_bw_schema
        )

    async def checkpoint(self, image_path: str | os.PathLike[str], **options: Any) -> None:
        """Write the processes to files, by CRIU, and delete the container, or let it go on."""
        await _in_thread(self.blocking.checkpoint, image_path, **options)

    async def wait(self, timeout: float | None = None) -> ExitStatus:
        """Wait for the end of the first process, for `timeout` seconds or for ever; return how. Raises Timeout."""
        if self.blocking._exit is None:
            try:
                pidfd = self.blocking._open_pidfd()
            except StateError:
                pass  # nothing to wait for: the blocking one knows what that means
            else:
                await _await_exit(pidfd, timeout, f"container {self.id}")
        return self.blocking.wait(0)

    async def delete(self, *, force: bool = False) -> None:
        """Remove the container; with `force` a running one is killed first."""
        await _in_thread(self.blocking.delete, force=force)

    async def run(self) -> ExitStatus:
        """Start the container, serve its terminal if it has one in the foreground, and wait for its end.

        Signals are the loop's: nothing is forwarded here, as `loop.add_signal_handler` with `kill` can.
        Cancelled, it gives the terminal back and leaves the container running.
        """
        container = self.blocking
        begin, size = foreground.begin_of(container), foreground.has_console_size(container)
        if container._master >= 0:
            await _serve(container._open_pidfd(), container._master, begin, keep_size=size)
        else:
            await _in_thread(begin)
        return await self.wait()

    async def exec(
        self,
        args: Sequence[str] = (),
        *,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        **options: Any,
    ) -> Process:
        """Start one more process in the running container, as libcontainer.Container.exec does."""
        return await start(_tenant.short_form(self.blocking, args, (stdin, stdout, stderr), options))

    def close(self) -> None:
        """Close the descriptors that this handle holds. The container goes on. Does not block."""
        self.blocking.close()


class Process:
    """One tenant, as libcontainer.Process; `blocking` is that one, for use in other threads.

    The files are plain pipes, for `loop.connect_read_pipe` and `connect_write_pipe`. A cancelled `wait` or
    `communicate` leaves the process as it is. With `async with` it is killed, if it still runs, when the block
    is left.
    """

    def __init__(self, blocking: _process.Process) -> None:
        self.blocking = blocking

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            self.blocking.kill()
            await self.wait()
        finally:
            self.close()

    def __repr__(self) -> str:
        return repr(self.blocking)

    @property
    def pid(self) -> int:
        """Its number on the host."""
        return self.blocking.pid

    @property
    def stdin(self) -> IO[bytes] | None:
        """Our end of its standard input where PIPE was asked for."""
        return self.blocking.stdin

    @property
    def stdout(self) -> IO[bytes] | None:
        """Our end of its standard output where PIPE was asked for."""
        return self.blocking.stdout

    @property
    def stderr(self) -> IO[bytes] | None:
        """Our end of its standard error where PIPE was asked for."""
        return self.blocking.stderr

    @property
    def terminal(self) -> IO[bytes] | None:
        """The master of its terminal, where it has one that was not sent away."""
        return self.blocking.terminal

    @property
    def returncode(self) -> int | None:
        """How it ended, as a shell shows it; None before `wait` or `poll` has seen the end."""
        return self.blocking.returncode

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be granted, in sentences."""
        return self.blocking.warnings

    def poll(self) -> ExitStatus | None:
        """Return how it ended, None while it runs. Does not block."""
        return self.blocking.poll()

    def send_signal(self, signal: int | str) -> None:
        """Send it a signal. Does not block."""
        self.blocking.send_signal(signal)

    def kill(self) -> None:
        """Send it SIGKILL. Does not block."""
        self.blocking.kill()

    async def wait(self, timeout: float | None = None) -> ExitStatus:
        """Wait until it has ended and return how. Raises Timeout; the process goes on then."""
        while True:
            status = self.blocking.poll()
            if status is not None:
                return status
            pidfd = self.blocking._dup_pidfd()
            if pidfd >= 0:
                try:
                    await _await_exit(pidfd, timeout, str(self.blocking))
                finally:
                    os.close(pidfd)

    async def communicate(
        self,
        input: bytes | None = None,  # noqa: A002  # as subprocess calls it
        timeout: float | None = None,
    ) -> tuple[bytes | None, bytes | None]:
        """Write `input` to its standard input and close that, read all output, wait for the end, and return
        what came from standard output and standard error; None for a stream that is no pipe.

        Raises Timeout: the process goes on, and another call loses nothing of the output.
        """
        talk = self.blocking._talk_with(input)
        try:
            await asyncio.wait_for(_carry_on(talk), timeout)
            await self.wait()
        except TimeoutError:
            raise Timeout(f"{self.blocking} did not end within {timeout:g} s", step="communicate") from None
        return talk.output()

    def close(self) -> None:
        """Close the files of this handle. The process goes on, and is reaped when it has ended."""
        self.blocking.close()


async def _serve(pidfd: int, master: int, begin: Callable[[], None], *, keep_size: bool) -> None:
    """Serve a terminal in a thread of its own, until the process has ended or this is cancelled."""
    stop = os.eventfd(0, os.EFD_CLOEXEC)
    work = _start_thread(foreground.serve, pidfd, master, begin, keep_size=keep_size, stop=stop)
    try:
        await asyncio.shield(work)
    finally:
        os.eventfd_write(stop, 1)
        await _settle(work)
        os.close(stop)


async def _carry_on(talk: _process.Talk) -> None:
    """Write and read until all pipes of the conversation are closed."""
    loop = asyncio.get_running_loop()
    while waiting := talk.interest():
        ready: asyncio.Future[None] = loop.create_future()
        for fd, writing in waiting:
            (loop.add_writer if writing else loop.add_reader)(fd, _succeed, ready, None)
        try:
            await ready
        finally:
            for fd, writing in waiting:
                (loop.remove_writer if writing else loop.remove_reader)(fd)
        talk.step(0)


async def _await_exit(pidfd: int, timeout: float | None, what: str) -> None:
    # Descriptors of our own: the loop knows one callback for each, and several tasks may wait.
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    own, watch = os.dup(pidfd), os.dup(reaping.watch())
    loop.add_reader(own, _succeed, ended, None)
    # The first process of a container waits for the tenants to be reaped.
    loop.add_reader(watch, reaping.reap_ended)
    try:
        await asyncio.wait_for(ended, timeout)
    except TimeoutError:
        raise Timeout(f"{what} did not end within {timeout:g} s", step="wait") from None
    finally:
        for fd in (own, watch):
            loop.remove_reader(fd)
            os.close(fd)
