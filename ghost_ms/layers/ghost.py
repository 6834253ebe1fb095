"""Ghost modules: half of the features by convolution, the rest by cheap operations on them."""
import math
from typing import List

from mindspore import Tensor, nn, ops

from ghost_ms.layers.conv import conv2d, depthwise_conv2d
from ghost_ms.layers.reparam import ReparamConv2d
from ghost_ms.layers.upsample import upsample_nearest


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
            *self.convolution(in_channels, primary, kernel_size, stride), *relu)
        self.cheap_operation = nn.SequentialCell(
            *self.convolution(primary, cheap, cheap_kernel, groups=primary), *relu)

    def convolution(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1,
                    groups: int = 1) -> List[nn.Cell]:
        """The cells that make up each half before its activation."""
        return [conv2d(in_channels, out_channels, kernel_size, stride, groups), nn.BatchNorm2d(out_channels)]

    def construct(self, x: Tensor) -> Tensor:
        primary = self.primary_conv(x)
        maps = ops.cat((primary, self.cheap_operation(primary)), 1)
        # On CPU a slice that keeps every channel costs more than the convolutions: none where nothing is cut.
        return maps if self.exact else maps[:, :self.out_channels]


class DfcAttention(nn.SequentialCell):
    """Decoupled fully connected attention of GhostNetV2 (arXiv 2211.12905, section 4.1), as its code has it.

    At half the resolution: 1x1 to all output channels, then depthwise 1x5 and 5x1, each with BatchNorm; the sigmoid
    of that is enlarged to the size of the maps it gates. The paper's text runs over whole rows and columns instead.
    Maps of one row or column are not halved.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(
            conv2d(in_channels, out_channels), nn.BatchNorm2d(out_channels),
            depthwise_conv2d(out_channels, (1, 5)), nn.BatchNorm2d(out_channels),
            depthwise_conv2d(out_channels, (5, 1)), nn.BatchNorm2d(out_channels))
        # A primitive and no cell: a cell would become a member of the sequence, whose indices are the released ones.
        self.halve = ops.AvgPool(2, 2)

    def construct(self, x: Tensor, maps: Tensor) -> Tensor:
        """Gate `maps` (B, out_channels, H', W') by the attention that `x` (B, in_channels, H, W) gives."""
        if min(x.shape[2:]) > 1:
            x = self.halve(x)
        for cell in self.cell_list:
            x = cell(x)
        return maps * upsample_nearest(ops.sigmoid(x), maps.shape[2:])


class GhostModuleV2(GhostModule):
    """Ghost module gated by DFC attention (arXiv 2211.12905, figure 4): arguments and shapes of `GhostModule`."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs):
        super().__init__(in_channels, out_channels, **kwargs)
        self.short_conv = DfcAttention(in_channels, out_channels)

    def construct(self, x: Tensor) -> Tensor:
        return self.short_conv(x, super().construct(x))


class GhostModuleV3(GhostModule):
    """Ghost module of parallel branches (arXiv 2404.11202, section 3.1): arguments and shapes of `GhostModule`.

    Both halves are sums of branches that `fuse_cells` folds into one convolution with bias each; what is left then has
    the names of the released deploy form, `primary_conv.0` and `cheap_operation.0`.
    """

    def convolution(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1,
                    groups: int = 1) -> List[nn.Cell]:
        return [ReparamConv2d(in_channels, out_channels, kernel_size, stride, groups)]


class GhostModuleV3Dfc(GhostModuleV3):
    """`GhostModuleV3` gated by DFC attention, whose own convolutions stay as they are."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs):
        super().__init__(in_channels, out_channels, **kwargs)
        self.short_conv = DfcAttention(in_channels, out_channels)

    def construct(self, x: Tensor) -> Tensor:
        return self.short_conv(x, super().construct(x))
