"""The build backend: meson-python, after a C compiler was chosen.

The choice, first match wins: `$CC`; `musl-gcc`; `cc`, `gcc` or `clang` (static glibc, larger); the `ziglang`
wheel, which the build front end then installs as a build requirement. Nothing else differs from meson-python
(PEP 517, PEP 660).

Run as a program it prints the choice as shell commands, for tools/configure.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
from typing import Any

SYSTEM_COMPILERS = ("musl-gcc", "cc", "gcc", "clang")
ZIG_REQUIREMENT = "ziglang >= 0.13"


def system_compiler() -> str | None:
    """Return `$CC`, or the first C compiler of this machine, or None."""
    if os.environ.get("CC"):
        return os.environ["CC"]
    return next((name for name in SYSTEM_COMPILERS if shutil.which(name)), None)


def zig(*arguments: str) -> str:
    """Return a command of the ziglang wheel."""
    return shlex.join([sys.executable, "-m", "ziglang", *arguments])


def zig_tools() -> dict[str, str]:
    """Return the compiler of static musl programs, and the archiver that meson insists on."""
    return {"CC": zig("cc", "-target", f"{platform.machine()}-linux-musl"), "AR": zig("ar")}


def toolchain() -> dict[str, str]:
    """Return the variables that tell meson what to compile with."""
    compiler = system_compiler()
    return {"CC": compiler} if compiler else zig_tools()


def requirements() -> list[str]:
    """Return what must be installed beside meson-python to compile on this machine."""
    return [] if system_compiler() else [ZIG_REQUIREMENT]


def build_wheel(wheel_directory: str, settings: Any = None, metadata_directory: str | None = None) -> str:
    """Build a wheel. PEP 517."""
    import mesonpy

    os.environ.update(toolchain())
    return str(mesonpy.build_wheel(wheel_directory, settings, metadata_directory))


def build_editable(wheel_directory: str, settings: Any = None, metadata_directory: str | None = None) -> str:
    """Build an editable wheel. PEP 660."""
    import mesonpy

    os.environ.update(toolchain())
    return str(mesonpy.build_editable(wheel_directory, settings, metadata_directory))


def build_sdist(sdist_directory: str, settings: Any = None) -> str:
    """Build a source release. PEP 517."""
    import mesonpy

    os.environ.update(toolchain())
    return str(mesonpy.build_sdist(sdist_directory, settings))


def get_requires_for_build_wheel(settings: Any = None) -> list[str]:
    """PEP 517."""
    import mesonpy

    return [*mesonpy.get_requires_for_build_wheel(settings), *requirements()]


def get_requires_for_build_editable(settings: Any = None) -> list[str]:
    """PEP 660."""
    import mesonpy

    return [*mesonpy.get_requires_for_build_editable(settings), *requirements()]


def get_requires_for_build_sdist(settings: Any = None) -> list[str]:
    """PEP 517."""
    import mesonpy

    # meson-python configures the project to list its files, and configuring needs a compiler.
    return [*mesonpy.get_requires_for_build_sdist(settings), *requirements()]


if __name__ == "__main__":
    for name, command in toolchain().items():
        print(f"export {name}={shlex.quote(command)}")
