"""The version as `youki --version` prints it, in the layout of runc's."""

from __future__ import annotations

import sys

from libcontainer.version import OCI_VERSION, VERSION


def text() -> str:
    """Return the versions of youki, of the OCI runtime specification that it implements, and of Python."""
    python = ".".join(map(str, sys.version_info[:3]))
    return f"youki version {VERSION}\nspec: {OCI_VERSION}\npython: {python}\n"
