"""A daemon on the private host: started, waited for, and ended with what it started."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .privatehost import PrivateHost


class Daemon:
    """A program that runs until `stop`. Its output goes to the file `log`."""

    def __init__(self, host: PrivateHost, log: Path, *words: str) -> None:
        self.host = host
        self.log = log
        with log.open("w") as file:
            self._process = host.start(*words, stdout=file, stderr=subprocess.STDOUT)

    @property
    def pid(self) -> int:
        """The daemon's number."""
        return self._process.pid

    def wait_until_answered(self, *words: str, seconds: float = 60.0) -> None:
        """Wait until a command that asks the daemon succeeds."""
        deadline = time.monotonic() + seconds
        while self.host.run(*words, check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{words[0]} gets no answer; the daemon said:\n{self.log.read_text()}")
            time.sleep(0.1)

    def tell(self, number: int) -> None:
        """Send the daemon a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """End the daemon."""
        self._process.terminate()
        self._process.wait(60)


def containers_in(root: Path) -> list[str]:
    """Return the containers that a runtime keeps in a directory; what begins with a dot is no container."""
    found = sorted(entry.name for entry in root.iterdir()) if root.is_dir() else []
    return [name for name in found if not name.startswith(".")]
