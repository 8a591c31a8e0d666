"""The v2 cpuset controller: on which CPUs and memory nodes a cgroup may run.

Files: cpuset.cpus, cpuset.mems (cgroup-v2.rst, "Cpuset"). Spec: config-linux.md, `cpu.cpus`, `cpu.mems`.
"""

from __future__ import annotations

from libcgroups import cpulist

NAME = "cpuset"
POINTERS = cpulist.POINTERS
settings = cpulist.settings
