"""The systemd cgroup driver: cgroups as transient units (systemd.scope(5), systemd.slice(5))."""
