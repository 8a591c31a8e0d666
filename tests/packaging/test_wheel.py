"""What is in the wheel, and that it works where neither the source tree nor a compiler is."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import stat
import subprocess
import tomllib
import zipfile
from typing import TYPE_CHECKING

import pytest

from libcontainer.version import VERSION
from tests.packaging.elf import (
    PF_W,
    PF_X,
    PT_DYNAMIC,
    PT_GNU_RELRO,
    PT_GNU_STACK,
    PT_INTERP,
    PT_LOAD,
    SHT_SYMTAB,
    Elf,
    read,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packaging.conftest import Installation

SIZE_LIMIT_BYTES = 100 * 1024
ARCHITECTURE = platform.machine()
DATA = f"libcontainer-{VERSION}.data"


@pytest.fixture(scope="session", params=["init", "youki"])
def program(request: pytest.FixtureRequest, installation: Installation) -> Path:
    """Return each native program as it is installed."""
    venv = installation.directory
    if request.param == "youki":
        return venv / "bin" / "youki"
    return next(venv.glob("lib/python3*/site-packages/libcontainer/_bin/init"))


@pytest.fixture(scope="session")
def elf(program: Path) -> Elf:
    """Return the program's headers."""
    return read(program)


def test_wheel_serves_every_python_of_this_architecture(wheel: Path) -> None:
    """A program beside the modules needs no wheel for each Python version; its tag must not ask for one."""
    assert wheel.name == f"libcontainer-{VERSION}-py3-none-linux_{ARCHITECTURE}.whl"


def test_wheel_holds_every_module_and_nothing_else(wheel: Path, checkout: Path) -> None:
    """A module that is forgotten breaks only the users; a C source or a cache in the wheel is dead weight."""
    modules = {os.fspath(path.relative_to(checkout / "src")) for path in (checkout / "src").rglob("*.py*")}
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")}
    names = {name.removeprefix(f"{DATA}/") for name in files}
    python = {f"purelib/{name}" for name in modules}
    assert {name for name in names if name.endswith((".py", ".pyi"))} == python
    rest = names - python - {"purelib/libcontainer/_bin/init", "scripts/youki"}
    assert all(name.endswith("/py.typed") for name in rest), rest


def test_wheel_marks_both_programs_as_executable_files(wheel: Path) -> None:
    """Installers copy the mode from the archive; some drop the run bit without the regular-file bit."""
    with zipfile.ZipFile(wheel) as archive:
        modes = {
            info.filename: info.external_attr >> 16
            for info in archive.infolist()
            if "/_bin/" in info.filename or "/scripts/" in info.filename
        }
    assert len(modes) == 2
    assert all(stat.S_ISREG(mode) and stat.S_IMODE(mode) == 0o755 for mode in modes.values()), modes


def test_wheel_needs_no_other_distribution(wheel: Path) -> None:
    """No mandatory dependency: everything that it requires belongs to an extra."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"libcontainer-{VERSION}.dist-info/METADATA").decode()
    required = re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)
    assert [line for line in required if "extra ==" not in line] == []
    assert re.search(r"^Requires-Python: >=\s*3\.11$", metadata, re.MULTILINE)


def test_installed_program_has_its_run_bit(program: Path) -> None:
    """The mode that counts is the one after installation."""
    assert os.access(program, os.X_OK)


@pytest.mark.skipif(not shutil.which("musl-gcc") or "CC" in os.environ, reason="not built with musl")
def test_program_is_small(program: Path) -> None:
    """init is copied into a sealed memfd for each container and runs inside its memory limit."""
    assert program.stat().st_size < SIZE_LIMIT_BYTES


def test_program_is_static(elf: Elf) -> None:
    """A loader or library found inside the container would be its code with our privileges."""
    assert PT_INTERP not in elf.kinds
    assert PT_DYNAMIC not in elf.kinds


def test_no_memory_of_program_is_writable_and_executable(elf: Elf) -> None:
    """What an attacker can write must not run; that includes the stack."""
    assert [segment for segment in elf.segments if segment.flags & PF_W and segment.flags & PF_X] == []
    assert PT_GNU_STACK in elf.kinds


def test_program_protects_its_relocated_data(elf: Elf) -> None:
    """Constants with addresses in them are read-only once the program has started."""
    assert PT_GNU_RELRO in elf.kinds
    assert sum(segment.kind == PT_LOAD for segment in elf.segments) >= 2


def test_program_is_stripped(elf: Elf) -> None:
    """Symbols and debugging information would be most of the file."""
    assert SHT_SYMTAB not in elf.sections


def test_program_does_not_remember_where_it_was_built(program: Path, checkout: Path) -> None:
    """Two builds of one source are the same bytes, and a wheel tells nothing of its builder's directories."""
    assert os.fsencode(checkout.parent) not in program.read_bytes()


def test_library_imports_without_source_and_compiler(installation: Installation) -> None:
    """What the installed `import libcontainer` finds is the installed one."""
    code = "import libcontainer, libcgroups, sys; print(libcontainer.__file__)"
    done = installation.run(installation.directory / "bin" / "python", "-I", "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(os.fspath(installation.directory))


def test_installed_init_is_the_one_that_the_library_expects(installation: Installation) -> None:
    """Both halves carry the same build id; init refuses to run for anybody but the library."""
    init = next(installation.directory.glob("lib/python3*/site-packages/libcontainer/_bin/init"))
    done = installation.run(init)
    assert done.returncode == 1
    assert "libcontainer" in done.stderr


def test_installed_command_prints_its_version(installation: Installation) -> None:
    """`youki` is found beside the interpreter and runs without `site`."""
    done = installation.run(installation.directory / "bin" / "youki", "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"youki version {VERSION}"


def test_module_form_of_the_command_works_too(installation: Installation) -> None:
    """`python -m youki` is what remains where the environment lies on a noexec file system."""
    done = installation.run(installation.directory / "bin" / "python", "-m", "youki", "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"youki version {VERSION}"


@pytest.mark.root
def test_installed_doctor_makes_containers(installation: Installation) -> None:
    """It needs nothing but what is in the wheel and the host's own programs."""
    done = installation.run(installation.directory / "bin" / "youki", "doctor", "--json", "rootful", "limits")
    found = json.loads(done.stdout)["findings"]
    assert [finding["status"] for finding in found] == ["works", "works"], found


def test_installed_install_names_the_installed_command(installation: Installation, tmp_path: Path) -> None:
    """An engine calls youki by its absolute path."""
    youki = installation.directory / "bin" / "youki"
    done = installation.run(youki, "install", "--dry-run", "--destdir", tmp_path, "podman")
    assert f'+youki = ["{youki}"]' in done.stdout


def test_version_is_the_same_everywhere(source_tree: Path, wheel: Path) -> None:
    """The build file, the library and the wheel's name tell one version."""
    build_file = (source_tree / "meson.build").read_text()
    assert re.search(r"^  version: '(.*)',$", build_file, re.MULTILINE)[1] == VERSION  # type: ignore[index]
    assert wheel.name.split("-")[1] == VERSION
    assert tomllib.loads((source_tree / "pyproject.toml").read_text())["project"]["dynamic"] == ["version"]


def test_source_release_holds_every_tracked_file(source_release: Path, checkout: Path) -> None:
    """Distributions build from it, and run its tests."""
    listed = subprocess.run(
        ["tar", "--list", "--file", source_release], capture_output=True, text=True, check=True
    ).stdout
    packed = {line.partition("/")[2] for line in listed.splitlines() if not line.endswith("/")}
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=checkout, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert set(tracked) - packed == set()


def test_build_file_names_every_source_of_init(source_tree: Path) -> None:
    """A source that is not listed is not linked."""
    directory = source_tree / "src" / "libcontainer" / "init"
    named = re.findall(r"^  '([^']+\.c)',$", (directory / "meson.build").read_text(), re.MULTILINE)
    assert named == sorted(path.name for path in directory.glob("*.c"))
