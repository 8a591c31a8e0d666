"""Fuzz init's plan decoder for some seconds: python tools/fuzz.py SECONDS.

Starts from one small plan for each operation, with libFuzzer where clang made build-sanitize, otherwise
with the fuzzer's own seeded generator. Exits with the fuzzer's status; what it found lies in build-sanitize/.
"""

from __future__ import annotations

import os
import subprocess
import sys

from libcontainer.plan import encode, operations

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build-sanitize")
SEED = 1
SAMPLES: dict[str, object] = {"Text": b"/dev/null", "Blob": b"a\0b", "Texts": [b"a", b"bc"], "Fd": 0}


def sample(kind: type[operations.Op]) -> operations.Op:
    """Return an operation with a plausible value for each operand."""
    operands = {name: SAMPLES.get(operand, 1) for name, operand in zip(kind.FIELDS, kind.KINDS, strict=True)}
    return kind(pointer="", **operands)


def write_seeds(directory: str) -> list[str]:
    """Write a plan of each operation, and one of all of them, and return their paths."""
    os.makedirs(directory, exist_ok=True)
    samples = [sample(kind) for kind in operations.OPERATIONS.values()]
    plans = {type(op).__name__: [op] for op in samples} | {"all": samples}
    paths = []
    for name, ops in plans.items():
        path = os.path.join(directory, name)
        with open(path, "wb") as file:
            file.write(encode.encode(ops, descriptors=1))
        paths.append(path)
    return paths


def command(seconds: int) -> list[str]:
    """Return the fuzzer's command line."""
    fuzzer = os.path.join(BUILD, "plan_fuzz")
    seeds = os.path.join(BUILD, "seeds")
    paths = write_seeds(seeds)
    if os.path.exists(os.path.join(BUILD, "libfuzzer")):
        found = os.path.join(BUILD, "corpus")
        os.makedirs(found, exist_ok=True)
        limits = [f"-max_total_time={seconds}", "-max_len=4096", f"-seed={SEED}", "-print_final_stats=1"]
        return [fuzzer, *limits, f"-artifact_prefix={BUILD}/", found, seeds]
    return [fuzzer, str(seconds), str(SEED), *paths]


def main() -> int:
    """Run the fuzzer."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    return subprocess.run(command(seconds), stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
