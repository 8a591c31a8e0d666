"""A virtual machine on this machine's own files, for tests that need another arrangement of control groups.

`virtme-ng` boots Debian's kernel in qemu, without hardware virtualization and with the root file system of this
machine, read-only below a layer of its own. What is done inside changes nothing outside but the directory that
both share. Inside, control groups are version 2 only; with `systemd=True` systemd is process 1.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "build/vm/boot"  # where tools/bootstrap unpacks one
VNG = Path(sys.executable).with_name("vng")
SHARED = "/mnt"  # the shared directory as the guest sees it
MEMORY = "2G"
BOOT_S = 180  # patience for boot and power-off on a busy machine

# What the guest does not need of the interpreter and of the tree; anchored nowhere, as tar's patterns are.
LEFT_OUT = (
    *("*.a", "*/.git", "*/.hypothesis", "*/.mypy_cache", "*/.ruff_cache", "*/.pytest_cache"),
    *("*/config-3*", "*/ensurepip", "*/idlelib", "*/lib/python3*/test"),
    *(
        "*/site-packages/mesonbuild",
        "*/site-packages/mypy*",
        "*/site-packages/pip",
        "*mypyc*",
        "*/.venv/bin/ruff",
    ),
)

# The guest reads its root file system over 9p, a round trip for every look; hence the copies in memory.
PREPARE = """
modprobe loop
set -e
mount -t tmpfs -o mode=1777 none /tmp
for directory in {directories}; do mount -t tmpfs -o mode=755 none "$directory"; done
tar -xf {shared}/tree.tar -C /
cd {root}
export PATH={programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1
set +e
"""

# Nothing of this machine's services: a target of our own, with the message bus and the script.
SYSTEMD = """
mkdir -p /run/units
cat >/run/units/guest.target <<'END'
[Unit]
DefaultDependencies=no
Requires=dbus.socket guest.service
END
cat >/run/units/guest.service <<'END'
[Unit]
DefaultDependencies=no
Requires=dbus.socket
After=dbus.socket
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh {shared}/service
StandardOutput=append:{shared}/output
StandardError=append:{shared}/output
END
cat >/run/units/dbus.socket <<'END'
[Unit]
DefaultDependencies=no
[Socket]
ListenStream=/run/dbus/system_bus_socket
END
cat >/run/units/dbus.service <<'END'
[Unit]
DefaultDependencies=no
Requires=dbus.socket
[Service]
Type=notify
ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile
END
env -i container=guest SYSTEMD_UNIT_PATH=/run/units: SYSTEMD_LOG_TARGET=console PATH="$PATH" \
    unshare --pid --fork --kill-child --mount --mount-proc /lib/systemd/systemd --system --unit=guest.target
exit "$(cat {shared}/service-code)"
"""
SERVICE = """
cd {root}
export PATH={programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1
(
{script}
)
echo $? >{shared}/service-code
"""


class Outcome:
    """What a guest left: the exit code of the script (None when it did not come to its end) and its output."""

    def __init__(self, code: int | None, output: str, console: str, directory: Path) -> None:
        self.code = code
        self.output = output
        self.console = console
        self.directory = directory

    def __repr__(self) -> str:
        told = self.output or self.console
        return f"Outcome({self.code}, …{told[-4000:]!r})"


def kernel() -> Path | None:
    """Return the newest kernel that was unpacked for the tests, None without one."""
    found = sorted(KERNELS.glob("vmlinuz-*"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def lacking() -> str | None:
    """Return what is missing for a guest, as the reason of a skip; None when everything is there."""
    if os.geteuid() != 0:
        return "needs root: the guest reads this machine's files as they are"
    for program, source in (
        (str(VNG), "virtme-ng"),
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("depmod", "kmod"),
    ):
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            return f"no virtual machine without {source} (`make test-vm` installs it)"
    if kernel() is None:
        return "no virtual machine without a kernel for it (`make test-vm` fetches one)"
    return None


def boot(script: str, shared: Path, *, timeout_s: float, systemd: bool = False) -> Outcome:
    """Run the shell script `script` as root inside of a guest, in a copy of this tree; wait for its end.

    `shared` is a directory that both see, there as /mnt; files for the guest are put there before, and its results
    are found there. `timeout_s` bounds the script, not the boot.
    """
    shared.mkdir(parents=True, exist_ok=True)
    _pack(shared / "tree.tar")
    if systemd:
        (shared / "service").write_text(SERVICE.format(script=script, **_words()))
        script = SYSTEMD.format(**_words())
    (shared / "script").write_text(PREPARE.format(**_words()) + script)
    command = _command(shared)
    with open(shared / "console", "wb") as console:
        _run(command, console.fileno(), timeout_s + BOOT_S)
    (shared / "tree.tar").unlink()
    code = _text(shared / "code").strip()
    return Outcome(int(code) if code else None, _text(shared / "output"), _text(shared / "console"), shared)


def _command(shared: Path) -> list[str]:
    found = kernel()
    assert found is not None
    words = [
        *(str(VNG), "--disable-kvm", "--disable-microvm", "--cpus", "2", "--memory", MEMORY),
        *("--append", "panic=-1", "--run", str(found), "--rwdir", f"{SHARED}={shared}"),
    ]
    return [*words, "--", f"/bin/sh {SHARED}/script >{SHARED}/output 2>&1; echo $? >{SHARED}/code"]


def _run(command: list[str], console: int, timeout_s: float) -> None:
    """Run the guest in a session of its own, so that nothing of it outlives the time that it has."""
    environment = {
        **os.environ,
        "PATH": f"{VNG.parent}:{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin",
    }
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=console,
        stderr=console,
        start_new_session=True,
    ) as process:
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.write(console, b"\nguest: its time is over\n")
        finally:
            _end_session(process)


def _end_session(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group; it stays ours to name until its leader has been waited for."""
    if process.poll() is None:
        os.killpg(process.pid, 9)


def _copied() -> list[str]:
    """Return the directories that the guest gets as copies: the interpreter's library, and this tree."""
    base = sys.base_prefix
    library = sysconfig.get_path("stdlib") if base in ("/", "/usr", "/usr/local") else base
    return [library, str(ROOT)]


def _words() -> dict[str, str]:
    """Return what the scripts name."""
    return {
        "directories": " ".join(shlex.quote(path) for path in _copied()),
        "shared": SHARED,
        "root": shlex.quote(str(ROOT)),
        "programs": shlex.quote(str(VNG.parent)),
    }


def _pack(archive: Path) -> None:
    """Write the directories into one file, which is read in one go."""
    library = sysconfig.get_path("stdlib").lstrip("/")
    excludes = [
        *LEFT_OUT,
        f"{library}/site-packages",
        *(f"{ROOT}/{name}"[1:] for name in ("build", "build-sanitize", "dist")),
    ]
    subprocess.run(
        [
            *("tar", "--create", "--file", str(archive), "--directory", "/", "--warning=no-file-changed"),
            *(f"--exclude={pattern}" for pattern in excludes),
            *(path.lstrip("/") for path in _copied()),
        ],
        stdin=subprocess.DEVNULL,
        check=False,  # 1: a file changed while it was read
    )
    assert archive.stat().st_size > 1 << 20


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
