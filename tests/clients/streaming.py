"""The other half of `kubectl exec` and `kubectl attach`: the streams, over a web socket to the CRI plugin.

The plugin serves them on the loopback of the private host, so this module is also a program that runs there: it takes
the URL that a call returned, what to send on standard input, and prints what came as one JSON text.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .privatehost import PrivateHost

# The first byte of each message: Kubernetes, "v4.channel.k8s.io".
STDIN, STDOUT, STDERR, STATUS, RESIZE = range(5)
PROTOCOL = "v4.channel.k8s.io"
TREE = Path(__file__).parents[2]
DEADLINE_S = 60


class Streamed:
    """What came over the streams of one process, and how it ended."""

    def __init__(self, told: dict[str, str]) -> None:
        self.stdout = told.get(str(STDOUT), "")
        self.stderr = told.get(str(STDERR), "")
        self.status: dict[str, Any] = json.loads(told[str(STATUS)]) if str(STATUS) in told else {}

    @property
    def exit_code(self) -> int | None:
        """The process's exit code, as kubectl takes it from the status; None where it tells none."""
        if self.status.get("status") == "Success":
            return 0
        causes = self.status.get("details", {}).get("causes", [])
        return next((int(cause["message"]) for cause in causes if cause["reason"] == "ExitCode"), None)


def converse(host: PrivateHost, url: str, stdin: str = "", size: tuple[int, int] | None = None) -> Streamed:
    """Open the streams at `url`, send `size` (columns, rows) and `stdin`, and return what comes until the end."""
    words = (sys.executable, "-m", "tests.clients.streaming", url, json.dumps([stdin, size]))
    return Streamed(json.loads(host.run(*words, cwd=TREE).stdout))


def main(url: str, request: str) -> None:
    """Do it, in the private host."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol

    stdin, size = json.loads(request)
    came: dict[int, bytes] = defaultdict(bytes)
    address = url.replace("http://", "ws://", 1)
    with connect(
        address, subprotocols=[Subprotocol(PROTOCOL)], open_timeout=DEADLINE_S, proxy=None
    ) as socket:
        if size:
            socket.send(bytes([RESIZE]) + json.dumps({"Width": size[0], "Height": size[1]}).encode())
        if stdin:
            socket.send(bytes([STDIN]) + stdin.encode())
        try:
            while message := socket.recv(DEADLINE_S, decode=False):
                came[message[0]] += message[1:]
        except ConnectionClosed:
            pass
    print(json.dumps({channel: data.decode() for channel, data in came.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
