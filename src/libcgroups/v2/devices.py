"""`devices` on cgroup v2: which device nodes a cgroup may open and make, decided by an eBPF program.

There is no controller and no file for it (cgroup-v2.rst, "Device controller"): the rules become a program,
which is attached to the cgroup. Spec: config-linux.md, `devices`.
"""

from __future__ import annotations

from libcgroups.devices.program import compile_rules
from libcgroups.devices.rules import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcgroups.cgroup import Cgroup
    from libcgroups.resources import Resources

NAME = "devices"
PROGRAM = "BPF_CGROUP_DEVICE"  # stands among the settings for the program; is no file
POINTERS = {PROGRAM: "/devices"}


def settings(resources: Resources) -> list[tuple[str, str]]:
    """Return [(PROGRAM, the compiled rules in hexadecimal)]; empty without rules. Raises InvalidArgument.

    What no rule allows is denied.
    """
    rules = parse(resources)
    return [(PROGRAM, compile_rules(rules).hex())] if rules else []


def write(cgroup: Cgroup, settings: list[tuple[str, str]], _pointers: Mapping[str, str]) -> None:
    """Load the program and let it decide from now on. Raises NotPermitted, Unsupported, CgroupError."""
    from libcgroups.devices import bpf

    for _, program in settings:
        bpf.install(cgroup.directory, bytes.fromhex(program))
