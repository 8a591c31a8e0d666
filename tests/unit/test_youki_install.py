"""youki install: drop-in files and merged ones, made twice, made the default, taken away again."""

from __future__ import annotations

import json
import os
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from libcontainer.errors import AlreadyExists, Error, InvalidConfig, Unsupported
from youki import engines
from youki.engines.place import Edit, Place, apply
from youki.main import main

if TYPE_CHECKING:
    from pathlib import Path

RUNTIME = '/opt/o"dd\\place/youki'
FILES = {
    "podman": "etc/containers/containers.conf.d/50-youki.conf",
    "docker": "etc/docker/daemon.json",
    "containerd": "etc/containerd/config.toml",
}
CRI = "io.containerd.grpc.v1.cri"
EARLIER = {
    "docker": [
        "{}",
        '{"runtimes": {"kata": {"path": "/k"}}, "data-root": "/é"}\n',
        '{\n\t"log-driver": "none",\n\t"default-runtime": "kata"\n}',
        "",
    ],
    "containerd": [
        "version = 2\n",
        'version = 2 # mine\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "mine"',
        'version = 3\nimports = ["/a/*.toml"]\n',
    ],
}


def install(engine: str, root: Path, *, default: bool = False) -> list[Edit]:
    """Install for the host below `root` and return what had to be changed."""
    edits: list[Edit] = engines.load(engine).edits(Place(str(root)), RUNTIME, default=default)
    changes = [edit for edit in edits if edit]
    apply(changes)
    return changes


def remove(engine: str, root: Path) -> None:
    """Undo it."""
    apply(edit for edit in engines.load(engine).removal(Place(str(root))) if edit)


def files(root: Path) -> dict[str, str]:
    """Return all files below `root`, by name."""
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def settings(engine: str, root: Path) -> Any:
    """Return the configuration as the engine would parse it."""
    text = (root / FILES[engine]).read_text()
    return json.loads(text) if engine == "docker" else tomllib.loads(text)


@pytest.mark.parametrize("engine", engines.NAMES)
def test_on_a_bare_host(engine: str, tmp_path: Path) -> None:
    """What was made where nothing was goes away again without a trace; the second time there is nothing to do."""
    assert install(engine, tmp_path)
    assert list(files(tmp_path)) == [FILES[engine]]
    assert install(engine, tmp_path) == []
    remove(engine, tmp_path)
    assert files(tmp_path) == {}


def test_podman_reads_a_runtime(tmp_path: Path) -> None:
    """containers.conf(5): a table of lists of paths, and a name for the default."""
    install("podman", tmp_path)
    assert settings("podman", tmp_path) == {"engine": {"runtimes": {"youki": [RUNTIME]}}}
    install("podman", tmp_path, default=True)
    assert settings("podman", tmp_path)["engine"] == {"runtime": "youki", "runtimes": {"youki": [RUNTIME]}}


@pytest.mark.parametrize(
    ("engine", "text"), [(engine, text) for engine in EARLIER for text in EARLIER[engine]]
)
def test_the_rest_stays(engine: str, text: str, tmp_path: Path) -> None:
    """Settings that are not ours stay as they are, and --remove gives back the very same bytes."""
    path = tmp_path / FILES[engine]
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o600)
    before = settings(engine, tmp_path) if text else {}
    install(engine, tmp_path)
    after = settings(engine, tmp_path)
    assert {key: after[key] for key in before if key not in ("runtimes", "plugins")} == {
        key: before[key] for key in before if key not in ("runtimes", "plugins")
    }
    assert all(item.stat().st_mode & 0o777 == 0o600 for item in path.parent.iterdir())
    assert install(engine, tmp_path) == []
    remove(engine, tmp_path)
    assert files(tmp_path) == {FILES[engine]: text}


def test_docker_merges(tmp_path: Path) -> None:
    """Other runtimes stay, also those that came after us; the default is ours only when asked for."""
    path = tmp_path / FILES["docker"]
    path.parent.mkdir(parents=True)
    path.write_text('{"runtimes": {"kata": {"path": "/k"}}}')
    install("docker", tmp_path, default=True)
    assert settings("docker", tmp_path) == {
        "runtimes": {"kata": {"path": "/k"}, "youki": {"path": RUNTIME}},
        "default-runtime": "youki",
    }
    install("docker", tmp_path)
    assert "default-runtime" not in settings("docker", tmp_path)
    changed = settings("docker", tmp_path) | {"debug": True}
    path.write_text(json.dumps(changed))
    remove("docker", tmp_path)
    assert settings("docker", tmp_path) == {"runtimes": {"kata": {"path": "/k"}}, "debug": True}
    assert list(files(tmp_path)) == [FILES["docker"]]


def test_containerd_keeps_the_table_that_is_there(tmp_path: Path) -> None:
    """An imported file would replace the plugin's table; the block adds to it."""
    path = tmp_path / FILES["containerd"]
    path.parent.mkdir(parents=True)
    path.write_text(f'version = 2\n[plugins."{CRI}".containerd]\nsnapshotter = "native"\n')
    install("containerd", tmp_path)
    table = settings("containerd", tmp_path)["plugins"][CRI]["containerd"]
    assert table["snapshotter"] == "native"
    assert table["runtimes"]["runc"] == {"runtime_type": "io.containerd.runc.v2"}
    assert table["runtimes"]["youki"]["options"]["BinaryName"] == RUNTIME


def test_containerd_leaves_other_runtimes(tmp_path: Path) -> None:
    """Where there are some already, none is added but ours."""
    path = tmp_path / FILES["containerd"]
    path.parent.mkdir(parents=True)
    path.write_text(f'version = 2\n[plugins."{CRI}".containerd.runtimes.kata]\nruntime_type = "kata"\n')
    install("containerd", tmp_path)
    assert sorted(settings("containerd", tmp_path)["plugins"][CRI]["containerd"]["runtimes"]) == [
        "kata",
        "youki",
    ]


def test_containerd_default(tmp_path: Path) -> None:
    """The default is written where its table is free, and refused with the line to add where it is not."""
    install("containerd", tmp_path, default=True)
    table = settings("containerd", tmp_path)["plugins"][CRI]["containerd"]
    assert table["default_runtime_name"] == "youki"
    (tmp_path / FILES["containerd"]).write_text(f'version = 2\n[plugins."{CRI}".containerd]\nx = 1\n')
    with pytest.raises(Unsupported, match=f"{CRI}"):
        install("containerd", tmp_path, default=True)


@pytest.mark.parametrize(
    ("engine", "text", "kind"),
    [
        ("docker", "{", InvalidConfig),
        ("docker", "[]", InvalidConfig),
        ("docker", '{"runtimes": []}', InvalidConfig),
        ("containerd", "version =", InvalidConfig),
        ("containerd", "[plugins]\n", Unsupported),
        ("containerd", f'version = 2\n[plugins."{CRI}".containerd.runtimes.youki]\n', AlreadyExists),
    ],
)
def test_what_is_not_understood_is_not_touched(
    engine: str, text: str, kind: type[Error], tmp_path: Path
) -> None:
    """An error that names the file, and the file as it was."""
    path = tmp_path / FILES[engine]
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(kind, match=str(path)):
        install(engine, tmp_path)
    assert files(tmp_path) == {FILES[engine]: text}


def test_a_symlink_stays_one(tmp_path: Path) -> None:
    """A configuration that is kept elsewhere is changed there."""
    (tmp_path / "kept.json").write_text("{}")
    path = tmp_path / FILES["docker"]
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "kept.json")
    install("docker", tmp_path)
    assert path.is_symlink()
    assert "youki" in (tmp_path / "kept.json").read_text()


def test_a_users_own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root it is the user's, below $XDG_CONFIG_HOME or ~/.config."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "/home/alice/.conf")
    place = Place(str(tmp_path), user=True)
    (edit,) = engines.load("podman").edits(place, RUNTIME, default=False)
    assert edit.path == tmp_path / "home/alice/.conf/containers/containers.conf.d/50-youki.conf"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/alice")
    (edit,) = engines.load("docker").edits(place, RUNTIME, default=False)
    assert edit.path == tmp_path / "home/alice/.config/docker/daemon.json"


@pytest.mark.parametrize("engine", engines.NAMES)
def test_dry_run_changes_nothing(
    engine: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It prints a diff of what would be."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert main(["install", "--dry-run", "--destdir", str(tmp_path), engine]) == 0
    told = capfd.readouterr().out
    assert f"+++ {tmp_path}/{FILES[engine]}" in told
    assert "+" in told
    assert files(tmp_path) == {}


def test_command(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what it wrote, and what to do next; again, that there is nothing to do."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    words = ["install", "--destdir", str(tmp_path), "docker"]
    assert [main(words), main(words), main([*words, "--remove"]), main([*words, "--remove"])] == [0] * 4
    path = tmp_path / FILES["docker"]
    assert capfd.readouterr().out.splitlines() == [
        f"wrote {path}",
        "now let it read that: systemctl reload docker",
        "then: docker run --runtime youki …",
        "docker knows youki already",
        f"removed {path}",
        "now let it read that: systemctl restart docker",
        "docker does not know youki already",
    ]
