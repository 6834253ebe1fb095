"""Atrous spatial pyramid pooling of DeepLabV3 (arXiv 1706.05587, section 3.3).

Source: torchvision, models/segmentation/deeplabv3.py (BSD-3-Clause), whose names the parameters have: rates 12, 24 and
36 at any stride.
"""
from typing import Sequence

from mindspore import Tensor, nn, ops

from ghost_ms.layers import conv2d
from ghost_ms.layers.pool import GlobalMean


def _unit(in_channels: int, channels: int, kernel_size: int = 1, dilation: int = 1) -> list:
    """Convolution that keeps the size, BatchNorm, ReLU."""
    conv = nn.Conv2d(in_channels, channels, kernel_size, pad_mode="pad", padding=dilation * (kernel_size // 2),
                     dilation=dilation)
    return [conv, nn.BatchNorm2d(channels), nn.ReLU()]


class ASPP(nn.Cell):
    """Parallel convolutions of several rates and the mean of the map, joined: (B, in, H, W) -> (B, channels, H, W).

    In training the BatchNorm of the mean sees one value per image and channel, so a batch takes two images or more.
    """

    def __init__(self, in_channels: int, rates: Sequence[int], channels: int):
        super().__init__()
        self.convs = nn.CellList([
            nn.SequentialCell(*_unit(in_channels, channels)),
            *(nn.SequentialCell(*_unit(in_channels, channels, 3, rate)) for rate in rates),
            nn.SequentialCell(GlobalMean(), *_unit(in_channels, channels))])
        self.project = nn.SequentialCell(*_unit(len(self.convs) * channels, channels), nn.Dropout(p=0.5))

    def construct(self, x: Tensor) -> Tensor:
        maps = ()
        for conv in self.convs[:-1]:
            maps += (conv(x),)
        if self.training and x.shape[0] == 1:
            raise ValueError("a batch of one image gives the BatchNorm of DeepLabV3's pooled branch no variance: train "
                             "with two images per step and device or more")
        mean = self.convs[-1](x)
        return self.project(ops.cat(maps + (ops.broadcast_to(mean, (-1, -1) + x.shape[2:]),), 1))


class DeepLabHead(nn.SequentialCell):
    """ASPP, a 3x3 convolution, and a classifier at every position: (B, in, H, W) -> (B, num_classes, H, W)."""

    def __init__(self, in_channels: int, num_classes: int, rates: Sequence[int] = (12, 24, 36), channels: int = 256):
        super().__init__(ASPP(in_channels, rates, channels), *_unit(channels, channels, 3),
                         conv2d(channels, num_classes, bias=True))
