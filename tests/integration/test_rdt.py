"""Classes of service of containers, on a file system that behaves as resctrl (resctrl.py says what it cannot show)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer import Container, ContainerBuilder, InvalidArgument, RdtError, Timeout, Unsupported, rdt
from libcontainer.host import Host

from .resctrl import CLASSES, Resctrl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Bundle

SCHEMATA = {"l3CacheSchema": "L3:0=f;1=ff", "memBwSchema": "MB:0=20;1=70"}


@pytest.fixture
def resctrl(bundle: Bundle, tmp_path: Path) -> Iterator[Resctrl]:
    if not os.access("/dev/fuse", os.W_OK):
        pytest.skip("no FUSE here: /dev/fuse")
    path = tmp_path / "resctrl"
    path.mkdir()
    mounted = Resctrl(path)
    yield mounted
    mounted.close()


def build(bundle: Bundle, resctrl: Resctrl, container_id: str | None = None, **config: Any) -> Container:
    """Create a container on a host that has this resctrl mounted."""
    bundle.linux["intelRdt"] = config
    host = Host()
    host.mounts = [*host.mounts, resctrl.mount_entry]
    builder = ContainerBuilder(container_id or bundle.id).with_root_path(bundle.root).as_init(bundle.path)
    return builder._create(bundle.spec, json.dumps(bundle.spec).encode(), host)


def test_payload_is_in_a_class_of_its_own_that_goes_with_it(bundle: Bundle, resctrl: Resctrl) -> None:
    """The schemata are there before the first process is, so that nothing runs without its limits."""
    container = build(bundle, resctrl, **SCHEMATA)

    operations = [(what, path) for what, path, _ in resctrl.log]
    assert operations == [
        ("mkdir", bundle.id),
        ("write", f"{bundle.id}/schemata"),
        ("write", f"{bundle.id}/tasks"),
    ]
    assert (resctrl.path / bundle.id / "schemata").read_text() == "    L3:0=0000f;1=000ff\n    MB:0=20;1=70\n"
    container.start()
    container.wait(10)
    container.delete()
    assert list(resctrl.groups) == [""]
    assert container.warnings == ()


def test_nothing_is_written_without_schemata(bundle: Bundle, resctrl: Resctrl) -> None:
    """config-linux.md: then runtimes MUST NOT write to schemata files."""
    with build(bundle, resctrl):
        assert [path for _, path, _ in resctrl.log] == [bundle.id, f"{bundle.id}/tasks"]


def test_later_schemata_win_over_the_older_members(bundle: Bundle, resctrl: Resctrl) -> None:
    """config-linux.md: a line MB: in l3CacheSchema gives way, and `schemata` is written last."""
    with build(
        bundle,
        resctrl,
        l3CacheSchema="L3:0=f\nMB:0=50",
        memBwSchema="MB:0=20",
        schemata=["L3:0=ff", "MB:1=30"],
    ):
        writes = [text for _, path, text in resctrl.log if path.endswith("schemata")]
        assert writes == ["L3:0=f\nMB:0=20\n", "L3:0=ff\nMB:1=30\n"]
        assert resctrl.groups[bundle.id].shares == {"L3": {0: 0xFF, 1: 0xFFFFF}, "MB": {0: 20, 1: 30}}


def test_named_class_is_joined_as_it_is_and_stays(bundle: Bundle, resctrl: Resctrl) -> None:
    """It was not made by the container: runtime.md "Delete"."""
    (resctrl.path / "gold").mkdir()
    before = resctrl.groups["gold"].shares
    container = build(bundle, resctrl, closID="gold")
    assert len(resctrl.groups["gold"].tasks) == 1
    container.delete()

    assert resctrl.groups["gold"].shares == before
    assert "gold" in resctrl.groups


def test_named_class_that_is_missing_needs_schemata(bundle: Bundle, resctrl: Resctrl) -> None:
    """config-linux.md: without them it must have been configured before."""
    with pytest.raises(RdtError, match="class of service gold does not exist") as caught:
        build(bundle, resctrl, closID="gold")
    assert caught.value.pointer == "/linux/intelRdt/closID"
    assert not resctrl.log

    with build(bundle, resctrl, closID="gold", **SCHEMATA):
        assert resctrl.groups["gold"].shares["MB"] == {0: 20, 1: 70}
    assert list(resctrl.groups) == [""]


@pytest.mark.parametrize("bandwidth", ["MB:0=21", "MB:0=0030", "MB:0=30;1=100"])
def test_named_class_is_joined_when_its_schemata_are_those_asked_for(
    bundle: Bundle, resctrl: Resctrl, bandwidth: str
) -> None:
    """As the kernel counts: leading zeros mean nothing, and bandwidths are rounded up."""
    with build(bundle, resctrl, closID="gold", l3CacheSchema="L3:1=f", memBwSchema="MB:0=21"):
        with build(
            bundle,
            resctrl,
            f"{bundle.id}-2",
            closID="gold",
            l3CacheSchema="L3:0=FFFFF",
            memBwSchema=bandwidth,
        ):
            assert len(resctrl.groups["gold"].tasks) == 2
        assert [what for what, path, _ in resctrl.log if path == "gold"] == ["mkdir"]


@pytest.mark.parametrize(
    ("config", "pointer"),
    [
        ({"l3CacheSchema": "L3:0=e"}, "l3CacheSchema"),
        ({"memBwSchema": "MB:0=40"}, "memBwSchema"),
        ({"schemata": ["L3:0=f", "L3:7=f"]}, "schemata"),
        ({"l3CacheSchema": "L3:0=f", "schemata": ["L3:0=1"]}, "schemata"),
    ],
)
def test_named_class_with_other_schemata_is_an_error(
    bundle: Bundle, resctrl: Resctrl, config: dict[str, Any], pointer: str
) -> None:
    """config-linux.md: runtimes MUST compare, and generate an error."""
    (resctrl.path / "gold").mkdir()
    (resctrl.path / "gold/schemata").write_bytes(b"L3:0=f;1=f\nMB:0=30\n")
    with pytest.raises(RdtError, match="gold exists with") as caught:
        build(bundle, resctrl, closID="gold", **config)

    assert caught.value.pointer == f"/linux/intelRdt/{pointer}"
    assert "gold" in resctrl.groups
    assert not any("tasks" in path for _, path, _ in resctrl.log)


def test_whole_resctrl_is_the_class_named_by_a_slash(bundle: Bundle, resctrl: Resctrl) -> None:
    """Where every process is already; it is never removed."""
    with build(bundle, resctrl, closID="/", enableMonitoring=True):
        assert set(resctrl.groups) == {"", f"mon_groups/{bundle.id}"}
        assert len(resctrl.groups[""].tasks) == 1
    assert list(resctrl.groups) == [""]


def test_class_that_others_joined_is_left_to_them(bundle: Bundle, resctrl: Resctrl) -> None:
    """Without it they would have the whole cache; the container says so when it is deleted."""
    container = build(bundle, resctrl, closID="gold", **SCHEMATA)
    (resctrl.path / "gold/tasks").write_text(str(os.getpid()))
    container.delete()

    assert "gold" in resctrl.groups
    assert container.warnings == (
        f"the class of service {resctrl.path}/gold stays: others use it (thread {os.getpid()})",
    )


def test_own_class_must_not_be_there_before(bundle: Bundle, resctrl: Resctrl) -> None:
    """Somebody else's would be changed, and removed at the end."""
    (resctrl.path / bundle.id).mkdir()
    with pytest.raises(RdtError, match="exists already"):
        build(bundle, resctrl, **SCHEMATA)
    assert bundle.id in resctrl.groups

    (resctrl.path / "mon_groups" / bundle.id).mkdir()
    with pytest.raises(RdtError, match="exists already"):
        build(bundle, resctrl, closID="/", enableMonitoring=True)
    assert f"mon_groups/{bundle.id}" in resctrl.groups


@pytest.mark.parametrize(
    ("config", "pointer", "words"),
    [
        ({"l3CacheSchema": "L3:0=fffffff"}, "l3CacheSchema", "Mask out of range"),
        ({"schemata": ["L9:0=f"]}, "schemata", "Unknown or unsupported resource name 'L9'"),
        ({"memBwSchema": "MB:0=10;0=20"}, "memBwSchema", "Duplicate domain 0"),
    ],
)
def test_what_the_kernel_refuses_is_told_in_its_words(
    bundle: Bundle, resctrl: Resctrl, config: dict[str, Any], pointer: str, words: str
) -> None:
    """EINVAL alone helps nobody. Nothing is left."""
    with pytest.raises(RdtError, match=words) as caught:
        build(bundle, resctrl, **config)
    assert caught.value.pointer == f"/linux/intelRdt/{pointer}"
    assert list(resctrl.groups) == [""]


def test_classes_are_few(bundle: Bundle, resctrl: Resctrl) -> None:
    """ENOSPC of a mkdir(2) has nothing to do with disks."""
    for number in range(CLASSES - 1):
        (resctrl.path / f"class{number}").mkdir()
    with pytest.raises(RdtError, match="Out of CLOSIDs – the hardware's classes"):
        build(bundle, resctrl)


def test_failure_after_it_removes_the_class(bundle: Bundle, resctrl: Resctrl) -> None:
    """A class is worth more than a directory."""
    bundle.process["args"] = ["/not/there"]
    with pytest.raises(Exception, match="/not/there"):
        build(bundle, resctrl, enableMonitoring=True, **SCHEMATA)
    assert list(resctrl.groups) == [""]


def test_monitoring_group_is_counted_by_itself(bundle: Bundle, resctrl: Resctrl) -> None:
    """Its tasks are those of the container, also in a class that is shared."""
    (resctrl.path / "gold").mkdir()
    with build(bundle, resctrl, closID="gold", enableMonitoring=True) as container:
        group = f"gold/mon_groups/{bundle.id}"
        assert resctrl.groups[group].tasks == resctrl.groups["gold"].tasks != set()
        found = rdt.stats(container._record["rdt"])
    assert list(resctrl.groups) == ["", "gold"]
    assert found == {
        "schemata": ["L3:0=fffff;1=fffff", "MB:0=100;1=100"],
        "l3_cache_info": {"cbm_mask": "fffff", "min_cbm_bits": 1, "num_closids": CLASSES},
        "l3_cache_schema_root": "L3:0=fffff;1=fffff",
        "l3_cache_schema": "L3:0=fffff;1=fffff",
        "mem_bw_info": {
            "bandwidth_gran": 10,
            "delay_linear": None,
            "min_bandwidth": 10,
            "num_closids": CLASSES,
        },
        "mem_bw_schema_root": "MB:0=100;1=100",
        "mem_bw_schema": "MB:0=100;1=100",
        "mbm_stats": [
            {"mbm_total_bytes": 1000, "mbm_local_bytes": None},
            {"mbm_total_bytes": 2000, "mbm_local_bytes": None},
        ],
        "cmt_stats": [{"llc_occupancy": 4096}, {"llc_occupancy": 8192}],
    }


def test_shared_class_is_not_counted_as_the_container(bundle: Bundle, resctrl: Resctrl) -> None:
    """What others use would be charged to it."""
    (resctrl.path / "gold").mkdir()
    with build(bundle, resctrl, closID="gold") as container:
        assert "cmt_stats" not in rdt.stats(container._record["rdt"])


def test_another_program_that_changes_resctrl_is_waited_for(
    bundle: Bundle, resctrl: Resctrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """resctrl.rst: flock(2) on the root directory."""
    monkeypatch.setattr(rdt, "LOCK_TIMEOUT_S", 0.1)
    holder = subprocess.Popen(
        ["flock", str(resctrl.path), "sh", "-c", "echo; read x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Timeout, match="is busy"):
            build(bundle, resctrl)
    build(bundle, resctrl).delete()


KILLED = """
import json, sys
from libcontainer import ContainerBuilder
from libcontainer.host import Host, MountEntry
root, bundle, container_id, line = sys.argv[1:]
host = Host()
host.mounts = [*host.mounts, MountEntry(line)]
spec = json.load(open(f"{bundle}/config.json"))
ContainerBuilder(container_id).with_root_path(root).as_init(bundle)._create(spec, json.dumps(spec).encode(), host)
"""


@pytest.mark.parametrize(
    "moment",
    [
        ("mkdir", "{id}"),
        ("write", "{id}/schemata"),
        ("mkdir", "{id}/mon_groups/{id}"),
        ("write", "{id}/tasks"),
    ],
)
def test_delete_by_force_cleans_up_after_a_kill(
    bundle: Bundle, resctrl: Resctrl, moment: tuple[str, str]
) -> None:
    """The intent is on disk before the class is."""
    bundle.linux["intelRdt"] = {"enableMonitoring": True, **SCHEMATA}
    bundle.save()
    resctrl.kill_after = moment[0], moment[1].format(id=bundle.id)
    line = f"99 1 0:99 / {resctrl.path} rw - resctrl resctrl rw"
    words = [sys.executable, "-c", KILLED, str(bundle.root), str(bundle.path), bundle.id, line]
    assert subprocess.run(words, check=False, timeout=30).returncode == -9
    assert bundle.id in resctrl.groups

    bundle.youki("delete", "--force", bundle.id)
    assert list(resctrl.groups) == [""]


def update(container: Container, resctrl: Resctrl, **values: str) -> list[dict[str, Any]]:
    """Change a container's schemata; return what was saved, in order, with the classes there were then."""
    saved: list[dict[str, Any]] = []

    def save() -> None:
        saved.append({**container._record, "groups": set(resctrl.groups)})
        with container._directory() as directory:
            directory.write_record("state.json", container._record)

    rdt.update(
        container._record,
        container_id=container.id,
        mounts=[resctrl.mount_entry],
        save=save,
        processes=container._manager().processes,
        **values,
    )
    return saved


def test_update_changes_the_containers_own_class(bundle: Bundle, resctrl: Resctrl) -> None:
    """What is not named stays; what the kernel or the rules refuse changes nothing."""
    with build(bundle, resctrl, **SCHEMATA) as container:
        assert update(container, resctrl, mem_bw_schema="MB:0=90") == []
        assert resctrl.groups[bundle.id].shares == {"L3": {0: 0xF, 1: 0xFF}, "MB": {0: 90, 1: 70}}
        with pytest.raises(RdtError, match="Mask out of range"):
            update(container, resctrl, l3_cache_schema="L3:0=0")
        with pytest.raises(InvalidArgument, match="begins with MB:"):
            update(container, resctrl, mem_bw_schema="L3:0=1")


def test_another_process_of_the_container_is_in_its_class(bundle: Bundle, resctrl: Resctrl) -> None:
    """A tenant is no child of the first process, so it is moved by itself."""
    bundle.process["args"] = ["sleep", "60"]
    with build(bundle, resctrl, **SCHEMATA) as container:
        container.start()
        before = len(resctrl.log)
        with open(os.devnull) as null:
            container.exec(["true"], stdin=null, stdout=null, stderr=null).wait()
        assert [(what, path) for what, path, _ in resctrl.log[before:]] == [("write", f"{bundle.id}/tasks")]


def test_update_of_the_container_reaches_its_class(bundle: Bundle, resctrl: Resctrl) -> None:
    """The method, and with it `youki update --mem-bw-schema`."""
    with build(bundle, resctrl, **SCHEMATA) as container:
        container.update(mem_bw_schema="MB:1=40")
        assert resctrl.groups[bundle.id].shares["MB"] == {0: 20, 1: 40}
        bundle.youki("update", "--l3-cache-schema", "L3:0=1", bundle.id)
        assert resctrl.groups[bundle.id].shares["L3"] == {0: 1, 1: 0xFF}


def test_update_leaves_a_shared_class_alone(bundle: Bundle, resctrl: Resctrl) -> None:
    """Whoever made it decides about it."""
    (resctrl.path / "gold").mkdir()
    with (
        build(bundle, resctrl, closID="gold") as container,
        pytest.raises(InvalidArgument, match="others may use it"),
    ):
        update(container, resctrl, mem_bw_schema="MB:0=90")


def test_update_gives_a_container_its_own_class(bundle: Bundle, resctrl: Resctrl) -> None:
    """It is recorded before it is made, so that it goes with the container; every process of it moves."""
    with bundle.build("sh", "-c", "sleep 60 & sleep 60 & wait") as container:
        container.start()
        while len(container._manager().processes()) < 3:
            assert container.status == "running"
        saved = update(container, resctrl, l3_cache_schema="L3:0=3")

        assert [(item["rdt"]["made"], item["groups"]) for item in saved] == [(True, {""})]
        assert resctrl.groups[bundle.id].shares["L3"] == {0: 0x3, 1: 0xFFFFF}
        assert resctrl.groups[bundle.id].tasks == set(container._manager().processes())
    assert list(resctrl.groups) == [""]


def test_failed_update_leaves_no_class(bundle: Bundle, resctrl: Resctrl) -> None:
    """Neither on the hardware nor in the record."""
    with bundle.build() as container:
        with pytest.raises(RdtError):
            update(container, resctrl, l3_cache_schema="L3:0=0")
        assert list(resctrl.groups) == [""]
        assert "rdt" not in container._record


def test_host_without_resctrl_is_told_before_anything_is_made(bundle: Bundle) -> None:
    """config-linux.md: if none is mounted, the runtime MUST generate an error."""
    if any(entry.fstype == "resctrl" for entry in Host().mounts):
        pytest.skip("resctrl is mounted here")
    bundle.linux["intelRdt"] = {"closID": "gold"}
    with pytest.raises(Unsupported, match="no resctrl file system is mounted") as caught:
        bundle.build()
    assert caught.value.pointer == "/linux/intelRdt"
    assert not bundle.root.exists()


def test_real_resctrl(bundle: Bundle) -> None:
    """A class of the kernel's own, with the payload in it."""
    root = next((entry.mount_point for entry in Host().mounts if entry.fstype == "resctrl"), None)
    if root is None:
        pytest.skip("no resctrl is mounted: the processor or the kernel has no Intel RDT")
    bundle.linux["intelRdt"] = {"enableMonitoring": os.path.isdir(f"{root}/mon_groups")}
    with bundle.build("sleep", "60") as container:
        tasks = Path(root, bundle.id, "tasks").read_text().split()
        assert str(container.pid) in tasks
        container.start()
        assert str(container.pid) in Path(root, bundle.id, "tasks").read_text().split()
    assert not Path(root, bundle.id).exists()
