"""A converted file against the network that it comes from."""
from typing import Any, Callable, Tuple

import numpy as np

from ghost_ms.core import scores
from ghost_ms.runtime.compare import TOLERANCE, Comparison, compare
from ghost_ms.runtime.lite import LiteModel
from ghost_ms.runtime.sidecar import Sidecar, read_sidecar
from ghost_ms.runtime.signature import ExportSignature
from ghost_ms.tasks.base import as_outputs

#: From images to the output, or to all of several.
Run = Callable[[np.ndarray], Any]


def check(path: str, against: str, threads: int, target: str, tolerance: float = TOLERANCE) -> Comparison:
    """Compare a converted file with the network that it comes from, on random images.

    Args:
        path: of the file, with its sidecar beside it.
        against: checkpoint or exported file that gives the expected outputs.
        threads, target: see `LiteModel`.
        tolerance: largest difference, relative to the largest output.

    Raises:
        ValueError: they differ, or are different networks.
    """
    sidecar = read_sidecar(path)
    images = sidecar.form.example(sidecar.preprocessing, max(sidecar.batch_size, 1))
    reference, probe = _reference(against, sidecar)
    expected = [scores.require_finite(one, f"'{against}'") for one in as_outputs(reference(images))]
    with LiteModel(path, threads, target) as model:
        outputs = [scores.require_finite(one, f"'{path}'") for one in as_outputs(model(images))]
    if [one.size for one in outputs] != [one.size for one in expected]:
        given, wanted = (", ".join(str(one.shape[-1]) for one in arrays) for arrays in (outputs, expected))
        raise ValueError(f"'{path}' gives {given} outputs, '{against}' {wanted}: they are different networks")
    comparison = compare([one.reshape(true.shape) for one, true in zip(outputs, expected)], expected, probe,
                         sidecar.form._replace(in_graph=False).example(sidecar.preprocessing, 1), tolerance)
    if not comparison.same:
        raise ValueError(f"'{path}' differs from '{against}' by {comparison.relative:.1e} of the "
                         f"largest output (allowed {tolerance:.0e})")
    return comparison


def _reference(path: str, sidecar: Sidecar) -> Tuple[Run, Run]:
    """The checkpoint or exported file as a function of images, and of float images for `compare`."""
    import mindspore as ms

    from ghost_ms.checkpoints.resolve import resolve
    from ghost_ms.core import device
    from ghost_ms.runtime.files import run_file
    from ghost_ms.runtime.signature import DeployedNetwork

    device.setup("CPU", mode="pynative")
    if path.endswith((".onnx", ".mindir")):
        run = run_file(path)
        # A file that takes whole pixels cannot be asked what a bit changes; it then counts as smooth.
        return run, (lambda images: np.ones(1)) if sidecar.form.in_graph else run
    net, _ = resolve(None, None, path, "", sidecar.preprocessing.input_size)

    def run_as(form: ExportSignature) -> Run:
        deployed = DeployedNetwork(net, sidecar.preprocessing, form).set_train(False)
        return lambda images: as_outputs(deployed(ms.Tensor(images)))

    return run_as(sidecar.form), run_as(sidecar.form._replace(in_graph=False))
