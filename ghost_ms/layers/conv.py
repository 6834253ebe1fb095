"""Convolutions with PyTorch's padding, and the rounding of channel counts."""
import functools
from typing import Tuple, Union

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

Size = Union[int, Tuple[int, int]]


def make_divisible(value: float, divisor: int = 4) -> int:
    """`value` rounded to a multiple of `divisor`, never below 90 % of it (MobileNet, arXiv 1801.04381)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def conv2d(in_channels: int, out_channels: int, kernel_size: Size = 1, stride: Size = 1, groups: int = 1,
           bias: bool = False, padding: Union[int, Tuple[int, int], None] = None, dilation: int = 1) -> nn.Conv2d:
    """Convolution of (B, C, H, W) with symmetric zero padding, by default the one that keeps the size at stride 1.

    `kernel_size`, `stride` and `padding` are an int or (vertical, horizontal).
    """
    kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
    if padding is None:
        padding = tuple(dilation * (k - 1) // 2 for k in kernel)
    elif isinstance(padding, int):
        padding = (padding, padding)
    top, left = padding
    kind = DepthwiseConv2d if groups == in_channels == out_channels > 1 else nn.Conv2d
    return kind(in_channels, out_channels, kernel, stride, pad_mode="pad", padding=(top, top, left, left),
                dilation=dilation, group=groups, has_bias=bias)


def depthwise_conv2d(channels: int, kernel_size: Size, stride: Size = 1, bias: bool = False,
                     padding: Union[int, Tuple[int, int], None] = None) -> nn.Conv2d:
    """Depthwise convolution, one filter per channel: (B, C, H, W) -> (B, C, H / stride, W / stride)."""
    return conv2d(channels, channels, kernel_size, stride, groups=channels, bias=bias, padding=padding)


class DepthwiseConv2d(nn.Conv2d):
    """Depthwise convolution that trains on small maps as one matrix product per channel.

    The CPU kernel pays a fixed price for every channel of every image, which on maps of up to 7x7 is 2 to 10 times
    the price of multiplying with the matrix that the filter amounts to. In evaluation, on larger maps and on other
    devices it is the convolution it is called.
    """

    LARGEST = 49

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.as_matrix = ms.get_context("device_target") == "CPU"

    def construct(self, x: Tensor) -> Tensor:
        if self.training and self.as_matrix and x.shape[2] * x.shape[3] <= self.LARGEST:
            return self._matrix_product(x)
        return super().construct(x)

    def _matrix_product(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        taps, size = _tap_table(height, width, self.kernel_size, self.stride, self.padding, self.dilation)
        weight = self.weight.reshape(channels, -1)
        matrix = ops.matmul(weight, taps.astype(weight.dtype)).reshape(channels, height * width, -1)
        y = ops.bmm(x.reshape(batch, channels, -1).swapaxes(0, 1), matrix).swapaxes(0, 1)
        y = y.reshape((batch, channels) + size)
        return ops.bias_add(y, self.bias.astype(y.dtype)) if self.has_bias else y


@ms.constexpr
def _tap_table(height, width, kernel, stride, padding, dilation):
    """(taps, (out height, out width)): taps[k, i * out + o] is 1 where tap k carries input pixel i to output o."""
    return _tap_array(height, width, tuple(kernel), tuple(stride), tuple(padding), tuple(dilation))


@functools.lru_cache(maxsize=None)
def _tap_array(height, width, kernel, stride, padding, dilation):
    top, bottom, left, right = padding
    out_h = (height + top + bottom - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    out_w = (width + left + right - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1

    def axis(extent, out, taps, step, before, apart):
        tap, pixel, target = np.ogrid[:taps, :extent, :out]
        return pixel == target * step + tap * apart - before

    rows = axis(height, out_h, kernel[0], stride[0], top, dilation[0])
    columns = axis(width, out_w, kernel[1], stride[1], left, dilation[1])
    table = rows[:, None, :, None, :, None] & columns[None, :, None, :, None, :]
    return Tensor(table.reshape(kernel[0] * kernel[1], -1).astype(np.float32)), (out_h, out_w)
