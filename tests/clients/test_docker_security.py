"""docker run: capabilities, seccomp, privileges."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .docker import Docker

STATUS = ("grep", "-E", "^(Cap|NoNewPrivs|Seccomp)", "/proc/self/status")


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--cap-drop", "ALL"),
        ("--cap-drop", "ALL", "--cap-add", "CHOWN"),
        ("--cap-add", "SYS_TIME"),
        ("--cap-add", "NET_ADMIN", "--user", "alice"),
        ("--privileged",),
        ("--security-opt", "no-new-privileges"),
        ("--security-opt", "seccomp=unconfined"),
    ],
    ids=lambda options: "-".join(word.strip("-") for word in options) or "usual",
)
def test_status(docker: Docker, observed: list[Any], options: tuple[str, ...]) -> None:
    """Capabilities, no_new_privs and the seccomp mode of the payload are those that runc gives it."""
    observed.append(docker.run(*STATUS, options=options).lines)
    assert len(observed[0]) >= 7


@pytest.mark.parametrize(
    ("options", "dropped"),
    [(("--cap-drop", "ALL"), True), (("--cap-drop", "ALL", "--cap-add", "CHOWN"), False)],
)
def test_capabilities_are_in_force(docker: Docker, options: tuple[str, ...], dropped: bool) -> None:
    """The kernel asks them."""
    assert (docker.run("chown", "1:1", "/root", options=options, check=False).code != 0) is dropped


def test_default_profile(docker: Docker) -> None:
    """Docker's profile refuses to make a user namespace."""
    done = docker.run("unshare", "-U", "true", check=False)
    assert done.code == 1
    assert "Operation not permitted" in done.stderr


def test_profile_of_a_file(docker: Docker) -> None:
    """`--security-opt seccomp=FILE`: one system call is refused with the error that the file names."""
    profile = docker.daemon.directory / "profile.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    done = docker.run("mkdir", "/new", options=("--security-opt", f"seccomp={profile}"), check=False)
    assert "No space left on device" in done.stderr


def test_privileged(docker: Docker) -> None:
    """`--privileged` may mount, and writes to /proc/sys and /sys."""
    assert (
        docker.sh("mount -t tmpfs none /mnt && test -w /proc/sys/kernel && echo done", "--privileged").stdout
        == "done\n"
    )


@pytest.mark.slow
def test_user_without_capabilities(docker: Docker) -> None:
    """An unprivileged user has none in effect."""
    done = docker.run("chown", "1:1", "/tmp", options=("--user", "alice"), check=False)
    assert "Operation not permitted" in done.stderr
