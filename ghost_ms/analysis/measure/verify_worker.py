"""One variant through all formats in one process: the working half of `ghost-ms verify`.

Prints what it finds as JSON, one line per step, so that what comes before a crash is not lost.
"""
import os
import statistics
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

import numpy as np

from ghost_ms.analysis.measure.bench_worker import prepare, take_cores
from ghost_ms.core.tables import size_text
from ghost_ms.core.talk import speaker
from ghost_ms.models import model_card

#: Seconds of timed calls, and how many at least and at most.
SECONDS, AT_LEAST, AT_MOST = 1.5, 5, 100


class Reference(NamedTuple):
    """The network as a function, images, and what it gave for them before anything was folded."""

    run: Callable[[np.ndarray], List[np.ndarray]]
    images: np.ndarray
    expected: List[np.ndarray]


def randomize_statistics(net: Any, seed: int = 0) -> Any:
    """Give BatchNorm the statistics and affine parameters that a trained network has, not 0 and 1; returns `net`."""
    import mindspore as ms
    from mindspore import nn

    draw = np.random.default_rng(seed)
    for _, cell in net.cells_and_names():
        if isinstance(cell, nn.BatchNorm2d):
            size = cell.num_features
            cell.moving_mean.set_data(ms.Tensor(0.1 * draw.standard_normal(size), ms.float32))
            for parameter in (cell.moving_variance, cell.gamma):
                parameter.set_data(ms.Tensor(draw.uniform(0.5, 1.5, size), ms.float32))
            cell.beta.set_data(ms.Tensor(0.1 * draw.standard_normal(size), ms.float32))
    return net


def main(name: str, threads: int, place: int, formats: Sequence[str]) -> None:
    """Take a variant through formats on the cores [place * threads, (place + 1) * threads)."""
    tell = speaker()
    take_cores(threads, place)
    tell(input_size=size_text(model_card(name).input_size))
    if "mindspore" in formats:
        tell(format="mindspore")
        _mindspore(name, tell)
    with tempfile.TemporaryDirectory() as folder:
        if "mindir" in formats:
            tell(format="mindir")
            _mindir(name, os.path.join(folder, "net.mindir"), tell)
        if "onnx" in formats or "lite" in formats:
            tell(format="onnx" if "onnx" in formats else "lite")
            path = os.path.join(folder, "net.onnx")
            reference = _onnx(name, path, threads, tell if "onnx" in formats else _silent)
        if "lite" in formats:
            tell(format="lite")
            _lite(path, os.path.join(folder, "net.ms"), threads, reference, tell)


def _silent(**_: Any) -> None:
    """Drop the figures of a step that is only on the way to another."""


def _network(name: str) -> tuple:
    """(network with initial weights and random running statistics, its description)."""
    import mindspore as ms

    from ghost_ms.checkpoints.reconcile import wish_of
    from ghost_ms.checkpoints.resolve import by_name
    from ghost_ms.core import device

    device.setup("CPU")
    ms.set_seed(0)
    description = by_name(wish_of(None, "", model__name=name))
    return randomize_statistics(description.build()).set_train(False), description


def _deployed(net: Any, description: Any) -> Any:
    """The network with what its task puts behind it in a file."""
    from ghost_ms.tasks.registry import create_task

    return create_task(description.task, description.task_args).deployed(net, description).set_train(False)


def _mindspore(name: str, tell: Callable[..., None]) -> None:
    import mindspore as ms

    from ghost_ms.surgery.fold_norms import to_deploy_form
    from ghost_ms.tasks.base import as_outputs

    net, description = _network(name)
    net, images = _deployed(to_deploy_form(net), description), ms.Tensor(_images(description))
    answer, measure, _ = prepare(lambda: as_outputs(net(images)))
    tell(compile_s=answer["compile_s"], mindspore_ms=_median(measure))


def _mindir(name: str, path: str, tell: Callable[..., None]) -> None:
    from ghost_ms.deploy.export import export_mindir

    net, description = _network(name)
    try:
        comparison = export_mindir(net, description, path)["comparison"]
    except (ValueError, OSError) as error:
        tell(mindir_note=str(error))
        return
    tell(mindir=comparison.relative, mindir_mb=os.path.getsize(path) / 1e6, **_rounding(comparison))


def _onnx(name: str, path: str, threads: int, tell: Callable[..., None]) -> Reference:
    import mindspore as ms

    from ghost_ms.deploy.export import export_onnx
    from ghost_ms.runtime.onnx import load_onnx
    from ghost_ms.tasks.base import as_outputs

    net, description = _network(name)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    images, whole = _images(description), _deployed(net, description)

    def call(pixels: np.ndarray) -> List[np.ndarray]:
        return as_outputs(whole(ms.Tensor(pixels)))

    reference = Reference(call, images, call(images))
    try:
        found = export_onnx(net, description, path)
    except (ValueError, OSError) as error:
        tell(onnx_note=str(error))
        return reference
    run = load_onnx(path, threads)
    _, measure, _ = prepare(lambda: run(images))
    tell(onnx=found["comparison"].relative, onnx_mb=os.path.getsize(path) / 1e6, onnx_ms=_median(measure),
         **_rounding(found["comparison"]))
    return reference


def _lite(source: str, target: str, threads: int, reference: Reference, tell: Callable[..., None]) -> None:
    from ghost_ms.deploy.lite.convert import convert
    from ghost_ms.runtime.compare import compare
    from ghost_ms.runtime.lite import LiteModel
    from ghost_ms.tasks.base import as_outputs

    if not os.path.isfile(source):
        tell(lite_note="there is no ONNX file to convert")
        return
    try:
        convert(source, target)
        with LiteModel(target, threads) as model:
            outputs = as_outputs(model(reference.images))
            milliseconds = _median(model.time)
    except (ValueError, OSError) as error:
        tell(lite_note=str(error).replace(f"'{source}'", "it").replace(f"'{target}'", "it"))
        return
    shaped = [one.reshape(true.shape) for one, true in zip(outputs, reference.expected)]
    comparison = compare(shaped, reference.expected, reference.run, reference.images)
    tell(lite=comparison.relative, lite_mb=os.path.getsize(target) / 1e6, lite_ms=milliseconds, **_rounding(comparison))


def _rounding(comparison: Any) -> Dict[str, float]:
    return {"rounding": comparison.moved} if comparison.moved else {}


def _images(description: Any) -> np.ndarray:
    from ghost_ms.runtime.signature import ExportSignature

    return ExportSignature().example(description.preprocessing, 1)


def _median(measure: Callable[[int], List[float]]) -> float:
    """Milliseconds of a call, warm."""
    warm = min(measure(2))
    return statistics.median(measure(int(max(AT_LEAST, min(AT_MOST, 1e3 * SECONDS / warm)))))


if __name__ == "__main__":
    begin = time.perf_counter()
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
    print(f"{sys.argv[1]}: {time.perf_counter() - begin:.0f} s", file=sys.stderr)
