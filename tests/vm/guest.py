"""A virtual machine on this machine's own files, for tests that need another arrangement of control groups.

`virtme-ng` boots Debian's kernel in qemu, without hardware virtualization, with the root file system of this machine.
What is done inside changes nothing outside but the one directory that both share. Inside, control groups are version 2
only: in the arrangement "v2" nobody manages them, in the arrangement "systemd" a systemd does that is process 1.
`machine/` holds what runs there: `init` prepares the machine, `script` runs the command, `units/` is systemd's part.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "build/vm"  # where tools/bootstrap unpacks one
VIRTME = Path(sys.executable).with_name("virtme-run")
SYSTEMD = Path("/lib/systemd/systemd")
SHARED = "/mnt"  # the shared directory as the guest sees it; machine/init mounts it
LINGERING = "lingering"  # the user whose systemd runs in the arrangement "systemd"
MEMORY = "4G"  # without swap, and all that is written is in it
BOOT_S = 180  # patience for boot and power-off on a busy machine
END_S = 30  # patience for the end of what was killed
TAIL = 4000  # how much of an output is shown

# The devices are those that virtme-run gives; `init` needs no parameter.
KERNEL_PARAMETERS = "console=ttyS0 earlyprintk=serial,ttyS0,115200 loglevel=4 panic=-1 audit=off"
# What the guest does not need of the interpreter and of the tree; anchored nowhere, as tar's patterns are.
LEFT_OUT = (
    *("*.a", "*/.git", "*/.hypothesis", "*/.mypy_cache", "*/.ruff_cache", "*/.pytest_cache"),
    *("*/config-3*", "*/ensurepip", "*/idlelib", "*/lib/python3*/test", "*/.venv/bin/ruff", "*mypyc*"),
    *(f"*/site-packages/{name}" for name in ("mesonbuild", "mypy*", "pip")),
)
NEEDED = (  # program, and the Debian package that brings it
    (str(VIRTME), "virtme-ng"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("depmod", "kmod"),
    ("busybox", "busybox-static"),
)
NEEDED_FOR_SYSTEMD = (  # file, and the Debian package that brings it
    (SYSTEMD, "systemd"),
    (Path("/usr/lib/systemd/user/dbus.socket"), "dbus-user-session"),
)


class Outcome:
    """What a guest left: the exit code of its command, None when it did not come to its end, and what it said."""

    def __init__(self, code: int | None, shared: Path, complaint: str) -> None:
        self.code = code
        self.shared = shared
        self.complaint = complaint

    def __repr__(self) -> str:
        parts = [f"the guest's command ended with {self.code}; {self.complaint}".rstrip("; ")]
        for name in ("output", "boot", "console"):
            text = _text(self.shared / name).strip()
            if text:
                parts.append(f"--- the end of its {name}:\n{text[-TAIL:]}")
        return "\n".join(parts)


def kernel() -> Path | None:
    """Return the newest kernel that was unpacked for the tests, None without one."""
    found = sorted(KERNELS.glob("boot/vmlinuz-*"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def lacking(arrangement: str) -> str | None:
    """Return what is missing for a guest, as the reason of a skip; None when everything is there."""
    if os.geteuid() != 0:
        return "needs root: the guest reads this machine's files as they are"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [package for program, package in NEEDED if shutil.which(program, path=path) is None]
    if arrangement == "systemd":
        missing += [package for file, package in NEEDED_FOR_SYSTEMD if not file.exists()]
    if missing:
        return f"no virtual machine without {', '.join(missing)} (Debian packages; see tools/bootstrap)"
    if kernel() is None:
        return "no virtual machine without a kernel for it (`make test-vm` fetches one)"
    return None


def boot(arrangement: str, command: str, shared: Path, *, timeout_s: float) -> Outcome:
    """Run the shell command `command` as root inside of a guest, in a copy of this tree; wait for its end.

    `shared` is a directory that both see, there as /mnt; files for the guest are put there before, and its results
    are found there. `timeout_s` bounds the command; after it, and some patience for the boot, the guest is ended.
    """
    shared.mkdir(parents=True, exist_ok=True)
    _pack(shared / "tree.tar")
    (shared / "command").write_text(command)
    (shared / "environment").write_text(
        "".join(f"{name}={shlex.quote(value)}\n" for name, value in _environment(arrangement).items())
    )
    with open(shared / "console", "wb") as console:
        complaint = _run(_machine(shared), console.fileno(), timeout_s + BOOT_S)
    (shared / "tree.tar").unlink()
    code = _text(shared / "code").strip()
    return Outcome(int(code) if code else None, shared, complaint)


def _environment(arrangement: str) -> dict[str, str]:
    """Return what the programs in machine/ read."""
    found = kernel()
    assert found is not None
    version = found.name.partition("-")[2]
    return {
        "ARRANGEMENT": arrangement,
        "ROOT": str(ROOT),
        "PROGRAMS": str(Path(sys.executable).parent),
        "MODULES": str(KERNELS / "lib/modules" / version),
        "COPIED": " ".join(_copied()),
        "LINGERING": LINGERING,
    }


def _machine(shared: Path) -> list[str]:
    """Return the command that is the guest. virtme-run brings the initial ramdisk with the modules and the devices."""
    parameters = f"{KERNEL_PARAMETERS} init={ROOT}/tests/vm/machine/init"
    return [
        *(str(VIRTME), "--kimg", str(kernel()), "--mods", "auto", "--force-9p", "--disable-kvm"),
        *("--disable-microvm", "--cpus", "2", "--memory", MEMORY, "--overlay-rwdir", "/tmp"),
        *("--rwdir", f"{SHARED}={shared}", "--qemu-opts", "-no-reboot", "-append", parameters),
    ]


def _run(command: list[str], console: int, timeout_s: float) -> str:
    """Run the guest in a session of its own, so that nothing of it outlives the time that it has.

    Returns a complaint, empty without one.
    """
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"}
    streams = {"stdin": subprocess.DEVNULL, "stdout": console, "stderr": console}
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **streams) as process:
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return f"it was not done after {timeout_s:.0f} s and was ended"
        finally:
            if process.poll() is None:  # the group stays ours to name until its leader has been waited for
                os.killpg(process.pid, 9)
                _await_end(process.pid)
    return "" if process.returncode == 0 else f"qemu ended with {process.returncode}"


def _await_end(session: int) -> None:
    """Wait for the end of what was killed: qemu has the guest's memory to give back first."""
    deadline = time.monotonic() + END_S
    while any(_lives_in(session, path) for path in Path("/proc").glob("[0-9]*/stat")):
        if time.monotonic() > deadline:
            return  # whoever looks for what is left finds it
        time.sleep(0.01)


def _lives_in(session: int, path: Path) -> bool:
    """Tell whether a process is of this session, and no zombie. proc_pid_stat(5), fields 3 and 6."""
    try:
        fields = path.read_text().rpartition(")")[2].split()
    except OSError:
        return False  # it ended meanwhile
    return int(fields[3]) == session and fields[0] not in "ZX"


def _copied() -> list[str]:
    """Return the directories that the guest gets as copies: the interpreter's library, and this tree."""
    base = sys.base_prefix
    library = sysconfig.get_path("stdlib") if base in ("/", "/usr", "/usr/local") else base
    return [library, str(ROOT)]


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
