"""Looking at containers: logs, top, stats, health checks, events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .engine import eventually

if TYPE_CHECKING:
    from .podman import Podman


def test_logs(podman: Podman, observed: list[Any]) -> None:
    """Each stream is kept."""
    container = podman.detached("sh", "-c", "echo out; echo err >&2")
    podman("wait", container)
    done = podman("logs", container)
    observed.append((done.stdout, done.stderr))
    assert observed == [("out\n", "err\n")]


def test_logs_of_a_terminal(podman: Podman) -> None:
    """What is written to a terminal is kept, too."""
    container = podman.detached("echo", "line", options=("-t",))
    podman("wait", container)
    assert podman("logs", container).stdout == "line\n"


def test_top(podman: Podman, observed: list[Any]) -> None:
    """`top` lists the processes of the container."""
    container = podman.detached("sh", "-c", "sleep 1000 & exec sleep 2000")
    eventually(lambda: len(podman("top", container, "args").lines) == 3)
    observed.append(sorted(podman("top", container, "user", "args").lines))
    assert [line.split() for line in observed[0]] == [
        ["USER", "COMMAND"],
        ["root", "sleep", "1000"],
        ["root", "sleep", "2000"],
    ]


def test_stats(rootful: Podman) -> None:
    """`stats` reads the container's cgroup."""
    container = rootful.detached("sh", "-c", "while :; do :; done", options=("--memory", "64m"))
    (stats,) = rootful.json("stats", "--no-stream", "--format", "json", container)
    assert stats["id"] == container[:12]
    assert stats["pids"] == "1"
    assert stats["mem_usage"].endswith("/ 67.11MB")
    assert stats["mem_usage"] != "0B / 67.11MB"


def test_health_check(podman: Podman, observed: list[Any]) -> None:
    """A health check is executed in the container, and its exit code tells the health."""
    options = ("--health-cmd", "test -e /tmp/well", "--health-interval", "disable", "--health-retries", "1")
    container = podman.detached(options=options)
    observed.append(podman("healthcheck", "run", container, check=False).code)
    observed.append(podman.inspect(container, ".State.Healthcheck.Status"))
    podman("cp", "/etc/hostname", f"{container}:/tmp/well")
    observed.append(podman("healthcheck", "run", container, check=False).code)
    observed.append(podman.inspect(container, ".State.Healthcheck.Status"))
    assert observed == [1, "unhealthy", 0, "healthy"]


def test_events(podman: Podman, observed: list[Any]) -> None:
    """podman sees the same events, in the same order."""
    container = podman.detached("sh", "-c", "exit 3")
    podman("wait", container)
    podman("rm", container)
    events = podman(
        "events", "--stream=false", "--filter", f"container={container}", "--format", "{{.Status}}"
    )
    observed.append(events.lines)
    assert {"create", "start", "died", "remove"} <= set(events.lines)
