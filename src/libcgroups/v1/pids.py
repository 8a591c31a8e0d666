"""The v1 pids controller: how many tasks a cgroup may hold.

File: pids.max (cgroup-v1/pids.rst). Spec: config-linux.md, `pids.limit`: below 0 is no limit, and 0 is a
limit.
"""

from __future__ import annotations

from libcgroups import pids

NAME = "pids"
POINTERS = pids.POINTERS
settings = pids.settings
stats = pids.stats
