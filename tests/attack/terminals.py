"""A console socket that a test serves (console.py tells the protocol)."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from libcontainer import Container

from ..integration.conftest import Bundle

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def console(bundle: Bundle, *args: str) -> Iterator[tuple[Container, int]]:
    """Create the container with a terminal; yield it and the terminal's master."""
    bundle.process["terminal"] = True
    bundle.process["args"] = list(args)
    bundle.save()
    path = Path(f"/tmp/{bundle.id[-60:]}.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.settimeout(20)
    try:
        with bundle.builder().with_console_socket(path).as_init(bundle.path).build() as container:
            with listener.accept()[0] as connection:
                fds = socket.recv_fds(connection, 4096, 1)[1]
            try:
                yield container, fds[0]
            finally:
                os.close(fds[0])
    finally:
        listener.close()
        path.unlink()
