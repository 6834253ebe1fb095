"""Squeeze-and-excitation (arXiv 1709.01507)."""
from mindspore import Tensor, nn

from ghost_ms.layers.conv import conv2d


class SqueezeExcite(nn.Cell):
    """Gate of every channel from the global mean: (B, C, H, W) -> same shape.

    Args:
        channels: C.
        squeezed: channels between the two 1x1 convolutions.
        act, gate: cells between them and after them.
    """

    def __init__(self, channels: int, squeezed: int, act: nn.Cell = None, gate: nn.Cell = None):
        super().__init__()
        self.conv_reduce = conv2d(channels, squeezed, bias=True)
        self.act = nn.ReLU() if act is None else act
        self.conv_expand = conv2d(squeezed, channels, bias=True)
        self.gate = nn.HSigmoid() if gate is None else gate

    def construct(self, x: Tensor) -> Tensor:
        scale = x.mean((2, 3), keep_dims=True)
        return x * self.gate(self.conv_expand(self.act(self.conv_reduce(scale))))
