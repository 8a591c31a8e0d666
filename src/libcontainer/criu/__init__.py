"""Checkpoint and restore: a container's processes written to files by CRIU, and made from them again.

CRIU is a program (https://criu.org). We speak its RPC: `messages.py` has the form of the messages, `service.py` the
conversation with `criu swrk`; `checkpoint.py` and `restore.py` decide what is asked of it, `spec.py` what of a
configuration it must be told. None of it is imported before it is used.
"""
