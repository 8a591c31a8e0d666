"""What the runtimes are given: one bundle for all of them, and the programs in it and beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OCI_VERSION = "1.0.2"  # the newest that every release of crun and runc accepts

LIMITS: dict[str, Any] = {  # none is in the way of /bin/true
    "cpu": {"shares": 512, "quota": 200_000, "period": 100_000},
    "memory": {"limit": 256 << 20, "swap": 256 << 20, "reservation": 128 << 20},
    "pids": {"limit": 64},
}


class Bundle:
    """A bundle with the default configuration and the payload /bin/true, static, in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "bundle"
        self.rootfs = self.path / "rootfs"
        self.floor = directory / "floor"
        # The mount points are there, as in any image: nobody's measurement includes making them.
        for name in ("bin", "dev", "proc", "sys", "etc", "tmp"):
            (self.rootfs / name).mkdir(parents=True)
        compile_static(HERE / "true.c", self.rootfs / "bin" / "true")
        compile_static(HERE / "pause.c", self.rootfs / "bin" / "pause")
        compile_static(HERE / "floor.c", self.floor)
        self.write(None)
        limited, waiting = configuration(), configuration()
        limited["linux"]["resources"].update(LIMITS)
        waiting["process"]["args"] = ["/bin/pause"]
        self.limited = self._beside("limited", limited)
        self.waiting = self._beside("waiting", waiting)

    def _beside(self, name: str, spec: dict[str, Any]) -> Path:
        """Write another configuration for the same root file system, in a bundle beside this one."""
        path = self.path.with_name(name)
        path.mkdir()
        spec["root"]["path"] = str(self.rootfs)
        (path / "config.json").write_text(json.dumps(spec))
        return path

    def write(self, memory_limit: int | None) -> None:
        """Write config.json, with a memory limit in bytes or without one."""
        spec = configuration()
        if memory_limit is not None:
            spec["linux"]["resources"]["memory"] = {"limit": memory_limit}
        (self.path / "config.json").write_text(json.dumps(spec))


def configuration() -> dict[str, Any]:
    """Return what `youki spec` writes, without a terminal and with /bin/true. It has no seccomp filter."""
    from libcontainer.spec.defaults import default_spec

    spec: dict[str, Any] = json.loads(json.dumps(default_spec()))
    spec["ociVersion"] = OCI_VERSION
    spec["process"]["terminal"] = False
    spec["process"]["args"] = ["/bin/true"]
    return spec


def compile_static(source: Path, target: Path) -> None:
    """Compile one C file into a static program. Raises SystemExit without a compiler."""
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        raise SystemExit("bench: no C compiler is installed (Debian: gcc); set CC")
    subprocess.run([*compiler.split(), "-std=gnu11", "-Os", "-static", "-o", target, source], check=True)
