"""The v1 misc controller: scalar resources of the machine, which are measured only; see libcgroups.misc."""

from __future__ import annotations

from libcgroups import misc

NAME = "misc"
stats = misc.stats
