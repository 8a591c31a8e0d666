"""CVE-2019-5736: whoever can write to the executable of a process that entered a container owns the host."""

from __future__ import annotations

import errno
import hashlib
import sys
from pathlib import Path

import pytest

from libcontainer import PIPE
from libcontainer.sealed import PROGRAM

from ..integration.conftest import Bundle
from .hostile import await_file, errnos, grant_all, inner_pid, neighbour

HOST_PROGRAMS = (PROGRAM, sys.executable)
REFUSAL = "this program is a part of libcontainer and is started by it only\n"


def digests() -> list[str]:
    return [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in HOST_PROGRAMS]


def test_neighbour_with_every_capability_cannot_write_to_the_executable_of_init(attacker: Bundle) -> None:
    """A privileged container in the same pid namespace may open init's executable; neither while it runs nor
    after its end can a byte of it be changed, and what the host runs next is the same.
    """
    before, tmp = digests(), attacker.rootfs / "tmp"
    grant_all(attacker)
    out = attacker.path / "attack"
    with (
        open(out, "wb") as stdout,
        attacker.build(
            "/attacker", "overwrite", "/tmp/target", "/tmp/held", "/tmp/go", stdout=stdout.fileno()
        ) as first,
    ):
        first.start()
        second = neighbour(attacker, "second", first, "pid")
        with second.build("sleep", "1000") as waiting:
            (tmp / "pid").write_text(str(inner_pid(waiting)))
            (tmp / "pid").rename(tmp / "target")
            await_file(tmp / "held")
        (tmp / "go").touch()
        assert first.wait(20).code == 0
    found = errnos(out.read_text())
    assert found["hold"] == 0, "the attack did not take place"
    assert found["write-while-it-runs"] == errno.ETXTBSY
    assert found["write"] in (errno.EPERM, errno.EBADF)
    assert {found["grow"], found["shrink"], found["truncate"]} <= {errno.EPERM, errno.EINVAL, errno.EBADF}
    assert digests() == before
    third = neighbour(attacker, "third", first)
    assert third.sh("echo unharmed").stdout == "unharmed\n"


@pytest.mark.parametrize("line", ["#!/proc/self/exe", "#!/proc/self/exe 3", "#!/proc/1/exe 0"])
def test_entry_point_interpreted_by_init_itself_is_refused(attacker: Bundle, line: str) -> None:
    """`#!/proc/self/exe` makes the kernel start init again, under the image's control: it does nothing."""
    before = digests()
    grant_all(attacker)
    script = attacker.rootfs / "evil"
    script.write_text(f"{line}\n")
    script.chmod(0o755)
    result = attacker.run("/evil")
    assert (result.status.code, result.stderr) == (1, REFUSAL)
    assert digests() == before


@pytest.mark.parametrize("args", [["/proc/self/exe"], ["/proc/self/exe", "0"], ["/proc/1/exe", "3"]])
def test_init_named_as_payload_is_refused(attacker: Bundle, args: list[str]) -> None:
    """The same without a script: the payload would be init, with arguments of the attacker's choice."""
    grant_all(attacker)
    result = attacker.run(*args)
    assert (result.status.code, result.stderr) == (1, REFUSAL)


@pytest.mark.parametrize("args", [["/evil"], ["/proc/self/exe"], ["/proc/self/exe", "3"]])
def test_tenant_that_would_be_init_itself_is_refused(attacker: Bundle, args: list[str]) -> None:
    """The way in which the number was first used: the image's shell, which `exec` starts, is `#!/proc/self/exe`."""
    before = digests()
    grant_all(attacker)
    script = attacker.rootfs / "evil"
    script.write_text("#!/proc/self/exe\n")
    script.chmod(0o755)
    with attacker.build("sleep", "1000") as container:
        container.start()
        with container.exec(args, stderr=PIPE) as process:
            assert process.communicate(timeout=20) == (None, REFUSAL.encode())
            assert process.returncode == 1
    assert digests() == before
