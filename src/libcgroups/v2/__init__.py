"""cgroup v2: one unified hierarchy (cgroup-v2.rst), one module per controller."""
