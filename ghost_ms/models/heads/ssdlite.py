"""SSDLite, the detection head of MobileNetV2 (CVPR 2018, arXiv 1801.04381, section 6.2): SSD of depthwise convolutions.

Source: torchvision, models/detection/ssdlite.py (BSD-3-Clause), whose names the parameters have.
"""
from typing import Sequence, Tuple

from mindspore import Tensor, nn

from ghost_ms.layers import conv2d
from ghost_ms.models.heads.rows import draw_normal, stacked


def conv_norm(in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1,
              groups: int = 1) -> nn.SequentialCell:
    """Convolution, BatchNorm, ReLU6."""
    return nn.SequentialCell(conv2d(in_channels, out_channels, kernel_size, stride, groups),
                             nn.BatchNorm2d(out_channels), nn.ReLU6())


class ExtraBlock(nn.SequentialCell):
    """A map of half the size: 1x1, depthwise 3x3 of stride 2, 1x1: (B, in, H, W) -> (B, out, H / 2, W / 2)."""

    def __init__(self, in_channels: int, out_channels: int):
        inner = out_channels // 2
        super().__init__(conv_norm(in_channels, inner), conv_norm(inner, inner, 3, 2, inner),
                         conv_norm(inner, out_channels))
        draw_normal(self, 0.03)


class _Branch(nn.Cell):
    """For each map a depthwise and a 1x1 convolution to `values` numbers of each anchor."""

    def __init__(self, in_channels: Sequence[int], anchors: int, values: int):
        super().__init__()
        self.values = values
        self.module_list = nn.CellList([nn.SequentialCell(conv_norm(one, one, 3, 1, one),
                                                          conv2d(one, anchors * values, bias=True))
                                        for one in in_channels])
        draw_normal(self, 0.03)

    def set_columns(self, columns: int) -> None:
        """After the last convolutions were replaced by others."""
        self.values = columns

    def construct(self, maps: Tuple[Tensor, ...]) -> Tensor:
        found = ()
        for index in range(len(maps)):
            found += (self.module_list[index](maps[index]),)
        return stacked(found, self.values)


class SSDLiteHead(nn.Cell):
    """Maps (B, in_channels[i], H_i, W_i) to class logits (B, N, columns) and box codes (B, N, 4).

    Args:
        anchors: of each cell.
        columns: of the logits; the first is the background.
    """

    def __init__(self, in_channels: Sequence[int], anchors: int, columns: int):
        super().__init__()
        self.classification_head = _Branch(in_channels, anchors, columns)
        self.regression_head = _Branch(in_channels, anchors, 4)

    def construct(self, maps: Tuple[Tensor, ...]) -> Tuple[Tensor, Tensor]:
        return self.classification_head(maps), self.regression_head(maps)
