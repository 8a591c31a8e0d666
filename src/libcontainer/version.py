"""The version of this distribution, and of the OCI runtime specification that it implements.

The build file (meson.build) holds the distribution's version too; a test keeps the two equal. Asking the
installed metadata instead would cost 36 milliseconds of imports.
"""

from __future__ import annotations

VERSION = "0.1.0"
OCI_VERSION_MIN = "1.0.0"
OCI_VERSION = "1.3.0"
