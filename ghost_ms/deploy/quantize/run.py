"""The work of `ghost-ms quantize`: an int8 file from a float file and images, or a table of its layers."""
import contextlib
import csv
import dataclasses
import difflib
import fnmatch
import os
import sys
import tempfile
from typing import Callable, ContextManager, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence

import numpy as np

from ghost_ms.checkpoints.reconcile import say
from ghost_ms.core.files import cannot_write, whole_file
from ghost_ms.core.text import printable
from ghost_ms.data.dataset import Dataset
from ghost_ms.deploy.lite import convert
from ghost_ms.deploy.quantize import calibration
from ghost_ms.deploy.quantize.int8 import (WEIGHTED, Agreement, LayerError, Quantizer, agreement, milliseconds,
                                           quantizable, read_float, save)
from ghost_ms.runtime import files, lite
from ghost_ms.runtime.onnx import load_onnx, require_onnx
from ghost_ms.runtime.sidecar import (Sidecar, copy_sidecar, read_json, read_sidecar, refuse_other_sidecar, seal,
                                      sidecar_path)
from ghost_ms.tasks.base import Judgement, Outputs, Task
from ghost_ms.tasks.measure import measure
from ghost_ms.tasks.registry import create_task

#: Smallest share of the calibration images for which the int8 file has to mean what the float one means.
AGREEMENT = 0.9
#: Rows of the table that are printed; the CSV file has all.
ROWS = 20


@dataclasses.dataclass
class Options:
    """What is asked for; `ghost-ms quantize --help` says it of each.

    Args:
        model, ckpt: an exported float file, or a checkpoint that is exported first.
        calibrate, root: where the images are: a folder, or a recipe and the folder of its data.
        samples: images to calibrate with.
        exclude, exclude_worst: layers that stay in float: names or shell patterns; that many of the largest error.
        analyse, csv: rank the layers by the error of each; the file for the whole ranking.
        reduce_range: weights of 7 bits.
        agreement: smallest share of images for which both mean the same.
        evaluate: measure both files on the recipe's evaluation split.
        output: file to write.
    """

    model: Optional[str]
    ckpt: Optional[str]
    calibrate: str
    root: Optional[str] = None
    samples: int = 128
    exclude: Sequence[str] = ()
    analyse: bool = False
    csv: Optional[str] = None
    exclude_worst: int = 0
    reduce_range: bool = False
    agreement: float = AGREEMENT
    evaluate: bool = False
    output: Optional[str] = None


def run_quantize(options: Options) -> int:
    """Carry the command out; the exit code."""
    _check(options)
    require_onnx()
    source = calibration.open_images(options.calibrate, "train", options.root)
    with _exported(options) as path:
        target = options.output or os.path.splitext(options.model or os.path.basename(path))[0] + "_int8.onnx"
        if os.path.abspath(target) == os.path.abspath(path):
            raise ValueError(f"'{target}' is the file that is read; name another one with -o")
        sidecar = read_sidecar(path)
        _check_task(options, sidecar, path)
        say(calibration.differences(options.calibrate, sidecar, path))
        # The labels follow the file's classes, by name.
        test = calibration.open_images(options.calibrate, "val", options.root, sidecar.classes) if options.evaluate \
            else None
        job = Job(path, target, sidecar, source, test, options)
        return _to_lite(job) if target.endswith(".ms") else _to_onnx(job)


class Job(NamedTuple):
    """A float file, what is to become of it, and the images to calibrate with and, perhaps, to test with."""

    path: str
    target: str
    sidecar: Sidecar
    source: Dataset
    test: Optional[Dataset]
    options: Options

    @property
    def task(self) -> Task:
        return create_task(self.sidecar.task, self.sidecar.task_args)

    def images(self) -> np.ndarray:
        return calibration.draw(self.source, self.options.samples, self.sidecar)


def _check(options: Options) -> None:
    if bool(options.model) == bool(options.ckpt):
        raise ValueError("give either an exported .onnx file or --ckpt")
    if options.samples < 1 or options.exclude_worst < 0:
        raise ValueError(f"--samples is {options.samples} and --exclude-worst {options.exclude_worst}; they are at "
                         "least 1 and 0")
    if not 0 <= options.agreement <= 1:
        raise ValueError(f"--agreement is {options.agreement:g}; it is a share between 0 and 1")
    analysed = options.analyse or options.exclude_worst
    if options.csv and not analysed:
        raise ValueError("--csv takes what --analyse or --exclude-worst finds; give one of them")
    if options.evaluate and not options.calibrate.endswith(calibration.RECIPES):
        raise ValueError("--evaluate needs labels: --calibrate has to be a recipe (.yaml), not a folder")
    if options.output and not options.output.endswith((".onnx", ".ms")):
        raise ValueError(f"--output is '{options.output}'; it ends in .onnx or .ms")
    if (options.output or "").endswith(".ms") and (analysed or options.reduce_range):
        raise ValueError("--analyse, --exclude-worst and --reduce-range are for .onnx; in a .ms file the weights alone "
                         "are int8")


def _check_task(options: Options, sidecar: Sidecar, path: str) -> None:
    """ValueError where a recipe's labels are of another task than the file."""
    if options.calibrate.endswith(calibration.RECIPES):
        named = calibration.recipe_of(options.calibrate, options.root).task.name
        if named != sidecar.task:
            raise ValueError(f"'{printable(path)}' is for {printable(sidecar.task)}, and the recipe "
                             f"'{printable(options.calibrate)}' for {named}; give the recipe it was trained by")


@contextlib.contextmanager
def _exported(options: Options) -> Iterator[str]:
    """The float file: as given, or of the checkpoint, in a folder that is removed afterwards."""
    if options.model:
        yield options.model
        return
    from ghost_ms.checkpoints.resolve import resolve
    from ghost_ms.core import device
    from ghost_ms.deploy.export import export_onnx

    device.setup("CPU")
    net, description = resolve(None, None, options.ckpt, "")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, description.model + ".onnx")
        export_onnx(net, description, path)
        yield path


def _to_onnx(job: Job) -> int:
    options = job.options
    quantizer = Quantizer(job.path, job.images(), options.reduce_range)
    excluded = match([node.name for node in quantizer.layers], options.exclude)
    if options.analyse or options.exclude_worst:
        ranking = quantizer.analyse(_progress)
        print(as_text(ranking))
        if options.csv:
            write_csv(ranking, options.csv)
        if not (options.output or options.exclude_worst):
            return 0
        worst = [layer.name for layer in ranking if layer.name not in excluded]
        excluded |= set(worst[:options.exclude_worst])
    names = [node.name for node in quantizer.layers if node.name not in excluded]
    model = quantizer.quantize(names)
    weights = f"int8{' of 7 bits' if options.reduce_range else ''}, a scale for each output channel"

    def write(path: str) -> List[str]:
        save(model, path)
        return sorted(excluded)

    _finish(job, {"weights": weights, "activations": "uint8"}, quantizer.images, quantizer.expected, write,
            lambda path: contextlib.nullcontext(load_onnx(path)))
    return 0


def _to_lite(job: Job) -> int:
    layers = [node.name for node in quantizable(read_float(job.path)) if node.op_type in WEIGHTED]
    excluded, images = match(layers, job.options.exclude), job.images()
    expected = files.run_all(load_onnx(job.path), images, job.sidecar.batch_size)
    _finish(job, {"weights": "int8", "activations": "float32"}, images, expected,
            lambda path: convert.convert(job.path, path, weight_bits=8, skip=sorted(excluded)), lite.LiteModel)
    return 0


def _finish(job: Job, facts: dict, images: np.ndarray, expected: Outputs, write: Callable[[str], List[str]],
            load: Callable[[str], ContextManager]) -> None:
    """Write the file beside its place, run it, compare it, and move it there with its sidecar; say what came of it.

    Args:
        facts: of the file, for its sidecar.
        images, expected: the float file's input and output.
        write: writes the file and tells which layers are left in float.
        load: the file as a function from images to outputs, while a `with` lasts.
    """
    target, folder = job.target, os.path.dirname(os.path.abspath(job.target))
    refuse_other_sidecar(target, read_json(job.path))
    # A converted file takes one image a call even where the batch was open.
    fixed = 1 if target.endswith(".ms") and not job.sidecar.batch_size else 0
    batch_size = job.sidecar.batch_size or fixed
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as inside:
            temporary = os.path.join(inside, os.path.basename(target))
            facts = {**facts, "left in float": write(temporary)}
            with load(temporary) as run:
                result = agreement(files.run_all(run, images, batch_size), expected, job.task)
                _require_agreement(job, result, len(images))
                reference, batch = load_onnx(job.path), next(files.batches(images, max(batch_size, 1)))
                times = [milliseconds(each, batch) for each in (reference, run)]
                measured = _measured(job, reference, run, batch_size) if job.test else []
            agreed = {} if result.same is None else {job.task.agreement: result.same}
            facts = {**facts, "images": len(images), **agreed,
                     **dict(zip(("measured in float", "measured"), map(_totals, measured)))}
            seal(target)
            with whole_file(target) as whole:
                os.replace(temporary, whole)
            copy_sidecar(job.path, target, fixed, quantised=facts)
    except OSError as error:
        raise cannot_write(target, error) from None
    sizes = [os.path.getsize(path) for path in (job.path, target)]
    left = len(facts["left in float"])
    said = "".join(f", the {word} for {count}" for word, count in agreed.items())
    print(f"{target}: {sizes[1] / 1e6:.2f} MB ({sizes[1] / sizes[0]:.2f} of the float file), weights "
          f"{facts['weights']}, activations {facts['activations']}, {left} layers left in float; run and compared on "
          f"{len(images)} images: relative difference {result.mean:.1e} on average, {result.largest:.1e} at most"
          f"{said}; {times[0]:.2f} ms a call in float, {times[1]:.2f} ms now; sidecar "
          f"{sidecar_path(target)}")
    for word, judged in zip(("in float", "now"), measured):
        print(f"{word}: {judged.headline()}")


def _require_agreement(job: Job, result: Agreement, images: int) -> None:
    remedy = ("so nothing was written: --analyse shows which layers to leave in float with --exclude or "
              "--exclude-worst, --reduce-range helps an x86 processor without VNNI")
    if not np.isfinite(result.error):
        raise ValueError(f"the int8 form of '{job.path}' gives outputs that are no finite numbers, {remedy}")
    if result.same is not None and result.same < job.options.agreement * images:
        raise ValueError(f"the int8 form of '{job.path}' gives the {job.task.agreement} as the float one for only "
                         f"{result.same} of {images} images, {remedy}, and --agreement accepts less")


def _measured(job: Job, reference: Callable, run: Callable, batch_size: int) -> List[Judgement]:
    """Both files on the recipe's evaluation split."""
    recipe = calibration.recipe_of(job.options.calibrate, job.options.root)
    source = job.task.fitting(job.test, job.sidecar.spec())
    return [measure(each, job.task, recipe, source, sidecar) for each, sidecar in (
        (reference, job.sidecar), (run, job.sidecar._replace(batch_size=batch_size)))]


def _totals(judged: Judgement) -> Dict[str, float]:
    """Its measures of the whole split; those of every class, of which there can be thousands, are left out."""
    return {key: value for key, value in judged.as_dict().items() if isinstance(value, (int, float))}


def match(names: Sequence[str], patterns: Sequence[str]) -> set:
    """The names that shell patterns or names mean; ValueError for one that means none."""
    found = set()
    for pattern in patterns:
        matching = {name for name in names if name == pattern} or set(fnmatch.filter(names, pattern))
        if not matching:
            near = difflib.get_close_matches(pattern, names, 1, 0)
            raise ValueError(f"--exclude {pattern} matches no layer that is quantised; the nearest is {near[0]}")
        found |= matching
    return found


HEADER = ["rank", "layer", "operator", "weights", "relative error", "SQNR (dB)", "same result"]


def rows(ranking: Sequence[LayerError]) -> List[List[str]]:
    """Header and a row for each layer, the worst first."""
    return [HEADER] + [[str(place), layer.name, layer.kind, layer.weights, f"{layer.agreement.error:.2e}",
                        f"{layer.agreement.sqnr:.1f}",
                        "-" if layer.agreement.same is None else str(layer.agreement.same)]
                       for place, layer in enumerate(ranking, 1)]


def as_text(ranking: Sequence[LayerError]) -> str:
    """The worst layers for a terminal."""
    from ghost_ms.core import tables

    more = f"\n... and {len(ranking) - ROWS} more with smaller errors" if len(ranking) > ROWS else ""
    return tables.as_text(rows(ranking[:ROWS])) + more


def write_csv(ranking: Sequence[LayerError], path: str) -> None:
    """All layers, for programs."""
    with whole_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows(ranking))


def _progress(layers: Sequence) -> Iterable:
    from rich.console import Console
    from rich.progress import track

    return track(layers, f"analysing {len(layers)} layers", console=Console(file=sys.stderr), transient=True,
                 disable=not sys.stderr.isatty())
