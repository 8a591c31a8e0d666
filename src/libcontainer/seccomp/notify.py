"""The agent that answers SCMP_ACT_NOTIFY: config-linux.md "Seccomp", "The Container Process State".

The listener of the filter is made in init when Exec loads it, and its number alone is of no use outside: a thread of
init that is not under the filter sends it to the runtime, which sends it on with the state, before execve(2) is called.
So every system call of the payload, its execve among them, can be notified, and none of init's is. The connection is
made before the filter is loaded and closed after the one message.

An agent that is absent, does not accept, does not read or does not let the payload be executed fails the start with an
error, after 10 seconds at most. Later the payload's calls wait for it; when it ends, the kernel answers them with
ENOSYS (seccomp_unotify(2)).
"""

from __future__ import annotations

import os

from libcontainer import handover
from libcontainer.channel import CONTINUE, DESCRIPTOR, SYNC
from libcontainer.errors import Error, Timeout
from libcontainer.strictjson import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.channel import Channel, Report

WHAT = "the seccomp agent's socket"
POINTER = "/linux/seccomp/listenerPath"
EXECUTED_S = 10.0  # how long the agent may think about the payload's execve


def check_listener(path: str) -> None:
    """Raise InvalidArgument where there is no socket at listenerPath: `create` tells, and not only `start`."""
    try:
        os.close(handover.open_socket(path, WHAT))
    except Error as error:
        raise _placed(error) from None


class Agent:
    """The agent of one payload, until it has got the listener: init says when, by its reports."""

    def __init__(self, seccomp: dict[str, Any], state: dict[str, Any], pid: int) -> None:
        """Take the seccomp object, the container's state (runtime.md "State") and the process that is filtered."""
        self._path: str = seccomp["listenerPath"]
        self._message = dumps(
            {
                "ociVersion": state["ociVersion"],
                "fds": ["seccompFd"],
                "pid": pid,
                **({"metadata": seccomp["listenerMetadata"]} if seccomp.get("listenerMetadata") else {}),
                "state": state,
            }
        )
        self._fd = -1

    def serve(self, report: Report, channel: Channel) -> None:
        """Connect where the report is a SYNC, send the listener where it is a DESCRIPTOR, and let init go on.

        After that the payload's execve is left, which the agent may be asked about. Raises Timeout where it does not
        answer, and what `handover` raises.
        """
        try:
            if report.kind == SYNC:
                self._fd = handover.connect(self._path, WHAT)
            else:
                self._send(report.fd)
        except Error as error:
            raise _placed(error) from None
        try:
            channel.send(CONTINUE)
        except ConnectionError:
            pass  # init has ended, as the end of the channel will tell
        if report.kind == DESCRIPTOR:
            self._await_execution(channel)

    def _send(self, listener: int) -> None:
        try:
            handover.send(self._fd, self._message.encode(), listener, WHAT)
        finally:
            os.close(listener)
            self.close()

    def close(self) -> None:
        """Close the connection to the agent; closing twice is fine."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _await_execution(self, channel: Channel) -> None:
        if not channel.answers_within(EXECUTED_S):
            raise Timeout(
                f"the seccomp agent at {self._path} has not answered the payload's execve for {EXECUTED_S:g} s",
                step="start",
                pointer=POINTER,
                path=self._path,
                remedy="let the agent answer execve at once, or do not notify it",
            )


def _placed(error: Error) -> Error:
    error.pointer = POINTER
    return error
