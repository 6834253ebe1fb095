"""Dynamic convolution: every sample is convolved with its own mixture of expert kernels."""
import math

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
    """Kernels of all experts, flat: mixing weights (B, experts) -> one flat kernel a sample (B, size).

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
    The mixture is sigmoid(routing(global mean)), not normalised. Mixing kernels costs experts * size of a kernel a
    sample; mixing the outputs of all experts would cost `experts` convolutions.

    A 1x1 kernel at stride 1 is a matrix product a sample, which takes any batch size after export. Larger kernels are
    one convolution whose groups are the samples, so an exported file holds the batch size that it was exported with.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1, groups: int = 1,
                 experts: int = 4):
        super().__init__()
        self.out_channels, self.kernel_size, self.stride, self.groups = out_channels, kernel_size, stride, groups
        self.in_group = in_channels // groups
        self.pointwise = kernel_size == stride == groups == 1
        fan_in = self.in_group * kernel_size ** 2
        self.routing = Routing(in_channels, experts)
        self.cond_conv = ExpertKernels(experts, out_channels * fan_in, 1 / math.sqrt(fan_in))

    def construct(self, x: Tensor) -> Tensor:
        kernels = self.cond_conv(self.routing(x.mean((2, 3))))
        batch, channels, height, width = x.shape
        if self.pointwise:
            kernels = kernels.reshape(-1, self.out_channels, channels)
            return ops.matmul(kernels, x.reshape(-1, channels, height * width)).reshape(
                -1, self.out_channels, height, width)
        kernels = kernels.reshape(batch * self.out_channels, self.in_group, self.kernel_size, self.kernel_size)
        y = ops.conv2d(x.reshape(1, batch * channels, height, width), kernels, stride=self.stride, pad_mode="pad",
                       padding=self.kernel_size // 2, groups=batch * self.groups)
        return y.reshape(batch, self.out_channels, y.shape[2], y.shape[3])
