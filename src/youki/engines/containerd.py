"""containerd, and through its CRI plugin Kubernetes: a block of our own at the end of config.toml.

Not a file of `imports`: containerd 1.x lets the table of a plugin in an imported file replace the whole table of the
configuration, and with it settings that are not ours (containerd issue 5837). A block keeps every other byte.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from libcontainer.errors import AlreadyExists, Error, InvalidConfig, Problem, Unsupported
from youki.engines import call, ran
from youki.engines.place import Edit, Place, read
from youki.engines.podman import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "containerd"
NEXT = "ctr run --runc-binary … , or runtimeClassName: youki in a cluster", "crictl runp …"
RESTART = "systemctl restart containerd"

BEGIN = (
    "# Begin of what 'youki install containerd' wrote; 'youki install containerd --remove' takes it away.\n"
)
END = "# End of what 'youki install containerd' wrote.\n"
BLOCK = re.compile(f"\n?{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
# The version of a configuration → the plugin that makes the containers of the CRI.
PLUGINS = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}
FRESH = "version = 2\n\n"  # every containerd since 1.3 reads it


def config_toml(place: Place) -> Path:
    """Return containerd's configuration."""
    return place.file(host="etc/containerd/config.toml", user="containerd/config.toml")


def edits(place: Place, runtime: str, *, default: bool) -> list[Edit]:
    """Return what makes the CRI plugin know the runtime; `default` makes it the one of pods that name none."""
    path = config_toml(place)
    text = _without(read(path)) or ""
    fresh = "" if text else FRESH
    plugin, cri = _plugin(path, text or fresh)
    if "youki" in cri.get("runtimes", {}):
        raise AlreadyExists(
            f"{path} has a runtime youki of somebody else's", path=str(path), remedy="remove its table first"
        )
    if default and cri:
        raise Unsupported(
            f"{path} has the table that names the default runtime, and it is not rewritten",
            path=str(path),
            remedy=f"""add default_runtime_name = "youki" to [plugins."{plugin}".containerd]""",
        )
    gap = "\n" if text else ""
    # A table of runtimes takes the place of containerd's own, in which there is runc, its default.
    runc = "" if "runtimes" in cri else _runc(plugin)
    after = f"{text}{gap}{BEGIN}{fresh}{runc}{_tables(plugin, runtime, default=default)}{END}"
    _parse(path, after)
    return [Edit(path, after)]


def removal(place: Place) -> list[Edit]:
    """Return what makes it forget the runtime; a file with nothing else in it goes away."""
    return [Edit(config_toml(place), _without(read(config_toml(place))) or None)]


def _without(text: str | None) -> str | None:
    return None if text is None else BLOCK.sub("", text)


def _runc(plugin: str) -> str:
    return f'[plugins."{plugin}".containerd.runtimes.runc]\nruntime_type = "io.containerd.runc.v2"\n\n'


def _tables(plugin: str, runtime: str, *, default: bool) -> str:
    table = f'plugins."{plugin}".containerd'
    chosen = f'[{table}]\ndefault_runtime_name = "youki"\n\n' if default else ""
    return (
        f'{chosen}[{table}.runtimes.youki]\nruntime_type = "io.containerd.runc.v2"\n\n'
        f'[{table}.runtimes.youki.options]\nBinaryName = "{quoted(runtime)}"\n'
    )


def _plugin(path: Path, text: str) -> tuple[str, dict[str, Any]]:
    """Return the name of the CRI plugin, and its table about containerd."""
    settings = _parse(path, text)
    plugin = PLUGINS.get(settings.get("version", 1))
    if plugin is None:
        raise Unsupported(
            f"{path} is of version {settings.get('version', 1)}, and youki knows {', '.join(map(str, PLUGINS))}",
            path=str(path),
            remedy="convert it to version 2, with 'containerd config migrate' where there is that command",
        )
    table: dict[str, Any] = settings.get("plugins", {}).get(plugin, {}).get("containerd", {})
    return plugin, table


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(str(path), [Problem("", str(error), "TOML")]) from None


def absence() -> tuple[str, str | None] | None:
    """Return why containerd cannot be asked, and what to do."""
    try:
        call("ctr", "--connect-timeout", "1s", "version")
    except Error as error:
        return error.message, "systemctl start containerd"
    return None


def probe(runtime: str, directory: Path, name: str) -> None:
    """Let containerd run a container, in a namespace of its own. Raises Error."""
    try:
        options = ("--rm", "--runc-binary", runtime, "--rootfs")
        ran(
            call(
                "ctr", "--namespace", name, "run", *options, f"{directory}/rootfs", name, "/init", check=False
            )
        )
    finally:
        call("ctr", "namespaces", "remove", name, check=False)
