"""Read and check config.json and process.json. On the hot path."""

from __future__ import annotations

import errno
import os

from libcontainer.errors import InvalidArgument, InvalidConfig
from libcontainer.spec.check import check, check_process
from libcontainer.strictjson import loads, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from libcontainer.errors import Problem

CONFIG = "config.json"
"""The name of the configuration in a bundle (bundle.md)."""

MOST_SHARED = 16
LONGEST_SHARED = 1 << 18  # bytes; an engine's profile of seccomp takes some 16 KiB
_shared: dict[bytes, dict[str, Any]] = {}


def load(bundle: str, config: str | None = None) -> tuple[dict[str, Any], bytes]:
    """Return the checked configuration of the directory `bundle`, and the file as it was read.

    `config` is another file than config.json: absolute, or relative to the bundle. Members that are null
    are left out of the value: they are the same as absent. Raises InvalidConfig with every problem, and
    InvalidArgument where the file cannot be read.
    """
    data, path = _read(bundle, config)
    return _parse(data, path, check), data


def load_shared(bundle: str, config: str | None = None) -> tuple[dict[str, Any], bytes]:
    """Return what `load` does, for who changes nothing of it: it belongs to all who ask for the same text.

    A program makes many containers of few configurations. What a text means depends on nothing but the text, so
    one that was checked is not checked again.
    """
    data, path = _read(bundle, config)
    spec = _shared.get(data)
    if spec is None:
        spec = _parse(data, path, check)
        if len(_shared) >= MOST_SHARED:
            _shared.clear()
        if len(data) <= LONGEST_SHARED:
            _shared[data] = spec
    return spec, data


def _read(bundle: str, config: str | None) -> tuple[bytes, str]:
    path = os.path.join(bundle, CONFIG if config is None else config)
    try:
        return read_file(path), path
    except InvalidArgument as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            error.remedy = (
                "name the directory of the bundle, or write a configuration there with `youki spec`"
                if config is None
                else "give the path of a configuration that exists, or leave it out to take the bundle's own"
            )
        raise


def load_process(path: str) -> dict[str, Any]:
    """Return the checked process of the file `path`, as `exec --process` takes it. Raises as `load` does."""
    return _parse(read_file(path, pipe=True), path, check_process)


def copy_process(process: object, source: str = "process") -> dict[str, Any]:
    """Return a checked copy of the process object `process`. Raises InvalidConfig with every problem."""
    value = _checked(_copy(process), source, check_process)
    drop_nulls(value)
    return value


def _parse(data: bytes, source: str, judge: Callable[[object], list[Problem]]) -> dict[str, Any]:
    value = _checked(loads(data, source=source), source, judge)
    if b"null" in data:
        drop_nulls(value)
    return value


def _checked(value: object, source: str, judge: Callable[[object], list[Problem]]) -> dict[str, Any]:
    problems = judge(value)
    if problems or not isinstance(value, dict):
        raise InvalidConfig(source, problems)
    return value


def _copy(value: object) -> object:
    """Return a copy of plain data; a tuple becomes the list that it stands for."""
    if isinstance(value, dict):
        return {name: _copy(child) for name, child in value.items()}
    return [_copy(child) for child in value] if isinstance(value, (list, tuple)) else value


def drop_nulls(value: object) -> None:
    """Take the null members out of a checked `value`, at any depth, in place."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            for name in [name for name, child in item.items() if child is None]:
                del item[name]
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
