"""ONNX for MindSpore Lite 2.0.0: what it lacks, computes wrongly or slowly, written out in other operators.

It has no HardSwish and gives wrong numbers for LayerNormalization; its Gelu is the tanh approximation of what the
networks were trained with. It does not load an InstanceNormalization of three axes, and loses the layout of an image
whose height and width change places before a convolution, and computes depthwise convolutions wrongly of which a tap
meets nothing but padding. Some grouped convolutions are slow in it. Everything else of
an exported file it takes as it is.
"""
from typing import Any, Callable, Dict, List, Set

import numpy as np

from ghost_ms.core.text import printable


class _Lowering:
    """The nodes and constants that take the place of one node.

    Args:
        arrays: the graph's constants by name.
        shapes: what is known of the shapes in the graph, by name; 0 where an extent is open.
        images: names of what convolutions take.
    """

    def __init__(self, node, arrays: Dict[str, np.ndarray], shapes: Dict[str, List[int]], images: Set[str]):
        self.node, self.arrays, self.shapes, self.images = node, arrays, shapes, images
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

    def constant(self, value, dtype: type = np.float32) -> str:
        """A number or an array; its name."""
        from onnx import numpy_helper

        name = f"{self.node.name or self.node.output[0]}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
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


def _standardise(lower: _Lowering, last: bool = False) -> str:
    """The node's input with mean 0 and variance 1 along its last axis."""
    x = lower.node.input[0]
    epsilon = next((attribute.f for attribute in lower.node.attribute if attribute.name == "epsilon"), 1e-5)
    centred = lower.add("Sub", x, lower.add("ReduceMean", x, axes=[-1], keepdims=1))
    variance = lower.add("ReduceMean", lower.add("Mul", centred, centred), axes=[-1], keepdims=1)
    deviation = lower.add("Sqrt", lower.add("Add", variance, lower.constant(epsilon)))
    return lower.add("Div", centred, deviation, last=last)


def _layer_norm(lower: _Lowering) -> None:
    attributes = {attribute.name: attribute for attribute in lower.node.attribute}
    if "axis" in attributes and attributes["axis"].i != -1:
        raise ValueError(f"{lower.node.name} normalises more than the last axis")
    _, scale, *shift = lower.node.input
    scaled = lower.add("Mul", _standardise(lower), scale, last=not shift)
    if shift:
        lower.add("Add", scaled, shift[0], last=True)


def _instance_norm(lower: _Lowering) -> None:
    """Normalisation of (B, groups, values) without scale and shift, which is how group normalisation is exported."""
    _, scale, shift = lower.node.input
    if (lower.arrays[scale] == 1).all() and (lower.arrays[shift] == 0).all():
        _standardise(lower, last=True)
    else:
        lower.nodes.append(lower.node)


def _reduce_mean(lower: _Lowering) -> None:
    """The axes as an attribute, as they were before operator set 18."""
    x, *axes = lower.node.input
    keep = [attribute.i for attribute in lower.node.attribute if attribute.name == "keepdims"]
    lower.add("ReduceMean", x, last=True, axes=lower.arrays[axes[0]].tolist(), keepdims=keep[0] if keep else 1)


def _transpose(lower: _Lowering) -> None:
    """Height and width change places in a view of three axes, where the converter sees no image."""
    order = [list(attribute.ints) for attribute in lower.node.attribute if attribute.name == "perm"]
    output = lower.node.output[0]
    if order != [[0, 1, 3, 2]] or output not in lower.images:
        lower.nodes.append(lower.node)
        return
    shape = lower.shapes.get(output, [0])
    if 0 in shape:
        raise ValueError("MindSpore Lite 2.0.0 cannot swap height and width in an open batch; convert with "
                         "--batch_size 1")
    batch, channels, height, width = shape
    planes = lower.add("Reshape", lower.node.input[0], lower.constant([batch * channels, width, height], np.int64))
    swapped = lower.add("Transpose", planes, perm=[0, 2, 1])
    lower.add("Reshape", swapped, lower.constant(shape, np.int64), last=True)


def _reshape(lower: _Lowering) -> None:
    """Write every extent as a number once the batch is fixed: from -1 the converter does not infer all of them."""
    x, target = lower.node.input
    shape = lower.shapes.get(lower.node.output[0], [0])
    if 0 in shape or -1 not in lower.arrays.get(target, ()) or 0 in lower.arrays[target]:
        lower.nodes.append(lower.node)
    else:
        lower.add("Reshape", x, lower.constant(shape, np.int64), last=True)


def _conv(lower: _Lowering) -> None:
    """Groups with a few channels on one side as depthwise convolutions, one for each of these: WaveMLP's token mixing
    (two inputs) and Ghost-ResNet's cheap operation (three outputs), whose networks take some 0.6 of the time then."""
    x, weight, *bias = lower.node.input
    values = {attribute.name: attribute for attribute in lower.node.attribute}
    kernel = lower.arrays.get(weight, np.empty((0, 0)))
    groups = values["group"].i if "group" in values else 1
    outputs, inputs = len(kernel) // groups, kernel.shape[1]
    if (outputs, inputs) == (1, 1) and groups > 1 and _without_idle_taps(lower, kernel, values):
        return
    if groups == 1 or (outputs, inputs) not in ((1, 2), (2, 1), (3, 1)) or not set(bias) <= set(lower.arrays):
        lower.nodes.append(lower.node)
        return
    geometry = {name: list(values[name].ints) for name in ("kernel_shape", "strides", "dilations", "pads")
                if name in values}
    shifts = [lower.arrays[name] for name in bias]

    def depthwise(source: str, kernel: np.ndarray, shifts: List[np.ndarray]) -> str:
        return lower.add("Conv", source, *map(lower.constant, (kernel, *shifts)), group=groups, **geometry)

    def channels(source: str, order: np.ndarray, last: bool = False) -> str:
        return lower.add("Gather", source, lower.constant(order, np.int64), last=last, axis=1)

    if inputs == 2:
        places = np.arange(2 * groups)
        terms = [depthwise(channels(x, places[side::2]), kernel[:, side:side + 1], shifts[side:]) for side in (0, 1)]
        lower.add("Add", *terms, last=True)
    else:
        parts = [depthwise(x, kernel[index::outputs], [shift[index::outputs] for shift in shifts])
                 for index in range(outputs)]
        order = np.arange(len(kernel)).reshape(outputs, groups).T.ravel()
        channels(lower.add("Concat", *parts, axis=1), order, last=True)


def _without_idle_taps(lower: _Lowering, kernel: np.ndarray, values: Dict[str, Any]) -> bool:
    """A dilated depthwise convolution without the taps that meet nothing but padding, such as GhostNetV2's 1x5 with
    dilation 2 on a map 3 wide, which Lite computes wrongly; whether there are such."""
    x, _, *bias = lower.node.input
    extents = lower.shapes.get(x, [0] * 4)[2:]
    strides, dilations, pads = (list(values[name].ints) if name in values else default for name, default in (
        ("strides", [1, 1]), ("dilations", [1, 1]), ("pads", [0] * 4)))
    if 0 in extents or strides != [1, 1]:
        return False
    idle = []
    for axis in range(2):
        size, step, before = kernel.shape[2 + axis], dilations[axis], pads[axis]
        left = sum(tap * step - before <= -extents[axis] for tap in range(size))
        right = sum(tap * step - before >= extents[axis] for tap in range(size))
        # A map that grows or shrinks is left alone.
        if pads[axis] + pads[2 + axis] != (size - 1) * step or left + right >= size:
            return False
        idle.append((left, right))
    if not any(map(any, idle)):
        return False
    (top, bottom), (left, right) = idle
    cut = kernel[:, :, top:kernel.shape[2] - bottom, left:kernel.shape[3] - right]
    lower.add("Conv", x, lower.constant(cut), *bias, last=True, group=len(kernel), kernel_shape=list(cut.shape[2:]),
              strides=strides, dilations=dilations,
              pads=[pads[0] - top * dilations[0], pads[1] - left * dilations[1], pads[2] - bottom * dilations[0],
                    pads[3] - right * dilations[1]])
    return True


LOWERINGS: Dict[str, Callable[[_Lowering], None]] = {
    "HardSwish": _hard_swish, "Gelu": _gelu, "LayerNormalization": _layer_norm,
    "InstanceNormalization": _instance_norm, "ReduceMean": _reduce_mean, "Reshape": _reshape, "Transpose": _transpose,
    "Conv": _conv}


def _gemm(lower: _Lowering) -> None:
    """A dense layer as a 1x1 convolution: Lite 2.0.0 writes a Gemm with int8 weights and cannot load it."""
    x, weight, *bias = lower.node.input
    values = {attribute.name: attribute for attribute in lower.node.attribute}
    scaled = any(values[name].f != 1 for name in ("alpha", "beta") if name in values)
    if scaled or ("transA" in values and values["transA"].i) or not {weight, *bias} <= set(lower.arrays):
        lower.nodes.append(lower.node)
        return
    matrix = lower.arrays[weight]
    kernel = matrix if "transB" in values and values["transB"].i else matrix.T
    shapes = [lower.constant(shape, np.int64) for shape in ([-1, kernel.shape[1], 1, 1], [-1, len(kernel)])]
    parts = [lower.constant(kernel[:, :, None, None])] + [lower.constant(lower.arrays[name].ravel()) for name in bias]
    # The converter does not know the defaults.
    conv = lower.add("Conv", lower.add("Reshape", x, shapes[0]), *parts, kernel_shape=[1, 1], strides=[1, 1],
                     dilations=[1, 1], pads=[0] * 4, group=1)
    # By its old name the user can exclude it.
    lower.nodes[-1].name = lower.node.name
    lower.add("Reshape", conv, shapes[1], last=True)


#: What has to be written out besides, where the weights become int8.
FOR_INT8 = {"Gemm": _gemm}
#: Operator set of what is left.
OPSET = 17


def lower_for_lite(model, int8: bool = False):
    """A copy of an exported `onnx.ModelProto` that MindSpore Lite 2.0.0 converts and computes rightly.

    Args:
        int8: whether the converter is going to quantise the weights.

    Raises:
        ValueError: a graph network with an open batch, whose numbers would silently be wrong, SNN-MLP with one, or a
            network that is quantised already.
    """
    import onnx
    from onnx import numpy_helper

    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    if any(node.op_type == "CumSum" for node in model.graph.node):
        raise ValueError("MindSpore Lite 2.0.0 gives wrong numbers for the neighbours of an open batch; export with "
                         "--batch_size 1")
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise ValueError("MindSpore Lite 2.0.0 converts no quantised ONNX file; `ghost-ms quantize FLOAT.onnx -o "
                         "FILE.ms` gives it int8 weights")
    arrays = {array.name: numpy_helper.to_array(array) for array in model.graph.initializer}
    shapes = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
              for value in (*onnx.shape_inference.infer_shapes(model).graph.value_info, *model.graph.input)}
    images = {node.input[0] for node in model.graph.node if node.op_type == "Conv"}
    nodes: List = []
    lowerings = {**LOWERINGS, **FOR_INT8} if int8 else LOWERINGS
    for node in model.graph.node:
        if node.op_type not in lowerings:
            nodes.append(node)
            continue
        lower = _Lowering(node, arrays, shapes, images)
        try:
            lowerings[node.op_type](lower)
        except (ArithmeticError, LookupError) as error:
            raise ValueError(f"{printable(node.name)[:100]} ({node.op_type}) has inputs or attributes that it cannot "
                             f"have: {error}") from None
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
    try:
        onnx.checker.check_model(lowered, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(f"the network contradicts itself: {printable(str(error).strip().splitlines()[0])}") from None
    return lowered


def unloadable_in_int8(model) -> List[str]:
    """Names of the nodes whose weights MindSpore Lite 2.0.0 stores in int8 and then cannot load: those of matrix
    products and of ungrouped convolutions with a kernel or a stride above 1 ("can not find tensor data in origin tensor
    data")."""
    names = []
    for node in model.graph.node:
        values = {attribute.name: attribute for attribute in node.attribute}
        ones = all(set(values[name].ints) <= {1} for name in ("kernel_shape", "strides") if name in values)
        grouped = "group" in values and values["group"].i > 1
        if node.op_type in ("MatMul", "Gemm", "ConvTranspose") or (node.op_type == "Conv" and not (grouped or ones)):
            names.append(node.name)
    return names


def lower_file(source: str, target: str, batch_size: int = 0, int8: bool = False):
    """`lower_for_lite` from file to file; the lowered model.

    Args:
        batch_size: what an open batch is fixed to; 0 leaves it open.
        int8: as of `lower_for_lite`.

    Raises:
        ValueError: the source is damaged or no ONNX file.
    """
    import onnx

    from ghost_ms.runtime.onnx import open_onnx

    # A malformed file would end the converter with a segmentation fault.
    model = open_onnx(source)
    if batch_size:
        for end in (*model.graph.input, *model.graph.output):
            batch = end.type.tensor_type.shape.dim[0]
            batch.dim_value = batch_size if batch.dim_param else batch.dim_value
    lowered = lower_for_lite(model, int8)
    onnx.save(lowered, target)
    return lowered
