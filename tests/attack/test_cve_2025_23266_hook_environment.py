"""CVE-2025-23266, a hook that runs on the host with the container's LD_PRELOAD."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..integration.conftest import Bundle

KINDS = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")


def reporters(path: Path, env: list[str] | None) -> list[dict[str, object]]:
    """Return hooks that tell the environment and the working directory that they were started with."""
    more = {} if env is None else {"env": env}
    return [
        {"path": "/bin/dd", "args": ["dd", "if=/proc/self/environ", f"of={path}.env"], **more},
        {"path": "/bin/cp", "args": ["cp", "--no-dereference", "/proc/self/cwd", f"{path}.cwd"], **more},
    ]


@pytest.mark.parametrize("env", [None, ["OF_THE_HOOK=1"]])
def test_hook_has_its_own_environment_only(
    bundle: Bundle, victim: Path, env: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the container's variables nor the runtime's reach a hook of the host, and it starts in the bundle."""
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "1")
    bundle.process["env"] += ["LD_PRELOAD=/proc/self/cwd/evil.so", "LD_LIBRARY_PATH=.", "OF_THE_CONTAINER=1"]
    (bundle.rootfs / "evil.so").write_text("evil")
    bundle.spec["hooks"] = {kind: reporters(victim / kind, env) for kind in KINDS}
    assert bundle.run("true").status.code == 0
    for kind in KINDS:
        found = (victim / f"{kind}.env").read_text()
        assert found == "".join(f"{item}\0" for item in env or []), kind
        assert os.readlink(victim / f"{kind}.cwd") == str(bundle.path), kind
