"""Stochastic depth (arXiv 1603.09382)."""
import numpy as np
from mindspore import Tensor, nn, ops


class DropPath(nn.Cell):
    """Zero a residual branch for whole samples at random while training, and rescale what is kept.

    Args:
        rate: probability that a sample's branch is dropped, 0 <= rate < 1. The input is (B, ...) of any rank.
    """

    def __init__(self, rate: float = 0.0):
        super().__init__()
        self.rate = rate
        self.dropout = nn.Dropout(p=rate)

    def construct(self, x: Tensor) -> Tensor:
        if self.rate == 0.0 or not self.training:
            return x
        mask = ops.ones((x.shape[0],) + (1,) * (x.ndim - 1), x.dtype)
        return x * self.dropout(mask)


def drop_path_rates(rate: float, depth: int) -> list:
    """Rates of `depth` blocks, rising linearly from 0 at the first to `rate` at the last."""
    return [float(r) for r in np.linspace(0.0, rate, depth)]
