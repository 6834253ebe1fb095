"""LR-ASPP, the segmentation head of MobileNetV3 (ICCV 2019, arXiv 1905.02244, section 6.4 and figure 10).

Source: torchvision, models/segmentation/lraspp.py (BSD-3-Clause), whose names the parameters have. As there, the gate
is pooled over the whole map rather than by the paper's windows of 49x49, and the low map joins at stride 8.
"""
from mindspore import Tensor, nn

from ghost_ms.layers import conv2d
from ghost_ms.layers.pool import GlobalMean
from ghost_ms.layers.resize import resize_bilinear


class LRASPPHead(nn.Cell):
    """Lite reduced atrous spatial pyramid pooling: two maps to logits at the size of the low one.

    low (B, low_channels, H, W), high (B, high_channels, h, w) -> (B, num_classes, H, W).

    Args:
        channels: of the branch on the high map.
    """

    def __init__(self, low_channels: int, high_channels: int, num_classes: int, channels: int = 128):
        super().__init__()
        self.cbr = nn.SequentialCell(conv2d(high_channels, channels), nn.BatchNorm2d(channels), nn.ReLU())
        self.scale = nn.SequentialCell(GlobalMean(), conv2d(high_channels, channels), nn.Sigmoid())
        self.low_classifier = conv2d(low_channels, num_classes, bias=True)
        self.high_classifier = conv2d(channels, num_classes, bias=True)

    def construct(self, low: Tensor, high: Tensor) -> Tensor:
        gated = self.cbr(high) * self.scale(high)
        return self.low_classifier(low) + self.high_classifier(resize_bilinear(gated, low.shape[2:]))
