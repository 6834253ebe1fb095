"""int8 after training, by the quantiser of ONNX Runtime.

Weights are int8 with a scale for each output channel; what the layers read is uint8 with a scale and a zero point that
come from its extremes over the calibration images (static quantisation: Jacob et al., arXiv 1712.05877, section 2). The
file holds pairs of QuantizeLinear and DequantizeLinear, which a runtime fuses into its int8 kernels.
One rule decides what is rounded: a tensor is, if a quantised layer reads it. So the error of a layer is that of its own
weights and inputs, and a layer that is left in float reads floats, unless a quantised one reads the same tensor.
"""
import os
import tempfile
import time
from pathlib import Path
from typing import Callable, Iterable, List, NamedTuple, Optional, Sequence

import numpy as np

from ghost_ms.core import scores
from ghost_ms.runtime import files
from ghost_ms.runtime.lite import LiteModel
from ghost_ms.runtime.onnx import load_onnx, open_onnx, run_model
from ghost_ms.runtime.sidecar import read_sidecar
from ghost_ms.tasks.base import Outputs, Task
from ghost_ms.tasks.registry import create_task

#: Operators with weights.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
#: Operators that take uint8 though they have no weights: what precedes them can stay in int8 then.
PLAIN = ("Add", "Mul", "Concat", "GlobalAveragePool", "MaxPool", "Sigmoid", "HardSigmoid", "HardSwish", "Gelu")
#: Signs of a file that is quantised already.
INTEGER = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
           "MatMulInteger")
#: Most images that each layer is tried with in an analysis.
ANALYSED = 32


class Agreement(NamedTuple):
    """How the quantised outputs compare with the float ones.

    Args:
        mean, largest: over the images, of the largest difference relative to the largest float output of the image.
        same: images on which both mean the same to the task (`Task.same`); None where it cannot say.
        error: norm of all differences relative to the norm of all float outputs.
    """

    mean: float
    largest: float
    same: Optional[int]
    error: float

    @property
    def sqnr(self) -> float:
        """Ratio of signal to quantisation noise, in dB."""
        return float("inf") if self.error == 0 else -20 * float(np.log10(self.error))


class LayerError(NamedTuple):
    """What the outputs lose where nothing but one layer is quantised."""

    name: str
    kind: str
    weights: str
    agreement: Agreement


class Quantizer:
    """A float ONNX file, calibrated.

    Args:
        path: exported `.onnx` with its sidecar beside it.
        images: that the ranges are taken from, as the file takes them.
        narrow: weights of 7 bits, whose products no processor saturates.

    Raises:
        FileNotFoundError, ValueError: no ONNX Runtime, no such file or no sidecar, a damaged file, one that is
            quantised already, or one with open sizes.
        OSError: no room for the calibration.
    """

    def __init__(self, path: str, images: np.ndarray, narrow: bool = False):
        self.path, self.images, self.narrow = path, images, narrow
        sidecar = read_sidecar(path)
        self.batch_size, self.task = sidecar.batch_size, create_task(sidecar.task, sidecar.task_args)
        self.model = read_float(path)
        self.expected = [scores.require_finite(one, f"'{path}'")
                         for one in files.run_all(load_onnx(path), images, self.batch_size)]
        self.layers = quantizable(self.model)
        if not self.layers:
            raise ValueError(f"'{path}' has no layer that can be quantised")
        self.ranges = self._calibrate()

    def _calibrate(self):
        from onnxruntime.quantization import CalibrationMethod, create_calibrator

        name = self.model.graph.input[0].name
        feeds = iter([{name: batch} for batch in files.batches(self.images, self.batch_size)])
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "float.onnx")
            save(self.model, source)
            calibrator = create_calibrator(Path(source), WEIGHTED + PLAIN, os.path.join(folder, "calibrated.onnx"),
                                           CalibrationMethod.MinMax)
            calibrator.collect_data(_Reader(feeds))
            return calibrator.compute_data()

    def quantize(self, names: Sequence[str]):
        """The model (onnx.ModelProto) with these layers quantised; ValueError where they are none."""
        import onnx
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
        from onnxruntime.quantization.quant_utils import add_infer_metadata

        if not names:
            raise ValueError(f"all layers of '{self.path}' are excluded; nothing is left to quantise")
        copy, kinds = onnx.ModelProto(), list(WEIGHTED + PLAIN)
        copy.CopyFrom(self.model)
        # Otherwise the quantiser infers the shapes once more, by way of files, which takes longer than all the rest.
        add_infer_metadata(copy)
        quantizer = QDQQuantizer(copy, True, self.narrow, QuantType.QInt8, QuantType.QUInt8, self.ranges, list(names),
                                 [], kinds, {"OpTypesToExcludeOutputQuantization": kinds, "MatMulConstBOnly": True})
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        quantized = quantizer.model.model
        del quantized.metadata_props[:]
        return quantized

    def analyse(self, track: Callable[[Iterable], Iterable] = iter) -> List[LayerError]:
        """The error that each layer causes when it alone is quantised, the largest first.

        Args:
            track: told of the progress, as it iterates over the layers.
        """
        found = []
        for node in track(self.layers):
            output = files.run_all(run_model(self.quantize([node.name])), self.images[:ANALYSED], self.batch_size)
            found.append(LayerError(node.name, node.op_type, self._shape(node),
                                    agreement(output, [one[:ANALYSED] for one in self.expected], self.task)))
        # What is no number is the worst.
        return sorted(found, key=lambda layer: -np.nan_to_num(layer.agreement.error, nan=np.inf))

    def _shape(self, node) -> str:
        shapes = {array.name: array.dims for array in self.model.graph.initializer}
        return "x".join(map(str, shapes[node.input[1]])) if node.op_type in WEIGHTED else "-"


class _Reader:
    """What ONNX Runtime asks for the next feed; None after the last."""

    def __init__(self, feeds):
        self.feeds = feeds

    def get_next(self):
        return next(self.feeds, None)


def read_float(path: str):
    """The onnx.ModelProto of a float file with inferred shapes and a name for each node; errors as `Quantizer`."""
    model = open_onnx(path)
    import onnx

    model = onnx.shape_inference.infer_shapes(model)
    integer = [node.op_type for node in model.graph.node if node.op_type in INTEGER]
    if integer:
        raise ValueError(f"'{path}' is quantised already: it holds {len(integer)} operators such as {integer[0]}; give "
                         "the float file")
    shape = model.graph.input[0].type.tensor_type.shape.dim
    if any(not extent.dim_value for extent in shape[1:]):
        sizes = "x".join(str(extent.dim_value or extent.dim_param or "?") for extent in shape)
        raise ValueError(f"'{path}' takes images of any size ({sizes}); calibration needs one: export it with "
                         "--input_size")
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    return model


def quantizable(model) -> List:
    """The nodes that can be quantised: those with weights, and plain ones whose inputs are all computed floats."""
    from onnx import TensorProto

    constants = {array.name for array in model.graph.initializer}
    floats = {tensor.name for tensor in (*model.graph.input, *model.graph.value_info, *model.graph.output)
              if tensor.type.tensor_type.elem_type == TensorProto.FLOAT}
    return [node for node in model.graph.node if node.input and node.input[0] in floats
            and ((node.op_type in WEIGHTED and node.input[1] in constants)
                 or (node.op_type in PLAIN and not constants.intersection(node.input)))]


def agreement(outputs: Outputs, expected: Outputs, task: Task) -> Agreement:
    """Compare outputs, each (N, ...), with the float ones."""
    found, true = (np.concatenate([one.reshape(len(one), -1) for one in arrays], 1) for arrays in (outputs, expected))
    relative = np.abs(found - true).max(1) / np.maximum(np.abs(true).max(1), 1e-12)
    error = np.linalg.norm(found - true) / max(float(np.linalg.norm(true)), 1e-12)
    same = task.same(outputs, expected)
    return Agreement(float(relative.mean()), float(relative.max()), None if same is None else int(same.sum()),
                     float(error))


def save(model, path: str) -> None:
    """Check and write an onnx.ModelProto; OSError where there is no room."""
    import onnx

    onnx.checker.check_model(model, full_check=True)
    with open(path, "wb") as file:
        file.write(model.SerializeToString())


def milliseconds(run: Callable[[np.ndarray], np.ndarray], images: np.ndarray, calls: int = 30) -> float:
    """Median time of a call on some images; of a LiteModel that of its runtime, without the way to its process."""
    run(images)
    if isinstance(run, LiteModel):
        return float(np.median(run.time(calls)))
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        run(images)
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times))
