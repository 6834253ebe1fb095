"""Cells that compute by the kernels: subclasses of the cells that they take the place of.

An object changes its class and keeps its parameters, their names and all that was said of it; `swap` does it. None of
these is ever built.
"""
from typing import Optional

import mindspore as ms
from mindspore import nn, ops

from ghost_ms.kernels import ops as kernels
from ghost_ms.layers.attention import ScaledDotProductAttention
from ghost_ms.layers.ghost import GhostModule
from ghost_ms.layers.graph import LargestIndices
from ghost_ms.layers.squeeze_excite import SqueezeExcite


class Kernel:
    """Base of the cells below, beside the cell class of each."""

    @classmethod
    def take_over(cls, cell: nn.Cell, *arguments) -> None:
        """Make a cell one of this class, with what its kernel needs."""
        cell.__class__ = cls
        cell.prepare(*arguments)

    def prepare(self) -> None:
        """Make the operators."""


class Passed(Kernel, nn.Cell):
    """Takes the place of an activation that the cell before it computes, and does nothing."""

    def construct(self, x):
        return x


class PointwiseKernel(Kernel, nn.Conv2d):
    """1x1 convolution, and the activation that follows it."""

    def prepare(self, library: str, act: str) -> None:
        self.kernel = kernels.pointwise(library, self.has_bias)
        self.has_act = act != "none"
        if self.has_act:
            self.act_kernel, self.act_code = kernels.unary(library), kernels.activation_code(act)
            self.whole_kernel = kernels.pointwise_act(library) if self.has_bias else None

    def construct(self, x):
        if self.has_act and self.has_bias and not self.training:
            return self.whole_kernel(x, self.weight, self.bias, self.act_code)
        y = self.kernel(x, self.weight, self.bias) if self.has_bias else self.kernel(x, self.weight)
        return self.act_kernel(y, self.act_code) if self.has_act else y


class SpatialKernel(Kernel, nn.Conv2d):
    """A convolution of larger kernels, and the activation that follows it."""

    def prepare(self, library: str, act: str) -> None:
        geometry = geometry_of(self)
        self.kernel, self.constants = self.operator(library, geometry, self.has_bias), self.constants_of(geometry)
        self.has_act = act != "none"
        if self.has_act:
            self.act_kernel, self.act_code = kernels.unary(library), kernels.activation_code(act)
            self.whole_kernel = self.operator(library, geometry, True, True) if self.has_bias else None

    def construct(self, x):
        if self.has_act and self.has_bias and not self.training:
            return self.whole_kernel(x, self.weight, self.bias, self.constants, self.act_code)
        if self.has_bias:
            y = self.kernel(x, self.weight, self.bias, self.constants)
        else:
            y = self.kernel(x, self.weight, self.constants)
        return self.act_kernel(y, self.act_code) if self.has_act else y


class DepthwiseKernel(SpatialKernel):
    """Depthwise convolution: one filter per channel."""

    operator = staticmethod(kernels.depthwise)

    def constants_of(self, geometry: kernels.Geometry) -> ms.Tensor:
        return kernels.depthwise_constants(geometry)


class ConvolutionKernel(SpatialKernel):
    """Filters over several channels."""

    operator = staticmethod(kernels.convolution)

    def constants_of(self, geometry: kernels.Geometry) -> ms.Tensor:
        return kernels.convolution_constants(geometry, self.group)


def geometry_of(conv: nn.Conv2d) -> Optional[kernels.Geometry]:
    """The geometry of a convolution; None where its padding depends on its input's size or no kernel has it."""
    padding = conv.padding if isinstance(conv.padding, tuple) else (conv.padding,) * 4
    if conv.pad_mode == "valid":
        padding = (0, 0, 0, 0)
    elif conv.pad_mode == "same":
        around = [apart * (taps - 1) for taps, apart in zip(conv.kernel_size, conv.dilation)]
        if conv.stride != (1, 1) or any(extent % 2 for extent in around):
            return None
        padding = (around[0] // 2,) * 2 + (around[1] // 2,) * 2
    return kernels.Geometry(conv.kernel_size, conv.stride, padding, conv.dilation)


class BatchNormKernel(Kernel, nn.BatchNorm2d):
    """BatchNorm, and the activation that follows it."""

    def prepare(self, library: str, act: str) -> None:
        self.train_kernel, self.fixed_kernel = kernels.norm_train(library), kernels.norm_fixed(library)
        # `momentum` of the cell is the share of the new: that of the constructor is what stays.
        self.numbers = kernels.numbers(self.eps, 1.0 - self.momentum)
        self.act_code = kernels.activation_code(act)

    def construct(self, x):
        by_batch = self.training if self.use_batch_statistics is None else self.use_batch_statistics
        if by_batch:
            return self.train_kernel(x, self.gamma, self.beta, self.moving_mean, self.moving_variance, self.numbers,
                                     self.act_code)[0]
        return self.fixed_kernel(x, self.gamma, self.beta, self.moving_mean, self.moving_variance, self.numbers,
                                 self.act_code)


class SqueezeExciteKernel(Kernel, SqueezeExcite):
    """Squeeze-and-excitation: its mean and its gate; the convolutions between are cells of their own."""

    def prepare(self, library: str) -> None:
        self.mean_kernel, self.gate_kernel = kernels.mean(library), kernels.gate(library)

    def construct(self, x):
        scale = self.act(self.conv_reduce(self.mean_kernel(x)))
        return self.gate_kernel(x, self.gate(self.conv_expand(scale)))


class GhostModuleKernel(Kernel, GhostModule):
    """A Ghost module in one operator: in training, and with its norms folded; else its cells in turn."""

    def prepare(self, library: str, act: str, folded: bool) -> None:
        self.folded = folded
        self.constants = kernels.module_constants(geometry_of(self.cheap_operation[0]), act)
        if folded:
            self.fixed_kernel = kernels.module_fixed(library)
        else:
            norms = self.primary_conv[1], self.cheap_operation[1]
            self.train_kernel = kernels.module_train(library)
            self.numbers = kernels.numbers(*(number for norm in norms for number in (norm.eps, 1.0 - norm.momentum)))
            self.by_batch = all(norm.use_batch_statistics is None for norm in norms)

    def construct(self, x):
        conv, cheap = self.primary_conv[0], self.cheap_operation[0]
        if self.folded and not self.training:
            return self.fixed_kernel(x, conv.weight, conv.bias, cheap.weight, cheap.bias, self.constants)
        if not self.folded and self.training and self.by_batch:
            norm1, norm2 = self.primary_conv[1], self.cheap_operation[1]
            return self.train_kernel(x, conv.weight, norm1.gamma, norm1.beta, norm1.moving_mean, norm1.moving_variance,
                                     cheap.weight, norm2.gamma, norm2.beta, norm2.moving_mean, norm2.moving_variance,
                                     self.numbers, self.constants)[0]
        return super().construct(x)


class ActivationKernel(Kernel, nn.Cell):
    """An activation alone."""

    def prepare(self, library: str, act: str) -> None:
        self.kernel, self.act_code = kernels.unary(library), kernels.activation_code(act)

    def construct(self, x):
        return self.kernel(x, self.act_code)


class DenseKernel(Kernel, nn.Dense):
    """Rows times a matrix."""

    def prepare(self, library: str) -> None:
        self.kernel = kernels.dense(library, self.has_bias)

    def construct(self, x):
        return self.kernel(x, self.weight, self.bias) if self.has_bias else self.kernel(x, self.weight)


class AttentionKernel(Kernel, ScaledDotProductAttention):
    """Attention of every head, heads joined."""

    def prepare(self, library: str) -> None:
        self.kernel, self.bias_kernel = (kernels.attention(library, bias) for bias in (False, True))
        self.numbers = kernels.numbers(self.scale)

    def construct(self, query, key, value, bias=None):
        if bias is None:
            return self.kernel(query, key, value, self.numbers)[0]
        return self.bias_kernel(query, key, value, bias, self.numbers)[0]


class LayerNormKernel(Kernel, nn.LayerNorm):
    """LayerNorm over the last axis."""

    def prepare(self, library: str) -> None:
        self.kernel, self.numbers = kernels.layer_norm(library), kernels.numbers(self.epsilon)

    def construct(self, input_x):
        return self.kernel(input_x, self.gamma, self.beta, self.numbers)[0]


class SoftmaxKernel(Kernel, nn.Softmax):
    """Softmax over the last axis."""

    def prepare(self, library: str) -> None:
        self.kernel = kernels.softmax(library)

    def construct(self, input):
        return self.kernel(input)


class LargestIndicesKernel(Kernel, LargestIndices):
    """Indices of the largest entries of every row."""

    def prepare(self, library: str) -> None:
        self.kernel = kernels.top_k(library)

    def construct(self, x, k):
        return self.kernel(x, ops.zeros((k,), ms.float32))
