"""A process of a container in the foreground: served until its end. What `run` and `exec` do.

While it runs, the signals that this process gets are its (what is forwarded follows `runc run`), and its
terminal is connected to this process's own, which is raw meanwhile and restored on every way out: the end, an
error, an exception. The work on terminals is terminal.py's, that on signals forwarding.py's.

Python handles signals in the main thread only: in another one the process is served without forwarding.
Imported only for a process in the foreground.
"""

from __future__ import annotations

from libcontainer.forwarding import ForwardedSignals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer.container import Container


def serve(pidfd: int, master: int, start: Callable[[], None], *, keep_size: bool, stop: int = -1) -> None:
    """Call `start`, and serve the process of `pidfd` until it has ended. Raises what `start` raises.

    Signals are caught before the start: one that arrives early is forwarded, and does not end this process
    and leave another without anybody to serve it. `master` is that of its terminal, or -1; the window size is
    that of the caller's terminal, with `keep_size` only once that changes. When the descriptor `stop` becomes
    readable, the terminal is let go and the process goes on unserved.
    """
    if master >= 0:
        from libcontainer.terminal import proxy

        proxy(master, pidfd, start=start, keep_size=keep_size, stop=stop)
        return
    with ForwardedSignals(pidfd, required=False) as caught:
        start()
        if caught.fileno() >= 0:
            caught.wait()


def run(container: Container) -> None:
    """Start the container, unless it has been restored and runs, and serve it until it has ended."""
    serve(
        container._open_pidfd(), container._master, begin_of(container), keep_size=has_console_size(container)
    )


def begin_of(container: Container) -> Callable[[], None]:
    """Return what lets the container begin."""
    return nothing if container._restored else container.start


def has_console_size(container: Container) -> bool:
    """Tell whether the configuration sets the size of the container's terminal."""
    if container._master < 0:
        return False
    return bool((container._stored_spec().get("process") or {}).get("consoleSize"))


def nothing() -> None:
    """Start a process that runs already."""
