"""A container in the foreground: started, served until its end, its status returned. What `run` does.

While it runs, the signals that this process gets are the container's (what is forwarded follows `runc run`),
and a terminal of the container is connected to this process's own, which is raw meanwhile and restored on
every way out: the end, an error, an exception. The work on terminals and signals is terminal.py's.

Python handles signals in the main thread only: in another one the container is served without forwarding.
Imported only for a container in the foreground.
"""

from __future__ import annotations

from libcontainer.terminal import ForwardedSignals, proxy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.container import Container
    from libcontainer.exit_status import ExitStatus


def serve(container: Container) -> ExitStatus:
    """Start the container, serve it until its first process has ended, and return how that ended.

    Signals are caught before the start: one that arrives early is forwarded, and does not end this process
    and leave a container without anybody to serve it. Raises what `Container.start` raises.
    """
    pidfd = container._open_pidfd()
    if container._master >= 0:
        connect_terminal(container, pidfd)
    else:
        _forward_signals(container, pidfd)
    return container.wait()


def connect_terminal(container: Container, pidfd: int, stop: int = -1) -> None:
    """Start the container with its terminal on this process's own, until its first process has ended.

    The window size is that of the caller's terminal; a `consoleSize` counts until that changes. When the
    descriptor `stop` becomes readable, the terminal is let go and the container goes on unserved.
    """
    size = (container.spec().get("process") or {}).get("consoleSize")
    proxy(container._master, pidfd, start=container.start, keep_size=bool(size), stop=stop)


def _forward_signals(container: Container, pidfd: int) -> None:
    with ForwardedSignals(pidfd, required=False) as caught:
        container.start()
        if caught.fileno() >= 0:
            caught.wait()
