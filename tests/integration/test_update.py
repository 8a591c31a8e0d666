"""Container.update and `youki update`: limits that change while the container runs, by their effect."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcgroups import detect
from libcontainer import PIPE, CgroupError, Container, Error, InvalidConfig, Unsupported

from .groups import HOARD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Bundle

MIB = 1 << 20
V2 = detect().mode == "v2"
LIMIT, SWAP, PIDS = (
    ("memory.max", "memory.swap.max", "pids.max")
    if V2
    else ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "pids.max")
)


def value(container: Container, controller: str, file: str) -> str:
    """The text of a file of the container's cgroup."""
    paths = container._manager().paths
    return Path(paths.get(controller, paths.get("", "")), file).read_text().strip()


def saved(container: Container) -> dict[str, Any]:
    """The resources that state.json keeps for the next update."""
    record = json.loads(Path(container.root, container.id, "state.json").read_text())
    resources: dict[str, Any] = record.get("resources", {})
    return resources


@contextmanager
def running(bundle: Bundle, script: str = "sleep 1000", **resources: Any) -> Iterator[Container]:
    """A running container with these limits."""
    bundle.linux["resources"] = resources
    with bundle.build("sh", "-c", script) as container:
        container.start()
        yield container


@contextmanager
def shell(bundle: Bundle, **resources: Any) -> Iterator[tuple[Container, Any]]:
    """A running container and a function that runs a line in its one shell and returns what that prints."""
    bundle.linux["resources"] = resources
    with bundle.build("sh", stdin=PIPE, stdout=PIPE, stderr=PIPE) as container:
        container.start()

        def ask(line: str) -> str:
            assert container.stdin
            assert container.stdout
            container.stdin.write(f"{line}\necho; echo =end\n".encode())
            text = b""
            while not text.endswith(b"=end\n"):
                chunk = os.read(container.stdout.fileno(), 1 << 16)
                assert chunk, text
                text += chunk
            return text.decode().removesuffix("\n=end\n").strip()

        yield container, ask


def test_a_lower_pids_limit_stops_the_next_fork(bundle: Bundle) -> None:
    """And a higher one lets it fork again; nothing was restarted."""
    with shell(bundle) as (container, ask):
        # A shell ends when it cannot fork; here the one in parentheses, which counts too.
        forks = "(sleep 0; echo forked) 2>/dev/null"
        assert ask(forks) == "forked"
        container.update({"pids": {"limit": 2}})
        assert ask(forks) == ""
        container.update({"pids": {"limit": 3}})
        assert ask(forks) == "forked"


def test_a_cpu_quota_slows_a_busy_loop_down(bundle: Bundle) -> None:
    """The kernel counts how often it had to stop it; without a quota it never does."""
    with running(bundle, "while :; do :; done") as container:
        container.update({"cpu": {"quota": 10000, "period": 100000}})
        deadline = time.monotonic() + 30
        while "nr_throttled 0" in value(container, "cpu", "cpu.stat").splitlines():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        before = cpu_ticks(container)
        started = time.monotonic()
        time.sleep(1)
        used = (cpu_ticks(container) - before) / os.sysconf("SC_CLK_TCK")
        assert used <= 0.1 * (time.monotonic() - started) + 0.1


def cpu_ticks(container: Container) -> int:
    """The CPU time that its first process has used, in clock ticks."""
    fields = Path(f"/proc/{container.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_memory_limit_ends_what_grows_above_it(bundle: Bundle) -> None:
    """The limit is set while the container runs, and the next big allocation is its last."""
    with shell(bundle) as (container, ask):
        assert ask(HOARD) == str(64 * MIB)
        container.update({"memory": {"limit": 32 * MIB, "swap": 32 * MIB}})
        assert ask(HOARD) != str(64 * MIB)
        container.update({"memory": {"limit": -1}})
        assert ask(HOARD) == str(64 * MIB)


def test_what_is_not_named_stays_and_is_known_next_time(bundle: Bundle) -> None:
    """Also in another process, and by the commands."""
    with running(bundle, memory={"limit": 64 * MIB}, cpu={"shares": 512}) as container:
        container.update({"pids": {"limit": 50}})
        bundle.youki("update", "--cpu-period", "50000", "--cpu-quota", "20000", bundle.id)
        bundle.youki("update", "--cpu-quota=30000", bundle.id)

        assert value(container, "memory", LIMIT) == str(64 * MIB)
        assert value(container, "pids", PIDS) == "50"
        if V2:
            assert value(container, "cpu", "cpu.max") == "30000 50000"
        else:
            assert value(container, "cpu", "cpu.cfs_quota_us") == "30000"
            assert value(container, "cpu", "cpu.cfs_period_us") == "50000"
            assert value(container, "cpu", "cpu.shares") == "512"
        found = saved(container)
        assert (found["memory"]["limit"], found["pids"]) == (64 * MIB, {"limit": 50})
        assert found["cpu"] == {"shares": 512, "period": 50000, "quota": 30000}


def test_a_paused_and_a_created_container_can_be_updated(bundle: Bundle) -> None:
    """Both hold their cgroup."""
    with bundle.build("sleep", "1000") as container:
        container.update({"pids": {"limit": 40}})
        container.start()
        container.pause()
        container.update({"pids": {"limit": 30}})
        assert value(container, "pids", PIDS) == "30"
        assert container.status == "paused"


def test_the_same_resources_again_and_again_are_accepted(bundle: Bundle) -> None:
    """containerd sends all it knows with each update, in use as the memory may be."""
    everything = {
        "cpu": {"shares": 512, "quota": 200000, "period": 100000, "cpus": "0", "mems": "0"},
        "memory": {"limit": 64 * MIB, "swap": 64 * MIB, "reservation": 32 * MIB},
        "pids": {"limit": 100},
    }
    with shell(bundle) as (container, ask):
        for _ in range(3):
            container.update(everything)
            ask("head -c 60000000 /dev/zero | tail -c 60000000 >/dev/null")
            ask("dd if=/dev/zero of=/tmp/cache bs=1M count=60 2>/dev/null; rm /tmp/cache")
        # The page cache is given back for a lower limit; raising both and lowering both need different orders.
        for size in (32, 16, 128, 48):
            container.update({"memory": {"limit": size * MIB, "swap": size * MIB}})
            assert value(container, "memory", LIMIT) == str(size * MIB)


def test_without_a_memory_limit_there_is_none_of_swap(bundle: Bundle) -> None:
    """As runc: -1 for memory means -1 for both, unless swap is named."""
    with running(bundle, memory={"limit": 64 * MIB, "swap": 64 * MIB}) as container:
        bundle.youki("update", "--memory", "-1", bundle.id)
        assert saved(container)["memory"]["swap"] == -1
        assert value(container, "memory", LIMIT) in ("max", str((1 << 63) - 4096))
        assert container.without_cgroup is None


def test_device_rules_are_not_touched(bundle: Bundle) -> None:
    """Somebody else (a GPU plugin) may have opened one; the caller is told, the rest is done."""
    with running(bundle) as container:
        container.update({"devices": [{"allow": True, "access": "rwm"}], "pids": {"limit": 20}})
        assert container.warnings == ("device rules are not changed by an update",)
        assert value(container, "pids", PIDS) == "20"
        if not V2:
            assert "a *:* rwm" not in value(container, "devices", "devices.list")


def test_a_value_that_the_kernel_refuses_leaves_everything_as_it_was(bundle: Bundle) -> None:
    """The first writes have been made by then; they are taken back, and nothing is saved."""
    with running(bundle, pids={"limit": 60}, cpu={"shares": 512}) as container:
        before = {name: value(container, "cpu", name) for name in ("cpu.weight" if V2 else "cpu.shares",)}
        limit = value(container, "memory", LIMIT)
        with pytest.raises(CgroupError) as caught:
            container.update(
                {"cpu": {"shares": 256, "cpus": "4095"}, "memory": {"limit": 64 * MIB}, "pids": {"limit": 7}}
            )
        assert caught.value.pointer == "/cpu/cpus"
        # Without the check cgroup v2 would take the limit, and end the container by it.
        memory = {"limit": 4096, "checkBeforeUpdate": True}
        with pytest.raises(CgroupError) as caught:
            container.update({"cpu": {"shares": 128}, "memory": memory, "pids": {"limit": 7}})
        assert caught.value.pointer == "/memory/limit"

        assert {name: value(container, "cpu", name) for name in before} == before
        assert value(container, "memory", LIMIT) == limit
        assert value(container, "pids", PIDS) == "60"
        assert saved(container) == {}


WRONG = [
    ({"pids": {"limit": "many"}}, ["/pids/limit"]),
    ({"pids": {"limit": 1.5}}, ["/pids/limit"]),
    ({"pids": []}, ["/pids"]),
    ({"pids": {}}, ["/pids/limit"]),
    ({"cpu": {"shares": -1, "quota": True}}, ["/cpu/shares", "/cpu/quota"]),
    ({"cpu": {"idle": 2}}, ["/cpu/idle"]),
    ({"cpu": {"cpus": 3}}, ["/cpu/cpus"]),
    ({"memory": {"limit": 1 << 64}}, ["/memory/limit"]),
    ({"memory": {"limit": 2 * MIB, "swap": MIB}}, ["/memory/swap"]),
    ({"memory": {"swap": MIB}}, ["/memory/swap"]),
    ({"blockIO": {"weight": 9, "throttleReadBpsDevice": [{}]}}, ["/blockIO/weight"]),
    ({"hugepageLimits": [{"pageSize": "3MB", "limit": 0}]}, ["/hugepageLimits/0/pageSize"]),
    ({"unified": {"../x": "1"}}, ["/unified"]),
]


@pytest.mark.parametrize(("resources", "pointers"), WRONG, ids=[",".join(pointers) for _, pointers in WRONG])
def test_a_wrong_value_is_one_error_with_every_place(
    bundle: Bundle, resources: dict[str, Any], pointers: list[str]
) -> None:
    """Before anything is changed; the same from the library and, as JSON, from the command."""
    with running(bundle, memory={"limit": 64 * MIB}) as container:
        with pytest.raises(InvalidConfig) as caught:
            container.update(resources)
        found = [problem.pointer for problem in caught.value.problems]
        assert [pointer for pointer in pointers if not any(pointer in place for place in found)] == []

        file = bundle.path / "resources.json"
        file.write_text(json.dumps(resources))
        result = bundle.youki("update", "-r", str(file), bundle.id, check=False)
        assert result.returncode == 1
        assert str(caught.value) in result.stderr
        assert saved(container) == {}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--memory", "12x"), "option --memory is '12x', expected a size"),
        (("--memory", "-2"), "expected a size"),
        (("--memory", ""), "expected a size"),
        (("--memory-swap", "1e3"), "expected a size"),
        (("--cpu-share", "many"), "expected a whole number"),
        (("--cpu-quota", "99999999999999999999"), "expected a whole number"),
        (("--cpu-idle", "2"), "/cpu/idle"),
        (("--cpu-idle", "-1"), "/cpu/idle"),
        (("--cpuset-cpus", "0-"), "/cpu/cpus"),
        (("--blkio-weight", "5"), "/blockIO/weight"),
        (("--cpu-period", "1"), "/cpu/period"),
        (("--pids-limit", "-5"), "/pids/limit"),
        (("--l3-cache-schema", "L3:0=f"), "no resctrl file system"),
        (("-r", "/no/such/file"), "/no/such/file"),
        (("-r", "-"), "standard input"),
        (("--pids-limt", "5"), "did you mean --pids-limit"),
    ],
)
def test_a_wrong_option_is_one_clear_error(bundle: Bundle, words: tuple[str, ...], error: str) -> None:
    """The option or the place that was wrong is named, and nothing is changed."""
    with running(bundle, pids={"limit": 60}) as container:
        result = bundle.youki("update", *words, bundle.id, check=False)

        assert result.returncode == 1
        assert error in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert saved(container) == {}
        assert value(container, "pids", PIDS) == "60"


def test_every_option_sets_its_limit(bundle: Bundle) -> None:
    """Sizes have units; each option ends up in the field that runc's ends up in."""
    with running(bundle) as container:
        words = "--cpu-period 50000 --cpu-quota 25000 --cpu-burst 1000 --cpu-share 256 --cpuset-cpus 0"
        words += (
            " --cpuset-mems 0 --memory 64m --memory-reservation 32MiB --memory-swap 0.125g --pids-limit 77"
        )
        result = bundle.youki("update", *words.split(), "--kernel-memory", "1m", bundle.id)
        assert "kernel memory are ignored" in result.stderr
        memory = {"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 128 * MIB, "checkBeforeUpdate": False}
        cpu = {"period": 50000, "quota": 25000, "burst": 1000, "shares": 256, "cpus": "0", "mems": "0"}
        assert saved(container) == {"cpu": cpu, "memory": memory, "pids": {"limit": 77}}
        bundle.youki("update", "--cpu-idle", "1", bundle.id)
        assert value(container, "cpu", "cpu.idle") == "1"
        bundle.youki("update", "--cpu-idle", "0", bundle.id)
        assert value(container, "cpu", "cpu.weight" if V2 else "cpu.shares") in ("256", "35")


def test_resources_are_read_from_standard_input(bundle: Bundle) -> None:
    """As containerd and go-runc pass them; other options are told to be without effect."""
    with running(bundle) as container:
        source = bundle.path / "resources.json"
        source.write_text('{"pids": {"limit": 33}, "cpu": null, "memory": {"limit": null}}')
        with source.open() as stdin:
            result = bundle.youki("update", "--resources", "-", "--pids-limit", "5", bundle.id, stdin=stdin)
        assert "--pids-limit is ignored" in result.stderr
        assert value(container, "pids", PIDS) == "33"
        assert saved(container) == {"pids": {"limit": 33}}


def test_resources_may_come_through_a_fifo(bundle: Bundle) -> None:
    """As `--resources <(jq …)` gives them; runc reads it, too."""
    fifo = bundle.path / "fifo"
    os.mkfifo(fifo)
    script = f"""echo '{{"pids": {{"limit": 44}}}}' > {fifo}"""
    with running(bundle) as container, subprocess.Popen(["sh", "-c", script]):
        bundle.youki("update", "--resources", str(fifo), bundle.id)
        assert value(container, "pids", PIDS) == "44"


def test_memory_in_use_is_looked_at_before_a_limit_that_asks_for_it(bundle: Bundle) -> None:
    """checkBeforeUpdate: refuse rather than have the kernel end processes."""
    with running(bundle) as container:
        with pytest.raises(CgroupError, match="rejecting memory limit 4096"):
            container.update({"memory": {"limit": 4096, "checkBeforeUpdate": True}})
        container.update({"memory": {"limit": 64 * MIB, "checkBeforeUpdate": True}})
        assert saved(container)["memory"]["limit"] == 64 * MIB


def test_intel_rdt_is_not_promised(bundle: Bundle) -> None:
    """Asked for and impossible is an error, and the other limits are not changed either."""
    with running(bundle) as container:
        with pytest.raises(Unsupported):
            container.update({"pids": {"limit": 5}}, l3_cache_schema="L3:0=f")
        assert saved(container) == {}


def test_unknown_limits_are_refused(bundle: Bundle) -> None:
    """A misspelt limit is no limit."""
    with running(bundle) as container:
        with pytest.raises(CgroupError, match="'memroy' is not known"):
            container.update({"memroy": {"limit": 5}})
        with pytest.raises(CgroupError, match="limt"):
            container.update({"memory": {"limt": 5}})
        assert saved(container) == {}


def test_change_by_another_program_counts_for_the_next(bundle: Bundle) -> None:
    """The record is what is on disk now, also for the program that made the container and knows what it was then."""
    with running(bundle) as container:
        Container.load(container.root, container.id).update({"pids": {"limit": 77}})
        container.update({"cpu": {"shares": 512}})

        assert saved(container) == {"cpu": {"shares": 512}, "pids": {"limit": 77}}
        assert value(container, "pids", PIDS) == "77"


def test_change_that_cannot_be_recorded_is_no_change(bundle: Bundle) -> None:
    """Neither now nor by the next one, which begins with what is recorded."""
    with running(bundle, pids={"limit": 70}) as container:
        container.update({"cpu": {"shares": 300}})
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # no file has room for a byte
        try:
            with pytest.raises(Error, match=r"cannot update .*File too large") as caught:
                container.update({"pids": {"limit": 60}})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert caught.value.errno == errno.EFBIG
        assert value(container, "pids", PIDS) == "70"

        container.update({"cpu": {"shares": 512}})
        assert saved(container) == {"cpu": {"shares": 512}, "pids": {"limit": 70}}
