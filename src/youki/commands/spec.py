"""youki spec: write a config.json to start from."""

from __future__ import annotations

import os

from libcontainer.errors import AlreadyExists, Error, InvalidArgument
from libcontainer.spec.defaults import default_spec, rootless_spec
from libcontainer.strictjson import dumps
from youki.log import reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(args: Arguments, _settings: Arguments) -> None:
    spec = rootless_spec(os.geteuid(), os.getegid()) if args.rootless else default_spec()
    write_new(os.path.join(args.bundle, args.file), dumps(spec, indent=2) + "\n")


def write_new(path: str, text: str) -> None:
    """Write `text` to the new file `path`; raises AlreadyExists rather than overwrite somebody's work."""
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise AlreadyExists(
            f"{path} exists already", path=path, remedy="remove it first, or choose another file with -f"
        ) from None
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InvalidArgument(
            f"cannot write {path}: {reason(error)}",
            path=path,
            errno=error.errno,
            remedy="make the bundle directory first",
        ) from None
    except OSError as error:
        raise Error(
            f"cannot write {path}: {reason(error)}",
            path=path,
            errno=error.errno,
            remedy="choose a directory that you may write to with -b",
        ) from None
