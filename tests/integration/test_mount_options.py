"""Mount options: what each one of mount_options.OPTIONS does to a mount. mount(8), mount_setattr(2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libcontainer.mount_options import OPTIONS

from .boxes import MODES, Box, host_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .boxes import HostDirectory, Mount
    from .conftest import Bundle

# option → what undoes it; a mount shows the option's own name, but for strictatime, which shows as no word.
ATTRIBUTES = {
    "ro": "rw",
    "nosuid": "suid",
    "nodev": "dev",
    "noexec": "exec",
    "noatime": "atime",
    "strictatime": "nostrictatime",
    "nodiratime": "diratime",
    "nosymfollow": "symfollow",
}
SUPERBLOCK = {"sync": "async", "dirsync": None, "lazytime": "nolazytime", "mand": "nomand"}
# Accepted, without a trace in mountinfo.
SILENT = {"defaults", "relatime", "norelatime", "iversion", "noiversion", "silent", "loud"}
RECURSIVE = {f"r{name}": f"r{undone}" for name, undone in ATTRIBUTES.items()}
PROPAGATION = {
    "private": set(),
    "shared": {"shared"},
    "slave": set(),  # of a mount that is private: it has no master
    "unbindable": {"unbindable"},
}
# Tested by what they do in test_mounts.py, test_idmapped_mounts.py.
ELSEWHERE = {"bind", "rbind", "remount", "idmap", "ridmap", "tmpcopyup"}


@pytest.fixture(params=MODES)
def box(bundle: Bundle, request: pytest.FixtureRequest) -> Box:
    """A container, made with the newer mount calls or with the classic ones."""
    return Box(bundle, request.param)


@pytest.fixture
def host(bundle: Bundle, tmp_path: Path) -> Iterator[HostDirectory]:
    """A directory of the host for mounts."""
    yield from host_directory(tmp_path / "host")


def shows(mount: Mount, option: str) -> bool:
    """Whether a mount table says that `mount` has the option."""
    if option == "strictatime":
        return not mount.options & {"relatime", "noatime"}
    return option in (mount.super_options if option in SUPERBLOCK else mount.options)


def test_each_option_of_the_table_is_tested() -> None:
    """An option that is added to the table needs a test of what it does."""
    undone = {name for table in (ATTRIBUTES, SUPERBLOCK, RECURSIVE) for name in table.values() if name}
    recursive_only = {"rrelatime", "rnorelatime"}
    propagation = {prefix + name for name in PROPAGATION for prefix in ("", "r")}
    named = {
        *ATTRIBUTES,
        *SUPERBLOCK,
        *RECURSIVE,
        *undone,
        *SILENT,
        *propagation,
        *recursive_only,
        *ELSEWHERE,
    }

    assert named == set(OPTIONS)


def test_options_of_a_new_file_system_take_effect_one_by_one(box: Box) -> None:
    """Each option changes exactly what it names, whichever calls the kernel has."""
    names = [*ATTRIBUTES, *SUPERBLOCK]
    for name in names:
        box.mount(f"/m/{name}", "tmpfs", "tmpfs", name)

    mounts = box.mounts()

    for point in names:
        assert {name: shows(mounts[f"/m/{point}"], name) for name in names} == {
            name: name == point for name in names
        }


def test_of_two_complementary_options_the_later_wins(box: Box) -> None:
    """config.md leaves no order but the list's; engines append the user's options to their own."""
    pairs = {name: undo for name, undo in {**ATTRIBUTES, **SUPERBLOCK}.items() if undo}
    for name, undo in pairs.items():
        box.mount(f"/off/{name}", "tmpfs", "tmpfs", name, undo)
        box.mount(f"/on/{name}", "tmpfs", "tmpfs", undo, name)

    mounts = box.mounts()

    assert {name: shows(mounts[f"/off/{name}"], name) for name in pairs} == dict.fromkeys(pairs, False)
    assert {name: shows(mounts[f"/on/{name}"], name) for name in pairs} == dict.fromkeys(pairs, True)


def test_access_time_settings_exclude_each_other(box: Box) -> None:
    """They are values of one field: the last one named is the one in force."""
    settings = {"noatime": {"noatime"}, "relatime": {"relatime"}, "strictatime": set()}
    for first in settings:
        for last in settings:
            box.mount(f"/m/{first}-{last}", "tmpfs", "tmpfs", first, last)

    mounts = box.mounts()

    for first in settings:
        for last, expected in settings.items():
            assert mounts[f"/m/{first}-{last}"].options & {"noatime", "relatime"} == expected, (first, last)


def test_options_without_a_trace_are_accepted(box: Box) -> None:
    """The spec requires them; none may reach the file system as an unknown word."""
    for name in sorted(SILENT):
        box.mount(f"/m/{name}", "tmpfs", "tmpfs", name)

    mounts = box.mounts()

    assert all(mounts[f"/m/{name}"].options == {"rw", "relatime"} for name in SILENT)


def test_bind_without_options_inherits_the_flags_of_its_source(box: Box, host: HostDirectory) -> None:
    """What the host's administrator took away from a mount stays away in the container."""
    source = host.mount("strict", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow")
    box.mount("/m", str(source), "bind", "bind")

    expected = {"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"}
    assert box.mounts()["/m"].options == expected


@pytest.mark.parametrize("given", [*ATTRIBUTES, *(undo for undo in ATTRIBUTES.values())])
def test_bind_with_one_option_changes_only_that(bundle: Bundle, host: HostDirectory, given: str) -> None:
    """A bind's options are a change of the source's flags, never a replacement (CVE-2014-5206 and its like)."""
    undone = {undo: name for name, undo in ATTRIBUTES.items()}
    strict = {name for name in ATTRIBUTES if name not in ("strictatime",)}
    source = host.mount("source", ",".join(sorted(strict)) if given in undone else "strictatime")
    if given == "nostrictatime":
        source = host.mount("strictatime", "strictatime")
        strict = {"strictatime"}
    found = {}
    for mode in MODES:
        box = Box(bundle, mode)
        box.spec["mounts"] = [item for item in box.spec["mounts"] if item["destination"] != "/m"]
        box.mount("/m", str(source), "bind", "bind", given)
        mount = box.mounts()["/m"]
        found[mode] = {name for name in ATTRIBUTES if shows(mount, name)}

    if given in undone:
        expected = strict - {undone[given]}
    else:
        expected = {given} if given == "noatime" else {given, "strictatime"}
    assert found == dict.fromkeys(MODES, expected)


@pytest.mark.parametrize("recursive", ["", "r"])
def test_propagation_options_are_applied(box: Box, recursive: str) -> None:
    """youki drops them in silence; a volume that must be shared would then not be."""
    for name in PROPAGATION:
        box.mount(f"/m/{name}", "tmpfs", "tmpfs", recursive + name)

    mounts = box.mounts()

    assert {name: mounts[f"/m/{name}"].propagation for name in PROPAGATION} == PROPAGATION


def test_several_propagation_options_apply_in_their_order(box: Box) -> None:
    """`shared` after `slave` makes a mount both, as mount_namespaces(7) tells."""
    box.mount("/m/shared-private", "tmpfs", "tmpfs", "shared", "private")
    box.mount("/m/private-shared", "tmpfs", "tmpfs", "private", "shared")

    mounts = box.mounts()

    assert mounts["/m/shared-private"].propagation == set()
    assert mounts["/m/private-shared"].propagation == {"shared"}


def tree(host: HostDirectory, *options: str) -> Path:
    """Make a mount with another one below it."""
    top = host.mount("tree", *options)
    (top / "below").mkdir()
    host.mount("tree/below", *options)
    if "ro" in options:
        host.set(top, "-o", "remount,bind,ro")
    return top


def test_propagation_of_a_tree_reaches_below_only_with_r(bundle: Bundle, host: HostDirectory) -> None:
    """`rshared` is for the whole tree, `shared` for its top."""
    source = tree(host)
    for name in ("shared", "rshared"):
        bundle.mount(f"/m/{name}", str(source), "bind", "rbind", name)

    mounts = Box(bundle, "new").mounts()

    found = {point: "shared" in mounts[f"/m/{point}"].propagation for point in ("shared", "rshared")}
    below = {point: "shared" in mounts[f"/m/{point}/below"].propagation for point in ("shared", "rshared")}
    assert found == {"shared": True, "rshared": True}
    assert below == {"shared": False, "rshared": True}


@pytest.mark.parametrize("name", sorted(RECURSIVE))
def test_recursive_option_reaches_every_mount_below(bundle: Bundle, host: HostDirectory, name: str) -> None:
    """`ro` of a recursive bind leaves the mounts below writable; that is what `rro` is for."""
    option = name[1:]
    bundle.mount("/m/plain", str(tree(host)), "bind", "rbind", *([] if option == "strictatime" else [option]))
    bundle.mount("/m/deep", str(host / "tree"), "bind", "rbind", name)
    bundle.mount("/m/undone", str(host / "tree"), "bind", "rbind", name, RECURSIVE[name])

    mounts = Box(bundle, "new").mounts()

    assert not shows(mounts["/m/plain/below"], option)
    assert shows(mounts["/m/deep"], option)
    assert shows(mounts["/m/deep/below"], option)
    assert not shows(mounts["/m/undone"], option)
    assert not shows(mounts["/m/undone/below"], option)


@pytest.mark.parametrize("name", ["rrelatime", "rnorelatime", "ratime"])
def test_recursive_access_time_is_reset_below(bundle: Bundle, host: HostDirectory, name: str) -> None:
    """The kernel knows no `norelatime`: what remains when the others are taken away is relatime."""
    bundle.mount("/m", str(tree(host, "noatime")), "bind", "rbind", name)

    mounts = Box(bundle, "new").mounts()

    assert {"relatime"} == {item for item in mounts["/m/below"].options if item.endswith("atime")}


def test_recursive_option_without_mount_setattr_is_refused(bundle: Bundle, host: HostDirectory) -> None:
    """A volume that was to be read-only all through must not be writable below by mistake."""
    bundle.mount("/m", str(tree(host)), "bind", "rbind", "rro")

    assert "config.json /mounts/4: recursive" in Box(bundle, "classic").refusal()


def test_unknown_option_is_refused_in_the_kernels_own_words(bundle: Bundle) -> None:
    """Only the file system knows its options, so its message is part of ours."""
    bundle.mount("/m", "tmpfs", "tmpfs", "nosuid", "sise=1m")

    text = Box(bundle, "new").refusal()

    assert "config.json /mounts/4: mount tmpfs on /m failed" in text
    assert "Unknown parameter 'sise'" in text


def test_bad_value_is_refused_in_the_kernels_own_words(bundle: Bundle) -> None:
    """A value that is out of range is named, too."""
    bundle.mount("/m", "tmpfs", "tmpfs", "size=lots")

    assert "Bad value for 'size'" in Box(bundle, "new").refusal()


def test_unknown_option_is_refused_by_the_classic_call(bundle: Bundle) -> None:
    """mount(2) has no words; the place is named all the same."""
    bundle.mount("/m", "tmpfs", "tmpfs", "sise=1m")

    assert (
        "config.json /mounts/4: mount tmpfs on /m failed: Invalid argument"
        in Box(bundle, "classic").refusal()
    )


def test_file_system_option_on_a_bind_is_refused(box: Box) -> None:
    """A bind has no file system of its own, so `size=1m` there would be ignored in silence."""
    box.mount("/m", "/tmp", "bind", "bind", "size=1m")

    assert "no file system option on a bind mount" in box.refusal()


def test_value_longer_than_fsconfig_takes_is_passed_by_the_classic_call(box: Box) -> None:
    """fsconfig(2) ends at 255 bytes; the layers of an overlay are often longer."""
    layers = []
    for number in range(4):
        layer = box.rootfs / "layers" / f"{number}-{'x' * 90}"
        layer.mkdir(parents=True)
        (layer / f"file{number}").write_text("")
        layers.append(str(layer))
    assert len(":".join(layers)) > 255
    box.mount("/m", "overlay", "overlay", f"lowerdir={':'.join(layers)}")

    assert box.sh("ls /m").lines == ["file0", "file1", "file2", "file3"]


def test_comma_in_a_value_stays_in_it(box: Box) -> None:
    """A path with a comma must not become two options: the second could be any."""
    lower = box.rootfs / "a,ro"
    lower.mkdir()
    (lower / "file").write_text("")
    box.mount("/m", "overlay", "overlay", f"lowerdir={lower}:{box.rootfs}/etc")

    assert "file" in box.sh("ls /m").lines
