"""Make the virtual environment ready for work on the source tree: the `dev` requirements, and links to src/.

Run with the virtual environment's own Python; name extras to install these instead of `dev`. Links, not an
editable install: the launcher starts Python without `site`, which finds nothing but what lies in site-packages; and
an edit is live at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGES = ("libcgroups", "libcontainer", "youki")


def requirements(extra: str) -> list[str]:
    """Return the requirements of an extra in pyproject.toml."""
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        found: list[str] = tomllib.load(file)["project"]["optional-dependencies"][extra]
    return found


def install(packages: list[str]) -> None:
    """Install requirements into this virtual environment. Raises CalledProcessError."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        *packages,
    ]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def link_packages() -> None:
    """Let site-packages/PACKAGE be src/PACKAGE, relative, so that the tree can be moved as a whole."""
    site_packages = sysconfig.get_path("purelib")
    for package in PACKAGES:
        link = os.path.join(site_packages, package)
        if os.path.islink(link):
            os.unlink(link)
        os.symlink(os.path.relpath(os.path.join(ROOT, "src", package), site_packages), link)


def main() -> None:
    """Do both. Refuses to touch a Python that is no virtual environment."""
    if sys.prefix == sys.base_prefix:
        sys.exit("develop: this Python is not a virtual environment; run `make build`")
    for extra in sys.argv[1:] or ["dev"]:
        install(requirements(extra))
    link_packages()


if __name__ == "__main__":
    main()
