"""Docker: daemon.json has no drop-in files, so keys are added to it and taken out again; the rest stays."""

from __future__ import annotations

import json
from typing import Any

from libcontainer.errors import Error, InvalidConfig, Problem
from youki.engines import call, ran
from youki.engines.place import Edit, Place, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "docker"
NEXT = "docker run --runtime youki …", "docker run …"
RESTART = "systemctl reload docker"
RESTART_TO_FORGET = "systemctl restart docker"  # on a reload it only learns

RUNTIMES, DEFAULT = "runtimes", "default-runtime"


def daemon_json(place: Place) -> Path:
    """Return dockerd's configuration; `rootless` is where a user's own daemon looks."""
    return place.file(host="etc/docker/daemon.json", user="docker/daemon.json")


def backup(place: Place) -> Path:
    """Return where the file is kept as it was before."""
    path = daemon_json(place)
    return path.with_name(path.name + ".before-youki")


def edits(place: Place, runtime: str, *, default: bool) -> list[Edit]:
    """Return what makes Docker know the runtime; `default` makes it the one that it uses unless told otherwise."""
    path, text = daemon_json(place), read(daemon_json(place))
    settings = parse(path, text)
    wanted = _with(settings, runtime, default=default)
    if wanted == settings:
        return []
    keep = [Edit(backup(place), text, like=path)] if text is not None and read(backup(place)) is None else []
    return [*keep, Edit(path, written(wanted, like=text))]


def removal(place: Place) -> list[Edit]:
    """Return what makes Docker forget it: the file as it was, if nothing else has changed since."""
    path, text = daemon_json(place), read(daemon_json(place))
    earlier = read(backup(place))
    settings = parse(path, text)
    rest = _without(settings)
    if earlier is not None and parse(backup(place), earlier) == rest:
        after: str | None = earlier
    elif rest == settings:
        after = text
    else:
        after = written(rest, like=text) if rest else None
    return [Edit(path, after), Edit(backup(place), None)]


def parse(path: Path, text: str | None) -> dict[str, Any]:
    """Return the settings; none for a file that is missing or empty. Raises InvalidConfig."""
    if text is None or not text.strip():
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidConfig(str(path), [Problem("", str(error), "JSON")]) from None
    for pointer, value in (
        ("", found),
        (f"/{RUNTIMES}", found.get(RUNTIMES, {}) if isinstance(found, dict) else {}),
    ):
        if not isinstance(value, dict):
            raise InvalidConfig(str(path), [Problem(pointer, type(value).__name__, "an object")])
    settings: dict[str, Any] = found
    return settings


def written(settings: dict[str, Any], *, like: str | None) -> str:
    """Return settings as text, indented as the text that was there."""
    second = next((line for line in (like or "").splitlines()[1:] if line.strip()), "    ")
    indent = second[: len(second) - len(second.lstrip())] or None
    return json.dumps(settings, indent=indent, ensure_ascii=False) + "\n"


def _with(settings: dict[str, Any], runtime: str, *, default: bool) -> dict[str, Any]:
    settings = _without(settings)
    runtimes = settings.get(RUNTIMES, {}) | {"youki": {"path": runtime}}
    return settings | {RUNTIMES: runtimes} | ({DEFAULT: "youki"} if default else {})


def _without(settings: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in settings.items() if not (key == DEFAULT and value == "youki")}
    if "youki" in rest.get(RUNTIMES, {}):
        others = {name: value for name, value in rest[RUNTIMES].items() if name != "youki"}
        rest = {
            key: others if key == RUNTIMES else value
            for key, value in rest.items()
            if key != RUNTIMES or others
        }
    return rest


def absence() -> tuple[str, str | None] | None:
    """Return why Docker cannot be asked, and what to do."""
    try:
        known = call("docker", "info", "--format", "{{json .Runtimes}}")
    except Error as error:
        return error.message, "systemctl start docker"
    if '"youki"' not in known:
        return "Docker does not know youki", f"youki install docker && {RESTART}"
    return None


def probe(_runtime: str, directory: Path, name: str) -> None:
    """Let Docker run a container of an image that is removed again. Raises Error."""
    import tarfile

    archive = directory / "rootfs.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(directory / "rootfs", arcname=".")
    call("docker", "import", "-", name, stdin=archive)
    try:
        options = ("--rm", "--runtime", "youki", "--network", "none", "--name", name)
        ran(call("docker", "run", *options, name, "/init", check=False))
    finally:
        call("docker", "rmi", "--force", name, check=False)
