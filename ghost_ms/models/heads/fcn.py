"""The head of fully convolutional networks (CVPR 2015, arXiv 1411.4038), as torchvision has it.

Source: torchvision, models/segmentation/fcn.py (BSD-3-Clause), whose names the parameters have.
"""
from mindspore import nn

from ghost_ms.layers import conv2d


class FCNHead(nn.SequentialCell):
    """3x3 convolution to a quarter of the channels, then a classifier at every position.

    (B, in_channels, H, W) -> (B, num_classes, H, W).
    """

    def __init__(self, in_channels: int, num_classes: int):
        inner = max(1, in_channels // 4)
        super().__init__(conv2d(in_channels, inner, 3), nn.BatchNorm2d(inner), nn.ReLU(), nn.Dropout(p=0.1),
                         conv2d(inner, num_classes, bias=True))
