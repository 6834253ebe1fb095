"""Feature pyramid network (CVPR 2017, arXiv 1612.03144, section 3)."""
from typing import Sequence, Tuple

from mindspore import Tensor, nn

from ghost_ms.layers import conv2d
from ghost_ms.layers.upsample import upsample_nearest


class FPN(nn.Cell):
    """Maps of falling size, each enriched by the coarser ones: (B, C_i, H_i, W_i) -> (B, channels, H_i, W_i).

    Every map passes a 1x1 convolution, takes the coarser result enlarged to its own size, whatever that is, and is
    smoothed by a 3x3 convolution; no norms, no activations.
    """

    def __init__(self, in_channels: Sequence[int], channels: int = 256):
        super().__init__()
        self.inner_blocks = nn.CellList([conv2d(one, channels, bias=True) for one in in_channels])
        self.layer_blocks = nn.CellList([conv2d(channels, channels, 3, bias=True) for _ in in_channels])

    def construct(self, maps: Tuple[Tensor, ...]) -> Tuple[Tensor, ...]:
        last = len(maps) - 1
        above = self.inner_blocks[last](maps[last])
        found = (self.layer_blocks[last](above),)
        for index in range(last - 1, -1, -1):
            own = self.inner_blocks[index](maps[index])
            above = own + upsample_nearest(above, own.shape[2:])
            found = (self.layer_blocks[index](above),) + found
        return found
