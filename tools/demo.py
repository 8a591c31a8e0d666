"""A container's whole life, step by step, on this machine's own files: what `make demo` shows.

First a bundle whose root is the host's userland, read-only; then the example of youki's introduction,
/bin/hello in a root file system that holds nothing else. Nothing is downloaded, and nothing is left behind.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from libcontainer import Container, ContainerBuilder, Error
from libcontainer.bundle import create
from libcontainer.spec.defaults import rootless_spec

ROOT = Path(__file__).resolve().parents[1]
HELLO = ROOT / "build" / "hello"


def step(title: str, detail: object = "") -> None:
    """Print one step."""
    print(f"  {title:<8} {detail}", flush=True)


def life(container_id: str, bundle: Path, state: Path) -> int:
    """Take a container through create, state, start, wait and delete; return what its program ended with."""
    container = ContainerBuilder(container_id).with_root_path(state).as_init(bundle).build()
    step("create", f"process {container.pid} waits in its own namespaces")
    step("state", json.dumps({name: container.state()[name] for name in ("id", "status", "pid", "bundle")}))
    sys.stdout.flush()
    container.start()
    step("start", container.status)
    status = container.wait(timeout=60)
    step("wait", f"exit status {status.returncode}")
    container.delete()
    container.close()
    step("delete", f"{len(Container.list(state))} containers are left")
    return status.returncode if status.returncode is not None else 1


def host_bundle(directory: Path) -> Path:
    """Write a bundle that runs this machine's own programs."""
    script = (
        'echo "    I am process $$, user $(id -u), on $(uname -n); '
        "I see $(ls /proc | grep -c '^[0-9]') processes\""
    )
    return create(directory / "host", source="host", args=["sh", "-c", script], terminal=False)


def hello_bundle(directory: Path) -> Path:
    """Write the bundle of youki's introduction; for an unprivileged user with a user namespace."""
    bundle = directory / "hello"
    (bundle / "rootfs" / "bin").mkdir(parents=True)
    shutil.copy(HELLO, bundle / "rootfs" / "bin" / "hello")
    spec = json.loads((ROOT / "examples" / "hello" / "config.json").read_text())
    if os.geteuid() != 0:
        rootless = json.loads(json.dumps(rootless_spec(os.geteuid(), os.getegid())))
        rootless["process"] |= {"args": spec["process"]["args"], "terminal": False}
        spec = rootless
    (bundle / "config.json").write_text(json.dumps(spec, indent=2))
    return bundle


def main() -> int:
    """Run both containers."""
    with tempfile.TemporaryDirectory(prefix="libcontainer-demo-") as name:
        directory = Path(name)
        try:
            print("This machine's own userland, read-only:")
            first = life("demo-host", host_bundle(directory), directory / "state")
            print("One static program as the whole root file system:")
            second = life("demo-hello", hello_bundle(directory), directory / "state")
        except Error as error:
            print(f"demo: {error}", file=sys.stderr)
            return 1
    return first or second


if __name__ == "__main__":
    sys.exit(main())
