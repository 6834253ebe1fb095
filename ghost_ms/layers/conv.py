"""Convolutions with PyTorch's padding, and the rounding of channel counts."""
from typing import Tuple, Union

from mindspore import nn

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
    return nn.Conv2d(in_channels, out_channels, kernel, stride, pad_mode="pad", padding=(top, top, left, left),
                     dilation=dilation, group=groups, has_bias=bias)


def depthwise_conv2d(channels: int, kernel_size: Size, stride: Size = 1, bias: bool = False,
                     padding: Union[int, Tuple[int, int], None] = None) -> nn.Conv2d:
    """One filter a channel: (B, C, H, W) -> (B, C, H / stride, W / stride)."""
    return conv2d(channels, channels, kernel_size, stride, groups=channels, bias=bias, padding=padding)
