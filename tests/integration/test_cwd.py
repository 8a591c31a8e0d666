"""The payload's working directory: config.md "cwd", CVE-2024-21626, on the real kernel."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from libcontainer import Container, SetupError

if TYPE_CHECKING:
    from .conftest import Bundle


def test_the_payload_starts_in_its_directory(bundle: Bundle) -> None:
    """Also through a symbolic link, which the kernel resolves inside the container."""
    (bundle.rootfs / "srv/data").mkdir(parents=True)
    (bundle.rootfs / "link").symlink_to("/srv/data")
    bundle.process["cwd"] = "/link"

    assert bundle.run("pwd", "-P").stdout == "/srv/data\n"


def test_a_missing_directory_is_made(bundle: Bundle) -> None:
    """As engines expect of WORKDIR; for everybody to enter."""
    bundle.process["cwd"] = "/made/for/you"

    assert bundle.run("sh", "-c", "pwd; stat -c %a .").stdout == "/made/for/you\n755\n"


def test_a_missing_directory_on_a_read_only_root_is_an_error(bundle: Bundle) -> None:
    """It cannot be made, and the payload must not start elsewhere."""
    bundle.spec["root"]["readonly"] = True
    bundle.process["cwd"] = "/made"

    with pytest.raises(SetupError, match="entering the working directory /made") as caught:
        bundle.build("true")

    assert caught.value.pointer == "/process/cwd"


def test_a_file_is_no_working_directory(bundle: Bundle) -> None:
    """The error names the place and the reason."""
    bundle.process["cwd"] = "/etc/passwd"

    with pytest.raises(SetupError, match="Not a directory"):
        bundle.build("true")


def test_a_directory_that_only_the_user_may_enter_is_entered_as_that_user(bundle: Bundle) -> None:
    """Without CAP_DAC_OVERRIDE root cannot enter it; a home on NFS with root squash is the usual case."""
    home = bundle.rootfs / "home/alice"
    home.mkdir(parents=True)
    os.chown(home, 1000, 1000)
    home.chmod(0o700)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["cwd"] = "/home/alice"

    assert bundle.run("pwd").stdout == "/home/alice\n"


def test_a_directory_that_the_user_may_not_enter_is_an_error(bundle: Bundle) -> None:
    """Entering it as root and staying would give the user what its own rights do not."""
    (bundle.rootfs / "secret").mkdir(mode=0o700)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["cwd"] = "/secret"

    with pytest.raises(SetupError, match="Permission denied") as caught:
        bundle.build("true")

    assert caught.value.pointer == "/process/cwd"
    assert Container.list(bundle.root) == []


@pytest.mark.parametrize("number", range(3, 16))
@pytest.mark.parametrize("through_link", [False, True])
def test_a_leaked_descriptor_leads_nowhere(bundle: Bundle, number: int, through_link: bool) -> None:
    """CVE-2024-21626: /proc/self/fd/N as working directory is refused, or inside the container's own root."""
    target = f"/proc/self/fd/{number}"
    if through_link:
        (bundle.rootfs / "trap").symlink_to(target)
        target = "/trap"
    bundle.process["cwd"] = target
    (bundle.rootfs / "marker").touch()

    try:
        outcome = bundle.sh("cd ../../../../../../../../.. && ls -d marker").stdout
    except SetupError as error:
        outcome = error.pointer or ""

    assert outcome in ("marker\n", "/process/cwd")
