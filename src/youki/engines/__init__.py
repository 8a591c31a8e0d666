"""The engines that call an OCI runtime: how each is told of youki, and whether it then works.

One module per engine, all of one shape: `PROGRAM`; `NEXT`, what to do after an installation; the pure functions
`edits(place, runtime, default=)` and `removal(place)`, which say what is to change in which file; `absence()`,
why it cannot be asked for a container; and `probe(runtime, directory, name)`, which has it make one. `RESTART` and
`RESTART_TO_FORGET`, where there are any, make it read the file. Not on the hot path.
"""

from __future__ import annotations

import os
from importlib import import_module

from libcontainer.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

NAMES = ("podman", "docker", "containerd")
PATIENCE_S = 60.0
PROOF = "this program is a part of libcontainer"


def load(name: str) -> ModuleType:
    """Return the module of an engine."""
    return import_module(f"youki.engines.{name}")


def call(*words: str, check: bool = True, stdin: Path | None = None) -> str:
    """Run a command of an engine and return what it wrote, to either stream. Raises Error with its last line."""
    import subprocess

    with open(stdin or os.devnull, "rb") as source:
        done = subprocess.run(
            words,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE_S,
            check=False,
        )
    said = done.stdout.decode(errors="replace").strip()
    if check and done.returncode != 0:
        raise Error(f"{' '.join(words[:2])} failed and said: {(said.splitlines() or ['(nothing)'])[-1]}")
    return said


def ran(said: str) -> None:
    """Check that the payload of a probe has run: init, by itself, says who may start it. Raises Error."""
    if PROOF not in said:
        raise Error((said.splitlines() or ["the container said nothing"])[-1])
