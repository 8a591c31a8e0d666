"""cgroup v1: one hierarchy per controller (cgroup-v1/cgroups.rst), one module per controller."""
