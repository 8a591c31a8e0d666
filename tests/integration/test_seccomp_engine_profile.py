"""The default profile of container engines, every system call, through every gate into the kernel.

The profile is the one that Debian ships for Podman, read as Podman reads it. What it says is evaluated directly
(tests/tools/meaning.py) and compared with what the kernel does to a probe; a call that is allowed must end as it does
without a filter.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..tools.meaning import X32, X86, X86_64, meaning

if TYPE_CHECKING:
    from .conftest import Bundle

PROFILE = Path("/usr/share/containers/seccomp.json")
HEADERS = {X86_64: "unistd_64.h", X86: "unistd_32.h", X32: "unistd_x32.h"}
GATES = {"x86_64": X86_64, "x86": X86, "x32": X32}
LAST = 600
ALL_ONES = {X86_64: (1 << 64) - 1, X86: (1 << 32) - 1, X32: (1 << 64) - 1}
# Of these the answer depends on the first argument, which libseccomp looks at: socketcall(2), ipc(2).
MULTIPLEXERS = {X86: ("socketcall", "ipc")}
# uretprobe and uprobe: the kernel's own, which it keeps from filters (Linux 6.14, kernel/seccomp.c).
UNFILTERED = {X86_64: {335, 336}}

pytestmark = [
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs x86_64"),
    pytest.mark.skipif(
        not PROFILE.exists(), reason="needs the profile (Debian: golang-github-containers-common)"
    ),
]


def engine_profile(capabilities: list[str]) -> dict[str, Any]:
    """Return the profile in the form of the runtime-spec, for a container with these capabilities."""
    source = json.loads(PROFILE.read_text())
    rules = []
    for entry in source["syscalls"]:
        includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
        if "amd64" in (excludes.get("arches") or ()) or set(excludes.get("caps") or ()) & set(capabilities):
            continue
        if includes.get("arches") and "amd64" not in includes["arches"]:
            continue
        if not set(includes.get("caps") or ()) <= set(capabilities):
            continue
        rules.append(
            {name: entry[name] for name in ("names", "action", "args", "errnoRet") if entry.get(name)}
        )
    native = next(item for item in source["archMap"] if item["architecture"] == "SCMP_ARCH_X86_64")
    return {
        "defaultAction": source["defaultAction"],
        "defaultErrnoRet": source["defaultErrnoRet"],
        "architectures": [native["architecture"], *native["subArchitectures"]],
        "syscalls": rules,
    }


def numbers(arch: int) -> dict[str, int]:
    """Return the numbers that the kernel's headers give to the names; x32 ones without their bit."""
    header = next((path for path in Path("/usr/include").glob(f"**/asm/{HEADERS[arch]}")), None)
    if header is None:
        pytest.skip("needs the kernel's headers (Debian: linux-libc-dev)")
    pattern = r"^#define __NR_(\w+) (?:\(__X32_SYSCALL_BIT \+ (\d+)\)|(\d+))$"
    return {name: int(a or b) for name, a, b in re.findall(pattern, header.read_text(), re.MULTILINE)}


def told(bundle: Bundle, gate: str) -> dict[int, str]:
    """Return what became of each call."""
    result = bundle.run("probe", gate, "all", str(LAST), timeout=120)
    assert result.status.code == 0, result
    return {int(line.partition(" ")[0]): line.partition(" ")[2] for line in result.lines}


def in_words(answer: int, otherwise: str) -> str:
    """Return what the probe tells of an answer of the filter; `otherwise` of a call that is let through."""
    if answer == 0x7FFF_0000:
        return otherwise
    return "signal 31" if answer >> 16 != 5 else f"errno {answer & 0xFFFF}" if answer & 0xFFFF else "ok"


def compare(bundle: Bundle, seccomp: dict[str, Any], gate: str) -> dict[int, tuple[str, str]]:
    """Return for each call that ends otherwise than the profile says: how it ends, and how it should."""
    arch = GATES[gate]
    table = numbers(arch)
    bundle.linux.pop("seccomp", None)
    free = told(bundle, gate)
    bundle.linux["seccomp"] = seccomp
    filtered = told(bundle, gate)
    skipped = {table[name] for name in MULTIPLEXERS.get(arch, ())} | UNFILTERED.get(arch, set())
    expected = {
        number: in_words(meaning(seccomp, table, arch, number, (ALL_ONES[arch],) * 6), free[number])
        for number in range(LAST + 1)
    }
    assert len(filtered) == LAST + 1
    return {
        number: (filtered[number], words)
        for number, words in expected.items()
        if not same(filtered[number], words) and number not in skipped
    }


def same(one: str, other: str) -> bool:
    """Whether a call ended alike. One that is let through may take longer one time: sync(2) waits for the disk."""
    return one == other or {one, other} == {"ok", "waits"}


@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("gate", GATES)
def test_every_call_ends_as_the_profile_says(
    probe: Bundle,
    gate: str,
    no_new_privileges: bool,
) -> None:
    """All numbers up to 600, whether this kernel knows them or not."""
    probe.process["noNewPrivileges"] = no_new_privileges
    seccomp = engine_profile(probe.process["capabilities"]["bounding"])

    assert compare(probe, seccomp, gate) == {}


@pytest.mark.parametrize("gate", GATES)
def test_newer_calls_are_unknown_where_the_profile_forbids_by_default(probe: Bundle, gate: str) -> None:
    """With EPERM by default, as Docker's profile has it."""
    seccomp = engine_profile(probe.process["capabilities"]["bounding"])
    seccomp["defaultErrnoRet"] = 1
    seccomp["syscalls"] = [rule for rule in seccomp["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW"]

    assert compare(probe, seccomp, gate) == {}


@pytest.mark.parametrize("gate", ["x86", "x32"])
def test_other_gates_are_closed_where_the_profile_does_not_list_them(probe: Bundle, gate: str) -> None:
    """Every call ends the process."""
    seccomp = engine_profile(probe.process["capabilities"]["bounding"])
    seccomp["architectures"] = ["SCMP_ARCH_X86_64"]
    probe.linux["seccomp"] = seccomp

    assert set(told(probe, gate).values()) == {"signal 31"}


@pytest.mark.parametrize("userns", [False, True])
def test_ordinary_programs_run(bundle: Bundle, userns: bool) -> None:
    """In a shell, as an engine starts them."""
    if userns:
        bundle.add_userns()
    bundle.linux["seccomp"] = engine_profile(bundle.process["capabilities"]["bounding"])

    result = bundle.sh(
        "ls / >/dev/null && cp /bin/busybox /tmp && /tmp/busybox date >/dev/null && echo done | cat"
    )

    assert (result.lines, result.stderr) == (["done"], "")


@pytest.mark.parametrize("gate", GATES)
def test_every_call_ends_as_with_runc(probe: Bundle, gate: str) -> None:
    """With EPERM by default, where the two differ from runtimes that know of no newer calls."""
    runc = shutil.which("runc", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if runc is None:
        pytest.skip("runc is not installed")
    seccomp = engine_profile(probe.process["capabilities"]["bounding"]) | {"defaultErrnoRet": 1}
    seccomp["syscalls"] = [rule for rule in seccomp["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW"]
    probe.spec["ociVersion"] = "1.0.2"
    probe.linux["seccomp"] = seccomp

    ours = told(probe, gate)
    theirs = subprocess.run(
        [runc, "--root", probe.path / "runc", "run", probe.id],
        cwd=probe.path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip

    assert [f"{number} {words}" for number, words in ours.items()] == theirs.stdout.splitlines()
