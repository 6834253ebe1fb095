"""Sine and cosine as cells."""
from mindspore import Tensor, nn, ops


class Sine(nn.Cell):
    """Of every element."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.sin(x)


class Cosine(nn.Cell):
    """Of every element."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.cos(x)
