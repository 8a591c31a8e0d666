"""Run a command under limits, without any container, and tell what it used.

    python examples/limit_process/limit.py --memory 64M --pids 16 --cpus 0.5 -- make -j8

Needs root, or a cgroup that was delegated to the user. Exits as the command does; 137 is an end by SIGKILL.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import libcgroups

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
PERIOD_US = 100_000


def main() -> int:
    """Run the command and print its usage on standard error."""
    options = parse()
    manager = libcgroups.new(None, container_id=f"limit-{os.getpid()}")
    try:
        manager.check(resources(options))  # what cannot be had is an error before anything is made
        manager.create()
        manager.apply(resources(options))
        status = run(manager, options.command)
        print(report(manager.stats()), file=sys.stderr)
    except libcgroups.Error as error:
        print(f"limit: {error}", file=sys.stderr)
        return 125
    finally:
        if manager.exists():
            manager.kill_all()
            manager.remove()
    return status


def parse() -> argparse.Namespace:
    """Return the limits and the command."""
    parser = argparse.ArgumentParser(description="run a command under limits")
    parser.add_argument("--memory", type=size, metavar="BYTES", help="for example 64M; swap is not used")
    parser.add_argument("--pids", type=int, metavar="COUNT", help="processes and threads at once")
    parser.add_argument("--cpus", type=float, metavar="COUNT", help="for example 0.5")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    return parser.parse_args()


def size(text: str) -> int:
    """Return a number of bytes, with K, M or G after it or not."""
    unit = UNITS.get(text[-1:].upper())
    return int(text[:-1]) * unit if unit else int(text)


def resources(options: argparse.Namespace) -> dict[str, Any]:
    """Return the limits in the form of the OCI specification, `linux.resources`."""
    found: dict[str, Any] = {}
    if options.memory:
        found["memory"] = {"limit": options.memory, "swap": options.memory}
    if options.pids:
        found["pids"] = {"limit": options.pids}
    if options.cpus:
        found["cpu"] = {"quota": int(options.cpus * PERIOD_US), "period": PERIOD_US}
    return found


def run(manager: libcgroups.Manager, command: list[str]) -> int:
    """Run `command` in the cgroup from its first instruction on, and return its exit code."""
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        os.read(ready, 1)  # until we are in the cgroup; the end of the pipe means that we never shall be
        try:
            os.execvp(command[0], command)
        except OSError as error:
            print(f"limit: {command[0]}: {error.strerror}", file=sys.stderr)
        os._exit(127)
    os.close(ready)
    try:
        manager.add_process(pid)
        os.write(go, b"x")
    finally:
        os.close(go)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - code if code < 0 else code


def report(stats: libcgroups.Stats) -> str:
    """Return one line about what was used; what this host does not measure is left out."""
    facts = [
        ("CPU time", stats.cpu.usage_ns, 1_000_000, " ms"),
        ("throttled", stats.cpu.throttled_ns, 1_000_000, " ms"),
        ("most memory", stats.memory.peak_bytes, 1 << 20, " MiB"),
        ("killed for want of memory", stats.memory.oom_kills, 1, ""),
        ("forks refused", stats.pids.failures, 1, ""),
    ]
    return ", ".join(
        f"{name}: {value // scale}{unit}" for name, value, scale, unit in facts if value is not None
    )


if __name__ == "__main__":
    sys.exit(main())
