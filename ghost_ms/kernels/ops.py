"""The kernels as operators of MindSpore, with their gradients.

Every function makes an operator for one library; what it takes and gives is said in `cpp/operators.cpp`. Constants come
as tensors. Shapes follow from those of the inputs, so an operator serves any.
"""
from typing import Callable, NamedTuple, Tuple

import mindspore as ms
from mindspore import Tensor, ops

#: The activations by name, numbered as in cpp/activation.hpp.
ACTIVATIONS = ("none", "relu", "relu6", "hswish", "hsigmoid", "silu", "sigmoid", "gelu", "sin", "cos")


class Geometry(NamedTuple):
    """Geometry of a convolution: each (vertical, horizontal), but padding (top, bottom, left, right)."""

    kernel: Tuple[int, int]
    stride: Tuple[int, int]
    padding: Tuple[int, int, int, int]
    dilation: Tuple[int, int]

    def size(self, height: int, width: int) -> Tuple[int, int]:
        """(height, width) of the result for maps of height x width."""
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


def _told_apart(operator: ops.Custom, geometry: Geometry) -> ops.Custom:
    """PyNative mode keeps shapes by name, attributes and inputs of an operator: without a difference in these another
    stride would be given the shape of the first."""
    operator.add_prim_attr("geometry", str(tuple(geometry)))
    return operator


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


def pointwise_act(library: str) -> ops.Custom:
    """1x1 convolution, bias and activation in one: x, w, bias, activation -> (B, O, H, W)."""
    plain, backward = pointwise(library, True), _operator(library, "pointwise_backward", lambda x, w, dy: (x, w), 2)
    act_backward = _operator(library, "act_backward", lambda x, dy, a: x, 1)

    def bprop(x, w, b, act, out, dout):
        dy = act_backward(plain(x, w, b), dout, act)
        dx, dw = backward(x, w, dy)
        return dx, dw, dy.sum((0, 2, 3)), ops.zeros_like(act)

    return _operator(library, "pointwise_act", lambda x, w, b, a: (x[0], w[0], x[2], x[3]), 1, bprop)


def depthwise(library: str, geometry: Geometry, bias: bool, act: bool = False) -> ops.Custom:
    """Depthwise convolution: x (B, C * r, H, W), w (C, r, KH, KW)[, bias (C,)], constants -> (B, C, H', W').

    With `act` it takes bias and, last, the activation.
    """
    gradients = _operator(library, "depthwise_backward", lambda x, w, dy, k: (x, w), 2)
    return _spatial(library, "depthwise", geometry, bias, act, gradients)


def depthwise_constants(geometry: Geometry) -> Tensor:
    """The constants that `depthwise` takes after the bias."""
    return Tensor(_integers(geometry), ms.int32)


def _integers(geometry: Geometry) -> Tuple[int, ...]:
    return (*geometry.stride, geometry.padding[0], geometry.padding[2], *geometry.dilation)


def convolution(library: str, geometry: Geometry, bias: bool, act: bool = False) -> ops.Custom:
    """Any convolution: x (B, I, H, W), w (O, I / groups, KH, KW)[, bias (O,)], constants -> (B, O, H', W').

    With `act` it takes bias and, last, the activation.
    """
    by_input = _operator(library, "convolution_input_gradient", lambda x, w, dy, k: x, 1)
    by_weight = _operator(library, "convolution_weight_gradient", lambda x, w, dy, k: w, 1)

    def gradients(x, w, dy, k):
        # Apart, since that of images is not needed.
        return by_input(x, w, dy, k), by_weight(x, w, dy, k)

    return _spatial(library, "convolution", geometry, bias, act, gradients)


def convolution_constants(geometry: Geometry, groups: int) -> Tensor:
    """The constants that `convolution` takes after the bias."""
    return Tensor([*_integers(geometry), groups], ms.int32)


def _spatial(library: str, name: str, geometry: Geometry, bias: bool, act: bool, gradients: Callable) -> ops.Custom:
    """A convolution in one of its three forms; `gradients` takes x, w, dy, constants and gives dx, dw."""
    def shape(x, w, *_):
        return (x[0], w[0]) + geometry.size(x[2], x[3])

    def bprop(x, w, k, out, dout):
        dx, dw = gradients(x, w, dout, k)
        return dx, dw, ops.zeros_like(k)

    def bprop_bias(x, w, b, k, out, dout):
        dx, dw = gradients(x, w, dout, k)
        return dx, dw, dout.sum((0, 2, 3)), ops.zeros_like(k)

    if not act:
        form, found = (f"{name}_bias", bprop_bias) if bias else (name, bprop)
        return _told_apart(_operator(library, form, shape, 1, found), geometry)
    before = _told_apart(_operator(library, f"{name}_bias", shape, 1, bprop_bias), geometry)
    act_backward = _operator(library, "act_backward", lambda x, dy, a: x, 1)

    def bprop_act(x, w, b, k, code, out, dout):
        dy = act_backward(before(x, w, b, k), dout, code)
        dx, dw = gradients(x, w, dy, k)
        return dx, dw, dy.sum((0, 2, 3)), ops.zeros_like(k), ops.zeros_like(code)

    return _told_apart(_operator(library, f"{name}_act", shape, 1, bprop_act), geometry)


def module_constants(geometry: Geometry, act: str) -> Tensor:
    """The constants that `module_train` and `module_fixed` take last."""
    return Tensor([*_integers(geometry), ACTIVATIONS.index(act)], ms.int32)


def module_fixed(library: str) -> ops.Custom:
    """A Ghost module of ratio 2 whose norms are folded: x, w1, bias1, w2, bias2, constants -> (B, 2 P, H, W).

    For inference alone: it has no gradient.
    """
    return _operator(library, "module_fixed", lambda x, w, *_: (x[0], 2 * w[0], x[2], x[3]), 1)


def module_train(library: str) -> ops.Custom:
    """A Ghost module of ratio 2 by the statistics of the batch; what it takes is said in cpp/operators.cpp.

    -> maps (B, 2 P, H, W), and what the gradient needs.
    """
    backward = _operator(library, "module_backward",
                         lambda x, w1, g1, b1, w2, g2, b2, *_: (x, w1, g1, b1, w2, g2, b2), 7)

    def shape(x, w, *_):
        half = (x[0], w[0], x[2], x[3])
        return (x[0], 2 * w[0], x[2], x[3]), half, half, (4, w[0])

    def bprop(x, w1, g1, b1, m1, v1, w2, g2, b2, m2, v2, n, k, out, dout):
        dx, dw1, dg1, db1, dw2, dg2, db2 = backward(x, w1, g1, b1, w2, g2, b2, out[1], out[2], out[3], out[0], dout[0],
                                                    k)
        return (dx, dw1, dg1, db1, ops.zeros_like(m1), ops.zeros_like(v1), dw2, dg2, db2, ops.zeros_like(m2),
                ops.zeros_like(v2), ops.zeros_like(n), ops.zeros_like(k))

    return _operator(library, "module_train", shape, 4, bprop)


def norm_train(library: str) -> ops.Custom:
    """BatchNorm by the statistics of the batch, and an activation; moves the moving ones.

    x (B, C, ...), gamma, beta, moving mean and variance (C,), (epsilon, keep), activation -> y, mean, inverse
    deviation.
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


def dense(library: str, bias: bool) -> ops.Custom:
    """Rows times a matrix: x (..., I), w (O, I)[, bias (O,)] -> (..., O)."""
    backward = _operator(library, "dense_backward", lambda x, w, dy: (x, w, (w[0],)), 3)

    def shape(x, w, *_):
        return (*x[:-1], w[0])

    def bprop(x, w, out, dout):
        return backward(x, w, dout)[:2]

    def bprop_bias(x, w, b, out, dout):
        return backward(x, w, dout)

    if bias:
        return _operator(library, "dense_bias", shape, 1, bprop_bias)
    return _operator(library, "dense", shape, 1, bprop)


def attention(library: str, bias: bool) -> ops.Custom:
    """softmax(scale q k^T + bias) v: q (B, H, N, D), k and v (B, H, M, D)[, bias (1, H, N, M)], (scale,).

    -> y (B, N, H * D), and what the gradient needs.
    """
    backward = _operator(library, "attention_backward", lambda q, k, v, p, dy, n: (q, k, v, p), 4)

    def shape(q, k, *_):
        return (q[0], q[2], q[1] * q[3]), (q[0], q[1], q[2], k[2])

    def bprop(q, k, v, numbers, out, dout):
        dq, dk, dv, _ = backward(q, k, v, out[1], dout[0], numbers)
        return dq, dk, dv, ops.zeros_like(numbers)

    def bprop_bias(q, k, v, b, numbers, out, dout):
        dq, dk, dv, dlogits = backward(q, k, v, out[1], dout[0], numbers)
        return dq, dk, dv, dlogits.sum(0, keepdims=True), ops.zeros_like(numbers)

    if bias:
        return _operator(library, "attention_bias", shape, 2, bprop_bias)
    return _operator(library, "attention", shape, 2, bprop)


def layer_norm(library: str) -> ops.Custom:
    """LayerNorm over the last axis: x (..., C), gamma, beta (C,), (epsilon,) -> y, and what the gradient needs."""
    backward = _operator(library, "layer_norm_backward", lambda x, g, m, i, dy: (x, g, g), 3)

    def bprop(x, gamma, beta, numbers, out, dout):
        dx, dgamma, dbeta = backward(x, gamma, out[1], out[2], dout[0])
        return dx, dgamma, dbeta, ops.zeros_like(numbers)

    return _operator(library, "layer_norm", lambda x, g, b, n: (x, x[:-1], x[:-1]), 3, bprop)


def softmax(library: str) -> ops.Custom:
    """Softmax over the last axis: (..., C) -> (..., C)."""
    backward = _operator(library, "softmax_backward", lambda y, dy: y, 1)

    def bprop(x, out, dout):
        return (backward(out, dout),)

    return _operator(library, "softmax", lambda x: x, 1, bprop)


def top_k(library: str) -> ops.Custom:
    """Indices of the k largest of every row, the largest first: x (..., C), any vector of k -> int32 (..., k)."""
    def bprop(x, many, out, dout):
        return ops.zeros_like(x), ops.zeros_like(many)

    return ops.Custom(f"{library}:ghost_top_k", lambda x, many: (*x[:-1], many[0]), ms.int32, "aot", bprop)
