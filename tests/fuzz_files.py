"""Files of strangers: damages small valid ones and hands them to what reads them; nothing may crash, hang or swell.

    python -m tests.fuzz_files --count 10000 --format ckpt [--seed 0] [--keep FOLDER]

Each case is a function of seed, format and its number. It is run by the real entry functions in a worker process, whose
address space may grow by the format's `room` after its imports, and which has `LIMIT` seconds for a case. A worker that
dies is started anew behind the case that killed it. A case ends as

    accepted    the file was used
    refused     ValueError or OSError of one line
    contained   a runtime crashed on the file, in the process of its own that it is run in
    crash       the worker died, or raised anything else
    hang        it took longer than the limit
    memory      it asked for more address space than it may

To add a format, add a line to `FORMATS`: what makes the small valid files, what reads one, and perhaps a way to change
one that keeps its format (`mutations`).
"""
import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Callable, Dict, NamedTuple, Optional

import numpy as np

from tests import mutations

#: Seconds of a case, cases of a worker.
LIMIT, CASES = 20, 500
BAD = ("crash", "hang", "memory")


class Format(NamedTuple):
    """One kind of files.

    Args:
        make: folder -> None; writes small valid files there, whose names begin with 'seed'.
        run: path -> None where it was used, or another outcome; raises ValueError or OSError where it is refused.
        edit: (bytes, generator) -> bytes of the same format.
        room: bytes by which the address space of the worker may grow.
    """

    make: Callable[[pathlib.Path], None]
    run: Callable[[str], Optional[str]]
    edit: Optional[Callable[[bytes, random.Random], bytes]] = None
    room: int = 1 << 30


def _description():
    from tests.deploy.test_export import _description

    return _description("tiny", (32, 32))


def _network():
    from ghost_ms.analysis.measure.verify_worker import randomize_statistics

    return randomize_statistics(_description().build()).set_train(False)


def _make_ckpt(folder):
    from ghost_ms.checkpoints.checkpoint import save_checkpoint
    from ghost_ms.training.resume import TrainerState

    progress = TrainerState(1, 2, 0.5, 0.25, [{"epoch": 1, "test_top1": 50.0}], {"train.epochs": 3}, 1, 40)
    save_checkpoint(_network(), str(folder / "seed-network.ckpt"), _description())
    save_checkpoint(_network(), str(folder / "seed-state.ckpt"), _description(), progress.to_json())
    # Without a checksum damage gets further.
    (folder / "seed-plain.ckpt").write_bytes((folder / "seed-state.ckpt").read_bytes()[:-17])


def _run_ckpt(path):
    from ghost_ms.checkpoints.checkpoint import restore
    from ghost_ms.training.resume import _read
    from ghost_ms.weights.files import read_ckpt

    used = 0
    for use in (lambda path: read_ckpt(path), restore, _read):
        try:
            use(path)
            used += 1
        except ValueError as error:
            refusal = error
            assert "\n" not in str(error), error
    if not used:
        raise refusal


def _exported(folder, kind):
    from ghost_ms.deploy import export
    from ghost_ms.runtime.signature import ExportSignature

    write = export.export_onnx if kind == "onnx" else export.export_mindir
    for name, form in (("seed-plain", ExportSignature()), ("seed-raw", ExportSignature(True, True))):
        write(_network(), _description(), str(folder / f"{name}.{kind}"), 1, form)
        # Its sidecar is another format.
        os.remove(folder / f"{name}.json")


def _images():
    """What the plain file and the raw one take."""
    from ghost_ms.runtime.signature import ExportSignature

    return [form.example(_description().preprocessing, 1) for form in (ExportSignature(), ExportSignature(True, True))]


def _try_both(run):
    """One of the two kinds of images fits; the file does not say which in a way that may be believed."""
    try:
        run(_images()[0])
    except ValueError:
        run(_images()[1])


def _run_onnx(path):
    from ghost_ms.deploy.lite import lower
    from ghost_ms.deploy.quantize import int8
    from ghost_ms.runtime.onnx import load_onnx

    for use in (int8.read_float, lambda path: lower.lower_file(path, path + ".lowered")):
        try:
            use(path)
        except ValueError as error:
            assert "\n" not in str(error), error
    _try_both(load_onnx(path, 1))


def _run_mindir(path):
    """As `mindir_process` does it, in a copy of this process: to start one for each file would take seconds."""
    from ghost_ms.graph.mindir_check import check_mindir

    check_mindir(path)
    child = os.fork()
    if child == 0:
        _use_mindir(path)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "contained"
    if os.WEXITSTATUS(status):
        raise ValueError("MindSpore does not take it")
    return None


def _use_mindir(path):
    import mindspore as ms

    from ghost_ms.graph.mindir_graph import read_graph
    from ghost_ms.runtime.mindir import load_mindir

    code = 1
    try:
        with contextlib.suppress(ValueError):
            read_graph(path)
        net = load_mindir(path)
        _try_both(lambda images: net(ms.Tensor(images)).asnumpy())
        code = 0
    finally:
        os._exit(code)


def _make_sidecar(folder):
    from ghost_ms.runtime.signature import ExportSignature
    from tests import tiny

    for name, form in (("plain", ExportSignature()), ("raw", ExportSignature(True, True))):
        (folder / f"{name}.onnx").write_bytes(b"exported")
        tiny.write_sidecar(str(folder / f"{name}.onnx"), _description(), 1, form)
        os.rename(folder / f"{name}.json", folder / f"seed-{name}.json")


def _run_sidecar(path):
    """Read, used on an image, and copied to another file."""
    from PIL import Image

    from ghost_ms.runtime import sidecar
    from ghost_ms.tasks import predict

    model = str(pathlib.Path(path).with_suffix(".onnx"))
    pathlib.Path(model).write_bytes(b"exported")
    image = pathlib.Path(path).with_suffix(".png")
    if not image.exists():
        Image.effect_noise((40, 50), 40).convert("RGB").save(image)
    found = sidecar.read_sidecar(model)
    other = str(pathlib.Path(path).with_name("other.ms"))
    pathlib.Path(other).write_bytes(b"converted")
    sidecar.copy_sidecar(model, other, 1, further={"a": 1})
    predict.as_json([predict.Predictor(lambda images: np.ones((len(images), 10), np.float32), found)(str(image), 3)])


FORMATS: Dict[str, Format] = {
    "ckpt": Format(_make_ckpt, _run_ckpt, mutations.ckpt_edit),
    "onnx": Format(lambda folder: _exported(folder, "onnx"), _run_onnx, mutations.protobuf_edit),
    "mindir": Format(lambda folder: _exported(folder, "mindir"), _run_mindir, mutations.protobuf_edit,
                     # MindSpore reserves 1.4 GB for its threads.
                     3 << 30),
    "sidecar": Format(_make_sidecar, _run_sidecar, mutations.json_edit),
}


def mutated(name, seeds, seed, case):
    """(ending, bytes) of a case."""
    draw = random.Random(f"{seed}/{name}/{case}")
    source = draw.choice(seeds)
    data, edit = source.read_bytes(), FORMATS[name].edit
    if edit and draw.random() < 0.7:
        return source.suffix, edit(data, draw)
    if draw.random() < 0.1:
        return source.suffix, mutations.splice(data, draw.choice(seeds).read_bytes(), draw)
    return source.suffix, mutations.damage(data, draw)


# --- a worker --------------------------------------------------------------------------------------------------------


def work(name: str, folder: pathlib.Path, seed: int, first: int, count: int) -> None:
    """Run cases, and print what became of each: its number before it, its outcome after it."""
    from ghost_ms.core import device
    from tests import tiny

    device.setup("CPU")
    out = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    with tiny.registered():
        seeds = seeds_of(name, folder)
        if not count:
            return
        FORMATS[name].run(str(seeds[0]))
        with open("/proc/self/statm", encoding="ascii") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + FORMATS[name].room,) * 2)
        for case in range(first, first + count):
            print(case, file=out, flush=True)
            print(json.dumps(run_case(name, folder, seeds, seed, case)), file=out, flush=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(["end", peak]), file=out, flush=True)


def seeds_of(name, folder):
    """The small valid files of a format, made where they are not there yet."""
    place = folder / f"{name}-seeds"
    if not place.is_dir():
        place.mkdir()
        FORMATS[name].make(place)
    return sorted(path for path in place.iterdir() if path.name.startswith("seed"))


def run_case(name, folder, seeds, seed, case):
    """[outcome, what was raised] of a case, whose file stays in the folder until the next."""
    suffix, data = mutated(name, seeds, seed, case)
    path = folder / f"case{suffix}"
    path.write_bytes(data)
    return outcome(FORMATS[name].run, str(path))


def outcome(run, path):
    """[outcome, what was raised]."""
    try:
        return [run(path) or "accepted", ""]
    except MemoryError as error:
        return ["memory", repr(error)]
    except (ValueError, OSError) as error:
        # A decoder's own message may follow ours, but a sentence has one line.
        return ["refused", ""] if "\n" not in str(error) else ["crash", repr(error)[:500]]
    except Exception as error:
        return ["crash", repr(error)[:500]]


# --- the driver ------------------------------------------------------------------------------------------------------


def fuzz(name: str, count: int, seed: int = 0, keep: Optional[pathlib.Path] = None) -> Dict[str, int]:
    """How the cases of a format end; the files of bad ones are kept in a folder where one is given."""
    counts: Dict[str, int] = collections.Counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        # Apart: a process that has run MindSpore's kernels cannot be copied, which `_run_mindir` does.
        _call(name, folder, seed, 0, 0).wait()
        case = 0
        while case < count:
            for number, found, said in _cases(name, folder, seed, case, min(CASES, count - case)):
                if found == "end":
                    counts["peak MB"] = max(counts["peak MB"], number)
                    continue
                counts[found] += 1
                case = number + 1
                if found in BAD:
                    print(f"{name} {number}: {found} {said}", file=sys.stderr, flush=True)
                    if keep is not None:
                        for path in folder.glob("case.*"):
                            shutil.copy(path, keep / f"{name}-{number}-{found}{path.suffix}")
    return counts


def _call(name, folder, seed, first, count):
    command = [sys.executable, "-m", "tests.fuzz_files", "--format", name, "--worker", str(folder), str(seed),
               str(first), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)


def _lines(stream):
    """Lines as they come; None where too many seconds go by without one, '' at the end."""
    rest, limit = b"", 120
    while True:
        end = time.monotonic() + limit
        while b"\n" not in rest:
            if not select.select([stream], [], [], max(0, end - time.monotonic()))[0]:
                yield None
                return
            part = stream.read(65536)
            if not part:
                yield ""
                return
            rest += part
        line, rest = rest.split(b"\n", 1)
        yield line
        limit = LIMIT


def _cases(name, folder, seed, first, count):
    """(number, outcome, what was raised) of each case until all are done or the worker is no more."""
    worker, current = _call(name, folder, seed, first, count), None
    try:
        for line in _lines(worker.stdout):
            answer = json.loads(line) if line else None
            if isinstance(answer, int):
                current = answer
            elif answer is None or answer[0] != "end":
                lost = ["hang", ""] if line is None else ["crash", f"exit code {worker.wait()}"] if not line else answer
                yield (first if current is None else current, *lost)
            else:
                yield answer[1], "end", ""
                return
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--format", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=pathlib.Path, help="folder for the files of bad cases")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.format[0], pathlib.Path(options.worker[0]), *map(int, options.worker[1:]))
        return 0
    bad = 0
    for name in options.format:
        start, counts = time.monotonic(), fuzz(name, options.count, options.seed, options.keep)
        bad += sum(counts[outcome] for outcome in BAD)
        said = ", ".join(f"{value} {key}" for key, value in sorted(counts.items()))
        print(f"{name}: {said}, {time.monotonic() - start:.0f} s", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
