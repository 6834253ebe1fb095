"""Pooling to a fixed size from any size."""
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.ops import constexpr


def mean_matrix(source: int, target: int) -> np.ndarray:
    """(target, source) float32: row i averages the samples floor(i s / t) to ceil((i + 1) s / t) - 1."""
    matrix = np.zeros((target, source), np.float32)
    for row in range(target):
        start, stop = row * source // target, -(-(row + 1) * source // target)
        matrix[row, start:stop] = 1 / (stop - start)
    return matrix


@constexpr
def _mean_tensor(source: int, target: int) -> Tensor:
    return Tensor(mean_matrix(source, target))


@constexpr
def _transposed_mean_tensor(source: int, target: int) -> Tensor:
    return Tensor(np.ascontiguousarray(mean_matrix(source, target).T))


class AdaptiveAveragePool(nn.Cell):
    """(B, C, H, W) -> (B, C, size, size), PyTorch's adaptive average pool, also where it has to enlarge.

    Two products with constant matrices, since MindSpore's own does not export; nothing is done at the right size.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def construct(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if height != self.size:
            x = ops.matmul(_mean_tensor(height, self.size), x)
        if width != self.size:
            x = ops.matmul(x, _transposed_mean_tensor(width, self.size))
        return x


class GlobalMean(nn.Cell):
    """The mean of every map: (B, C, H, W) -> (B, C, 1, 1)."""

    def construct(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keep_dims=True)
