"""podman, and with it buildah: a drop-in file of containers.conf(5)."""

from __future__ import annotations

from youki.engines import call, ran
from youki.engines.place import Edit, Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "podman"
NEXT = "podman --runtime youki run …", "podman run …"  # not, and as, the default

HEADER = "# Written by 'youki install podman'; 'youki install podman --remove' takes it away.\n"


def drop_in(place: Place) -> Path:
    """Return the file that is ours alone."""
    name = "containers/containers.conf.d/50-youki.conf"
    return place.file(host=f"etc/{name}", user=name)


def edits(place: Place, runtime: str, *, default: bool) -> list[Edit]:
    """Return what makes podman know the runtime, and use it unless told otherwise if it is the `default`."""
    chosen = '[engine]\nruntime = "youki"\n\n' if default else ""
    text = f'{HEADER}{chosen}[engine.runtimes]\nyouki = ["{quoted(runtime)}"]\n'
    return [Edit(drop_in(place), text)]


def removal(place: Place) -> list[Edit]:
    """Return what makes podman forget it."""
    return [Edit(drop_in(place), None)]


def quoted(text: str) -> str:
    """Return a text for between the quotes of a TOML basic string."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def absence() -> tuple[str, str | None] | None:
    """Return why podman cannot be asked, and what to do: it always can."""


def probe(runtime: str, directory: Path, name: str) -> None:
    """Let podman run a container, in storage of its own. Raises Error.

    `podman system reset` would clean up, but it takes the user's networks with it.
    """
    storage = (
        "--root",
        f"{directory}/storage",
        "--runroot",
        f"{directory}/run",
        "--tmpdir",
        f"{directory}/tmp",
    )
    podman = ("podman", *storage, "--storage-driver", "vfs", "--runtime", runtime)
    try:
        where = ("--network", "none", "--name", name, "--rootfs")
        ran(call(*podman, "run", "--rm", *where, f"{directory}/rootfs", "/init", check=False))
    finally:
        call(*podman, "rm", "--all", "--force", "--time", "0", check=False)
        call(*podman, "system", "migrate", check=False)  # ends the process that keeps a user's namespaces
