"""Running containers for the tests of tenants: a first process that waits, and what a tenant of it finds."""

from __future__ import annotations

from contextlib import contextmanager
from subprocess import DEVNULL
from typing import TYPE_CHECKING, Any

from libcontainer import PIPE

from .conftest import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer import Container

    from .conftest import Bundle


@contextmanager
def running(bundle: Bundle, *args: str) -> Iterator[Container]:
    """Yield the bundle's container, started; its payload sleeps unless `args` say otherwise."""
    words = args or ("sleep", "1000")
    with bundle.build(*words, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as container:
        container.start()
        yield container


def ask(container: Container, *args: str, timeout: float = 30.0, **options: Any) -> Result:
    """Run a tenant to its end and return what it left."""
    with container.exec(args, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, **options) as process:
        stdout, stderr = process.communicate(timeout=timeout)
        assert stdout is not None
        assert stderr is not None
        return Result(process.wait(timeout), stdout, stderr)


def sh(container: Container, script: str, **options: Any) -> Result:
    """Run a shell script as a tenant."""
    return ask(container, "/bin/sh", "-c", script, **options)


def status_of(told: Result) -> dict[str, str]:
    """Return the fields of a /proc/PID/status that a tenant printed."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in told.lines)}
