"""The entry point: `python3 -I -S …/youki/__main__.py`, as the launcher calls it, or `python3 -m youki`.

The launcher's -I and -S keep environment, working directory and site-packages out, and save milliseconds; the
price is that this file has to say where the packages are. Python compiles it each time, so it stays small.
"""

import sys

if __name__ == "__main__":
    sys.path.insert(0, __file__.rpartition("/youki/")[0])
    from youki.entry import enter

    enter(sys.argv[1:])
