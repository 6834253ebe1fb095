"""RetinaNet's head (ICCV 2017, arXiv 1708.02002, section 4) and FCOS's (ICCV 2019, arXiv 1904.01355, section 3).

Both are two towers of four 3x3 convolutions that all levels of a pyramid share. Source: torchvision,
models/detection/retinanet.py and fcos.py (BSD-3-Clause), whose names the parameters have.
"""
import math
from typing import List, Tuple

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import initializer

from ghost_ms.layers import conv2d
from ghost_ms.models.heads.rows import draw_normal, stacked

#: Probability of an object that a fresh classifier gives everywhere (section 4.1).
PRIOR = 0.01
DEPTH = 4
#: Groups of the GroupNorms.
GROUPS = 32

Maps = Tuple[Tensor, ...]


def class_bias(conv: nn.Conv2d) -> nn.Conv2d:
    """Let a fresh classifier say `PRIOR` everywhere."""
    conv.bias.set_data(initializer(-math.log((1 - PRIOR) / PRIOR), conv.bias.shape, conv.bias.dtype))
    return conv


def _tower(channels: int, norm: bool) -> nn.SequentialCell:
    """As RetinaNet's second version has it, blocks of convolution, GroupNorm and ReLU; the first has no norm."""
    def block() -> List[nn.Cell]:
        conv = conv2d(channels, channels, 3, bias=not norm)
        return [conv, *([nn.GroupNorm(GROUPS, channels)] if norm else []), nn.ReLU()]

    return nn.SequentialCell(*(nn.SequentialCell(*block()) for _ in range(DEPTH)))


def _flat_tower(channels: int) -> nn.SequentialCell:
    """As FCOS has it: the same cells without blocks, and convolutions with biases before their norms."""
    return nn.SequentialCell(*(cell for _ in range(DEPTH) for cell in (
        conv2d(channels, channels, 3, bias=True), nn.GroupNorm(GROUPS, channels), nn.ReLU())))


class _Classification(nn.Cell):
    """Maps to logits (B, N, columns)."""

    def __init__(self, tower: nn.SequentialCell, channels: int, anchors: int, columns: int):
        super().__init__()
        self.columns = columns
        self.conv = tower
        self.cls_logits = conv2d(channels, anchors * columns, 3, bias=True)
        draw_normal(self, 0.01)
        class_bias(self.cls_logits)

    def set_columns(self, columns: int) -> None:
        """After `cls_logits` was replaced by another."""
        self.columns = columns

    def construct(self, maps: Maps) -> Tensor:
        found = ()
        for one in maps:
            found += (self.cls_logits(self.conv(one)),)
        return stacked(found, self.columns)


class _Regression(nn.Cell):
    """Maps to box codes (B, N, 4)."""

    def __init__(self, tower: nn.SequentialCell, channels: int, anchors: int):
        super().__init__()
        self.conv = tower
        self.bbox_reg = conv2d(channels, 4 * anchors, 3, bias=True)
        draw_normal(self, 0.01)

    def construct(self, maps: Maps) -> Tensor:
        found = ()
        for one in maps:
            found += (self.bbox_reg(self.conv(one)),)
        return stacked(found, 4)


class _Distances(nn.Cell):
    """Maps to distances (B, N, 4), none negative, and logits of the centreness (B, N, 1)."""

    def __init__(self, tower: nn.SequentialCell, channels: int):
        super().__init__()
        self.conv = tower
        self.bbox_reg = conv2d(channels, 4, 3, bias=True)
        self.bbox_ctrness = conv2d(channels, 1, 3, bias=True)
        draw_normal(self, 0.01)

    def construct(self, maps: Maps) -> Tuple[Tensor, Tensor]:
        distances, centreness = (), ()
        for one in maps:
            inner = self.conv(one)
            distances += (ops.relu(self.bbox_reg(inner)),)
            centreness += (self.bbox_ctrness(inner),)
        return stacked(distances, 4), stacked(centreness, 1)


class RetinaNetHead(nn.Cell):
    """Maps (B, channels, H_i, W_i) to class logits (B, N, columns) and box codes (B, N, 4).

    Args:
        anchors: of each cell.
        columns: of the logits.
        norm: GroupNorm in the towers, as in torchvision's second version.
    """

    def __init__(self, channels: int, anchors: int, columns: int, norm: bool = False):
        super().__init__()
        self.classification_head = _Classification(_tower(channels, norm), channels, anchors, columns)
        self.regression_head = _Regression(_tower(channels, norm), channels, anchors)

    def construct(self, maps: Maps) -> Tuple[Tensor, Tensor]:
        return self.classification_head(maps), self.regression_head(maps)


class FCOSHead(nn.Cell):
    """Maps (B, channels, H_i, W_i) to class logits (B, N, columns), distances (B, N, 4) and logits of the centreness
    (B, N, 1), one anchor a cell."""

    def __init__(self, channels: int, columns: int):
        super().__init__()
        self.classification_head = _Classification(_flat_tower(channels), channels, 1, columns)
        self.regression_head = _Distances(_flat_tower(channels), channels)

    def construct(self, maps: Maps) -> Tuple[Tensor, Tensor, Tensor]:
        distances, centreness = self.regression_head(maps)
        return self.classification_head(maps), distances, centreness
