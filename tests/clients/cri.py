"""The kubelet's side of the Container Runtime Interface, for containerd's CRI plugin.

gRPC's threads stay out of the tests' process: this module is also a program that reads calls, one JSON text a
line, and writes the answers. `cri.proto` is the part of the interface that it speaks.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import containerd, images, streaming

if TYPE_CHECKING:
    from .privatehost import PrivateHost

PROTO = "tests/clients/cri.proto"
TREE = Path(__file__).parents[2]


class CriError(Exception):
    """A call failed; the message is what the plugin said."""


class Cri:
    """Call the plugin: `cri("StopContainer", container_id=…, timeout=1)`. Messages are as in the interface's JSON."""

    def __init__(self, host: PrivateHost) -> None:
        self.host = host
        socket = host.path(containerd.SOCKET)
        self._program = subprocess.Popen(
            [sys.executable, "-m", "tests.clients.cri", f"unix://{socket}"],
            cwd=TREE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, method: str, **request: Any) -> dict[str, Any]:
        """Make a call and return the answer. Raises CriError."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        print(json.dumps([method, request]), file=self._program.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._program.stdout.readline())
        if "error" in answer:
            raise CriError(answer["error"])
        return answer

    def close(self) -> None:
        """End the program."""
        self._program.communicate()  # closes its input


class Pod:
    """A pod on the host's network, with a runtime class. `runtime` is the class: containerd's name for a runtime."""

    _numbers = itertools.count(1)

    def __init__(self, cri: Cri, runtime: str) -> None:
        self.cri = cri
        self.host = cri.host
        name = f"pod{next(self._numbers)}"
        self.logs = self.host.make_directory(name)
        self.config = {
            "metadata": {"name": name, "uid": name, "namespace": "default"},
            "log_directory": str(self.logs),
            "linux": {"security_context": {"namespace_options": {"network": "NODE"}}},
        }
        answer = cri("RunPodSandbox", config=self.config, runtime_handler=runtime)
        self.id: str = answer["pod_sandbox_id"]

    def create(self, *command: str, linux: dict[str, Any] | None = None, **config: Any) -> str:
        """Create a container and return its id. It has the pod's network, and a pid namespace of its own."""
        name = f"box{next(self._numbers)}"
        context = {"namespace_options": {"network": "NODE", "pid": "CONTAINER"}}
        linux = {**(linux or {})}
        linux["security_context"] = {**context, **linux.get("security_context", {})}
        container = {
            "metadata": {"name": name},
            "image": {"image": images.NAME},
            "command": list(command),
            "log_path": f"{name}.log",
            "linux": linux,
            **config,
        }
        answer = self.cri(
            "CreateContainer", pod_sandbox_id=self.id, config=container, sandbox_config=self.config
        )
        container_id: str = answer["container_id"]
        self._log_of = {**getattr(self, "_log_of", {}), container_id: self.logs / f"{name}.log"}
        return container_id

    def start(self, *command: str, linux: dict[str, Any] | None = None, **config: Any) -> str:
        """Create a container, start it, and return its id; `sleep` unless told otherwise."""
        container = self.create(*(command or ("sleep", "1000")), linux=linux, **config)
        self.cri("StartContainer", container_id=container)
        return container

    def status(self, container: str) -> dict[str, Any]:
        """Return a container's status."""
        status: dict[str, Any] = self.cri("ContainerStatus", container_id=container)["status"]
        return status

    def exec(self, container: str, *command: str, timeout: int = 0) -> dict[str, Any]:
        """Run a process in a container to its end: exit_code, stdout and stderr."""
        return self.cri("ExecSync", container_id=container, cmd=list(command), timeout=timeout)

    def stream(
        self,
        container: str,
        *command: str,
        tty: bool = False,
        stdin: str = "",
        size: tuple[int, int] | None = None,
    ) -> streaming.Streamed:
        """Run a process in a container with its streams, as `kubectl exec` does; without one attach to its first."""
        call = {
            "container_id": container,
            "tty": tty,
            "stdin": bool(stdin),
            "stdout": True,
            "stderr": not tty,
        }
        url = self.cri("Exec", cmd=list(command), **call) if command else self.cri("Attach", **call)
        return streaming.converse(self.host, url["url"], stdin, size)

    def log(self, container: str) -> list[str]:
        """Return a container's output, each line with its stream, as in `stdout: hello`."""
        rows = [line.split(" ", 3) for line in self._log_of[container].read_text().splitlines()]
        return [f"{stream}: {text}" for _, stream, _, text in rows]

    def remove(self) -> None:
        """Stop the pod and remove it with its containers."""
        self.cri("StopPodSandbox", pod_sandbox_id=self.id)
        self.cri("RemovePodSandbox", pod_sandbox_id=self.id)


def main(address: str) -> None:
    """Answer the calls on standard input."""
    import grpc
    from google.protobuf.json_format import ParseDict

    messages, services = grpc.protos_and_services(PROTO)
    requests = _requests(messages)
    with grpc.insecure_channel(address) as channel:
        service = services.RuntimeServiceStub(channel)
        for line in sys.stdin:
            method, request = json.loads(line)
            try:
                answer = getattr(service, method)(ParseDict(request, requests[method]()))
            except grpc.RpcError as error:
                print(json.dumps({"error": error.details()}), flush=True)
            else:
                print(json.dumps(_as_data(answer)), flush=True)


def _requests(messages: Any) -> dict[str, Any]:
    """Return the class of each method's request."""
    methods = messages.DESCRIPTOR.services_by_name["RuntimeService"].methods
    return {method.name: getattr(messages, method.input_type.name) for method in methods}


def _as_data(message: Any) -> dict[str, Any]:
    """Return a message as plain data, bytes as text, and what is not set with its default."""
    from google.protobuf.json_format import MessageToDict

    data: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for field, value in message.ListFields():
        if field.type == field.TYPE_BYTES:
            data[field.name] = value.decode()
    return data


if __name__ == "__main__":
    main(sys.argv[1])
