"""Embedding of overlapping patches, which begins the stages of pyramids."""
from typing import Optional

from mindspore import Tensor, nn

from ghost_ms.layers.conv import conv2d


class OverlapPatchEmbed(nn.Cell):
    """Strided convolution with bias, norm, activation: (B, C, H, W) -> (B, out, H / stride, W / stride).

    Args:
        kernel_size, stride, padding: of the convolution; `padding` is symmetric.
        norm, act: cells behind it; nothing where None.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int,
                 norm: Optional[nn.Cell] = None, act: Optional[nn.Cell] = None):
        super().__init__()
        self.folds = (("proj", "norm"),) if isinstance(norm, nn.BatchNorm2d) else ()
        self.proj = conv2d(in_channels, out_channels, kernel_size, stride, bias=True, padding=padding)
        self.norm = nn.Identity() if norm is None else norm
        self.act = nn.Identity() if act is None else act

    def construct(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.proj(x)))
