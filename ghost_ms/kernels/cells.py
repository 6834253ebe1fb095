"""Cells that compute by the kernels: subclasses of the cells that they take the place of.

An object changes its class and keeps its parameters, their names and all that was said of it; `swap` does it, and undoes
it. None of these is ever built.
"""
from mindspore import nn

from ghost_ms.kernels import ops as kernels
from ghost_ms.layers.squeeze_excite import SqueezeExcite


class Kernel:
    """Beside its cell class, what all of these have."""

    @classmethod
    def take_over(cls, cell: nn.Cell, *arguments) -> None:
        """Make a cell one of this class, with what its kernel needs."""
        cell.__class__ = cls
        cell.prepare(*arguments)

    def prepare(self) -> None:
        """Make the operators."""


class Passed(Kernel, nn.Cell):
    """In place of an activation that the cell before it computes."""

    def construct(self, x):
        return x


class PointwiseKernel(Kernel, nn.Conv2d):
    """1x1 convolution."""

    def prepare(self, library: str) -> None:
        self.kernel = kernels.pointwise(library, self.has_bias)

    def construct(self, x):
        return self.kernel(x, self.weight, self.bias) if self.has_bias else self.kernel(x, self.weight)


class DepthwiseKernel(Kernel, nn.Conv2d):
    """Depthwise convolution."""

    def prepare(self, library: str) -> None:
        padding = self.padding if isinstance(self.padding, tuple) else (self.padding,) * 4
        geometry = kernels.Geometry(self.kernel_size, self.stride, padding, self.dilation)
        self.kernel = kernels.depthwise(library, geometry, self.has_bias)
        self.constants = kernels.depthwise_constants(geometry)

    def construct(self, x):
        if self.has_bias:
            return self.kernel(x, self.weight, self.bias, self.constants)
        return self.kernel(x, self.weight, self.constants)


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


class ActivationKernel(Kernel, nn.Cell):
    """An activation alone."""

    def prepare(self, library: str, act: str) -> None:
        self.kernel, self.act_code = kernels.unary(library), kernels.activation_code(act)

    def construct(self, x):
        return self.kernel(x, self.act_code)
