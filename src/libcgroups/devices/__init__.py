"""Device rules on cgroup v2: a list of rules, compiled to an eBPF program, attached to the cgroup.

`rules` reads the OCI list, `program` compiles it (pure), `bpf` loads, attaches and replaces (bpf(2)).
cgroup v1 has a controller of its own for this: `libcgroups.v1.devices`.
"""
