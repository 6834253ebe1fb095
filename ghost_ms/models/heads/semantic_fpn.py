"""Semantic FPN (Panoptic Feature Pyramid Networks, CVPR 2019, arXiv 1901.02446, section 3 and figure 3).

As mmsegmentation's FPNHead has it, which Wave-MLP and Hire-MLP were published with: BatchNorm rather than GroupNorm.
"""
from typing import Sequence, Tuple

from mindspore import Tensor, nn

from ghost_ms.layers import conv2d
from ghost_ms.layers.resize import resize_bilinear


class SemanticFPNHead(nn.Cell):
    """Maps of a pyramid brought to the finest one's size step by step, summed, classified at every position.

    (B, in_channels, H_i, W_i) for rising strides -> (B, num_classes, H_0, W_0).

    Args:
        strides: of the maps; each is doubled in size once per factor of 2 to the first.
        channels: of the branches.
        drop_rate: dropout before the classifier.
    """

    def __init__(self, in_channels: int, strides: Sequence[int], num_classes: int, channels: int = 128,
                 drop_rate: float = 0.1):
        super().__init__()
        branches = []
        for stride in strides:
            steps = max(1, (stride // strides[0]).bit_length() - 1)
            branches.append(nn.CellList([
                nn.SequentialCell(conv2d(in_channels if step == 0 else channels, channels, 3),
                                  nn.BatchNorm2d(channels), nn.ReLU()) for step in range(steps)]))
        self.branches = nn.CellList(branches)
        self.dropout = nn.Dropout(p=drop_rate)
        self.conv_seg = conv2d(channels, num_classes, bias=True)

    def construct(self, maps: Tuple[Tensor, ...]) -> Tensor:
        size = maps[0].shape[2:]
        total = self.branches[0][0](maps[0])
        for index in range(1, len(maps)):
            x = maps[index]
            steps = len(self.branches[index])
            for step in range(steps):
                x = self.branches[index][step](x)
                # The last step ends at the first map's own size, which need not be a multiple.
                x = resize_bilinear(x, size if step == steps - 1 else (2 * x.shape[2], 2 * x.shape[3]))
            total = total + x
        return self.conv_seg(self.dropout(total))
