"""From an exported MindIR graph to an ONNX model, and an ONNX file back to a function."""
import collections
import importlib
import os
from typing import Callable, List, Sequence, Union

import numpy as np

from ghost_ms.deploy.mindir_graph import Graph, Operation, Tensor, read_graph
from ghost_ms.deploy.onnx_graph import IR_VERSION, OPSET, Builder
from ghost_ms.deploy.onnx_operators import OPERATORS, RESHAPES
from ghost_ms.deploy.onnx_simplify import simplify

#: Name of an open first extent.
BATCH = "batch"


def require_onnx() -> None:
    """ValueError that names the remedy where the packages are not installed."""
    try:
        for package in ("onnx", "onnxruntime"):
            importlib.import_module(package)
    except ImportError as error:
        raise ValueError(f"ONNX needs the package {error.name}: pip install onnx onnxruntime 'numpy<2'") from None


def to_onnx(mindir: str, inputs: Sequence[str], outputs: Sequence[str]):
    """The ONNX model of a MINDIR file.

    Args:
        inputs, outputs: names that they get.

    Returns:
        onnx.ModelProto, simplified and checked (`onnx.checker`, with inference of all shapes).

    Raises:
        ValueError: a primitive that the table of operators does not hold; the sentence names it and its place.
    """
    graph = read_graph(mindir)
    build = Builder()
    operations = _needed(graph)
    build.uses = collections.Counter(tensor.name for op in operations for tensor in set(_tensors(op)))
    build.uses.update(tensor.name for tensor in graph.outputs)
    for tensor, name in zip(graph.inputs, inputs):
        build.inputs.append(build.unique(name))
        build.bind(tensor, name)
    for op in operations:
        _translate(build, op)
    build.outputs = [build.name(tensor) for tensor in graph.outputs]
    simplify(build)
    return _model(build, graph, inputs, outputs)


def _translate(build: Builder, op: Operation) -> None:
    # network-ShuffleNetV2/stage2-SequentialCell/0-Unit/Conv2D-op0 -> /stage2/0
    cells = [part.split("-")[0] for part in op.name.split("/")[:-1]]
    build.scope = "".join(f"/{name}" for name in (cells[1:] if cells[:1] == ["network"] else cells))
    if op.kind not in OPERATORS:
        known = ", ".join(sorted(OPERATORS))
        raise ValueError(f"'{op.kind}' at {op.name} has no translation to ONNX; known are {known}")
    names = OPERATORS[op.kind](build, op)
    for tensor, name in zip(op.outputs, [names] if isinstance(names, str) else names):
        build.bind(tensor, name)


def _tensors(op: Operation) -> List[Tensor]:
    """The computed tensors that an operation takes; what a Reshape takes its shape from is not among them."""
    arguments, found = op.inputs[:1] if op.kind in RESHAPES else op.inputs, []
    for value in arguments:
        # A Tensor is a tuple too, of a name, a shape and a type.
        found += [value] if isinstance(value, Tensor) else [
            part for part in value if isinstance(part, Tensor)] if isinstance(value, tuple) else []
    return found


def _needed(graph: Graph) -> List[Operation]:
    """The operations that the outputs depend on."""
    needed, kept = {tensor.name for tensor in graph.outputs}, []
    for op in reversed(graph.operations):
        if any(tensor is not None and tensor.name in needed for tensor in op.outputs):
            needed.update(tensor.name for tensor in _tensors(op))
            kept.append(op)
    return kept[::-1]


def _model(build: Builder, graph: Graph, inputs: Sequence[str], outputs: Sequence[str]):
    import onnx
    from onnx import helper, numpy_helper

    from ghost_ms import __version__

    for old, new in zip(build.outputs, outputs):
        for node in build.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]
            node.outputs = [new if name == old else name for name in node.outputs]
    nodes = [helper.make_node(node.kind, node.inputs, node.outputs, node.name, **node.attributes)
             for node in build.nodes]
    ends = [[_value_info(name, tensor) for name, tensor in zip(names, tensors)]
            for names, tensors in ((inputs, graph.inputs), (outputs, graph.outputs))]
    weights = [numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
               for name, array in build.constants.items()]
    model = helper.make_model(helper.make_graph(nodes, "ghost_ms", *ends, weights), producer_name="ghost_ms",
                              producer_version=__version__, ir_version=IR_VERSION,
                              opset_imports=[helper.make_opsetid("", OPSET)])
    onnx.checker.check_model(model, full_check=True)
    return model


def _value_info(name: str, tensor: Tensor):
    from onnx import helper

    shape = [BATCH if extent < 0 and axis == 0 else None if extent < 0 else extent
             for axis, extent in enumerate(tensor.shape)]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)), shape)


def load_onnx(path: str, threads: int = 0) -> Callable[[np.ndarray], np.ndarray]:
    """A function from images to the first output of an ONNX file, run by ONNX Runtime on CPU.

    Args:
        threads: 0 for as many as ONNX Runtime chooses.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or no ONNX file, or ONNX Runtime is not installed.
    """
    require_onnx()
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file '{path}'")
    return _session(path, path, threads)


def run_model(model, threads: int = 0) -> Callable[[np.ndarray], np.ndarray]:
    """As `load_onnx`, of an onnx.ModelProto."""
    require_onnx()
    return _session(model.SerializeToString(), model.graph.name, threads)


def _session(model: Union[str, bytes], path: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except (RuntimeError, ValueError, states.Fail, states.InvalidProtobuf, states.InvalidGraph,
            states.InvalidArgument, states.NotImplemented) as error:
        raise ValueError(f"'{path}' is no whole ONNX file: {str(error).strip().splitlines()[0]}") from None
    name = session.get_inputs()[0].name

    def run(images: np.ndarray) -> np.ndarray:
        try:
            return session.run(None, {name: images})[0]
        except states.InvalidArgument as error:
            raise ValueError(f"'{path}' takes other images: {' '.join(str(error).split())}") from None

    return run
