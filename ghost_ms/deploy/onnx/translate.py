"""From an exported MindIR graph to an ONNX model."""
import collections
from typing import List, Sequence

import numpy as np

from ghost_ms.deploy.onnx.builder import IR_VERSION, OPSET, Builder
from ghost_ms.deploy.onnx.operators import OPERATORS, RESHAPES
from ghost_ms.deploy.onnx.simplify import simplify
from ghost_ms.graph.mindir_graph import Graph, Operation, Tensor, read_graph

#: Name of an open first extent.
BATCH = "batch"


def to_onnx(mindir: str, inputs: Sequence[str], outputs: Sequence[str]):
    """The ONNX model of a MINDIR file.

    Args:
        inputs, outputs: names that they get, as many as the graph has. What stands in a tuple, or in a tuple of that,
            is an output of its own.

    Returns:
        onnx.ModelProto, simplified and checked (`onnx.checker`, with inference of all shapes).

    Raises:
        ValueError: a primitive that the table of operators does not hold; the sentence names it and its place. Or other
            numbers of names than of inputs and outputs.
    """
    graph = read_graph(mindir)
    for what, names, ends in (("inputs", inputs, graph.inputs), ("outputs", outputs, graph.outputs)):
        if len(names) != len(ends):
            raise ValueError(f"the network has {len(ends)} {what}, and {len(names)} names are given")
    build = Builder()
    operations = _needed(graph)
    build.uses = collections.Counter(tensor.name for op in operations for tensor in set(_tensors(op)))
    build.uses.update(tensor.name for tensor in graph.outputs)
    for tensor, name in zip(graph.inputs, inputs):
        build.inputs.append(build.unique(name))
        build.bind(tensor, name)
    for op in operations:
        _translate(build, op)
    build.outputs = _own_outputs(build, [_typed(build, tensor) for tensor in graph.outputs])
    simplify(build)
    return _model(build, graph, inputs, outputs)


def _typed(build: Builder, tensor: Tensor) -> str:
    """Name of an output with the type that the network gives it: inside, integers are int64 throughout."""
    from onnx import TensorProto

    name = build.name(tensor)
    if tensor.dtype is not np.int32:
        return name
    build.scope = ""
    return build.node("Cast", [name], shape=build.shapes.get(name), to=TensorProto.INT32)


def _own_outputs(build: Builder, names: List[str]) -> List[str]:
    """The outputs, each the own one of a node: an input that is given on, or a tensor given twice, is copied."""
    own: List[str] = []
    for name in names:
        copied = name in own or name in build.inputs or name in build.constants
        own.append(build.node("Identity", [name], shape=build.shapes.get(name)) if copied else name)
    return own


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
