"""plan/explain.py: a plan in words, for a person and for a diff."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from libcontainer import CgroupError, InvalidConfig, Unsupported
from libcontainer.host import Host
from libcontainer.plan import operations as do
from libcontainer.plan.context import Descriptor, Plan
from libcontainer.plan.explain import FLAG_NAMES, KINDS, SYNC_POINTS, describe, explain
from libcontainer.spec.defaults import default_spec

LINE = re.compile(r"^ *\d+ \[[12]\] [A-Z]\w+( \w+=.+)?$")


def line(op: do.Op, *descriptors: Descriptor) -> str:
    (text,) = describe(Plan([op], list(descriptors)))
    return text


def sample(kind: type[do.Op]) -> do.Op:
    """An operation of this kind with some value in each operand."""
    values = {"Int": 0, "Text": b"x", "Blob": b"\1", "Texts": [b"a", b"b c"], "Fd": do.NO_FD, "Slot": 1}
    operands = dict(zip(kind.FIELDS, [values[name] for name in kind.KINDS], strict=True))
    if kind is do.Sync:
        operands["point"] = do.SYNC_MAPS
    return kind(pointer="/place", **operands)


@pytest.mark.parametrize("kind", do.OPERATIONS.values(), ids=lambda kind: kind.__name__)
def test_every_operation_is_one_line_with_its_place(kind: type[do.Op]) -> None:
    """Number, stage, name, operands, and after `#` the JSON pointer."""
    text = line(sample(kind))

    before, _, pointer = text.partition("  # ")
    assert LINE.match(before), text
    assert pointer == "/place"
    for name in kind.FIELDS:
        assert f" {name}=" in before


def test_all_sync_points_and_kinds_have_words() -> None:
    """A point without them would end explain with a traceback."""
    constants = {name: value for name, value in do.CONSTANTS.items() if name.startswith("SYNC_")}

    assert set(SYNC_POINTS) == set(constants.values())
    assert set(KINDS) == {do.LIKE_SOURCE, do.DIRECTORY, do.REAL_DIRECTORY, do.ON_PROCFS, do.PROCFS}


def test_every_flag_table_belongs_to_an_operand() -> None:
    """An operand that was renamed would show as a bare number."""
    operands = {f"{kind.__name__}.{name}" for kind in do.OPERATIONS.values() for name in kind.FIELDS}

    assert set(FLAG_NAMES) <= operands


def test_values_are_shown_as_people_write_them() -> None:
    """Capabilities and flags by name, modes in octal, devices by their two numbers, odd text in quotes."""
    assert "keep=CAP_CHOWN,CAP_KILL" in line(do.DropBoundingSet(pointer="", keep=0b100001))
    assert "keep=none" in line(do.DropBoundingSet(pointer="", keep=0))
    assert "mask=0o22" in line(do.SetUmask(pointer="", mask=0o022))
    device = do.MakeDevice(pointer="", path=b"/dev/null", mode=0o20666, device=0x103, uid=0, gid=0)
    assert "device=1:3" in line(device)
    assert "path='/a b'" in line(do.ChangeDirectory(pointer="", path=b"/a b", make=0, final=0))
    assert "path=''" in line(do.ChangeDirectory(pointer="", path=b"", make=0, final=0))
    join = do.JoinNamespace(pointer="", fd=0, nstype=0x40000000)
    shown = line(join, Descriptor("namespace", ("/proc/1/ns/net", 0x40000000)))
    assert "fd=/proc/1/ns/net nstype=network" in shown


def test_a_value_cannot_forge_a_line() -> None:
    """What comes from an image's configuration is shown on one line, whatever is in it."""
    shown = line(do.SetHostname(pointer="", name=b"a\n  2 [2] Exec  # /x\x1b[2J\xff"))

    assert "\n" not in shown
    assert "\x1b" not in shown
    assert shown.count(" # ") <= 1


def test_the_stage_changes_after_the_clone() -> None:
    """What comes before runs in the host's namespaces."""
    ops = [do.NewSession(pointer=""), do.Clone(pointer="", flags=0, parent=1), do.NewSession(pointer="")]

    assert [text[:7] for text in describe(Plan(list(ops), []))] == ["  0 [1]", "  1 [1]", "  2 [2]"]


def test_a_bundle_is_explained_without_making_anything(tmp_path: Path) -> None:
    """Warnings first, then the plan, in order; for a host that is only described."""
    (tmp_path / "rootfs").mkdir()
    spec = json.loads(json.dumps(default_spec()))
    spec["process"]["capabilities"]["bounding"].append("CAP_FLY")
    (tmp_path / "config.json").write_text(json.dumps(spec))
    host = Host(
        capabilities=(1 << 41) - 1,
        bounding=(1 << 41) - 1,
        in_user_namespace=False,
        new_mount_api=True,
        mounts=[],
        apparmor=False,
        selinux=False,
        euid=0,
        egid=0,
    )

    lines = explain(str(tmp_path), host=host)

    warnings = [text for text in lines if text.startswith("warning: ")]
    assert lines[: len(warnings)] == warnings
    assert any("CAP_FLY" in text for text in warnings)
    assert lines[-1].split()[2] == "Exec"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "rootfs"]


def test_an_invalid_bundle_is_refused_as_create_would(tmp_path: Path) -> None:
    """With every problem."""
    (tmp_path / "config.json").write_text('{"ociVersion": "1.3.0", "process": {"args": [], "cwd": "x"}}')

    with pytest.raises(InvalidConfig, match="/process/cwd"):
        explain(str(tmp_path))


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs this host")
def test_the_systemd_driver_is_asked_as_create_would(tmp_path: Path) -> None:
    """A plan for another driver than the one that will be used would be a lie."""
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(default_spec()))

    with pytest.raises(CgroupError, match="systemd does not run this host"):
        explain(str(tmp_path), systemd=True)


def test_names_of_a_filter_that_are_passed_over_are_told(tmp_path: Path) -> None:
    """A mistyped name is no error, since a profile serves many kernels; here it is seen."""
    spec = default_spec()
    spec["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["read", "raed"], "action": "SCMP_ACT_ALLOW"}],
    }
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(spec))
    try:
        lines = explain(str(tmp_path))
    except Unsupported:
        pytest.skip("needs libseccomp (Debian: libseccomp2)")

    (told,) = [text for text in lines if text.startswith("warning: /linux/seccomp/syscalls/0/names")]
    assert "'raed'" in told
