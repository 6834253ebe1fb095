"""ONNX for MindSpore Lite 2.0.0: the operators that it lacks or computes wrongly, written out in others.

It has no HardSwish and gives wrong numbers for LayerNormalization; its Gelu is the tanh approximation of what the
networks were trained with. Everything else of an exported file it takes as it is.
"""
from typing import Callable, Dict, List

import numpy as np


class _Lowering:
    """The nodes and constants that take the place of one node."""

    def __init__(self, node, arrays: Dict[str, np.ndarray]):
        self.node, self.arrays = node, arrays
        self.nodes: list = []
        self.constants: list = []

    def add(self, kind: str, *inputs: str, last: bool = False, **attributes) -> str:
        """Append a node; the name of its output, which for the last one is the old node's."""
        from onnx import helper

        stem = self.node.name or self.node.output[0]
        output = self.node.output[0] if last else f"{stem}/{len(self.nodes)}_{kind}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], f"{stem}/{kind}_{len(self.nodes)}",
                                           **attributes))
        return output

    def constant(self, value: float) -> str:
        """A scalar; its name."""
        from onnx import numpy_helper

        name = f"{self.node.name or self.node.output[0]}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name


def _hard_swish(lower: _Lowering) -> None:
    x = lower.node.input[0]
    gate = lower.add("HardSigmoid", x, alpha=1 / 6, beta=0.5)
    lower.add("Mul", x, gate, last=True)


def _gelu(lower: _Lowering) -> None:
    x = lower.node.input[0]
    if any(attribute.name == "approximate" and attribute.s == b"tanh" for attribute in lower.node.attribute):
        raise ValueError(f"{lower.node.name} approximates GELU by tanh, which no network of this package does")
    half = lower.add("Mul", x, lower.constant(0.5))
    error = lower.add("Erf", lower.add("Mul", x, lower.constant(0.5 ** 0.5)))
    lower.add("Mul", half, lower.add("Add", error, lower.constant(1.0)), last=True)


def _layer_norm(lower: _Lowering) -> None:
    attributes = {attribute.name: attribute for attribute in lower.node.attribute}
    if "axis" in attributes and attributes["axis"].i != -1:
        raise ValueError(f"{lower.node.name} normalises more than the last axis")
    epsilon = attributes["epsilon"].f if "epsilon" in attributes else 1e-5
    x, scale, *shift = lower.node.input
    centred = lower.add("Sub", x, lower.add("ReduceMean", x, axes=[-1], keepdims=1))
    variance = lower.add("ReduceMean", lower.add("Mul", centred, centred), axes=[-1], keepdims=1)
    deviation = lower.add("Sqrt", lower.add("Add", variance, lower.constant(epsilon)))
    scaled = lower.add("Mul", lower.add("Div", centred, deviation), scale, last=not shift)
    if shift:
        lower.add("Add", scaled, shift[0], last=True)


def _reduce_mean(lower: _Lowering) -> None:
    """The axes as an attribute, as they were before operator set 18."""
    x, *axes = lower.node.input
    keep = [attribute.i for attribute in lower.node.attribute if attribute.name == "keepdims"]
    lower.add("ReduceMean", x, last=True, axes=lower.arrays[axes[0]].tolist(), keepdims=keep[0] if keep else 1)


LOWERINGS: Dict[str, Callable[[_Lowering], None]] = {
    "HardSwish": _hard_swish, "Gelu": _gelu, "LayerNormalization": _layer_norm,
    "ReduceMean": _reduce_mean}
#: Operator set of what is left.
OPSET = 17


def lower_for_lite(model):
    """A copy of an exported `onnx.ModelProto` that MindSpore Lite 2.0.0 converts and computes rightly.

    Raises:
        ValueError: a graph network with an open batch, whose numbers would silently be wrong.
    """
    import onnx
    from onnx import numpy_helper

    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    if any(node.op_type == "CumSum" for node in model.graph.node):
        raise ValueError("MindSpore Lite 2.0.0 gives wrong numbers for the neighbours of an open batch; export with "
                         "--batch_size 1")
    arrays = {array.name: numpy_helper.to_array(array) for array in model.graph.initializer}
    nodes: List = []
    for node in model.graph.node:
        if node.op_type not in LOWERINGS:
            nodes.append(node)
            continue
        lower = _Lowering(node, arrays)
        LOWERINGS[node.op_type](lower)
        nodes += lower.nodes
        lowered.graph.initializer.extend(lower.constants)
    del lowered.graph.node[:]
    lowered.graph.node.extend(nodes)
    for opset in lowered.opset_import:
        opset.version = min(opset.version, OPSET)
    used = {name for node in nodes for name in node.input}
    left = [array for array in lowered.graph.initializer if array.name in used]
    del lowered.graph.initializer[:]
    lowered.graph.initializer.extend(left)
    onnx.checker.check_model(lowered, full_check=True)
    return lowered


def lower_file(source: str, target: str, batch_size: int = 0) -> None:
    """`lower_for_lite` from file to file; ValueError where the source is damaged or no ONNX file.

    Args:
        batch_size: what an open batch is fixed to; 0 leaves it open.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(source)
        # A malformed file would end the converter with a segmentation fault.
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise ValueError(f"'{source}' is no whole ONNX file: {str(error).strip().splitlines()[0]}") from None
    if batch_size:
        for end in (*model.graph.input, *model.graph.output):
            batch = end.type.tensor_type.shape.dim[0]
            batch.dim_value = batch_size if batch.dim_param else batch.dim_value
    onnx.save(lower_for_lite(model), target)
