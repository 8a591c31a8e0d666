"""The version of the vocabulary of plans: a digest of plan/operations.py, written by plan/generate.py and
compiled into init, so that a plan made by one version is refused by another.

By itself, because `start` compares it and needs no operation. On the hot path.
"""

from __future__ import annotations

BUILD_ID = 0xEDC2CF584FEF34
