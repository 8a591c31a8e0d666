"""The entry point: `python3 -I -S …/youki/__main__.py`, as the launcher calls it, or `python3 -m youki`.

The launcher's -I and -S keep environment, working directory and site-packages out, and save milliseconds; the
price is that this file has to say where the packages are. Python does not cache the entry point's byte code,
so it stays small.
"""

from __future__ import annotations

import gc
import os
import sys


def open_standard_descriptors() -> None:
    """Open /dev/null on each of 0, 1 and 2 that is closed.

    Otherwise the next file opened would become standard output, and a message would be written into it
    (CVE-2024-21626 is what stray descriptors lead to).
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(
                os.open("/dev/null", os.O_RDWR), True
            )  # open(2) takes the lowest free number: fd


if __name__ == "__main__":
    gc.disable()  # a command lives for milliseconds; looking for garbage among its imports is one of them
    open_standard_descriptors()
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from youki.main import main

    code = main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it was closed when the interpreter started
            stream.flush()
    os._exit(code)  # taking the interpreter apart would cost another millisecond, and nothing is left to do
