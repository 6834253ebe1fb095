"""The two-layer perceptron of token mixers and transformers, and the LayerNorm they use."""
from typing import Optional

from mindspore import Tensor, nn

from ghost_ms.layers.conv import conv2d


def layer_norm(channels: int, epsilon: float = 1e-5) -> nn.LayerNorm:
    """LayerNorm over the last axis with PyTorch's epsilon (MindSpore's default is 1e-7)."""
    return nn.LayerNorm((channels,), epsilon=epsilon)


def gelu() -> nn.GELU:
    """The exact (erf) GELU; MindSpore's default is the tanh approximation."""
    return nn.GELU(approximate=False)


class Mlp(nn.Cell):
    """fc1, activation, dropout, fc2, dropout on the last axis: (..., channels) -> (..., out)."""

    def __init__(self, channels: int, hidden: int, out: Optional[int] = None, drop: float = 0.0,
                 act: Optional[nn.Cell] = None):
        super().__init__()
        self.fc1 = nn.Dense(channels, hidden)
        self.act = gelu() if act is None else act
        self.fc2 = nn.Dense(hidden, channels if out is None else out)
        self.drop = nn.Dropout(p=drop)

    def construct(self, x: Tensor) -> Tensor:
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


class ConvMlp(nn.Cell):
    """The same perceptron at every position of a map, as 1x1 convolutions: (B, channels, H, W) -> (B, out, H, W)."""

    def __init__(self, channels: int, hidden: int, out: Optional[int] = None, drop: float = 0.0,
                 act: Optional[nn.Cell] = None):
        super().__init__()
        self.fc1 = conv2d(channels, hidden, bias=True)
        self.act = gelu() if act is None else act
        self.fc2 = conv2d(hidden, channels if out is None else out, bias=True)
        self.drop = nn.Dropout(p=drop)

    def construct(self, x: Tensor) -> Tensor:
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))
