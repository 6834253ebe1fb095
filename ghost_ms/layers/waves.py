"""Sine and cosine as cells."""
from mindspore import Tensor, nn, ops


class Sine(nn.Cell):
    """Sine of every element; the shape stays."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.sin(x)


class Cosine(nn.Cell):
    """Cosine of every element; the shape stays."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.cos(x)
