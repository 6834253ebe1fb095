"""Weighted sum of the three branches of Wave-MLP and Hire-MLP (split attention of arXiv 2106.12368)."""
from mindspore import Tensor, ops

from ghost_ms.layers.mlp import ConvMlp


class BranchMix(ConvMlp):
    """Sum of three maps (B, C, H, W), each channel weighted by a softmax over the maps, from the mean of their sum."""

    def __init__(self, channels: int):
        super().__init__(channels, channels // 4, 3 * channels)
        self.channels = channels

    def construct(self, vertical: Tensor, horizontal: Tensor, channel: Tensor) -> Tensor:
        total = (vertical + horizontal + channel).mean((2, 3), keep_dims=True)
        # Outputs 3c, 3c + 1, 3c + 2 belong to channel c.
        weights = ops.softmax(self.fc2(self.act(self.fc1(total))).reshape(-1, self.channels, 3), -1)
        first, second, third = ops.split(weights.expand_dims(3), 1, 2)
        return vertical * first + horizontal * second + channel * third
