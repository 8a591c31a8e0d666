"""Classes of service: what is known before anything is made. tests/integration/test_rdt.py has the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from libcontainer import InvalidArgument, Unsupported, rdt, schemata
from libcontainer.host import MountEntry


def mounted(path: Path | str, options: str = "rw", root: str = "/") -> MountEntry:
    return MountEntry(f"99 1 0:99 {root} {path} rw - resctrl resctrl {options}\n")


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        (
            "    L3:0=0000f;1=fffff\n    MB:0=  20;1=100\n",
            {("L3", "0"): 0xF, ("L3", "1"): 0xFFFFF, ("MB", "0"): 20, ("MB", "1"): 100},
        ),
        ("SMBA:00=2048", {("SMBA", "0"): 2048}),
        ("L3CODE:0=10\nL3DATA:0=010", {("L3CODE", "0"): 16, ("L3DATA", "0"): 16}),
        ("L3:0=f\nL3:0=1", {("L3", "0"): 1}),
        ("L3:x=zz", {("L3", "x"): "zz"}),
        ("", {}),
    ],
)
def test_schemata_are_compared_as_numbers(text: str, shares: dict[tuple[str, str], int | str]) -> None:
    """The kernel pads what it shows with blanks and zeros."""
    assert schemata.parse(text) == shares


@pytest.mark.parametrize(
    ("closed_id", "path"), [(None, "/r/box"), ("gold", "/r/gold"), ("/", "/r")], ids=["own", "named", "root"]
)
def test_class_is_a_directory_of_the_mount(closed_id: str | None, path: str) -> None:
    """config-linux.md: the container's id, where closID is not set."""
    config: Any = {} if closed_id is None else {"closID": closed_id}
    assert rdt.plan(config, "box", [mounted("/r")]).path == path


def test_only_a_whole_resctrl_counts() -> None:
    """A bind mount of one class has no info/ and holds no others."""
    assert rdt.plan({}, "box", [mounted("/bound", root="/gold"), mounted("/whole")]).root == "/whole"
    with pytest.raises(Unsupported, match="no resctrl file system is mounted – mount -t resctrl"):
        rdt.plan({}, "box", [mounted("/bound", root="/gold")])


def test_names_of_resctrl_itself_are_no_classes() -> None:
    """A container may be called so, and must then say which class it wants."""
    with pytest.raises(InvalidArgument, match=r"needs linux\.intelRdt\.closID"):
        rdt.plan({}, "info", [mounted("/r")])
    assert rdt.plan({"closID": "gold"}, "info", [mounted("/r")]).path == "/r/gold"


def test_monitoring_that_the_host_lacks_is_an_error(tmp_path: Path) -> None:
    """Requested and impossible is an error."""
    with pytest.raises(Unsupported, match="no monitoring") as caught:
        rdt.plan({"enableMonitoring": True}, "box", [mounted(tmp_path)])
    assert caught.value.pointer == "/linux/intelRdt/enableMonitoring"


@pytest.mark.parametrize(("options", "accepted"), [("rw", True), ("rw,mba_MBps", False)])
def test_bandwidth_is_rounded_as_the_kernel_does(tmp_path: Path, options: str, accepted: bool) -> None:
    """In percent it goes up to the hardware's next step; in megabytes (mba_MBps) it is taken as it is."""
    (tmp_path / "info/MB").mkdir(parents=True)
    (tmp_path / "info/MB/bandwidth_gran").write_text("10\n")
    (tmp_path / "gold").mkdir()
    (tmp_path / "gold/schemata").write_text("MB:0=30\n")
    group = rdt.plan({"closID": "gold", "memBwSchema": "MB:0=21"}, "box", [mounted(tmp_path, options)])
    group.look()
    if accepted:
        group.create()
    else:
        with pytest.raises(rdt.RdtError, match="exists with 30 of MB in domain 0, not 21"):
            group.create()
