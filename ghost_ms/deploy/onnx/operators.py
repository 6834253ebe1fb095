"""How each primitive of MindSpore is written in ONNX: a table of functions.

A function takes the builder and an operation and returns the name of the output (or a list of names). Arguments follow
the primitives of MindSpore 2.7 and 2.8; what is constant there (axes, shapes) arrives as Python numbers.
"""
from typing import Any, Callable, Dict, List, Sequence, Tuple, Union

import numpy as np

from ghost_ms.deploy.onnx.builder import Builder
from ghost_ms.graph.mindir_graph import Operation, Tensor, Weight

Result = Union[str, List[str]]
Translator = Callable[[Builder, Operation], Result]


def unsupported(op: Operation, what: str) -> ValueError:
    """An error that names the primitive and the place."""
    return ValueError(f"'{op.kind}' at {op.name} cannot be written in ONNX: {what}")


def shape_of(value: Union[Tensor, Weight]) -> Tuple[int, ...]:
    """Extents, -1 where open."""
    return value.shape if isinstance(value, Tensor) else value.array.shape


def _same(kind: str, inputs: int = 1, **attributes) -> Translator:
    """A node of the same meaning that takes the first `inputs` arguments."""
    def translate(build: Builder, op: Operation) -> str:
        return build.node(kind, [_operand(value, op) for value in op.inputs[:inputs]], **attributes)

    return translate


def _operand(value: Any, op: Operation) -> Any:
    """Numbers take the type of the tensor beside them."""
    if isinstance(value, (Tensor, Weight)):
        return value
    dtypes = [other.dtype if isinstance(other, Tensor) else other.array.dtype for other in op.inputs
              if isinstance(other, (Tensor, Weight))]
    return np.asarray(value, dtypes[-1])


def _axes(value: Any, rank: int) -> List[int]:
    axes = value if isinstance(value, tuple) else (value,)
    return sorted(axis % rank for axis in axes)


def _silu(build: Builder, op: Operation) -> str:
    return build.node("Mul", [op.inputs[0], build.node("Sigmoid", [op.inputs[0]])])


def _relu6(build: Builder, op: Operation) -> str:
    return build.node("Clip", [op.inputs[0], np.float32(0), np.float32(6)])


def _cast(build: Builder, op: Operation) -> str:
    from onnx import helper

    # Integers are int64 throughout, see Builder.constant.
    dtype = np.int64 if op.outputs[0].dtype is np.int32 else op.outputs[0].dtype
    return build.node("Cast", [op.inputs[0]], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _bias_add(build: Builder, op: Operation) -> str:
    """BiasAdd along axis 1; the bias of a convolution becomes its third input."""
    value, bias = op.inputs[:2]
    rank = len(shape_of(value))
    if rank == 2:
        return build.node("Add", [value, bias])
    producer = build.producer(build.name(value))
    if producer and producer.kind == "Conv" and len(producer.inputs) == 2 and build.uses[value.name] == 1:
        producer.inputs.append(build.name(bias))
        return producer.outputs[0]
    if isinstance(bias, Tensor):
        bias = build.node("Reshape", [bias, build.integers(-1, *[1] * (rank - 2))])
        return build.node("Add", [value, bias])
    return build.node("Add", [value, Weight(bias.name, bias.array.reshape((-1,) + (1,) * (rank - 2)))])


def same_padding(extent: int, kernel: int, stride: int, dilation: int = 1) -> Tuple[int, int]:
    """Zeros before and after an axis under TensorFlow's SAME rule; the odd one stands at the end."""
    total = max((-(-extent // stride) - 1) * stride + (kernel - 1) * dilation + 1 - extent, 0)
    return total // 2, total - total // 2


def _window_pads(op: Operation, mode: str, pads: Sequence[int], kernel: Sequence[int], stride: Sequence[int],
                 dilation: Sequence[int] = (1, 1)) -> List[int]:
    """ONNX pads (top, left, bottom, right); MindSpore's order is (top, bottom, left, right)."""
    if mode.upper() == "VALID":
        return [0, 0, 0, 0]
    if mode.upper() == "SAME":
        extents = shape_of(op.inputs[0])[2:]
        if -1 in extents:
            raise unsupported(op, "pad_mode 'same' needs a fixed input size")
        (top, bottom), (left, right) = map(same_padding, extents, kernel, stride, dilation)
    else:
        top, bottom, left, right = pads
    return [top, left, bottom, right]


def _conv2d(build: Builder, op: Operation) -> str:
    at = op.attributes
    kernel = list(shape_of(op.inputs[1])[2:])
    stride, dilation = list(at["stride"][-2:]), list(at["dilation"][-2:])
    return build.node("Conv", op.inputs[:2], kernel_shape=kernel, strides=stride, dilations=dilation,
                      pads=_window_pads(op, at["pad_mode"], at["pad"], kernel, stride, dilation), group=at["group"])


def _max_pool(build: Builder, op: Operation) -> str:
    kernel, stride = list(op.attributes["kernel_size"][-2:]), list(op.attributes["strides"][-2:])
    return build.node("MaxPool", [op.inputs[0]], kernel_shape=kernel, strides=stride,
                      pads=_window_pads(op, op.attributes["pad_mode"], (), kernel, stride))


def _avg_pool(build: Builder, op: Operation) -> str:
    """Arguments: value, kernel, stride, pad mode (0 pad, 1 same, 2 valid), layout (0 is NCHW)."""
    value, kernel, stride, mode, layout = op.inputs
    if mode not in (1, 2) or layout != 0:
        raise unsupported(op, "of average pooling, pad_mode 'same' and 'valid' on NCHW are known")
    kernel, stride = list(kernel), list(stride)
    # MindSpore divides by the pixels that exist, as ONNX does by default.
    return build.node("AveragePool", [value], kernel_shape=kernel, strides=stride,
                      pads=_window_pads(op, "SAME" if mode == 1 else "VALID", (), kernel, stride))


def _pad(build: Builder, op: Operation) -> str:
    before, after = zip(*op.attributes["paddings"])
    return build.node("Pad", [op.inputs[0], build.integers(*before, *after)])


def _batch_norm(build: Builder, op: Operation) -> str:
    value, scale, shift, mean, variance, training, epsilon = op.inputs[:7]
    if training:
        raise unsupported(op, "it is in training mode; call set_train(False) first")
    return build.node("BatchNormalization", [value, scale, shift, mean, variance], epsilon=epsilon)


def _layer_norm(build: Builder, op: Operation) -> str:
    value, gamma, beta, begin_norm, begin_params, epsilon = op.inputs
    rank = len(shape_of(value))
    if begin_norm % rank != begin_params % rank:
        raise unsupported(op, "the axes that are normalised differ from those of the parameters")
    axis = -1 if begin_norm % rank == rank - 1 else begin_norm
    return build.node("LayerNormalization", [value, gamma, beta], axis=axis, epsilon=epsilon)


def _group_norm(build: Builder, op: Operation) -> str:
    """InstanceNormalization of the groups: ONNX Runtime takes ten times as long for ONNX's GroupNormalization."""
    value, groups, gamma, beta, epsilon = op.inputs
    shape = shape_of(value)
    rows = build.node("Reshape", [value, build.integers(0, groups, -1)])
    ones, zeros = (np.full(groups, number, np.float32) for number in (1, 0))
    rows = build.node("InstanceNormalization", [rows, ones, zeros], epsilon=epsilon)
    value = build.node("Reshape", [rows, build.integers(*shape)])
    gamma, beta = (Weight(part.name, part.array.reshape((-1,) + (1,) * (len(shape) - 2))) for part in (gamma, beta))
    return build.node("Add", [build.node("Mul", [value, gamma], shape=shape), beta])


def _matmul(build: Builder, op: Operation) -> str:
    """MatMul, BatchMatMul (with two flags that transpose the last axes) and MatMulExt (without)."""
    first, second, *flags = op.inputs
    transposed = [_transposed(build, value, flag) for value, flag in zip((first, second), flags or (False, False))]
    return build.node("MatMul", transposed)


def _transposed(build: Builder, value: Union[Tensor, Weight], flag: bool) -> Any:
    if not flag:
        return value
    if isinstance(value, Weight):
        return Weight(value.name, np.ascontiguousarray(value.array.swapaxes(-1, -2)))
    order = list(range(len(value.shape)))
    order[-1], order[-2] = order[-2], order[-1]
    return build.node("Transpose", [value], perm=order)


def _softmax(build: Builder, op: Operation) -> str:
    value, axis = op.inputs
    axis = axis[0] if isinstance(axis, tuple) else axis
    return build.node("Softmax", [value], axis=axis)


def _reduce(kind: str) -> Translator:
    """Arguments: value, axes, whether they stay as extents of 1."""
    def translate(build: Builder, op: Operation) -> str:
        value, axes, keep = op.inputs[:3]
        rank = len(shape_of(value))
        axes = list(range(rank)) if axes in (None, ()) else _axes(axes, rank)
        if kind == "ReduceMean" and keep and rank == 4 and axes == [2, 3]:
            return build.node("GlobalAveragePool", [value])
        return build.node(kind, [value, build.integers(*axes)], keepdims=int(bool(keep)))

    return translate


def _reshape(build: Builder, op: Operation) -> str:
    """The shape is taken from the output, so that whatever computes it in MindSpore is left out."""
    shape = op.outputs[0].shape
    if sum(extent < 0 for extent in shape) > 1:
        raise unsupported(op, f"more than one extent of its output is open {shape}; fix the input size")
    return build.node("Reshape", [op.inputs[0], build.integers(*shape)])


def _transpose(build: Builder, op: Operation) -> str:
    return build.node("Transpose", [op.inputs[0]], perm=[axis % len(op.inputs[1]) for axis in op.inputs[1]])


def _concat(build: Builder, op: Operation) -> str:
    values, axis = op.inputs
    return build.node("Concat", values, axis=axis) if len(values) > 1 else build.name(values[0])


def _split(build: Builder, op: Operation) -> List[str]:
    axis, parts = op.inputs[1:3]
    extent = shape_of(op.inputs[0])[axis]
    names = build.node("Split", [op.inputs[0], build.integers(*[extent // parts] * parts)], parts, axis=axis)
    return names if parts > 1 else [names]


def _slice(build: Builder, op: Operation) -> str:
    """Arguments: value, begin, end, step, and masks of bits: begin, end, ellipsis, new axis, dropped axis."""
    value, begin, end, step, begin_mask, end_mask, ellipsis, new_axis, dropped = op.inputs
    if ellipsis or new_axis:
        raise unsupported(op, "slices with an ellipsis or a new axis are not known")
    shape = shape_of(value)
    cuts, drops = [], []
    for axis, (start, stop, stride) in enumerate(zip(begin, end, step)):
        if dropped >> axis & 1:
            drops.append(axis)
            start = start % shape[axis] if shape[axis] > 0 else start
            stop, stride = start + 1, 1
        elif stop is None and not (shape[axis] < 0 and start == 0):
            raise unsupported(op, "where it ends is computed")
        else:
            start = 0 if begin_mask >> axis & 1 else start
            stop = 2 ** 31 if end_mask >> axis & 1 or stop is None else stop
        if stride < 0:
            raise unsupported(op, "its step is negative")
        if start or stride > 1 or stop < (shape[axis] if shape[axis] > 0 else 2 ** 31):
            cuts.append((start, stop, axis, stride))
    if drops and len(cuts) == 1 and cuts[0][1] == cuts[0][0] + 1 and drops == [cuts[0][2]]:
        # A scalar index takes the axis away in the same node.
        return build.node("Gather", [value, np.asarray(cuts[0][0], np.int64)], axis=drops[0])
    if cuts:
        value = build.node("Slice", [value, *(build.integers(*column) for column in zip(*cuts))])
    return build.node("Squeeze", [value, build.integers(*drops)]) if drops else build.name(value)


def _slice_sizes(build: Builder, op: Operation) -> str:
    """Arguments: value, begin, sizes (-1 for all that is left, computed where an extent is open)."""
    value, begin, sizes = op.inputs
    sizes = [-1 if size is None else size for size in sizes]
    cuts = [(start, 2 ** 31 if size < 0 else start + size, axis) for axis, (start, size) in enumerate(zip(begin, sizes))
            if start or size >= 0 and size != shape_of(value)[axis]]
    return build.node("Slice", [value, *(build.integers(*column) for column in zip(*cuts))]) if cuts else \
        build.name(value)


def _gather(build: Builder, op: Operation) -> str:
    value, index, axis, *batch_dims = op.inputs
    if any(batch_dims):
        raise unsupported(op, "batch_dims is not 0")
    return build.node("Gather", [value, index], axis=axis)


def _top_k(build: Builder, op: Operation) -> List[str]:
    """TopK along the last axis; MindSpore's indices are int32, for ONNX's Gather any integers do."""
    return build.node("TopK", [op.inputs[0], build.integers(op.inputs[1])], 2, axis=-1,
                      sorted=int(op.attributes.get("sorted", 1)))


def _arg_max(build: Builder, op: Operation) -> str:
    """Arguments: value, axis."""
    return build.node("ArgMax", [op.inputs[0]], axis=op.inputs[1], keepdims=0)


def _cum_sum(build: Builder, op: Operation) -> str:
    value, axis, exclusive, reverse = op.inputs
    return build.node("CumSum", [value, np.asarray(axis, np.int64)], exclusive=int(exclusive), reverse=int(reverse))


def _zeros_like(build: Builder, op: Operation) -> str:
    shape = shape_of(op.inputs[0])
    if -1 not in shape:
        return build.constant(np.zeros(shape, op.outputs[0].dtype))
    return build.node("Mul", [op.inputs[0], np.zeros((), op.outputs[0].dtype)])


def _output_shape(build: Builder, op: Operation) -> str:
    """Name of the output's extents. An open first one is taken for the batch, that of the graph's input; running the
    file shows if it is not."""
    first, *rest = op.outputs[0].shape
    if min(rest, default=1) < 0:
        raise unsupported(op, "an extent other than the first is open")
    if first > 0:
        return build.integers(first, *rest)
    batch = build.node("Shape", [build.inputs[0]], start=0, end=1)
    return build.node("Concat", [batch, build.integers(*rest)], axis=0)


def _broadcast_to(build: Builder, op: Operation) -> str:
    return build.node("Expand", [op.inputs[0], _output_shape(build, op)])


def _resize(build: Builder, op: Operation) -> str:
    """Arguments: value, size, whether corners are aligned, whether pixels have their centres at halves."""
    if tuple(op.inputs[2:4]) != (False, True):
        raise unsupported(op, "only half-pixel centres without aligned corners are written")
    # Neither a region nor scales are given: the size decides.
    return build.node("Resize", [op.inputs[0], "", "", _output_shape(build, op)], mode="linear",
                      coordinate_transformation_mode="half_pixel")


def _tile(build: Builder, op: Operation) -> str:
    return build.node("Tile", [op.inputs[0], build.integers(*op.inputs[1])])


#: Primitive -> how it is written in ONNX.
OPERATORS: Dict[str, Translator] = {
    "ReLU": _same("Relu"), "ReLU6": _relu6, "Sigmoid": _same("Sigmoid"), "Tanh": _same("Tanh"), "SiLU": _silu,
    "HSwish": _same("HardSwish"), "HSigmoid": _same("HardSigmoid", alpha=1 / 6, beta=0.5), "Erf": _same("Erf"),
    "GeLU": _same("Gelu", approximate="tanh"), "Exp": _same("Exp"), "Log": _same("Log"), "Sqrt": _same("Sqrt"),
    "Abs": _same("Abs"), "Neg": _same("Neg"), "Sin": _same("Sin"), "Cos": _same("Cos"), "Floor": _same("Floor"),
    "LogicalNot": _same("Not"), "Cast": _cast,
    "LogicalAnd": _same("And", 2), "LogicalOr": _same("Or", 2),
    "Add": _same("Add", 2), "Sub": _same("Sub", 2), "Mul": _same("Mul", 2), "Muls": _same("Mul", 2),
    "Div": _same("Div", 2), "RealDiv": _same("Div", 2), "Pow": _same("Pow", 2), "Maximum": _same("Max", 2),
    "Minimum": _same("Min", 2), "BiasAdd": _bias_add,
    "Greater": _same("Greater", 2), "Less": _same("Less", 2), "Equal": _same("Equal", 2),
    "GreaterEqual": _same("GreaterOrEqual", 2), "LessEqual": _same("LessOrEqual", 2), "Select": _same("Where", 3),
    "Conv2D": _conv2d, "MatMul": _matmul, "BatchMatMul": _matmul, "MatMulExt": _matmul,
    "MaxPool": _max_pool, "AvgPool": _avg_pool, "Pad": _pad,
    "BatchNorm": _batch_norm, "LayerNorm": _layer_norm, "GroupNorm": _group_norm, "Softmax": _softmax,
    "ReduceMean": _reduce("ReduceMean"), "ReduceSum": _reduce("ReduceSum"), "SumExt": _reduce("ReduceSum"),
    "MeanExt": _reduce("ReduceMean"), "ReduceMax": _reduce("ReduceMax"), "ReduceMin": _reduce("ReduceMin"),
    "Reshape": _reshape, "Flatten": _reshape, "ExpandDims": _reshape, "Squeeze": _reshape, "Transpose": _transpose,
    "Concat": _concat, "Split": _split, "StridedSlice": _slice, "Slice": _slice_sizes, "Gather": _gather,
    "TopK": _top_k, "CumSum": _cum_sum, "Argmax": _arg_max, "ZerosLike": _zeros_like,
    "BroadcastTo": _broadcast_to, "Tile": _tile,
    "ResizeBilinearV2": _resize,
}
#: Primitives whose shape is taken from the output; only their first argument is needed.
RESHAPES = frozenset(name for name, function in OPERATORS.items() if function in (_reshape, _broadcast_to, _resize))
