"""Export to MINDIR and ONNX, verified: the written file is run and compared before anything is called done."""
import contextlib
import os
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List, Tuple

import mindspore as ms
import numpy as np
from mindspore import nn

from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.core import scores
from ghost_ms.core.files import cannot_write, whole_file
from ghost_ms.kernels.swap import refuse_accelerated
from ghost_ms.runtime import mindir, onnx
from ghost_ms.runtime.compare import TOLERANCE, compare
from ghost_ms.runtime.sidecar import refuse_foreign_sidecar, seal, write_sidecar
from ghost_ms.runtime.signature import DeployedNetwork, ExportSignature, Output
from ghost_ms.surgery.fold_norms import count_cells, fold_final_norm, to_deploy_form
from ghost_ms.tasks.base import Task, as_outputs
from ghost_ms.tasks.registry import create_task



def export_mindir(net: nn.Cell, description: ModelSpec, path: str, batch_size: int = 1,
                  form: ExportSignature = ExportSignature()) -> Dict[str, Any]:
    """Write `path` (.mindir) and its sidecar (.json), run the file, and compare it with the network.

    Args:
        net: in evaluation mode; it is brought into its deploy form in place.
        description: of the network; goes into the sidecar.
        batch_size: images of a call; 0 leaves it open.
        form: what the file takes and gives.

    Returns:
        comparison (`Comparison`), batchnorms (left after folding), nodes, seconds.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the file gives other numbers than the network, or the network cannot be exported so; no file is
            left behind.
    """
    outputs = outputs_of(description, form)

    def write(mindir: str, target: str) -> int:
        from ghost_ms.graph.mindir_graph import count_operations, name_ends

        name_ends(mindir, target, form.input_name, [output.name for output in outputs])
        return sum(count_operations(target).values())

    return _export(net, description, _with_suffix(path, ".mindir"), batch_size, form, write,
                   lambda file, images: mindir.run_mindir(file, images))


def export_onnx(net: nn.Cell, description: ModelSpec, path: str, batch_size: int = 1,
                form: ExportSignature = ExportSignature()) -> Dict[str, Any]:
    """Write `path` (.onnx) and its sidecar, check it, run it in ONNX Runtime; otherwise as `export_mindir`."""
    from ghost_ms.deploy.onnx import translate

    onnx.require_onnx()
    # A GroupNorm that is spelled out for speed would be twenty nodes.
    for _, cell in net.cells_and_names():
        if hasattr(cell, "as_primitive"):
            cell.as_primitive = True

    outputs = outputs_of(description, form)

    def write(mindir: str, target: str) -> int:
        model = translate.to_onnx(mindir, [form.input_name], [output.name for output in outputs])
        with open(target, "wb") as file:
            file.write(model.SerializeToString())
        return len(model.graph.node)

    return _export(net, description, _with_suffix(path, ".onnx"), batch_size, form, write,
                   lambda file, images: onnx.load_onnx(file)(images))


def _export(net: nn.Cell, description: ModelSpec, path: str, batch_size: int, form: ExportSignature,
            write: Callable[[str, str], int], run: Callable[[str, np.ndarray], Any]) -> Dict[str, Any]:
    start = time.perf_counter()
    refuse_accelerated(net)
    for _, cell in net.cells_and_names():
        if hasattr(cell, "open_batch"):
            cell.open_batch = batch_size == 0
    outputs = outputs_of(description, form)
    told = _task(description).exported(description)
    refuse_foreign_sidecar(path, told, batch_size, form, outputs)
    # An open batch is tried with two images, so that a size that is baked in shows.
    images = form.example(description.preprocessing, batch_size or 2)
    counts = (1, 2) if batch_size == 0 else (batch_size,)
    deployed = _between_ends(net, description, form)
    # An auxiliary head of the network is not in the file.
    expected = [scores.require_finite(one) for one in _eager(deployed, images)[:len(outputs)]]
    deployed = deploy_form(net, description, form)
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with whole_file(path) as temporary:
            with mindir_of(deployed, description, batch_size, form) as mindir:
                nodes = write(mindir, temporary)
            found = [as_outputs(run(temporary, images[:count])) for count in counts]
            comparison = compare([np.concatenate(column) for column in zip(*found)],
                                 [np.concatenate([one[:count] for count in counts]) for one in expected],
                                 *_float_probe(net, description, form))
            if not comparison.same:
                raise ValueError(f"the exported file differs from the network by {comparison.relative:.1e} of the "
                                 f"largest output (allowed {TOLERANCE:.0e}); nothing was written")
            seal(path)
        # Last, so that no sidecar is newer than what it describes: until then the old one refuses the new file.
        write_sidecar(path, told, batch_size, form, outputs)
    except (RuntimeError, OSError) as error:
        raise cannot_write(path, error) from None
    return {"comparison": comparison, "seconds": time.perf_counter() - start,
            "batchnorms": count_cells(net, nn.BatchNorm2d), "nodes": nodes}


def outputs_of(description: ModelSpec, form: ExportSignature) -> Tuple[Output, ...]:
    """The outputs of a file of this network; ValueError where they cannot be as the form wants them."""
    return _task(description).outputs(description, form)


def _task(description: ModelSpec) -> Task:
    return create_task(description.task, description.task_args)


def _float_probe(net: nn.Cell, description: ModelSpec, form: ExportSignature) -> tuple:
    """(function, images) for `compare`: pixels that are whole numbers cannot change by a bit."""
    form = form._replace(in_graph=False)
    probe = _between_ends(net, description, form)
    return lambda images: _eager(probe, images), form.example(description.preprocessing, 1)


def deploy_form(net: nn.Cell, description: ModelSpec, form: ExportSignature) -> DeployedNetwork:
    """The network, brought into its deploy form in place, between what the form puts before and behind it."""
    return _between_ends(fold_final_norm(to_deploy_form(net)), description, form)


def _between_ends(net: nn.Cell, description: ModelSpec, form: ExportSignature) -> DeployedNetwork:
    net = _task(description).deployed(net, description)
    return DeployedNetwork(net, description.preprocessing, form).set_train(False)


def _eager(net: nn.Cell, images: np.ndarray) -> List[np.ndarray]:
    """The network's outputs without compiling a graph, which for the deep ones takes longer than all the rest."""
    mode = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        return as_outputs(net(ms.Tensor(images)))
    finally:
        ms.set_context(mode=mode)


@contextlib.contextmanager
def mindir_of(deployed: nn.Cell, description: ModelSpec, batch_size: int, form: ExportSignature) -> Iterator[str]:
    """Path of the MINDIR of a network as MindSpore writes it, in a folder that is removed afterwards."""
    symbols: dict = {np.float32: ms.float32, np.uint8: ms.uint8}
    shape = [None if extent < 0 else extent for extent in form.input_shape(description.preprocessing, batch_size)]
    mode = ms.get_context("mode")
    # MindSpore refuses paths with blanks and other characters, so it writes elsewhere.
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "net.mindir")
        ms.set_context(mode=ms.GRAPH_MODE)
        try:
            ms.export(deployed, ms.Tensor(shape=shape, dtype=symbols[form.input_dtype]), file_name=path,
                      file_format="MINDIR")
        finally:
            ms.set_context(mode=mode)
        yield path


def count_operators(net: nn.Cell, description: ModelSpec, batch_size: int,
                    form: ExportSignature = ExportSignature()) -> Dict[str, Dict[str, int]]:
    """How many operators of each kind the graph holds 'before' and 'after' the deploy form, which `net` is brought to.

    Writes nothing.
    """
    from ghost_ms.graph.mindir_graph import count_operations

    counts = {}
    for moment in ("before", "after"):
        deployed = (_between_ends if moment == "before" else deploy_form)(net, description, form)
        with mindir_of(deployed, description, batch_size, form) as path:
            counts[moment] = count_operations(path)
    return counts


def _with_suffix(path: str, suffix: str) -> str:
    return path if path.endswith(suffix) else path + suffix
