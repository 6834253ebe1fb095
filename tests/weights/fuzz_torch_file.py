"""Damages real files at random and reads them: each read succeeds or ends in a ValueError, soon and in little memory.

    python -m tests.weights.fuzz_torch_file --cases 20000 [FILE ...]

By default the small files under tests/weights/files, written by PyTorch, are damaged; other files are named. A case is
a cut, flipped bits, overwritten bytes, a removed or a repeated part, or bits flipped in the first 4096 bytes only.
"""
import argparse
import collections
import pathlib
import random
import resource
import tempfile
import time

import numpy as np

from ghost_ms.weights.torch_file import read

FILES = sorted(path for path in (pathlib.Path(__file__).parent / "files").iterdir() if path.suffix != ".npz")
#: Address space that reading may take beyond what the process has at the start and the size of the file.
ROOM = 256 << 20


def damage(data, draw):
    """(kind, bytes): a damaged copy of `data`."""
    kind = draw.choice(("cut", "bits", "bytes", "removed", "repeated", "head"))
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.choice((1, 2, 8, 64, 512)))
    if kind == "cut":
        return kind, data[:start]
    if kind == "removed":
        return kind, data[:start] + data[end:]
    if kind == "repeated":
        return kind, data[:end] + data[start:]
    changed = bytearray(data)
    reach = min(len(data), 4096) if kind == "head" else len(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        at = draw.randrange(reach)
        changed[at] = draw.randrange(256) if kind == "bytes" else changed[at] ^ 1 << draw.randrange(8)
    return kind, bytes(changed)


def attempt(path):
    """'read' or 'refused'; any other exception is the caller's to see."""
    try:
        tensors, _ = read(path)
    except ValueError as error:
        assert str(error).startswith((f"cannot read {path}: ", f"{path} is empty")) and "\n" not in str(error)
        return "refused"
    for value in tensors.values():
        np.array(value)
    return "read"


def run(cases, seed=0, files=None):
    """(outcomes by kind of damage, longest time of a case in seconds); raises at the first wrong outcome."""
    draw, outcomes, longest = random.Random(seed), collections.Counter(), 0.0
    sources = {path: pathlib.Path(path).read_bytes() for path in files or FILES}
    with tempfile.TemporaryDirectory() as folder:
        for case in range(cases):
            source = draw.choice(list(sources))
            kind, data = damage(sources[source], draw)
            path = pathlib.Path(folder, f"{case}{pathlib.Path(source).suffix}")
            path.write_bytes(data)
            start = time.perf_counter()
            try:
                outcomes[kind, attempt(path)] += 1
            except Exception as error:
                raise AssertionError(f"case {case} of seed {seed} ({kind} of {source}): {error!r}") from error
            longest = max(longest, time.perf_counter() - start)
            path.unlink()
    return outcomes, longest


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="files to damage instead of the small ones")
    parser.add_argument("--cases", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with open("/proc/self/statm", encoding="ascii") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    largest = max(pathlib.Path(path).stat().st_size for path in options.files or FILES)
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM + 4 * largest,) * 2)
    outcomes, longest = run(options.cases, options.seed, options.files)
    for (kind, outcome), count in sorted(outcomes.items()):
        print(f"{kind:9} {outcome:8} {count}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{sum(outcomes.values())} cases, longest {longest * 1e3:.0f} ms, peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
