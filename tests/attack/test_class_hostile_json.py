"""Configurations made to exhaust, to crash, or to be read differently by two readers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..integration.conftest import Bundle
from .hostile import python_youki

LIMITED = ("sh", "-c", 'ulimit -v 400000; exec "$@"', "sh")
HEAD = b'{"ociVersion": "1.0.0", "root": {"path": "rootfs"}, '

BOMBS: dict[str, bytes] = {
    "deep lists": b"[" * 5_000_000,
    "deep objects": b'{"a":' * 1_000_000,
    "deep and closed": HEAD + b'"annotations": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "long number": HEAD + b'"process": {"user": {"uid": ' + b"9" * 1_000_000 + b"}}}",
    "great exponent": HEAD + b'"process": {"user": {"uid": 1e999999999}}}',
    "many members": b"{" + b",".join(b'"%d":0' % number for number in range(500_000)) + b"}",
    "many errors": b'{"mounts": [' + b"0," * 500_000 + b"0]}",
    "too large": b'{"a": "' + b"x" * (40 << 20) + b'"}',
    "two values": HEAD + b'"process": {"user": {"uid": 1000}, "user": {"uid": 0}}}',
    "two spellings": HEAD + b'"process": {"user": {"uid": 1000}, "us\\u0065r": {"uid": 0}}}',
    "not a number": HEAD + b'"process": {"oomScoreAdj": NaN}}',
    "half a pair": HEAD + b'"hostname": "\\ud800"}',
    "nul": HEAD + b'"hostname": "a\\u0000b"}',
    "UTF-16": '{"ociVersion": "1.0.0"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + HEAD + b'"x": 0}',
    "not UTF-8": HEAD + b'"hostname": "\xff\xfe"}',
    "comment": HEAD + b'/* */ "x": 0}',
    "more than one": HEAD + b'"x": 0}{}',
    "empty": b"",
    "terminal escape": HEAD + b'"hostname": "\x1b[2J"}',
}


@pytest.mark.parametrize("name", BOMBS)
def test_hostile_configuration_is_an_ordinary_error(bundle: Bundle, name: str) -> None:
    """In bounded memory, without a traceback, without control characters, and with nothing made."""
    config = bundle.path / "hostile.json"
    config.write_bytes(BOMBS[name])
    done = python_youki(bundle, "create", "--config", str(config), bundle.id, prefix=LIMITED)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "MemoryError" not in done.stderr
    assert len(done.stderr) < 20_000
    assert done.stderr.replace("\n", "").isprintable()
    assert not (bundle.root / bundle.id).exists()


@pytest.mark.parametrize("kind", ["fifo", "/dev/zero", "/proc/kmsg", "directory", "link to itself"])
def test_configuration_that_is_no_file_is_refused(bundle: Bundle, kind: str) -> None:
    """Reading one of these would never end, or take away what somebody else waits for."""
    config = bundle.path / "hostile.json"
    if kind == "fifo":
        os.mkfifo(config)
    elif kind == "directory":
        config.mkdir()
    else:
        config.symlink_to("hostile.json" if kind == "link to itself" else kind)
    done = python_youki(bundle, "create", "--config", str(config), bundle.id, prefix=LIMITED)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_record_that_was_tampered_with_is_an_ordinary_error(bundle: Bundle) -> None:
    """The same holds for what the runtime itself has written."""
    with bundle.build("sleep", "1000"):
        record = Path(bundle.root / bundle.id / "state.json")
        honest = record.read_bytes()
        for hostile in (
            *[BOMBS[name] for name in ("deep lists", "two values", "UTF-16", "empty")],
            honest[:-1],
        ):
            record.write_bytes(hostile)
            done = python_youki(bundle, "state", bundle.id, prefix=LIMITED)
            assert done.returncode == 1
            assert "Traceback" not in done.stderr
        record.write_bytes(honest)
