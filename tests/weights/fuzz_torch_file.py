"""Damages real files at random and reads them: each read succeeds or ends in a ValueError, soon and in little memory.

    python -m tests.weights.fuzz_torch_file --cases 10000 --seed 1 [--formats zip legacy safetensors] [FILE ...]

So many cases of each format are read in processes of their own, with limits of memory and time. By default the small
files under tests/weights/files, written by PyTorch, are damaged; other files are named. A case is a cut, flipped bits,
overwritten bytes, a removed or a repeated part, bits flipped in the first 4096 bytes only; or damage inside: a pickle
or a header of JSON that is changed and packed anew, so that checksum and length are right, or an archive whose
directory is. What was read is then searched for its weights and for what it says of itself, as a command does.
"""
import argparse
import collections
import io
import json
import multiprocessing
import pathlib
import pickletools
import random
import resource
import struct
import sys
import tempfile
import time
import zipfile

import numpy as np

from ghost_ms.weights.agreement import parse
from ghost_ms.weights.pick import Wanted, pick, prefix_hint, without_prefix
from ghost_ms.weights.torch_file import read

FOLDER = pathlib.Path(__file__).parent / "files"
FORMATS = {"zip": ("zip.pth", "module.pth"), "legacy": ("legacy.pth", "checkpoint.pth.tar"),
           "safetensors": ("tensors.safetensors", "described.safetensors")}
FILES = [FOLDER / name for names in FORMATS.values() for name in names]
#: Address space that reading may take beyond what the process has at the start and the size of the file.
ROOM = 256 << 20
#: Seconds that a case may take.
LONGEST = 20
_VALUES = ("0", "-1", "1", "2147483648", "9223372036854775807", "99999999999999999999", "1e999", "null", "[]", "{}",
           '""', '"F32"', "[0]", "[[[]]]", "true", "NaN")
_STRANGE = (b"R", b".", b"(", b"t", b"}", b"]", b"b", b"Q", b"0", b"2", b"e", b"u", b"s", b"N", b"\x85", b"\x93",
            b"ctorch\nSize\n", b"cos\nsystem\n", b"ccollections\nOrderedDict\n", b"X\xff\xff\xff\x7f", b"q\x01",
            b"h\x00", b"cnumpy.core.multiarray\n_reconstruct\n", b"carg\nparse\n", b"\x8b\xff\xff\xff\x7f", b")\x81",
            b")R", b"G@")
_NUMBERS = (b"K", b"M", b"J", b"\x8a")
_WANTED = Wanted(["0.weight", "0.bias", "tied.a"], ["0.bias"], True, lambda name: name.startswith("dtype"))


def damage(data, draw):
    """(kind, bytes): a damaged copy of `data`."""
    kind = draw.choice(("cut", "bits", "bytes", "removed", "repeated", "head", "inside", "inside"))
    if kind == "inside":
        return kind, _inside(data, draw)
    return kind, _blindly(data, kind, draw)


def _blindly(data, kind, draw):
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.choice((1, 2, 8, 64, 512)))
    if kind == "cut":
        return data[:start]
    if kind == "removed":
        return data[:start] + data[end:]
    if kind == "repeated":
        return data[:end] + data[start:]
    changed = bytearray(data)
    reach = min(len(data), 4096) if kind == "head" else len(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        at = draw.randrange(reach)
        changed[at] = draw.randrange(256) if kind == "bytes" else changed[at] ^ 1 << draw.randrange(8)
    return bytes(changed)


def _inside(data, draw):
    if data[:4] == b"PK\x03\x04":
        return _archive(data, draw)
    if data[8:9] == b"{":
        return _header(data, draw)
    return _pickle(data, draw)


def _pickle(data, draw):
    """Instructions left out, doubled, exchanged, or with another number; of all pickles that follow one another."""
    parts, at = [], 0
    try:
        while data[at:at + 1] == b"\x80":
            starts = [start + at for _, _, start in pickletools.genops(io.BytesIO(data[at:]))]
            ends = [*starts[1:], starts[-1] + 1]
            parts += [data[start:end] for start, end in zip(starts, ends)]
            at = ends[-1]
    except ValueError:
        pass  # already damaged: what was read so far is changed
    if not parts:
        return _blindly(data, "bytes", draw)
    for _ in range(draw.choice((1, 1, 2, 4))):
        index, other = draw.randrange(len(parts)), draw.randrange(len(parts))
        how = draw.choice(("number", "number", "drop", "double", "swap", "stranger"))
        if how == "number":
            index = draw.choice([i for i, part in enumerate(parts) if part[:1] in _NUMBERS] or [index])
            parts[index] = b"\x8a\x08" + struct.pack("<q", draw.choice((-1, 0, 1, 2, 7, 1 << 20, 1 << 40, 1 << 62)))
        elif how == "stranger":
            parts[index] = draw.choice(_STRANGE)
        elif how == "swap":
            parts[index], parts[other] = parts[other], parts[index]
        else:
            parts[index] = b"" if how == "drop" else parts[index] * 2
    return b"".join(parts) + data[at:]


def _archive(data, draw):
    """A record damaged, doubled, renamed or packed, with the right checksum."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        records = [(info.filename, old.read(info)) for info in old.infolist()]
        chosen = draw.randrange(len(records)) if draw.random() < 0.3 else next(
            index for index, (name, _) in enumerate(records) if name.endswith("data.pkl"))
        for index, (name, content) in enumerate(records):
            method = zipfile.ZIP_STORED
            if index == chosen:
                how = draw.choice(("pickle", "pickle", "pickle", "blind", "blind", "name", "packed", "absent"))
                if how == "absent":
                    continue
                if content and how in ("pickle", "blind"):
                    content = _pickle(content, draw) if how == "pickle" else _blindly(
                        content, draw.choice(("cut", "bits", "bytes", "removed", "repeated")), draw)
                name += "x" if how == "name" else ""
                method = zipfile.ZIP_DEFLATED if how == "packed" else method
            new.writestr(name, content, method)
    return out.getvalue()


def _header(data, draw):
    """A value of the header's JSON replaced, or its text damaged, with the right length."""
    size = int.from_bytes(data[:8], "little")
    text, body = data[8:8 + size], data[8 + size:]
    if draw.random() < 0.3:
        text = _blindly(text, draw.choice(("cut", "bits", "bytes", "removed", "repeated")), draw)
    else:
        header = json.loads(text)
        name = draw.choice(list(header))
        field = draw.choice(list(header[name]))
        if name == "__metadata__" and draw.random() < 0.8:
            told = _blindly(header[name][field].encode(), draw.choice(("cut", "bytes", "removed")), draw)
            header[name][field] = told.decode("latin-1")
            text = json.dumps(header).encode()
        else:
            header[name][field] = "@"
            text = json.dumps(header).replace('"@"', draw.choice(_VALUES)).encode()
    return struct.pack("<Q", len(text)) + text + body


def attempt(path):
    """'read' or 'refused'; any other exception is the caller's to see."""
    try:
        tensors, metadata = read(path)
    except ValueError as error:
        assert str(error).startswith((f"cannot read {path}: ", f"{path} is empty")) and "\n" not in str(error)
        return "refused"
    for value in tensors.values():
        np.array(value)
    for use in (lambda: _search(tensors, False), lambda: _search(tensors, True), lambda: parse(metadata["ghost_ms"])):
        try:
            use()
        except ValueError as error:
            assert str(error).isprintable(), error
        except KeyError:
            assert "ghost_ms" not in metadata
    return "read"


def _search(tensors, ema):
    _, state, _ = pick(tensors, ema)
    prefix_hint(without_prefix(state, _WANTED)[1], _WANTED)


def run(cases, seed=0, files=None, progress=None):
    """(outcomes by kind of damage, longest time of a case in seconds); raises at the first wrong outcome.

    Args:
        progress: takes the number of each case before it is read.
    """
    draw, outcomes, longest = random.Random(seed), collections.Counter(), 0.0
    sources = {path: pathlib.Path(path).read_bytes() for path in files or FILES}
    with tempfile.TemporaryDirectory() as folder:
        for case in range(cases):
            source = draw.choice(list(sources))
            kind, data = damage(sources[source], draw)
            path = pathlib.Path(folder, f"{case}{pathlib.Path(source).suffix}")
            path.write_bytes(data)
            if progress:
                progress(case)
            start = time.perf_counter()
            try:
                outcomes[kind, attempt(path)] += 1
            except Exception as error:
                raise AssertionError(f"case {case} of seed {seed} ({kind} of {source}): {error!r}") from error
            longest = max(longest, time.perf_counter() - start)
            path.unlink()
    return outcomes, longest


def _work(cases, seed, files, current, results):
    """In a process of its own: nothing it does can take more memory or time than it is given."""
    with open("/proc/self/statm", encoding="ascii") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    largest = max(pathlib.Path(path).stat().st_size for path in files)
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM + 4 * largest,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def progress(case):
        current.value = case
        used = resource.getrusage(resource.RUSAGE_SELF)
        soft = int(used.ru_utime + used.ru_stime) + LONGEST + 1
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))

    outcomes, longest = run(cases, seed, files, progress)
    results.put((outcomes, longest, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))


def measure(cases, seed, files):
    """(outcomes, longest time in s, peak memory of a read in KiB, what ended the process or '') of one process."""
    context = multiprocessing.get_context("fork")
    current, results = context.Value("i", -1), context.Queue()
    process = context.Process(target=_work, args=(cases, seed, files, current, results))
    process.start()
    try:
        outcomes, longest, peak = results.get(timeout=cases * LONGEST) if _ended_well(process, results) else ({}, 0, 0)
    finally:
        process.join(LONGEST)
    failure = "" if process.exitcode == 0 else f"case {current.value} of seed {seed}: exit code {process.exitcode}"
    return outcomes, longest, peak, failure


def _ended_well(process, results):
    while process.is_alive() and results.empty():
        process.join(0.2)
    return not results.empty() or process.exitcode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="files to damage instead of the small ones")
    parser.add_argument("--formats", nargs="*", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--cases", type=int, default=10000, help="of each format (default 10000)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    groups = {"named": options.files} if options.files else {
        name: [FOLDER / file for file in FORMATS[name]] for name in options.formats}
    failures = []
    for name, files in groups.items():
        outcomes, longest, peak, failure = measure(options.cases, options.seed, files)
        for (kind, outcome), count in sorted(dict(outcomes).items()):
            print(f"{name:11} {kind:9} {outcome:8} {count}")
        print(f"{name}: {sum(dict(outcomes).values())} cases, longest {longest * 1e3:.0f} ms, "
              f"{peak / 1024:.0f} MiB more than at the start {failure}")
        failures += [failure] if failure else []
    sys.exit("; ".join(failures) or None)


if __name__ == "__main__":
    main()
