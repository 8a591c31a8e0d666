"""`unified`: any file of cgroup v2 by its name, written after everything else.

Authority: cgroup-v2.rst. Spec: config-linux.md, `unified`: a map of file name → text.
"""

from __future__ import annotations

from libcgroups import resources as fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcgroups.resources import Resources

NAME = ""  # the files name their controllers
POINTERS: dict[str, str] = {}
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._")
# Where a process belongs and what happens to it is the manager's to decide, not a limit.
_NOT_LIMITS = frozenset(
    (
        "cgroup.procs",
        "cgroup.threads",
        "cgroup.kill",
        "cgroup.freeze",
        "cgroup.type",
        "cgroup.subtree_control",
    )
)


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return what to write, [(file, line)]: each line of a value is a write of its own, as io.max needs it.

    Raises InvalidArgument for what is not CONTROLLER.PARAMETER, or moves, kills or freezes processes.
    """
    unified = resources.get("unified") or {}
    if not isinstance(unified, dict):
        raise fields_of.invalid("/unified", unified, "an object")
    found = []
    for file, value in unified.items():
        pointer = f"/unified/{fields_of.escaped(file)}"
        controller, dot, parameter = str(file).partition(".")
        if not (controller and dot and parameter) or not set(file) <= _NAME_CHARACTERS or file in _NOT_LIMITS:
            raise fields_of.invalid(pointer, file, "the name of a limit, CONTROLLER.PARAMETER")
        if not isinstance(value, str) or "\0" in value:
            raise fields_of.invalid(pointer, value, "text")
        lines = [line for line in value.splitlines() if line]
        if not lines:
            raise fields_of.invalid(pointer, value, "a value to write")
        found += [(file, line) for line in lines]
    return found
