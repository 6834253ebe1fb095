"""Feature pyramid network (CVPR 2017, arXiv 1612.03144, section 3)."""
from typing import Optional, Sequence, Tuple

from mindspore import Tensor, nn, ops

from ghost_ms.layers import conv2d
from ghost_ms.layers.upsample import upsample_nearest


class FPN(nn.Cell):
    """Maps of falling size, each enriched by the coarser ones: (B, C_i, H_i, W_i) -> (B, channels, H_i, W_i).

    Every map passes a 1x1 convolution, takes the coarser result enlarged to its own size, whatever that is, and is
    smoothed by a 3x3 convolution; no norms, no activations.

    Args:
        extra: makes coarser maps of the last result and the last map, such as `ConvolvedLevels`.
    """

    def __init__(self, in_channels: Sequence[int], channels: int = 256, extra: Optional[nn.Cell] = None):
        super().__init__()
        self.extra = extra
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
        return found if self.extra is None else found + self.extra(found[last], maps[last])


class ConvolvedLevels(nn.Cell):
    """Levels P6 and P7 of RetinaNet (arXiv 1708.02002, section 4): 3x3 convolutions of stride 2.

    Args:
        in_channels: of what P6 is made of.
        of_backbone: whether that is the backbone's last map, as the paper has it, or the pyramid's.
    """

    def __init__(self, in_channels: int, channels: int = 256, of_backbone: bool = False):
        super().__init__()
        self.of_backbone = of_backbone
        self.p6 = conv2d(in_channels, channels, 3, 2, bias=True)
        self.p7 = conv2d(channels, channels, 3, 2, bias=True)

    def construct(self, last: Tensor, of_backbone: Tensor) -> Tuple[Tensor, Tensor]:
        sixth = self.p6(of_backbone if self.of_backbone else last)
        return sixth, self.p7(ops.relu(sixth))
