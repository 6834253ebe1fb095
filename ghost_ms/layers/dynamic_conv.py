"""Dynamic convolution: every sample is convolved with its own mixture of expert kernels."""
import math

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Uniform, initializer


class Routing(nn.Dense):
    """Mixing weights from pooled features: (B, channels) -> (B, experts), each the sigmoid of a linear map.

    The sigmoid is taken as a softmax over (value, 0). On CPU `ops.sigmoid` is off by 8e-7, ten times float32's own
    rounding, and a stack of routed layers amplifies that to percents of the logits; the softmax is exact.
    """

    def construct(self, x: Tensor) -> Tensor:
        value = ops.expand_dims(super().construct(x), 1)
        return ops.softmax(ops.cat((value, ops.zeros_like(value)), 1), 1)[:, 0]


class ExpertKernels(nn.Cell):
    """Kernels of all experts, flat: mixing weights (B, experts) -> one flat kernel per sample (B, size).

    Args:
        bound: kernels start uniform in -bound..bound.
    """

    def __init__(self, experts: int, size: int, bound: float):
        super().__init__()
        self.weight = Parameter(initializer(Uniform(bound), (experts, size)), name="weight")

    def construct(self, mixture: Tensor) -> Tensor:
        return ops.matmul(mixture, self.weight)


class DynamicConv2d(nn.Cell):
    """Dynamic convolution of ParameterNet (arXiv 2306.14525, section 3.2, equations 4 and 5).

    (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)), symmetric zero padding, no bias.
    The mixture is sigmoid(routing(global mean)), not normalised. Mixing kernels costs experts * size of a kernel per
    sample; mixing the outputs of all experts would cost `experts` convolutions.

    A 1x1 kernel at stride 1 is one matrix product per sample. Larger kernels are one convolution whose groups are the
    samples, which holds for one batch size only; with `open_batch`, which export sets where the batch is open, the
    outputs of all experts are mixed instead.
    """

    open_batch = False
    dilation = 1

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1, groups: int = 1,
                 experts: int = 4):
        super().__init__()
        self.out_channels, self.kernel_size, self.stride, self.groups = out_channels, kernel_size, stride, groups
        self.in_group = in_channels // groups
        self.pointwise = kernel_size == stride == groups == 1
        fan_in = self.in_group * kernel_size ** 2
        self.routing = Routing(in_channels, experts)
        self.cond_conv = ExpertKernels(experts, out_channels * fan_in, 1 / math.sqrt(fan_in))
        self.bias = None

    def absorb_affine(self, scale: np.ndarray, shift: np.ndarray) -> "DynamicConv2d":
        """Multiply the outputs by `scale` and add `shift` from now on, both (out_channels,)."""
        weight = self.cond_conv.weight
        kernels = weight.asnumpy().reshape(len(weight), self.out_channels, -1) * scale[:, None]
        weight.set_data(Tensor(kernels.reshape(weight.shape), weight.dtype))
        before = 0 if self.bias is None else self.bias.asnumpy() * scale
        self.bias = Parameter(Tensor(before + shift, weight.dtype))
        return self

    def construct(self, x: Tensor) -> Tensor:
        mixture = self.routing(x.mean((2, 3)))
        y = self._mixed_outputs(x, mixture) if self.open_batch and not self.pointwise else self._mixed_kernels(
            x, mixture)
        return y if self.bias is None else ops.bias_add(y, self.bias)

    def _mixed_kernels(self, x: Tensor, mixture: Tensor) -> Tensor:
        kernels = self.cond_conv(mixture)
        batch, channels, height, width = x.shape
        if self.pointwise:
            kernels = kernels.reshape(-1, self.out_channels, channels)
            return ops.matmul(kernels, x.reshape(-1, channels, height * width)).reshape(
                -1, self.out_channels, height, width)
        kernels = kernels.reshape(batch * self.out_channels, self.in_group, self.kernel_size, self.kernel_size)
        y = ops.conv2d(x.reshape(1, batch * channels, height, width), kernels, stride=self.stride, pad_mode="pad",
                       padding=self.kernel_size // 2 * self.dilation, dilation=self.dilation,
                       groups=batch * self.groups)
        return y.reshape(batch, self.out_channels, y.shape[2], y.shape[3])

    def _mixed_outputs(self, x: Tensor, mixture: Tensor) -> Tensor:
        experts, part, kernel = mixture.shape[1], self.out_channels // self.groups, self.kernel_size
        # The maps of a group of channels stand together, so the experts come second.
        kernels = self.cond_conv.weight.reshape(experts, self.groups, part * self.in_group * kernel ** 2)
        kernels = kernels.transpose(1, 0, 2).reshape(experts * self.out_channels, self.in_group, kernel, kernel)
        y = ops.conv2d(x, kernels, stride=self.stride, pad_mode="pad", padding=kernel // 2 * self.dilation,
                       dilation=self.dilation, groups=self.groups)
        height, width = y.shape[2:]
        y = y.reshape(-1, self.groups, experts, part * height * width)
        return (y * mixture.reshape(-1, 1, experts, 1)).sum(2).reshape(-1, self.out_channels, height, width)
