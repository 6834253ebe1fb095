"""The kernels as operators of MindSpore, with their gradients.

Every function makes an operator for one library; what it takes and gives is said in `cpp/operators.cpp`. Constants come
as tensors. Shapes follow from those of the inputs, so an operator serves any.
"""
from typing import Callable, NamedTuple, Sequence, Tuple

import mindspore as ms
from mindspore import Tensor, ops

#: The activations by name, numbered as in cpp/activation.hpp.
ACTIVATIONS = ("none", "relu", "relu6", "hswish", "hsigmoid", "silu", "sigmoid", "gelu", "sin", "cos")


class Geometry(NamedTuple):
    """Of a convolution, each (vertical, horizontal) but the padding, which is (top, bottom, left, right)."""

    kernel: Tuple[int, int]
    stride: Tuple[int, int]
    padding: Tuple[int, int, int, int]
    dilation: Tuple[int, int]

    def size(self, height: int, width: int) -> Tuple[int, int]:
        """Of the result for maps of height x width."""
        top, bottom, left, right = self.padding
        return tuple((extent + before + after - apart * (taps - 1) - 1) // step + 1
                     for extent, before, after, taps, step, apart in
                     zip((height, width), (top, left), (bottom, right), self.kernel, self.stride, self.dilation))


def activation_code(name: str) -> Tensor:
    """The constant that names an activation."""
    return Tensor([ACTIVATIONS.index(name)], ms.int32)


def _operator(library: str, name: str, shape: Callable, outputs: int, bprop: Callable = None) -> ops.Custom:
    dtype = ms.float32 if outputs == 1 else (ms.float32,) * outputs
    return ops.Custom(f"{library}:ghost_{name}", shape, dtype, "aot", bprop)


def pointwise(library: str, bias: bool) -> ops.Custom:
    """1x1 convolution: x (B, I, H, W), w (O, I, 1, 1)[, bias (O,)] -> (B, O, H, W)."""
    backward = _operator(library, "pointwise_backward", lambda x, w, dy: (x, w), 2)

    def bprop(x, w, out, dout):
        return backward(x, w, dout)

    def bprop_bias(x, w, b, out, dout):
        dx, dw = backward(x, w, dout)
        return dx, dw, dout.sum((0, 2, 3))

    if bias:
        return _operator(library, "pointwise_bias", lambda x, w, b: (x[0], w[0], x[2], x[3]), 1, bprop_bias)
    return _operator(library, "pointwise", lambda x, w: (x[0], w[0], x[2], x[3]), 1, bprop)


def depthwise(library: str, geometry: Geometry, bias: bool) -> ops.Custom:
    """Depthwise convolution: x (B, C, H, W), w (C, 1, KH, KW)[, bias (C,)], constants -> (B, C, H', W')."""
    backward = _operator(library, "depthwise_backward", lambda x, w, dy, k: (x, w), 2)

    def shape(x, *_):
        return (x[0], x[1]) + geometry.size(x[2], x[3])

    def bprop(x, w, k, out, dout):
        dx, dw = backward(x, w, dout, k)
        return dx, dw, ops.zeros_like(k)

    def bprop_bias(x, w, b, k, out, dout):
        dx, dw = backward(x, w, dout, k)
        return dx, dw, dout.sum((0, 2, 3)), ops.zeros_like(k)

    if bias:
        return _operator(library, "depthwise_bias", shape, 1, bprop_bias)
    return _operator(library, "depthwise", shape, 1, bprop)


def depthwise_constants(geometry: Geometry) -> Tensor:
    """What `depthwise` takes last."""
    return Tensor([*geometry.stride, geometry.padding[0], geometry.padding[2], *geometry.dilation], ms.int32)


def norm_train(library: str) -> ops.Custom:
    """BatchNorm by the statistics of the batch, and an activation; moves the moving ones.

    x (B, C, ...), gamma, beta, moving mean and variance (C,), (epsilon, keep), activation -> y, mean, inverse deviation.
    """
    backward = _operator(library, "norm_backward", lambda x, g, b, m, i, dy, a: (x, g, g), 3)

    def bprop(x, gamma, beta, mean, variance, numbers, act, out, dout):
        dx, dgamma, dbeta = backward(x, gamma, beta, out[1], out[2], dout[0], act)
        return (dx, dgamma, dbeta, ops.zeros_like(mean), ops.zeros_like(variance), ops.zeros_like(numbers),
                ops.zeros_like(act))

    return _operator(library, "norm_train", lambda x, g, b, m, v, n, a: (x, g, g), 3, bprop)


def norm_fixed(library: str) -> ops.Custom:
    """BatchNorm by given statistics, and an activation: arguments of `norm_train` -> y."""
    backward = _operator(library, "norm_fixed_backward", lambda x, g, b, m, v, dy, n, a: (x, g, g), 3)

    def bprop(x, gamma, beta, mean, variance, numbers, act, out, dout):
        dx, dgamma, dbeta = backward(x, gamma, beta, mean, variance, dout, numbers, act)
        return (dx, dgamma, dbeta, ops.zeros_like(mean), ops.zeros_like(variance), ops.zeros_like(numbers),
                ops.zeros_like(act))

    return _operator(library, "norm_fixed", lambda x, *_: x, 1, bprop)


def unary(library: str) -> ops.Custom:
    """An activation, or sine or cosine: x, activation -> y."""
    backward = _operator(library, "act_backward", lambda x, dy, a: x, 1)

    def bprop(x, act, out, dout):
        return backward(x, dout, act), ops.zeros_like(act)

    return _operator(library, "act", lambda x, a: x, 1, bprop)


def mean(library: str) -> ops.Custom:
    """Mean of every map: (B, C, H, W) -> (B, C, 1, 1)."""
    backward = _operator(library, "mean_backward", lambda x, dy: x, 1)

    def bprop(x, out, dout):
        return (backward(x, dout),)

    return _operator(library, "mean", lambda x: (x[0], x[1], 1, 1), 1, bprop)


def gate(library: str) -> ops.Custom:
    """Every map times a number: (B, C, H, W), (B, C, 1, 1) -> (B, C, H, W)."""
    backward = _operator(library, "gate_backward", lambda x, g, dy: (x, g), 2)

    def bprop(x, by, out, dout):
        return backward(x, by, dout)

    return _operator(library, "gate", lambda x, g: x, 1, bprop)


def numbers(*values: float) -> Tensor:
    """Constants that are no integers."""
    return Tensor(values, ms.float32)
