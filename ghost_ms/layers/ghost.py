"""Ghost modules: half of the features by convolution, the rest by cheap operations on them."""
import math

from mindspore import Tensor, nn, ops

from ghost_ms.layers.conv import conv2d


class GhostModule(nn.Cell):
    """Ghost module of GhostNet (arXiv 1911.11907, section 3.1, figure 2b).

    `primary_conv` makes ceil(out / ratio) maps; `cheap_operation` makes `ratio - 1` depthwise copies of each.
    (B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride).

    Args:
        kernel_size, stride: of the primary convolution.
        ratio: how many maps come of each primary one, itself included; 2 in the paper's networks.
        cheap_kernel: kernel of the depthwise operation.
        act: whether both halves end in ReLU.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, ratio: int = 2,
                 cheap_kernel: int = 3, stride: int = 1, act: bool = True):
        super().__init__()
        primary = math.ceil(out_channels / ratio)
        cheap = primary * (ratio - 1)
        self.out_channels = out_channels
        self.exact = primary + cheap == out_channels
        relu = [nn.ReLU()] if act else []
        self.primary_conv = nn.SequentialCell(
            conv2d(in_channels, primary, kernel_size, stride), nn.BatchNorm2d(primary), *relu)
        self.cheap_operation = nn.SequentialCell(
            conv2d(primary, cheap, cheap_kernel, groups=primary), nn.BatchNorm2d(cheap), *relu)

    def construct(self, x: Tensor) -> Tensor:
        primary = self.primary_conv(x)
        maps = ops.cat((primary, self.cheap_operation(primary)), 1)
        # A slice that keeps every channel costs more than the convolutions on CPU, so none is made where nothing is cut.
        return maps if self.exact else maps[:, :self.out_channels]
