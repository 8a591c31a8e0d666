"""The v2 rdma controller: how many handles and objects of an RDMA device a cgroup may hold.

File: rdma.max (cgroup-v2.rst, "RDMA"). Spec: config-linux.md, `rdma`.
"""

from __future__ import annotations

from libcgroups import rdma

NAME = "rdma"
POINTERS = rdma.POINTERS
settings = rdma.settings
stats = rdma.stats
